"""Chains of any recipes, trained by the real trainer: each hop once, and stored."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import common
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.mode import Mode
from tasearch.chains.recipe import LABELS_ONLY, Recipe
from tasearch.config.study import Study
from tasearch.config.study_file import load_study
from tasearch.data import load_data
from tasearch.models import Models
from tasearch.runs.events import HopEnded
from tasearch.runs.store import Store
from tasearch.train.tasks import Task, train_hops
from tasearch.train.trainer import Trainer

STACKED = Mode.parse("fp32 x4+")  # of several hops
ALONE = Mode.parse("fp32")
STACKED_UP_TO = 32  # width; wider models gain nothing from a stack
TOGETHER = 8  # most hops in one stack

Chain = tuple[ModelSpec, ...]  # a model, and before it all that its weights depend on


@dataclass(frozen=True, kw_only=True)
class Source:
    """A study file whose data, models and training are used.

    Args:
        file: The file, relative to the repository.
        data: Folder of the data in the shared folder; None for data without files.
    """

    file: str
    data: str | None = None

    def study(self, *, seed: int, replicates: int, **training: Any) -> Study:
        """The study, with a seed and a number of replicates; only the last epoch is a rung."""
        study = load_study(common.ROOT / self.file)
        search = study.search.model_copy(update={"replicates": replicates, "rungs": 1})
        own = study.training.model_copy(update=training)
        changes: dict[str, Any] = {"seed": seed, "search": search, "training": own}
        if self.data is not None:
            path = str((common.ROOT / "../shared/data" / self.data).resolve())
            changes["data"] = study.data.model_copy(update={"path": path})
        return study.model_copy(update=changes)


class TrainedChains:
    """The trainings of a study's models by any recipes.

    Args:
        study: The study.
        folder: Folder of the trained hops: the same trainings go on from there.
        widths: Widths of all models.
    """

    def __init__(self, study: Study, folder: Path, widths: Iterable[int]) -> None:
        self.study = study
        data = load_data(study)
        most = 0 if study.model.sizes else STACKED_UP_TO  # sizes with a name are large
        self.samples = {"train": len(data.train), "validation": len(data.validation)}
        self._trainer = Trainer(
            study=study,
            models=Models.for_study(study, data),
            data=data,
            store=Store(folder),
            device=torch.device("cpu"),
            modes={w: STACKED if w <= most else ALONE for w in widths},
        )

    def recipe(self, **changes: Any) -> Recipe:
        """The first recipe of the study's students, with changes."""
        first, *_ = self.study.recipes("student").one_per_loss()
        return replace(first, **changes)

    def teacher(self, width: int | None = None) -> Chain:
        """A teacher, trained from labels as the study trains its own.

        Args:
            width: Its width; None for that of the study.
        """
        recipe = self.study.teacher_recipe()
        assert recipe is not None, "the teacher is loaded"
        return (ModelSpec(width=width or self.study.teacher.width, recipe=recipe),)

    def after(self, chain: Chain, width: int, **changes: Any) -> Chain:
        """A chain with one more model, or that model alone where it learns from labels.

        Args:
            chain: Its ancestors.
            width: Its width.
            **changes: What its recipe has in place of the study's first.
        """
        recipe = self.recipe(**changes)
        own = ModelSpec(width=width, recipe=recipe)
        return (own,) if recipe.loss == LABELS_ONLY else (*chain, own)

    def accuracies(self, chain: Chain) -> tuple[float, ...]:
        """Validation accuracy of a chain's last model in each replicate, in percent.

        Args:
            chain: A chain that `train` has trained.
        """
        hop = Hop(lineage=chain)
        record = self._trainer.store.record("hops", self._trainer.key(hop))
        assert record is not None, f"{hop.label} is not trained"
        return tuple(100 * value for value in record.accuracies)

    def train(self, chains: Iterable[Chain]) -> None:
        """Train all models of some chains that are not trained yet, ancestors first."""
        hops = {
            hop.canonical_lineage: hop
            for chain in chains
            for hop in (Hop(lineage=chain[:end]) for end in range(1, len(chain) + 1))
        }
        ordered = sorted(hops.values(), key=lambda hop: len(hop.lineage))
        for _, level in itertools.groupby(ordered, key=lambda hop: len(hop.lineage)):
            missing = [h for h in level if not self._trainer.store.has(self._trainer.key(h))]
            for group in self._groups(missing):
                self._train(group)

    def _groups(self, hops: Sequence[Hop]) -> Iterator[list[Hop]]:
        """Hops that are trained as one stacked model."""
        groups: dict[object, list[Hop]] = {}
        for hop in hops:
            groups.setdefault(self._trainer.stacking_key(hop) or hop, []).append(hop)
        for own in groups.values():
            yield from (own[start : start + TOGETHER] for start in range(0, len(own), TOGETHER))

    def _train(self, hops: Sequence[Hop]) -> None:
        tasks = [Task(key=self._trainer.key(hop), hop=hop) for hop in hops]
        for event in train_hops(self._trainer, tasks):
            if isinstance(event, HopEnded):
                assert event.outcome == "complete", event.reason
        for hop in hops:
            values = self.accuracies(hop.lineage)
            assert hop.model.recipe is not None
            print(f"{hop.label}, {hop.model.recipe.words}, {hop.model.recipe.epochs} epochs:")
            print(" ", " ".join(f"{value:.1f}" for value in values), flush=True)
