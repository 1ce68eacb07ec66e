"""Costs of every width: parameters, bytes, FLOPs and latency, measured before any training.

Latency is that of a model in eval mode with folded batch norms; its inputs take turns, and all
models are timed in the same rounds (`tasearch.profiling.timing`). Models which the timings cannot
tell apart get one latency (`tasearch.profiling.ties`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from tasearch.chains.sizes import sized
from tasearch.config.latency_section import LatencySection
from tasearch.models.numerics import cpu_threads
from tasearch.pareto.measurement import Measurement, TimingConditions, tied_with
from tasearch.profiling.calls import rotated_inputs, timed_call, usable_inputs
from tasearch.profiling.counts import forward_flops, parameters, weight_bytes
from tasearch.profiling.machine import OtherProcesses, busy_notice, busy_signs
from tasearch.profiling.onnx import timed_models
from tasearch.profiling.reference import WIDTH as REFERENCE_WIDTH
from tasearch.profiling.reference import reference_net
from tasearch.profiling.ties import tied_latencies
from tasearch.profiling.timing import Call, ModelTimings, time_rounds


def measure(
    nets: Mapping[int, nn.Module],
    *,
    in_shape: tuple[int, ...],
    section: LatencySection,
    device: torch.device,
    models: Mapping[int, bytes] | None = None,
    warn: Callable[[str], None] = lambda text: None,
    samples: Tensor | None = None,
) -> tuple[dict[int, Measurement], TimingConditions]:
    """Measure models side by side.

    Args:
        nets: Models by width, on the CPU, which take raw samples; they are put into eval mode.
        in_shape: Shape of one sample, (channels, height, width) or (features,).
        section: Backend, batch and threads.
        device: Device of the torch backend.
        models: ONNX models of `timed_models` by width, if they exist already; a width that is
            missing is timed in torch.
        warn: Receiver of messages about what is not possible with a model and what is done instead.
        samples: Real raw samples, float32 or integers (samples, *in_shape), for a model of integers
            and one that fails on random numbers, as one with an embedding table does; None if
            there are none.

    Returns:
        The measurements by width, with one latency for all widths that are tied, and the timings
        of the reference net with notices about the machine.

    Raises:
        ModelError: If a model cannot be exported to ONNX, or fails in a timed call.
    """
    if section.backend == "onnx" and models is None:
        kind = torch.float32 if samples is None else samples.dtype
        models = timed_models(nets, in_shape, section.batch, kind)
    warn_of = {width: partial(_warn_of_width, width, warn) for width in nets}
    prepare = partial(timed_call, section=section, device=device)
    inputs = rotated_inputs(in_shape, section.batch)
    calls: dict[int, Call] = {}
    examples: dict[int, Tensor] = {}
    for width, net in nets.items():
        what = f"{sized(width)}: a timed call with latency.batch = {section.batch}"
        own = usable_inputs(net.eval(), inputs, samples)
        model = (models or {}).get(width)
        calls[width] = prepare(net, model, own, what=what, warn=warn_of[width])
        examples[width] = own[0, :1]
    net, model = reference_net()
    what = "a timed call of the reference net"
    reference = prepare(net, model, rotated_inputs((REFERENCE_WIDTH,), 1), what=what, warn=warn)
    others = OtherProcesses()
    with cpu_threads(section.threads):
        timed, rounds = time_rounds(calls, reference)
    signs = busy_signs(rounds, others.used(), section.threads)
    measured = _measurements(nets, in_shape, timed, warn_of, examples)
    tied = sum(bool(tied_with(width, measured)) for width in measured)
    return measured, TimingConditions(
        reference=rounds, notices=busy_notice(signs, tied, len(measured))
    )


def _measurements(
    nets: Mapping[int, nn.Module],
    in_shape: tuple[int, ...],
    timed: Mapping[int, ModelTimings],
    warn_of: Mapping[int, Callable[[str], None]],
    examples: Mapping[int, Tensor],
) -> dict[int, Measurement]:
    latencies = tied_latencies({width: t.rounds.medians_ms for width, t in timed.items()})
    return {
        width: Measurement(
            width=width,
            params=parameters(net),
            bytes=weight_bytes(net),
            flops=forward_flops(net, in_shape, warn_of[width], examples[width]),
            latency_ms=latencies[width],
            latency_p95_ms=timed[width].p95_ms,
            rounds=timed[width].rounds,
        )
        for width, net in nets.items()
    }


def _warn_of_width(width: int, warn: Callable[[str], None], text: str) -> None:
    warn(f"{sized(width)}: {text}")
