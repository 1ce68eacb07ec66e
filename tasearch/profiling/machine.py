"""The machine that latencies are measured on: its name, and whether it was busy meanwhile.

What other processes used is known on Linux only, from `/proc/stat`. Elsewhere the timings of the
reference net alone decide whether a notice is given.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from tasearch.config.latency_section import LatencySection
from tasearch.pareto.measurement import TimingRounds
from tasearch.profiling.timing import SPREAD

MOVED = 0.1  # relative difference between the reference net's rounds on a quiet machine, at most
SLACK = 0.1  # processors that others may use where none is free for them
STAT = Path("/proc/stat")
ONNX_RUNTIME = "ONNX Runtime"


def describe_backend(section: LatencySection, device: torch.device) -> str:
    """The backend and the machine that latencies hold for, in words.

    Args:
        section: Backend, batch and threads.
        device: Device of the torch backend.

    Returns:
        Text such as "ONNX Runtime 1.20.1, AMD EPYC 7B13, batch 1, 1 thread".
    """
    if section.backend == "onnx":
        runtime = f"{ONNX_RUNTIME} {onnxruntime.__version__}, {_processor()}"
    elif device.type == "cuda":
        runtime = f"torch {torch.__version__}, {torch.cuda.get_device_name(device)}"
    else:
        runtime = f"torch {torch.__version__}, {_processor()}"
    plural = "s" * (section.threads > 1)
    return f"{runtime}, batch {section.batch}, {section.threads} thread{plural}"


def timed_in_onnx(description: str) -> bool:
    """Whether a text of `describe_backend` names ONNX Runtime."""
    return description.startswith(ONNX_RUNTIME)


class OtherProcesses:
    """Work of other processes, from now on, on the processors that this process may use."""

    def __init__(self) -> None:
        self._cores = _cores()
        self._start = time.monotonic(), _busy_seconds(self._cores), _own_seconds()

    def used(self) -> tuple[float, int] | None:
        """Work of others since the start, time stolen by a host included.

        Returns:
            The number of processors that others kept busy on average, and the number of
            processors; None where the system does not tell.
        """
        then, busy, own = self._start
        now, seconds = time.monotonic(), _busy_seconds(self._cores)
        if busy is None or seconds is None or now <= then:
            return None
        theirs = seconds - busy - (_own_seconds() - own)
        return max(0.0, theirs / (now - then)), len(self._cores)


def busy_signs(
    reference: TimingRounds, others: tuple[float, int] | None, threads: int
) -> tuple[str, ...]:
    """Signs that the machine was busy, in words.

    Args:
        reference: Timings of the reference net.
        others: Processors that others used, and the number of processors; None if unknown.
        threads: Threads of a timed call.

    Returns:
        One text per sign; none if the machine was quiet.
    """
    found = []
    low, high = np.percentile(reference.medians_ms, [10, 90])  # a single odd round says little
    if high / low - 1 > MOVED:
        found.append(f"rounds of the reference net differed by {high / low - 1:.0%}")
    noisy = sum(spread > SPREAD for spread in reference.spreads)
    if 2 * noisy > len(reference.spreads):
        found.append(
            f"timings of the reference net scattered in {noisy} of {len(reference.spreads)} rounds"
        )
    if others is not None:
        used, cores = others
        if used + min(threads, cores) > cores + SLACK:
            found.append(f"other processes used {used:.1f} of {cores} processors")
    return tuple(found)


def busy_notice(signs: tuple[str, ...], tied: int, widths: int) -> tuple[str, ...]:
    """The notice of a busy machine.

    Args:
        signs: Texts of `busy_signs`.
        tied: Number of widths that are tied with another one.
        widths: Number of widths that were measured.

    Returns:
        One notice; none if there are no signs.
    """
    if not signs:
        return ()
    return (
        f"the machine was busy while latencies were measured: {', '.join(signs)}; they are less "
        f"certain, {tied} of {widths} widths are tied",
    )


def _processor() -> str:
    """The processor's name, as far as the system tells it."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> frozenset[int]:
    """Numbers of the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _own_seconds() -> float:
    """Processor time of this process and of its children that have ended, in seconds."""
    return sum(os.times()[:4])


def _busy_seconds(cores: frozenset[int]) -> float | None:
    """Seconds in which the processors worked, or a host took them away; None if unknown."""
    ticks, found = 0, False
    with contextlib.suppress(AttributeError, OSError, ValueError, IndexError):
        for line in STAT.read_text(encoding="ascii").splitlines():
            name, *fields = line.split()
            if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in cores:
                user, nice, system, _, _, irq, soft, stolen = map(int, fields[:8])
                ticks, found = ticks + user + nice + system + irq + soft + stolen, True
        if found:
            return ticks / os.sysconf("SC_CLK_TCK")
    return None
