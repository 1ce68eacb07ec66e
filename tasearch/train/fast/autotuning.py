"""Autotuning: the fastest mode for each width, measured on a few steps with random inputs.

A mode is a precision and a way to stack models. It decides the last bits of a result, so it is part
of a hop's key, and stays the same for the whole run.
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
from tasearch.train.fast.group import Group
from tasearch.train.fast.norms import fuse_norms
from tasearch.train.fast.stacking import CannotStack
from tasearch.train.layout import arranged, input_format
from tasearch.train.losses import Terms, cross_entropy
from tasearch.train.state import State, pack

SLOTS = 16  # largest number of slots that hops share, unless one hop has more replicates
MULTIPLES = (2, 4, 8)  # slots that fill the vector unit, at one width or another
TURNS = 5  # timed steps of each kind, after one that is not timed
BF16_GAIN = 0.9  # bf16 must take less than this fraction of fp32's time, to be worth its rounding
EXAMPLE = 64  # largest batch of a timed step on CPU
GAIN = 0.8  # stacked models must take less than this fraction of their time one after another
ALONE = 1.25  # a hop alone in a shared stacked model may take this many times its best time
SMALL_MS = (
    10.0  # on CPU, in a step beyond this, calls take little of the time, and stacking no gain
)
STEPS = 5  # steps after which models are compared
TOLERANCE = 1e-4  # largest difference between the logits of a stacked and a single model


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
            probe = _Probe(partial(build, width), recipe, in_shape, device)
            mode, fault = _tuned_precision(probe, precision, width, device)
            if fault:
                faults.setdefault(fault, []).append(width)
            if stack == "auto":
                mode, fault = probe.slots(mode, replicates)
                if fault:
                    faults.setdefault(f"trained one by one, for {fault}", []).append(width)
            modes[width] = mode
    for fault, those in faults.items():
        warn(f"width{'s' * (len(those) > 1)} {', '.join(map(str, those))}: {fault}")
    return modes


def _tuned_precision(
    probe: _Probe, precision: str, width: int, device: torch.device
) -> tuple[Mode, str]:
    """The mode of models that are not stacked; and why it is not bf16, if that is a fault."""
    mode = untuned_mode(precision, device)
    try:
        if mode.bf16:
            probe.step_in_bf16()
        elif precision == "auto":
            mode = replace(mode, bf16=probe.bf16_is_faster())
    except TasearchError:
        raise
    except Exception as error:  # a user's model, or torch, may not support bf16
        found = raised(error)
        if precision == "bf16":
            raise StudyError(
                f'training.precision: should be "fp32" or "auto" for the model of width '
                f'{width}, found "bf16": a step raised {found}'
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
        recipe=study.recipes("student").firsts()[0],
        in_shape=models.in_shape,
        device=device,
        threads=study.training.threads,
        replicates=study.search.replicates,
        warn=warn,
    )


class _Probe:
    """Steps on random inputs with models of one width.

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
        self._layout = input_format(build(0), in_shape, device)
        self._device = device
        self._batch = min(recipe.batch_size, EXAMPLE if device.type == "cpu" else recipe.batch_size)
        self._y = torch.zeros(recipe.batch_size, dtype=torch.int64, device=device)

        def net(seed: int) -> nn.Module:
            """A new model each time, because not all models can be copied."""
            made = build(seed).to(device)
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
        self._step(group, self._inputs([0], self._batch), True)

    def bf16_is_faster(self) -> bool:
        """Whether bf16 is faster than fp32 by enough to be worth its rounding."""
        times: dict[bool, list[float]] = {False: [], True: []}
        group, x = self._group([0], self._plain, stacked=False), self._inputs([0], self._batch)
        for turn in range(1 + TURNS):
            for bf16, found in times.items():
                found.append(self._timed(partial(self._step, group, x, bf16)))
                if turn == 1 and bf16 and found[-1] > 3 * times[False][-1]:  # no need to go on
                    return False
        best = {bf16: min(found[1:]) for bf16, found in times.items()}
        return best[True] < BF16_GAIN * best[False]

    def slots(self, mode: Mode, replicates: int) -> tuple[Mode, str]:
        """The mode with the fastest number of slots; and why models are not stacked, if that is a
        fault."""
        try:
            return self._fastest(mode, replicates), ""
        except CannotStack:  # that is no fault of the model
            return mode, ""
        except TasearchError:
            raise
        except Exception as error:  # a user's model may do anything with the axis of channels
            return mode, f"a stacked model raised {raised(error)}"

    def _fastest(self, mode: Mode, replicates: int) -> Mode:
        """The mode with the fastest number of slots in which models are the same as alone.

        Whether they are the same is tested last, because it takes longest.
        """
        agrees = cache(lambda: self._agrees(max(2, replicates)))
        stacked = cache(lambda slots: self._time(slots, mode.bf16))
        once = self._time(1, mode.bf16, stacked=False)
        if self._device.type == "cpu" and once > SMALL_MS / 1000:
            return mode
        best, least = mode, replicates * once  # seconds of one hop's step
        if replicates > 1:
            together = stacked(replicates)
            if together < GAIN * least and agrees():
                best, least = replace(mode, slots=replicates), together
        if self._device.type == "cpu" and mode.bf16:
            return best  # a difference in rounding may show only after many steps
        if stacked(2 * replicates) >= GAIN * 2 * least or not agrees():
            return best  # unused slots would only make it slower
        slots = next((n for n in MULTIPLES if self._exact(n, mode.bf16)), None)
        if slots is None:
            return best
        one, two = (stacked(rounded_up(n * replicates, slots)) for n in (1, 2))
        if one < ALONE * least and two < GAIN * 2 * least:
            best = replace(mode, slots=slots, shared=True)
        return best

    def _time(self, slots: int, bf16: bool, *, stacked: bool = True) -> float:
        """The time of the fastest step, in seconds; on CUDA as a graph, as in a training."""
        seeds = [*range(slots)]
        group = self._group(seeds, self._plain, stacked=stacked)
        x = self._inputs(seeds, self._batch)
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

    def _agrees(self, models: int) -> bool:
        """Whether stacked models end close to the same models alone, after some steps in fp32."""
        seeds = [*range(models)]
        together, _ = self._train(seeds, self._plain)
        alone = [self._train([seed], self._plain, stacked=False)[0] for seed in seeds]
        return torch.allclose(together, torch.stack(alone), rtol=TOLERANCE, atol=TOLERANCE)

    def _exact(self, slots: int, bf16: bool) -> bool:
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
        return arranged(x, self._layout)

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
