"""How to train a model fastest, tried on a few steps of noise: precision, and replicates as one.

A mode is "fp32" or "bf16", and " x5" after it where five replicates train as one wide model. It
decides the last bits of a result, so it is part of a hop's key, and frozen for a run.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from tasearch.chain import Recipe
from tasearch.numerics import cpu_threads
from tasearch.train.layout import arranged, input_format
from tasearch.train.losses import Terms, cross_entropy
from tasearch.train.state import Group, State

FUSED = " x"
TURNS = 5  # timed steps of each, after one that is not
ADVANTAGE = 0.9  # of fp32's time, that bf16 must stay under to be worth its rounding
EXAMPLE = 64  # largest batch tried
GAIN = 0.8  # of the time one after the other, that replicates side by side must stay under
SMALL_MS = 10.0  # a step beyond this is arithmetic, not calls, on CPU
STEPS = 4  # of the comparisons
TOLERANCE = 1e-4  # between logits of a fused pupil and its own alone


def is_bf16(mode: str) -> bool:
    return mode.startswith("bf16")


def is_fused(mode: str) -> bool:
    return FUSED in mode


def choose_modes(
    precision: str,
    fuse: str,
    build: Callable[[int, int], nn.Module],
    widths: Iterable[int],
    *,
    recipe: Recipe,
    in_shape: tuple[int, ...],
    device: torch.device,
    threads: int,
    replicates: int,
) -> dict[int, str]:
    """The mode to train each width in.

    Args:
        precision: "fp32", "bf16", or "auto": bf16 on CUDA; on CPU whichever a probe finds faster.
        fuse: "never", or "auto": where a probe finds the replicates faster as one wide model.
        build: a model of a width and a seed, on CPU.
        widths: all that may be trained.
        recipe: with the batch size and the optimizer.
        in_shape: (channels, height, width) or (features,).
        device: to train on.
        threads: on CPU.
        replicates: of each hop.

    Returns:
        A mode by width.
    """
    modes = {}
    with cpu_threads(threads, flush_denormals=True):
        for width in widths:
            nets = [build(width, seed) for seed in range(replicates)]
            probe = _Probe(nets, recipe, in_shape, device)
            mode = precision
            if precision == "auto":
                mode = "bf16" if device.type == "cuda" or probe.bf16_is_faster() else "fp32"
            if fuse == "auto" and replicates > 1 and probe.fusing_pays(is_bf16(mode)):
                mode += f"{FUSED}{replicates}"
            modes[width] = mode
    return modes


class _Probe:
    """Steps on noise with pupils of one width."""

    def __init__(
        self,
        nets: list[nn.Module],
        recipe: Recipe,
        in_shape: tuple[int, ...],
        device: torch.device,
    ) -> None:
        self._nets = [net.to(device) for net in nets]
        plain = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.01, "ema": None}
        self._recipe = replace(recipe, **plain)  # type: ignore[arg-type]
        self._layout = input_format(self._nets[0], in_shape, device)
        if len(in_shape) == 3:
            self._nets = [net.to(memory_format=self._layout) for net in self._nets]  # type: ignore[call-overload]
        generator = torch.Generator().manual_seed(0)
        batch = min(recipe.batch_size, EXAMPLE)
        self._x = torch.randn(len(self._nets), batch, *in_shape, generator=generator).to(device)
        self._y = torch.zeros(batch, dtype=torch.int64, device=device)

    def bf16_is_faster(self) -> bool:
        times: dict[bool, list[float]] = {False: [], True: []}
        group = self._group([0], fused=False)
        for turn in range(1 + TURNS):
            for bf16, found in times.items():
                found.append(self._step(group, [0], bf16)[1])
                if turn == 1 and bf16 and found[-1] > 3 * times[False][-1]:  # clear already
                    return False
        best = {bf16: min(found[1:]) for bf16, found in times.items()}
        return best[True] < ADVANTAGE * best[False]

    def fusing_pays(self, bf16: bool) -> bool:
        """Whether the pupils as one wide model are faster, and each as it is alone."""
        alone = self._group([0], fused=False)
        self._step(alone, [0], bf16)
        once = min(self._step(alone, [0], bf16)[1] for _ in range(TURNS))
        if self._y.device.type == "cpu" and once > SMALL_MS / 1000:
            return False
        everybody = [*range(len(self._nets))]
        try:
            wide = self._group(everybody, fused=True)
            self._step(wide, everybody, bf16)
            together = min(self._step(wide, everybody, bf16)[1] for _ in range(TURNS))
            return together < GAIN * len(everybody) * once and self._agrees(everybody)
        except Exception:  # a user's model may do anything with the axis of channels
            return False

    def _agrees(self, everybody: list[int]) -> bool:
        """Each beside the others against itself alone, after some steps in fp32."""
        wide = self._walk(everybody, fused=True)
        alone = torch.stack([self._walk([i], fused=False) for i in everybody])
        return torch.allclose(wide, alone, rtol=TOLERANCE, atol=TOLERANCE)

    def _group(self, seats: list[int], *, fused: bool) -> Group:
        states = [State(copy.deepcopy(self._nets[i]), self._recipe) for i in seats]
        return Group(states, fused=fused)

    def _walk(self, seats: list[int], *, fused: bool) -> Tensor:
        """Logits after some steps: (pupils, batch, classes), or (batch, classes) of one alone."""
        group = self._group(seats, fused=fused)
        for _ in range(STEPS):
            logits, _ = self._step(group, seats, bf16=False)
        return logits

    def _step(self, group: Group, seats: list[int], bf16: bool) -> tuple[Tensor, float]:
        """Logits, and seconds."""
        device = self._y.device
        x = arranged(torch.cat([self._x[i] for i in seats], dim=1), self._layout)
        start = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = group.body.net(x)
        y = self._y
        if group.fused:
            logits = logits.view(len(x), len(seats), -1).transpose(0, 1)
            y = y.expand(len(seats), -1)
        value = cross_entropy(logits.float(), y, None, Terms(temperature=1.0, alpha=0.0))
        group.body.flat.zero_grad()
        value.sum().backward()  # type: ignore[no-untyped-call]
        group.body.optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return logits.detach(), time.perf_counter() - start
