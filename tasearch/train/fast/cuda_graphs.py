"""Steps as CUDA graphs: recorded once for a kind of models, then launched whole for any of them.

A step of a small model is a hundred short operations, and a host that launches them one by one
takes several times as long as the device that executes them. A graph is launched at once. It reads
and writes the same memory each time, so models are copied into a live that stays where it is, and
what differs between epochs, teachers and recipes - orders, views, soft targets, temperatures, rates
- into tensors that do.
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

from tasearch.chains.recipe import Recipe
from tasearch.errors import raised
from tasearch.runs import heartbeat
from tasearch.train.batches import EpochPlan, TrainingJob
from tasearch.train.cuda import recorded
from tasearch.train.fast.norms import hooked
from tasearch.train.layout import input_format
from tasearch.train.optimizer import SCHEDULES, set_rates
from tasearch.train.state import Group, State, new_live_state
from tasearch.train.step import learn

TOGETHER = 8  # steps in a graph; a second one has the single step, for the rest of an epoch
KINDS = 32  # held at once


class Graphs:
    """Recorded steps, by the kind of models that they are for.

    Steps that cannot be recorded, such as those of a model that asks the device for a value, are
    made one by one in the same memory, with the same results.

    Args:
        device: to train on; on CPU nothing is recorded.
        warn: told why steps are not recorded, once a reason.
    """

    def __init__(self, device: torch.device, warn: Callable[[str], None]) -> None:
        self._device, self._warn = device, warn
        self._kinds: OrderedDict[Hashable, Steps] = OrderedDict()
        self._told: set[str] = set()

    def epoch(
        self, states: Sequence[State], jobs: Sequence[TrainingJob], epoch: int, *, stacked: bool
    ) -> Tensor:
        """One epoch of models who are one wide model, or of one alone.

        Args:
            states: of the models; they are brought up to date by `hand_back`.
            jobs: of each.
            epoch: from 0.
            stacked: whether they are a wide model.

        Returns:
            Mean loss of each model, (models,), or of the one alone, (); on the device.
        """
        recipes = [state.recipe for state in states]
        plan = EpochPlan(recipes, jobs, epoch, stacked=stacked, recorded=True)
        kind = plan.kind, jobs[0].width, jobs[0].bf16, stacked, _shared(recipes[0])
        steps = self._kinds.get(kind)
        if steps is None:
            with contextlib.suppress(torch.OutOfMemoryError):
                steps = self._made(states, jobs[0], plan, stacked=stacked)
            if steps is None:
                self.clear()
                steps = self._made(states, jobs[0], plan, stacked=stacked)
            self._kinds[kind] = steps
            while len(self._kinds) > KINDS:
                _, oldest = self._kinds.popitem(last=False)
                oldest.hand_back()
        self._kinds.move_to_end(kind)
        return steps.epoch(states, plan, epoch)

    def can_copy(self, net: nn.Module) -> bool:
        """Whether steps may change a copy of a model in its place; a hook may hold on to the model
        that it was made for."""
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
        """Give all models what has become of them."""
        for steps in self._kinds.values():
            steps.hand_back()

    def release(self) -> None:
        """Forget the models, wherever they were left."""
        for steps in self._kinds.values():
            steps.group = None

    def clear(self) -> None:
        """Give all models what has become of them, and the memory of all steps back."""
        self.hand_back()
        self._kinds.clear()

    def _made(
        self, states: Sequence[State], job: TrainingJob, first: EpochPlan, *, stacked: bool
    ) -> Steps:
        steps = Steps(states, job, first, stacked=stacked)
        if self._device.type != "cuda":
            return steps
        pools = (known.pool for known in self._kinds.values())
        try:  # all share the memory of one that lives, for a pool ends with its last graph
            steps.record(states, first, next((pool for pool in pools if pool), None))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a user's model or loss may do what no graph can
            self._tell(raised(error))
            return Steps(states, job, first, stacked=stacked)
        return steps

    def _tell(self, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            self._warn(
                f"steps are launched one operation at a time, several times slower: {reason}"
            )


class Steps:
    """The steps of one kind of models.

    Args:
        states: examples.
        job: of the first of them.
        first: an epoch of theirs.
        stacked: whether they are a wide model.

    Attributes:
        group: whose weights the live has now; None for nobody's.
    """

    def __init__(
        self, states: Sequence[State], job: TrainingJob, first: EpochPlan, *, stacked: bool
    ) -> None:
        device = job.y.device
        self.group: Group | None = None
        self._live, self._fused, self._bf16 = (
            new_live_state(states, stacked=stacked),
            stacked,
            job.bf16,
        )
        self._layout = input_format(self._live.net, job.views.shape, device)
        self._job = first.parted()
        self._step = torch.zeros(1, dtype=torch.int64, device=device)
        self._ahead = torch.arange(TOGETHER, device=device)
        self._rates, self._momenta, self._weights = torch.zeros(3, first.steps, device=device)
        self._moves = _moves(states[0].recipe)
        self._losses = torch.zeros(len(states) if stacked else (), device=device)
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def epoch(self, states: Sequence[State], job: EpochPlan, epoch: int) -> Tensor:
        """See `Graphs.epoch`."""
        if self.group is None or self.group.states != [*states]:
            self.hand_back()
            self.group = Group(states, stacked=self._fused, live=self._live)
        self._prepare(states[0].recipe, job, epoch)
        left = job.steps
        for count, graph in self._graphs.items():
            while left >= count:
                graph.replay()
                heartbeat.beat()
                left -= count
        for _ in heartbeat.each(range(left)):
            self._make(1)
        return self._losses / job.steps

    def hand_back(self) -> None:
        """Give its models what has become of them."""
        if self.group is not None:
            self.group.hand_back()

    @property
    def pool(self) -> tuple[int, int] | None:
        """Of the memory that its graphs have; None where it has none."""
        return next((graph.pool() for graph in self._graphs.values()), None)

    def record(self, states: Sequence[State], job: EpochPlan, pool: tuple[int, int] | None) -> None:
        """Have the steps launched at once from now on.

        Args:
            states: of models to try the steps with; they stay as they are.
            job: an epoch of theirs.
            pool: of other graphs, that these share, for they never run at the same time.

        Raises:
            Exception: whatever torch, or a user's code, raises where that cannot be.
        """
        self.group = Group(states, stacked=self._fused, live=self._live)
        device = self._step.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            for count in sorted({min(TOGETHER, job.steps), 1}, reverse=True):
                self._prepare(states[0].recipe, job, 0)
                again: Callable[[], None] = partial(self._again, count)
                self._graphs[count] = recorded(again, self.pool or pool)
        self.group = None

    def _again(self, count: int) -> None:
        """So many steps, and back to where they began if they are not recorded."""
        self._make(count)
        if not torch.cuda.is_current_stream_capturing():
            self._step -= count

    def _prepare(self, recipe: Recipe, job: EpochPlan, epoch: int) -> None:
        """Put an epoch into the tensors that steps read."""
        schedule, average = SCHEDULES[recipe.schedule], self._live.average
        steps = range(epoch * job.steps, (epoch + 1) * job.steps)
        planned = [schedule(step, recipe.epochs * job.steps, recipe) for step in steps]
        self._rates.copy_(torch.tensor([rate for rate, _ in planned]))
        if self._moves:
            self._momenta.copy_(torch.tensor([momentum for _, momentum in planned]))
        if average is not None:
            self._weights.copy_(torch.tensor([average.weight(step) for step in steps]))
        self._job.become(job)
        self._step.zero_()
        self._losses.zero_()
        self._live.net.train()

    def _make(self, count: int) -> None:
        """So many steps, from where the last ones ended."""
        assert self.group is not None
        steps = self._step + self._ahead[:count]
        planned = self._rates, self._momenta, self._weights
        rates, momenta, weights = (values.index_select(0, steps) for values in planned)
        for i, batch in enumerate(self._job.block(steps)):
            set_rates(self._live.optimizer, rates[i], momenta[i] if self._moves else None)
            value = learn(
                self.group,
                self._job,
                batch,
                steps[i : i + 1],
                bf16=self._bf16,
                layout=self._layout,
            )
            if self._live.average is not None:
                self._live.average.follow(weights[i])
            self._losses += value
        self._step += count


def _shared(recipe: Recipe) -> Recipe:
    """What a recording is for: all of a recipe that is no value in a tensor."""
    return replace(
        recipe,
        loss="",  # with the number of teachers it is in the kind of a job
        temperature=1.0,
        alpha=0.0,
        guidance="",
        teacher_dropout=0.0,
        learning_rate=0.0,
        schedule="one-cycle" if _moves(recipe) else "cosine",
        warmup=0.0,
        epochs=1,
    )


def _moves(recipe: Recipe) -> bool:
    """Whether its schedule moves the momentum as well."""
    return SCHEDULES[recipe.schedule](0, 1, recipe)[1] is not None
