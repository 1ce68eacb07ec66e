"""Latencies of models of texts at several lengths, of which the last one counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from tasearch.config.latency_section import LatencySection
from tasearch.errors import StudyError
from tasearch.pareto.measurement import Measurement, TimingConditions
from tasearch.profiling.counts import forward_flops
from tasearch.profiling.measure import measure


def cut_samples(samples: Tensor, lengths: Sequence[int], *, texts: bool) -> list[Tensor]:
    """Samples for each length at which models are timed, and last those that count.

    Args:
        samples: Raw samples as in the data, (samples, *in_shape).
        lengths: Lengths in tokens, from `latency.lengths`; empty for the samples as they are.
        texts: Whether samples are texts, which models take at any length.

    Returns:
        Integers (samples, length) for each length; the samples alone where there are no lengths.

    Raises:
        StudyError: There are lengths and the samples are no texts, or shorter ones.
    """
    if not lengths:
        return [samples]
    if not texts:
        raise StudyError(
            f'latency.lengths: goes with texts (data.source = "text"), of which models take any '
            f"number of tokens; found {[*lengths]}"
        )
    if max(lengths) > samples.shape[1]:
        raise StudyError(
            f"latency.lengths: should be at most data.length = {samples.shape[1]}, found "
            f"{max(lengths)}"
        )
    return [samples[:, :length].contiguous() for length in lengths]


def measure_lengths(
    nets: Mapping[int, nn.Module],
    samples: Tensor,
    cut: Sequence[Tensor],
    *,
    section: LatencySection,
    device: torch.device,
    models: Sequence[Mapping[int, bytes]] | None,
    warn: Callable[[str], None],
) -> tuple[dict[int, Measurement], TimingConditions]:
    """Measure models side by side, at one length after another.

    Args:
        nets: Models by width, on the CPU, which take raw samples.
        samples: Raw samples as in the data, (samples, *in_shape), of which FLOPs are counted.
        cut: What `cut_samples` returned.
        section: Backend, batch, threads and lengths.
        device: Device of the torch backend.
        models: ONNX models by width for each item of `cut`; None to time torch.
        warn: Receiver of messages about what is not possible with a model.

    Returns:
        The measurements at the last length, with the latencies at all; and the timings of the
        reference net, with the notices of all lengths.

    Raises:
        ModelError: A model fails in a timed call.
    """
    found = []
    for place, own in enumerate(cut):
        last = place == len(cut) - 1
        found.append(
            measure(
                nets,
                in_shape=tuple(own.shape[1:]),
                section=section,
                device=device,
                models=None if models is None else models[place],
                warn=warn if last else lambda text: None,  # it would tell the same again
                samples=own,
            )
        )
    measured, timing = found[-1]
    if not section.lengths:
        return measured, timing
    shape, notices = tuple(samples.shape[1:]), [n for _, t in found for n in t.notices]
    return {
        width: replace(
            size,
            flops=forward_flops(nets[width], shape, lambda text: None, samples[:1]),
            by_length=tuple(
                (length, own[width].latency_ms)
                for length, (own, _) in zip(section.lengths, found, strict=True)
            ),
        )
        for width, size in measured.items()
    }, replace(timing, notices=tuple(dict.fromkeys(notices)))
