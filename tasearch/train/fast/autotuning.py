"""Autotuning: the fastest mode for each width, measured on a few steps with random inputs.

A mode is a precision and a way to stack models. It decides the last bits of a result, so it is part
of a hop's key, and stays the same for the whole run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial

import torch
from torch import nn

from tasearch.chains.mode import Mode
from tasearch.chains.recipe import Recipe
from tasearch.chains.sizes import sized
from tasearch.errors import StudyError, TasearchError, raised
from tasearch.models import Models
from tasearch.models.numerics import cpu_threads, rounded_up
from tasearch.train.fast.probe import Probe
from tasearch.train.fast.stacking import CannotStack

BF16_GAIN = 0.9  # bf16 must take less than this fraction of fp32's time, to be worth its rounding
GAIN = 0.8  # stacked models must take less than this fraction of their time one after another
ALONE = 1.25  # a hop alone in a shared stacked model may take this many times its best time
SMALL_MS = 10.0  # on CPU, longer steps are mostly arithmetic, which stacking does not speed up
MULTIPLES = (2, 4, 8)  # slots that fill the vector unit, at one width or another


def choose_modes(
    precision: str,
    stack: str,
    build: Callable[[int, int], nn.Module],
    widths: Iterable[int],
    *,
    recipe: Recipe,
    in_shape: tuple[int, ...],
    device: torch.device,
    threads: int,
    replicates: int,
    warn: Callable[[str], None],
) -> dict[int, Mode]:
    """Choose a mode for each width.

    Args:
        precision: "fp32", "bf16", or "auto": bf16 on CUDA; on CPU the one that is measured faster.
        stack: "never", or "auto": stack models where that is measured faster.
        build: Function from a width and a seed to a model on CPU.
        widths: The widths that may be trained.
        recipe: Recipe with the batch size and the optimizer.
        in_shape: Shape of a sample: (channels, height, width) or (features,).
        device: The device to train on.
        threads: Number of threads on CPU.
        replicates: Number of replicates of each hop.
        warn: Function that receives a message when a mode cannot be used, and what is used instead.

    Returns:
        A mode by width.

    Raises:
        StudyError: If the precision is "bf16", and a step of a model raises in it.
    """
    modes = {}
    faults: dict[str, list[int]] = {}  # widths, by what is wrong with them
    with cpu_threads(threads, flush_denormals=True):
        for width in widths:
            probe = Probe(partial(build, width), recipe, in_shape, device)
            mode, fault = _tuned_precision(probe, precision, width, device)
            if fault:
                faults.setdefault(fault, []).append(width)
            if stack == "auto":
                mode, fault = _tuned_slots(probe, mode, replicates, device)
                if fault:
                    faults.setdefault(f"trained one by one, for {fault}", []).append(width)
            modes[width] = mode
    for fault, those in faults.items():
        warn(f"{sized(*those)}: {fault}")
    return modes


def _tuned_precision(
    probe: Probe, precision: str, width: int, device: torch.device
) -> tuple[Mode, str]:
    """The mode of models that are not stacked; and why it is not bf16, if that is a fault."""
    mode = untuned_mode(precision, device)
    try:
        if mode.bf16:
            probe.step_in_bf16()
        elif precision == "auto":
            fp32, bf16 = probe.bf16_times()
            mode = replace(mode, bf16=bf16 < BF16_GAIN * fp32)
    except TasearchError:
        raise
    except Exception as error:  # a user's model, or torch, may not support bf16
        found = raised(error)
        if precision == "bf16":
            raise StudyError(
                f'training.precision: should be "fp32" or "auto" for the model of {sized(width)}, '
                f'found "bf16": a step raised {found}'
            ) from error
        return replace(mode, bf16=False), f"trained in fp32, for bf16 raised {found}"
    return mode, ""


def untuned_mode(precision: str, device: torch.device) -> Mode:
    """The mode without any measurement: models are not stacked, and bf16 only where it is certain
    to be used."""
    bf16 = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return Mode(bf16=bf16, slots=None, shared=False)


def study_modes(
    models: Models, widths: Iterable[int], device: torch.device, warn: Callable[[str], None]
) -> dict[int, Mode]:
    """Choose the modes in which a study trains its models of some widths.

    Args:
        models: The study's models.
        widths: The widths that may be trained.
        device: The device to train on.
        warn: Function that receives a message when a mode cannot be used.

    Returns:
        A mode by width.
    """
    study = models.study
    return choose_modes(
        study.training.precision,
        study.training.stack,
        models.build,
        widths,
        recipe=study.recipes("student").one_per_loss()[0],
        in_shape=models.in_shape,
        device=device,
        threads=study.training.threads,
        replicates=study.search.replicates,
        warn=warn,
    )


def _tuned_slots(
    probe: Probe, mode: Mode, replicates: int, device: torch.device
) -> tuple[Mode, str]:
    """The mode with the fastest number of slots; and why models are not stacked, if that is a
    fault."""
    try:
        return _fastest(probe, mode, replicates, device), ""
    except CannotStack:  # that is no fault of the model
        return mode, ""
    except TasearchError:
        raise
    except Exception as error:  # a user's model may do anything with the axis of channels
        return mode, f"a stacked model raised {raised(error)}"


def _fastest(probe: Probe, mode: Mode, replicates: int, device: torch.device) -> Mode:
    """The mode with the fastest number of slots in which models are the same as alone.

    Whether they are the same is tested last, because it takes longest.
    """
    agrees = cache(lambda: probe.agrees(max(2, replicates)))
    stacked = cache(lambda slots: probe.time(slots, mode.bf16))
    once = probe.time(1, mode.bf16, stacked=False)
    if device.type == "cpu" and once > SMALL_MS / 1000:
        return mode
    best, least = mode, replicates * once  # seconds of one hop's step
    if replicates > 1:
        together = stacked(replicates)
        if together < GAIN * least and agrees():
            best, least = replace(mode, slots=replicates), together
    if device.type == "cpu" and mode.bf16:
        return best  # a difference in rounding may show only after many steps
    if stacked(2 * replicates) >= GAIN * 2 * least or not agrees():
        return best  # unused slots would only make it slower
    slots = next((n for n in MULTIPLES if probe.is_exact(n, mode.bf16)), None)
    if slots is None:
        return best
    one, two = (stacked(rounded_up(n * replicates, slots)) for n in (1, 2))
    if one < ALONE * least and two < GAIN * 2 * least:
        best = replace(mode, slots=slots, shared=True)
    return best
