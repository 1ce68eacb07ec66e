"""Optimizer steps as CUDA graphs: recorded once for a kind of models, then replayed for others.

A step of a small model is a hundred short operations. A host that launches them one by one takes
several times as long as the device that executes them; a graph is launched by one call. It reads
and writes the same memory each time. So models are copied to a live state which never moves, and
everything that differs between epochs, teachers and recipes - the order of samples, augmentation,
soft targets, temperatures, learning rates - is copied to tensors that never move.
"""

from __future__ import annotations

import contextlib
import copy
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from tasearch.chains.recipe import RANDOM, TRAINED, Recipe
from tasearch.errors import raised
from tasearch.runs import heartbeat
from tasearch.train.batches import TrainingJob
from tasearch.train.cuda import recorded
from tasearch.train.fast.group import Group, new_live_state
from tasearch.train.fast.norms import hooked
from tasearch.train.fast.stacked_batches import StackedPlan
from tasearch.train.layout import input_format
from tasearch.train.optimizer import set_rates
from tasearch.train.schedules import SCHEDULES
from tasearch.train.state import State

GRAPH_STEPS = 8  # steps of the larger graph; a second graph of one step does the rest of an epoch
MAX_KINDS = 32  # kinds of models whose graphs are kept at once


class Graphs:
    """Recorded steps, by the kind of models that they are for.

    Steps that cannot be recorded, such as those of a model which reads a value from the device,
    are launched operation by operation in the same memory, with the same results.

    Args:
        device: The device to train on; on CPU nothing is recorded.
        warn: Function that receives a message when steps cannot be recorded, once for each reason.
    """

    def __init__(self, device: torch.device, warn: Callable[[str], None]) -> None:
        self._device, self._warn = device, warn
        self._kinds: OrderedDict[Hashable, Steps] = OrderedDict()
        self._warned: set[str] = set()

    def epoch(
        self, states: Sequence[State], jobs: Sequence[TrainingJob], epoch: int, *, stacked: bool
    ) -> Tensor:
        """Train models for one epoch.

        Args:
            states: The models; `hand_back` brings them up to date.
            jobs: What each model learns from.
            epoch: Number of the epoch, from 0.
            stacked: Whether they train as one stacked model; otherwise there is one model.

        Returns:
            Mean loss of each model, (models,); () where they are not stacked; on the device.
        """
        recipes = [state.recipe for state in states]
        plan = StackedPlan(recipes, jobs, epoch, stacked=stacked, recorded=True)
        kind = plan.kind, jobs[0].width, jobs[0].bf16, stacked, _recorded_recipe(recipes[0])
        steps = self._kinds.get(kind)
        if steps is None:
            with contextlib.suppress(torch.OutOfMemoryError):
                steps = self._make(states, jobs[0], plan, stacked=stacked)
            if steps is None:
                self.clear()
                steps = self._make(states, jobs[0], plan, stacked=stacked)
            self._kinds[kind] = steps
            while len(self._kinds) > MAX_KINDS:
                _, oldest = self._kinds.popitem(last=False)
                oldest.hand_back()
        self._kinds.move_to_end(kind)
        return steps.epoch(states, plan, epoch)

    def can_copy(self, net: nn.Module) -> bool:
        """Whether steps may change a copy of a model; a hook may refer to the original."""
        if any(map(hooked, net.modules())):
            self._tell("the model has hooks")
            return False
        try:
            copy.deepcopy(net)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a user's model may raise anything
            self._tell(f"copying the model raised {raised(error)}")
            return False
        return True

    def hand_back(self) -> None:
        """Bring the states of all models up to date."""
        for steps in self._kinds.values():
            steps.hand_back()

    def release(self) -> None:
        """Forget the models; their states stay as they are."""
        for steps in self._kinds.values():
            steps.group = None

    def clear(self) -> None:
        """Bring the states of all models up to date, and free the memory of all steps."""
        self.hand_back()
        self._kinds.clear()

    def _make(
        self, states: Sequence[State], job: TrainingJob, plan: StackedPlan, *, stacked: bool
    ) -> Steps:
        """Steps for a new kind of models, recorded if that is possible."""
        steps = Steps(states, job, plan, stacked=stacked)
        if self._device.type != "cuda":
            return steps
        pools = (known.pool for known in self._kinds.values())
        try:  # all graphs share the pool of one that exists: a pool ends with its last graph
            steps.record(states, plan, next((pool for pool in pools if pool), None))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a user's model or loss may do what no graph can
            self._tell(raised(error))
            return Steps(states, job, plan, stacked=stacked)
        return steps

    def _tell(self, reason: str) -> None:
        if reason not in self._warned:
            self._warned.add(reason)
            self._warn(
                f"steps are launched one operation at a time, several times slower: {reason}"
            )


class Steps:
    """The steps of one kind of models, in memory that never moves.

    Args:
        states: Models of the kind.
        job: What the first of them learns from.
        plan: An epoch of these models.
        stacked: Whether they are a stacked model; otherwise there is one model.

    Attributes:
        group: The models whose weights the live state has; None where it belongs to no model.
    """

    def __init__(
        self, states: Sequence[State], job: TrainingJob, plan: StackedPlan, *, stacked: bool
    ) -> None:
        device = job.y.device
        self.group: Group | None = None
        self._stacked, self._bf16 = stacked, job.bf16
        self._live = new_live_state(states, stacked=stacked)
        self._layout = input_format(self._live.net, job.views.shape, device)
        self._plan = plan.with_own_tensors()
        self._step = torch.zeros(1, dtype=torch.int64, device=device)  # the next of the epoch
        self._offsets = torch.arange(GRAPH_STEPS, device=device)
        self._rates, self._momenta, self._weights = torch.zeros(3, plan.steps, device=device)
        self._moves_momentum = _moves_momentum(states[0].recipe)
        self._losses = torch.zeros(len(states) if stacked else (), device=device)  # summed
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}  # by number of steps, largest first

    def epoch(self, states: Sequence[State], plan: StackedPlan, epoch: int) -> Tensor:
        """Train models for one epoch; see `Graphs.epoch`."""
        if self.group is None or self.group.states != [*states]:
            self.hand_back()
            self.group = Group(states, stacked=self._stacked, live=self._live)
        self._prepare(states[0].recipe, plan, epoch)
        left = plan.steps
        for count, graph in self._graphs.items():
            while left >= count:
                graph.replay()
                heartbeat.beat()
                left -= count
        for _ in heartbeat.each(range(left)):
            self._launch(1)
        return self._losses / plan.steps

    def hand_back(self) -> None:
        """Bring the states of the models up to date."""
        if self.group is not None:
            self.group.hand_back()

    @property
    def pool(self) -> tuple[int, int] | None:
        """The memory pool of the graphs; None where nothing is recorded."""
        return next((graph.pool() for graph in self._graphs.values()), None)

    def record(
        self, states: Sequence[State], plan: StackedPlan, pool: tuple[int, int] | None
    ) -> None:
        """Record the steps; from now on `epoch` replays them.

        Args:
            states: Models to try the steps with; they stay as they are.
            plan: An epoch of these models.
            pool: Memory pool of other graphs, which never run at the same time; None for a new one.

        Raises:
            Exception: Whatever torch, or a user's code, raises where steps cannot be recorded.
        """
        self.group = Group(states, stacked=self._stacked, live=self._live)
        device = self._step.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            for count in sorted({min(GRAPH_STEPS, plan.steps), 1}, reverse=True):
                self._prepare(states[0].recipe, plan, 0)
                work: Callable[[], None] = partial(self._launch_again, count)
                self._graphs[count] = recorded(work, self.pool or pool)
        self.group = None

    def _launch_again(self, count: int) -> None:
        """Launch some steps; unless they are being recorded, go back to where they began."""
        self._launch(count)
        if not torch.cuda.is_current_stream_capturing():
            self._step -= count

    def _prepare(self, recipe: Recipe, plan: StackedPlan, epoch: int) -> None:
        """Copy an epoch to the tensors that the steps read."""
        schedule, average = SCHEDULES[recipe.schedule], self._live.average
        steps = range(epoch * plan.steps, (epoch + 1) * plan.steps)
        rates = [schedule(step, recipe.epochs * plan.steps, recipe) for step in steps]
        self._rates.copy_(torch.tensor([rate for rate, _ in rates]))
        if self._moves_momentum:
            self._momenta.copy_(torch.tensor([momentum for _, momentum in rates]))
        if average is not None:
            self._weights.copy_(torch.tensor([average.weight(step) for step in steps]))
        self._plan.copy_from(plan)
        self._step.zero_()
        self._losses.zero_()
        self._live.net.train()

    def _launch(self, count: int) -> None:
        """Launch the operations of the next steps of the epoch."""
        assert self.group is not None
        steps = self._step + self._offsets[:count]
        planned = self._rates, self._momenta, self._weights
        rates, momenta, weights = (values.index_select(0, steps) for values in planned)
        for i, batch in enumerate(self._plan.batches_at(steps)):
            momentum = momenta[i] if self._moves_momentum else None
            set_rates(self._live.optimizer, rates[i], momentum)
            losses = self.group.step(
                self._plan, batch, steps[i : i + 1], bf16=self._bf16, layout=self._layout
            )
            if self._live.average is not None:
                self._live.average.follow(weights[i])
            self._losses += losses
        self._step += count


def _recorded_recipe(recipe: Recipe) -> Recipe:
    """What a recording depends on: a recipe without the values that are kept in tensors."""
    return replace(
        recipe,
        loss="",  # it is part of a plan's kind, with the number of ancestors
        temperature=1.0,
        alpha=0.0,
        guidance="",
        teacher_dropout=0.0,
        teacher_epoch=TRAINED,
        start=RANDOM,
        hidden_weight=1.0,
        learning_rate=0.0,
        schedule="one-cycle" if _moves_momentum(recipe) else "cosine",
        warmup=0.0,
        epochs=1,
    )


def _moves_momentum(recipe: Recipe) -> bool:
    """Whether the schedule changes the momentum too."""
    return SCHEDULES[recipe.schedule](0, 1, recipe)[1] is not None
