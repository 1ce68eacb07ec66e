"""How to train a model fastest, tried on a few steps of noise: precision, and models as one.

A mode decides the last bits of a result, so it is part of a hop's key, and frozen for a run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial

import torch
from torch import Tensor, nn

from tasearch.chains.mode import Mode
from tasearch.chains.recipe import Recipe
from tasearch.errors import StudyError, TasearchError, raised
from tasearch.models import Models
from tasearch.models.numerics import cpu_threads, rounded_up
from tasearch.runs import heartbeat
from tasearch.train.cuda import recorded
from tasearch.train.fast.stacking import CannotStack
from tasearch.train.layout import arranged, input_format
from tasearch.train.losses import Terms, cross_entropy
from tasearch.train.state import Group, State, pack

SLOTS = 16  # of a wide model that hops share, at most, unless one hop has more replicates
MULTIPLES = (2, 4, 8)  # slots whose vectors have no rest, for one width or another
TURNS = 5  # timed steps of each, after one that is not
ADVANTAGE = 0.9  # of fp32's time, that bf16 must stay under to be worth its rounding
EXAMPLE = 64  # largest batch tried
GAIN = 0.8  # of the time one after the other, that models side by side must stay under
ALONE = 1.25  # times what it takes otherwise, that a hop which found no companion may take
SMALL_MS = 10.0  # a step beyond this is arithmetic, not calls, on CPU
STEPS = 5  # of the comparisons
TOLERANCE = 1e-4  # between logits of a stacked model and its own alone


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
    """The mode to train each width in.

    Args:
        precision: "fp32", "bf16", or "auto": bf16 on CUDA; on CPU whichever a probe finds faster.
        stack: "never", or "auto": where a probe finds models faster as one wide model.
        build: a model of a width and a seed, on CPU.
        widths: all that may be trained.
        recipe: with the batch size and the optimizer.
        in_shape: (channels, height, width) or (features,).
        device: to train on.
        threads: on CPU.
        replicates: of each hop.
        warn: told what a probe finds broken, and what is done instead.

    Returns:
        A mode by width.

    Raises:
        StudyError: where bf16 is asked for, and a model cannot take a step in it.
    """
    modes = {}
    faults: dict[str, list[int]] = {}  # widths of each
    with cpu_threads(threads, flush_denormals=True):
        for width in widths:
            probe = _Probe(partial(build, width), recipe, in_shape, device)
            mode = untried(precision, device)
            try:
                if mode.bf16:
                    probe.step_in_bf16()
                elif precision == "auto":
                    mode = replace(mode, bf16=probe.bf16_is_faster())
            except TasearchError:
                raise
            except Exception as error:  # a user's model, or torch, may have no bf16
                found = raised(error)
                if precision == "bf16":
                    raise StudyError(
                        f'training.precision: should be "fp32" or "auto" for the model of width '
                        f'{width}, found "bf16": a step raised {found}'
                    ) from error
                mode = replace(mode, bf16=False)
                faults.setdefault(f"trained in fp32, for bf16 raised {found}", []).append(width)
            if stack == "auto":
                mode, fault = probe.slots(mode, replicates)
                if fault:
                    faults.setdefault(f"trained one by one, for {fault}", []).append(width)
            modes[width] = mode
    for fault, those in faults.items():
        warn(f"width{'s' * (len(those) > 1)} {', '.join(map(str, those))}: {fault}")
    return modes


def untried(precision: str, device: torch.device) -> Mode:
    """The mode of a width that is not tried: each model alone, in bf16 where that is certain."""
    bf16 = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return Mode(bf16=bf16, slots=None, shared=False)


def study_modes(
    models: Models, widths: Iterable[int], device: torch.device, warn: Callable[[str], None]
) -> dict[int, Mode]:
    """The modes in which a study trains its models of some widths."""
    study = models.study
    return choose_modes(
        study.training.precision,
        study.training.stack,
        models.build,
        widths,
        recipe=study.recipes("student").firsts()[0],
        in_shape=models.in_shape,
        device=device,
        threads=study.training.threads,
        replicates=study.search.replicates,
        warn=warn,
    )


class _Probe:
    """Steps on noise with models of one width.

    Args:
        build: a model from a seed, on CPU.
        recipe: of them.
        in_shape: (channels, height, width) or (features,).
        device: to train on.
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
        self._layout = input_format(build(0), in_shape, device)
        self._device = device
        self._batch = min(recipe.batch_size, EXAMPLE if device.type == "cpu" else recipe.batch_size)
        self._y = torch.zeros(recipe.batch_size, dtype=torch.int64, device=device)

        def net(seed: int) -> nn.Module:
            """A new one each time: not all models can be copied."""
            made = build(seed).to(device)
            if len(in_shape) == 3:
                made = made.to(memory_format=self._layout)  # type: ignore[call-overload]
            return made

        @cache
        def noise(seed: int) -> Tensor:
            generator = torch.Generator().manual_seed(seed)
            return torch.randn(recipe.batch_size, *in_shape, generator=generator).to(device)

        self._net, self._noise = net, noise

    def step_in_bf16(self) -> None:
        """Take one.

        Raises:
            Exception: whatever the model raises in it.
        """
        group = self._group([0], self._plain, stacked=False)
        self._step(group, self._inputs([0], self._batch), True)

    def bf16_is_faster(self) -> bool:
        times: dict[bool, list[float]] = {False: [], True: []}
        group, x = self._group([0], self._plain, stacked=False), self._inputs([0], self._batch)
        for turn in range(1 + TURNS):
            for bf16, found in times.items():
                found.append(self._timed(partial(self._step, group, x, bf16)))
                if turn == 1 and bf16 and found[-1] > 3 * times[False][-1]:  # clear already
                    return False
        best = {bf16: min(found[1:]) for bf16, found in times.items()}
        return best[True] < ADVANTAGE * best[False]

    def slots(self, mode: Mode, replicates: int) -> tuple[Mode, str]:
        """The mode with the slots that are fastest, and why none was tried if that was a fault."""
        try:
            return self._fastest(mode, replicates), ""
        except CannotStack:  # no fault of anybody's
            return mode, ""
        except TasearchError:
            raise
        except Exception as error:  # a user's model may do anything, with the axis of channels
            return mode, f"a wide model of several raised {raised(error)}"

    def _fastest(self, mode: Mode, replicates: int) -> Mode:
        """The mode with the slots that are fastest, models in them being as they are alone; that
        they are is looked at last, for it takes longest."""
        agrees = cache(lambda: self._agrees(max(2, replicates)))
        wide = cache(lambda slots: self._time(slots, mode.bf16))
        once = self._time(1, mode.bf16, stacked=False)
        if self._device.type == "cpu" and once > SMALL_MS / 1000:
            return mode
        best, least = mode, replicates * once  # for one hop
        if replicates > 1:
            together = wide(replicates)
            if together < GAIN * least and agrees():
                best, least = replace(mode, slots=replicates), together
        if self._device.type == "cpu" and mode.bf16:
            return best  # where it rounds otherwise shows once in many steps, if at all
        if wide(2 * replicates) >= GAIN * 2 * least or not agrees():
            return best  # with a rest of slots it takes longer still
        slots = next((n for n in MULTIPLES if self._exact(n, mode.bf16)), None)
        if slots is None:
            return best
        one, two = (wide(rounded_up(n * replicates, slots)) for n in (1, 2))
        if one < ALONE * least and two < GAIN * 2 * least:
            best = replace(mode, slots=slots, shared=True)
        return best

    def _time(self, slots: int, bf16: bool, *, stacked: bool = True) -> float:
        """The shortest step, in seconds; on CUDA within a graph, as trainings make it."""
        models = [*range(slots)]
        group = self._group(models, self._plain, stacked=stacked)
        x = self._inputs(models, self._batch)
        step: Callable[[], object] = partial(self._step, group, x, bf16)
        if self._device.type == "cuda":
            with contextlib.suppress(Exception):  # then trainings do not either
                step = recorded(step).replay
        return min([self._timed(step) for _ in range(1 + TURNS)][1:])

    def _timed(self, step: Callable[[], object]) -> float:
        start = time.perf_counter()
        step()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter() - start

    def _agrees(self, models: int) -> bool:
        """Each beside the others against itself alone, after some steps in fp32."""
        everybody = [*range(models)]
        wide, _ = self._walk(everybody, self._plain)
        alone = [self._walk([i], self._plain, stacked=False)[0] for i in everybody]
        return torch.allclose(wide, torch.stack(alone), rtol=TOLERANCE, atol=TOLERANCE)

    def _exact(self, slots: int, bf16: bool) -> bool:
        """Whether models are the same bit for bit in other slots beside more others."""
        few, many = [*range(slots)], [*range(SLOTS)]
        _, one = self._walk(few, self._recipe, bf16=bf16)
        _, other = self._walk(many[::-1], self._recipe, bf16=bf16)
        pairs = ((pack(a), pack(b)) for a, b in zip(one, other[::-1], strict=False))
        return all(torch.equal(a[name], b[name]) for a, b in pairs for name in a)

    def _group(self, slots: list[int], recipe: Recipe, *, stacked: bool) -> Group:
        return Group([State(self._net(i), recipe) for i in slots], stacked=stacked)

    def _walk(
        self, slots: list[int], recipe: Recipe, *, stacked: bool = True, bf16: bool = False
    ) -> tuple[Tensor, list[State]]:
        """Logits after some steps, (models, batch, classes), or (batch, classes) of one alone; and
        the models."""
        group = self._group(slots, recipe, stacked=stacked)
        x = self._inputs(slots, len(self._y))
        for _ in range(STEPS):
            logits = self._step(group, x, bf16)
        group.hand_back()
        return logits, group.states

    def _inputs(self, slots: list[int], size: int) -> Tensor:
        x = torch.cat([self._noise(i)[:size] for i in slots], dim=1)
        return arranged(x, self._layout)

    def _step(self, group: Group, x: Tensor, bf16: bool) -> Tensor:
        """The logits before it."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=bf16):
            logits: Tensor = group.live.net(x)
        y = self._y[: len(x)]
        if group.stacked:
            logits = logits.view(len(x), len(group.states), -1).transpose(0, 1)
            y = y.expand(len(group.states), -1)
        value = cross_entropy(logits.float(), y, None, Terms(temperature=1.0, alpha=0.0))
        group.live.flat.zero_grad()
        value.sum().backward()  # type: ignore[no-untyped-call]
        if group.states[0].recipe.clip is not None:
            group.clip(group.states[0].recipe.clip)
        group.live.optimizer.step()
        heartbeat.beat()
        return logits.detach()
