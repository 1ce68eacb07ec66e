"""Training on fresh seeds: the same study with other seeds, and the run's own teacher, fixed.

The replicates of a confirmation come in blocks, one for each look. A block is a study like the
run's, whose seed and number of replicates are its own, and whose teacher is loaded. So its hops are
trained, shared, stored and continued after a kill as those of the search; they are kept in
confirm/, apart from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop
from tasearch.chains.keys import derived_seed
from tasearch.config.files import write_atomic
from tasearch.config.study import Study
from tasearch.config.values import MOST_SEED
from tasearch.data import Split
from tasearch.errors import RunError
from tasearch.models import Models, Standardized
from tasearch.models.tensors import as_tensor
from tasearch.models.wrappers import without_wrappers
from tasearch.runs.events import Event, LookStarted
from tasearch.runs.folder_check import CONFIRM
from tasearch.runs.quality import Quality
from tasearch.runs.records import training_flops
from tasearch.runs.store import Store, numbered, replicate
from tasearch.runs.trial_attributes import chain_of
from tasearch.runs.verdicts import Arm, LookPlan
from tasearch.search.executor import HopExecutor
from tasearch.search.prepare import Prepared
from tasearch.search.scheduler import begin_ready
from tasearch.search.trained_hops import executor_for, stored_hops
from tasearch.train.loop import predict
from tasearch.train.metrics import score_function
from tasearch.train.quality import measure_quality
from tasearch.train.snapshots import snapshot_name
from tasearch.train.workers.pool import Pool

TEACHER = "teacher.safetensors"


@dataclass(frozen=True, kw_only=True)
class Block:
    """The fresh replicates that one look adds.

    Args:
        prepared: The run, prepared.
        number: Number of the block, from 0.
        pairs: Number of its replicates.
        plan: The looks.
        pool: Workers that train; None to train in this process.
    """

    prepared: Prepared
    number: int
    pairs: int
    plan: LookPlan
    pool: Pool | None

    @cached_property
    def study(self) -> Study:
        """The run's study with the block's seed and number of replicates, and a fixed teacher."""
        own = self.prepared.manifest.study
        seed = derived_seed("confirm", own.seed, self.number) % (MOST_SEED + 1)
        search = own.search.model_copy(update={"replicates": self.pairs})
        changes = {"seed": seed, "search": search}
        if not own.teacher.loaded:
            fixed = {"checkpoint": str(fixed_teacher(self.prepared)), "inputs": "standardized"}
            changes["teacher"] = own.teacher.model_copy(update=fixed)
        return own.model_copy(update=changes)

    @cached_property
    def models(self) -> Models:
        """The models of the block's study."""
        return Models.for_study(self.study, self.prepared.data)

    @cached_property
    def hops(self) -> HopExecutor:
        """The hops of the block, and the engine that trains them."""
        own = self.study, self.models
        return executor_for(self.prepared, *own, under=CONFIRM, pool=self.pool)

    def chain(self, arm: Arm) -> Chain:
        """The chain of an arm, behind the block's teacher."""
        return chain_of({"chain": arm.chain, "recipe": arm.recipe}, self.models.teacher())

    def train(self, arms: Sequence[Arm]) -> Iterator[Event]:
        """Train all models of some chains that are not stored yet."""
        needed = list(dict.fromkeys(hop for arm in arms for hop in self.chain(arm).hops()))
        if any(hop.model.early for hop in needed):
            self._fix_early_teacher()
        self.hops.expect(needed)
        yield self._look(needed)
        while True:
            missing = [h for h in needed if not self.hops.has(h) and not self.hops.hopeless(h)]
            begin_ready(self.hops, (), missing)
            if not self.hops.busy:
                return
            yield from self.hops.wait()

    def _fix_early_teacher(self) -> None:
        """Store the earlier epochs of the run's teacher as those of the block's.

        Raises:
            RunError: One of them is missing.
        """
        archive, teacher = stored_hops(self.prepared), self.prepared.models.teacher()
        elsewhere = self.prepared.cluster is not None
        fresh = self.prepared.run.store(lambda damage: None, CONFIRM, elsewhere=elsewhere)
        whole = Hop(lineage=(teacher,))
        key = self.hops.key(Hop(lineage=(self.models.teacher(),)))
        record = archive.saved(whole)
        assert record is not None  # `fixed_teacher` has read it
        for rung in range(1, archive.snapshots.rungs(whole)):
            name = snapshot_name(key, rung)
            if fresh.record("snapshots", name) is not None:
                continue
            weights = archive.snapshots.load(archive.checkpoints(whole), 0, rung)
            if weights is None:
                raise RunError(
                    f"{self.prepared.run.path}: the weights of the teacher at rung {rung} are "
                    f"missing or damaged; `tasearch run` on the same study makes them again"
                )
            fresh.save("snapshots", name, numbered([weights] * self.pairs), record.until(rung - 1))

    def _look(self, needed: Sequence[Hop]) -> LookStarted:
        """The event that tells what the look trains; the teacher is loaded."""
        trained = [(hop, hop.model.recipe) for hop in needed if hop.model.recipe is not None]
        missing = [(hop, recipe) for hop, recipe in trained if not self.hops.has(hop)]
        return LookStarted(
            look=self.number + 1,
            pairs=self.plan.pairs[self.number :],
            new=self.pairs,
            stored=len(trained) - len(missing),
            hops=tuple((hop.model.width, recipe.epochs) for hop, recipe in missing),
        )

    def result(self, arm: Arm) -> Arm:
        """An arm with what it has reached in this block, after what it reached before."""
        hops = [*self.chain(arm).hops()]
        saved = self.hops.saved(hops[-1]) if self.hops.has(hops[-1]) else None
        found = saved.accuracies if saved is not None else (None,) * self.pairs
        return replace(
            arm,
            accuracies=arm.accuracies + found,
            flops=arm.flops + sum(map(self._flops, hops)),
            errors=arm.errors + (saved.errors if saved is not None else ()),
        )

    def faults(self, arm: Arm) -> list[str]:
        """Why an arm has reached nothing in this block; empty if it was trained."""
        reasons = map(self.hops.reason, self.chain(arm).hops())
        return [reason for reason in reasons if reason is not None]

    def teacher_logits(self, test: Split) -> Tensor | None:
        """The teacher's logits on the held-out test set, float (samples, classes).

        None for a teacher of which there are only outputs, and none on this set.
        """
        if self.study.teacher.outputs is not None:
            return None if test.teacher is None else torch.tensor(test.teacher)
        return self._logits(self.models.build(self.study.teacher.width), test)

    def qualities(
        self, arm: Arm, test: Split, teacher: Tensor | None
    ) -> tuple[Quality | None, ...]:
        """An arm's quality on the held-out test set, replicate by replicate.

        Args:
            arm: The arm.
            test: The held-out test set.
            teacher: The teacher's logits on it, float (samples, classes); None if unknown.
        """
        hop = self.chain(arm).hop()
        saved = self._store.load("hops", self.hops.key(hop)) if self.hops.has(hop) else None
        if saved is None:
            return (None,) * self.pairs
        score = score_function(self.study.objective.metric, self.study.root)
        labels, found = torch.tensor(test.y), []
        for i in range(self.pairs):
            net = self.models.build(hop.model.width)
            net.load_state_dict(replicate(saved[0], i))
            found.append(measure_quality(self._logits(net, test), labels, teacher, score))
        return tuple(found)

    def _logits(self, net: nn.Module, test: Split) -> Tensor:
        """Logits of a model of standardized samples, float (samples, classes)."""
        data = self.prepared.data
        module = Standardized(net, as_tensor(data.mean), as_tensor(data.std))
        return predict(module, as_tensor(test.x))

    @property
    def _store(self) -> Store:
        elsewhere = self.prepared.cluster is not None
        return self.prepared.run.store(under=CONFIRM, elsewhere=elsewhere)

    def _flops(self, hop: Hop) -> float:
        recipe, manifest = hop.model.recipe, self.prepared.manifest
        if recipe is None:
            return 0.0
        samples = manifest.samples * self.pairs
        return training_flops(hop.model.width, recipe.epochs, samples, manifest.measured)


def fixed_teacher(prepared: Prepared) -> Path:
    """The path of the weights of the run's teacher, of its first replicate; written if needed.

    Raises:
        RunError: The run has not trained its teacher.
    """
    from safetensors.torch import save

    file = prepared.run.path.resolve() / CONFIRM / TEACHER
    archive = stored_hops(prepared)
    key = archive.key(Hop(lineage=(prepared.models.teacher(),)))
    saved = archive.store.load("hops", key)
    if saved is None:
        raise RunError(
            f"{prepared.run.path}: the teacher is not trained yet, or its file is "
            f"damaged; `tasearch run` on the same study trains it"
        )
    net = prepared.models.build(prepared.manifest.study.teacher.width)
    net.load_state_dict(replicate(saved[0], 0))
    net = without_wrappers(net)  # a checkpoint has the names of the user's own model
    blob = save({name: t.contiguous() for name, t in net.state_dict().items()})
    if not file.is_file() or file.read_bytes() != blob:
        write_atomic(file, blob)
        prepared.run.publish()  # workers on other machines read it
    return file
