"""Steps on random inputs: how long they take in each mode, and whether models end the same."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import torch
from torch import Tensor, nn

from tasearch.chains.recipe import Recipe
from tasearch.runs import heartbeat
from tasearch.train.cuda import recorded
from tasearch.train.fast.group import Group
from tasearch.train.fast.norms import fuse_norms
from tasearch.train.layout import input_format, to_format
from tasearch.train.losses import Terms, cross_entropy
from tasearch.train.state import State, pack

SLOTS = 16  # largest number of slots that hops share, unless one hop has more replicates
TURNS = 5  # timed steps of each kind, after one that is not timed
EXAMPLE = 64  # largest batch of a timed step on CPU
STEPS = 5  # steps after which models are compared
TOLERANCE = 1e-4  # largest difference between the logits of a stacked and a single model


class Probe:
    """Steps on random inputs with models of one width.

    `batch` is the number of samples of a timed step, for each model.

    Args:
        build: Function from a seed to a model on CPU.
        recipe: The models' recipe.
        in_shape: Shape of a sample: (channels, height, width) or (features,).
        device: The device to train on.
    """

    def __init__(
        self,
        build: Callable[[int], nn.Module],
        recipe: Recipe,
        in_shape: tuple[int, ...],
        device: torch.device,
    ) -> None:
        plain = {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.01, "ema": None}
        self._plain = replace(recipe, **plain)  # type: ignore[arg-type]
        self._recipe = recipe
        unused = [build(0)]
        self._layout = input_format(unused[0], in_shape, device)
        self._device = device
        self.batch = min(recipe.batch_size, EXAMPLE if device.type == "cpu" else recipe.batch_size)
        self._y = torch.zeros(recipe.batch_size, dtype=torch.int64, device=device)

        def net(seed: int) -> nn.Module:
            """A new model each time, because not all models can be copied."""
            made = (unused.pop() if unused and seed == 0 else build(seed)).to(device)
            if len(in_shape) == 3:
                made = made.to(memory_format=self._layout)  # type: ignore[call-overload]
            fuse_norms(made)
            return made

        @cache
        def noise(seed: int) -> Tensor:
            generator = torch.Generator().manual_seed(seed)
            return torch.randn(recipe.batch_size, *in_shape, generator=generator).to(device)

        self._net, self._noise = net, noise

    def step_in_bf16(self) -> None:
        """Make one step in bf16.

        Raises:
            Exception: Whatever the model raises in it.
        """
        group = self._group([0], self._plain, stacked=False)
        self._step(group, self._inputs([0], self.batch), True)

    def bf16_times(self) -> tuple[float, float]:
        """The times of the fastest step in fp32 and in bf16, in seconds.

        If bf16 is clearly slower, it is timed only once.
        """
        times: dict[bool, list[float]] = {False: [], True: []}
        group, x = self._group([0], self._plain, stacked=False), self._inputs([0], self.batch)
        for turn in range(1 + TURNS):
            for bf16, found in times.items():
                found.append(self._timed(partial(self._step, group, x, bf16)))
                if turn == 1 and bf16 and found[-1] > 3 * times[False][-1]:
                    return times[False][-1], found[-1]
        return min(times[False][1:]), min(times[True][1:])

    def time(self, slots: int, bf16: bool, *, stacked: bool = True) -> float:
        """The time of the fastest step, in seconds; on CUDA as a graph, as in a training."""
        seeds = [*range(slots)]
        group = self._group(seeds, self._plain, stacked=stacked)
        x = self._inputs(seeds, self.batch)
        step: Callable[[], object] = partial(self._step, group, x, bf16)
        if self._device.type == "cuda":
            with contextlib.suppress(Exception):  # trainings do without a graph then, too
                step = recorded(step).replay
        return min([self._timed(step) for _ in range(1 + TURNS)][1:])

    def _timed(self, step: Callable[[], object]) -> float:
        start = time.perf_counter()
        step()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter() - start

    def agrees(self, models: int) -> bool:
        """Whether stacked models end close to the same models alone, after some steps in fp32."""
        seeds = [*range(models)]
        together, _ = self._train(seeds, self._plain)
        alone = [self._train([seed], self._plain, stacked=False)[0] for seed in seeds]
        return torch.allclose(together, torch.stack(alone), rtol=TOLERANCE, atol=TOLERANCE)

    def is_exact(self, slots: int, bf16: bool) -> bool:
        """Whether models end bit for bit the same in other slots, and in a larger stacked model."""
        few, many = [*range(slots)], [*range(SLOTS)]
        _, one = self._train(few, self._recipe, bf16=bf16)
        _, other = self._train(many[::-1], self._recipe, bf16=bf16)
        pairs = ((pack(a), pack(b)) for a, b in zip(one, other[::-1], strict=False))
        return all(torch.equal(a[name], b[name]) for a, b in pairs for name in a)

    def _group(self, seeds: list[int], recipe: Recipe, *, stacked: bool) -> Group:
        return Group([State(self._net(seed), recipe) for seed in seeds], stacked=stacked)

    def _train(
        self, seeds: list[int], recipe: Recipe, *, stacked: bool = True, bf16: bool = False
    ) -> tuple[Tensor, list[State]]:
        """Logits after some steps, ([models,] batch, classes); and the trained models."""
        group = self._group(seeds, recipe, stacked=stacked)
        x = self._inputs(seeds, len(self._y))
        for _ in range(STEPS):
            logits = self._step(group, x, bf16)
        group.hand_back()
        return logits, group.states

    def _inputs(self, seeds: list[int], size: int) -> Tensor:
        x = torch.cat([self._noise(seed)[:size] for seed in seeds], dim=1)
        return to_format(x, self._layout)

    def _step(self, group: Group, x: Tensor, bf16: bool) -> Tensor:
        """Make one step; the logits before it, ([models,] batch, classes)."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=bf16):
            logits = group.by_model(group.live.net(x))
        y = self._y[: len(x)]
        if group.stacked:
            y = y.expand(len(group.states), -1)
        value = cross_entropy(logits.float(), y, None, Terms(temperature=1.0, alpha=0.0))
        group.live.flat.zero_grad()
        value.sum().backward()  # type: ignore[no-untyped-call]
        if group.states[0].recipe.clip is not None:
            group.clip(group.states[0].recipe.clip)
        group.live.optimizer.step()
        heartbeat.beat()
        return logits.detach()
