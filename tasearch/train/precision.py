"""Which precision trains a model faster, tried on a few steps of noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import nn

from tasearch.numerics import cpu_threads
from tasearch.train.layout import arranged, image_format

TURNS = 5  # timed steps of each, after one that is not
ADVANTAGE = 0.9  # of fp32's time, that bf16 must stay under to be worth its rounding
EXAMPLE = 64  # largest batch tried


def choose_precisions(
    asked: str,
    build: Callable[[int], nn.Module],
    widths: Iterable[int],
    *,
    in_shape: tuple[int, ...],
    batch: int,
    device: torch.device,
    threads: int,
) -> dict[int, str]:
    """The precision to train each width with.

    Args:
        asked: "fp32", "bf16", or "auto": bf16 on CUDA; on CPU whichever a probe finds faster.
        build: a model of a width, on CPU.
        widths: all that may be trained.
        in_shape: (channels, height, width) or (features,).
        batch: samples a step.
        device: to train on.
        threads: on CPU.

    Returns:
        "fp32" or "bf16" by width.
    """
    if asked != "auto":
        return dict.fromkeys(widths, asked)
    if device.type == "cuda":
        return dict.fromkeys(widths, "bf16")
    with cpu_threads(threads, flush_denormals=True):
        return {width: _faster(build(width), in_shape, min(batch, EXAMPLE)) for width in widths}


def _faster(net: nn.Module, in_shape: tuple[int, ...], batch: int) -> str:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, *in_shape, generator=generator)
    if x.ndim == 4:
        layout = image_format(net, x.device)
        x = arranged(x, layout)
        net = net.to(memory_format=layout)  # type: ignore[call-overload]
    net.train()

    def seconds(bf16: bool) -> float:
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = net(x)
        loss = F.cross_entropy(logits.float(), torch.zeros(batch, dtype=torch.int64))
        loss.backward()  # type: ignore[no-untyped-call]
        return time.perf_counter() - start

    times: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(1 + TURNS):
        for bf16, found in times.items():
            found.append(seconds(bf16))
            slow = bf16 and found[-1] > 3 * times[False][-1]
            if turn == 1 and slow:  # clear already
                return "fp32"
    best = {bf16: min(found[1:]) for bf16, found in times.items()}
    return "bf16" if best[True] < ADVANTAGE * best[False] else "fp32"
