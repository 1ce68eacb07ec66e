"""The hops that are stored in a run: their keys, their records, and how they may be trained.

This needs no torch and no data, so that a process whose workers train holds neither.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tasearch.chains.hop import Hop, Setting
from tasearch.chains.mode import Mode
from tasearch.chains.recipe import LABELS_ONLY, RANDOM, TRAINED
from tasearch.config import plugins
from tasearch.config.study import Study
from tasearch.runs.store import HopRecord, Store
from tasearch.train.snapshots import Snapshots

TRAINER_VERSION = 9  # raise it with every change that alters weights
TRANSFORMER = "transformer"  # the family


class HopArchive:
    """The stored hops of a study.

    Args:
        study: The study.
        data: Fingerprint of the data.
        family: Identity of the model family.
        device: Kind of the device that trains: "cpu" or "cuda".
        modes: How models are trained, by width.
        store: Where hops and checkpoints are stored.
        unlabelled: Digest of the samples without labels; empty if there are none.

    Attributes:
        replicates: Numbers of the replicates of each hop.
        loss_names: Names of the losses that the study may use.
        setting: Everything besides its lineage that decides a hop's weights.
        snapshots: The weights of hops at their rungs.
    """

    def __init__(
        self,
        *,
        study: Study,
        data: str,
        family: str,
        device: str,
        modes: Mapping[int, Mode],
        store: Store,
        unlabelled: str = "",
    ) -> None:
        self.study, self.store, self.modes = study, store, dict(modes)
        self.snapshots = Snapshots(study, store)
        self.replicates = range(study.search.replicates)
        self.loss_names = sorted({*study.assistants.loss, *study.student.loss, LABELS_ONLY})
        own = [name for name in self.loss_names if ":" in name]
        self.setting = Setting(
            data=data,
            family=_family(family, device, self.modes),
            losses=tuple((name, plugins.identity(name, study.root)) for name in own),
            seed=study.seed,
            replicates=len(self.replicates),
            threads=study.training.threads,
            trainer=TRAINER_VERSION,
            device=device,
            augment=_augmentation(study),
            modes=tuple(sorted(self.modes.items())),
            rungs=study.search.rungs,
            sizes=tuple(study.model.identities.items()),
            unlabelled=unlabelled and f"{unlabelled} {study.training.unlabelled_share:g}",
            class_weights=study.training.class_weights,
            teacher=study.training.teacher,
        )

    def key(self, hop: Hop) -> str:
        """The key of a hop, which is the name of its file."""
        return hop.key(self.setting)

    def mode(self, hop: Hop) -> Mode:
        """The mode in which a hop's models are trained; the plainest for a loaded teacher."""
        if hop.model.recipe is None:
            return Mode(bf16=False, slots=None, shared=False)
        return self.modes[hop.model.width]

    def stacking_key(self, hop: Hop) -> Hashable:
        """A value that is equal for hops which may be trained as one stacked model.

        Teachers and their epochs, weights at the start, losses, temperatures, weights of the
        losses' terms, and guidance may differ.

        Returns:
            The value; None for a hop that is never stacked with others, such as one that learns
            from hidden layers.
        """
        recipe = hop.model.recipe
        if recipe is None or recipe.hidden_parts or not self.mode(hop).shared:
            return None
        key = self.key(hop)
        checkpoint = self.store.record("checkpoints", key)
        usable = checkpoint is not None and self.snapshots.whole(hop, key, checkpoint.epochs)
        neutral = replace(
            recipe,
            loss="",
            temperature=1.0,
            alpha=0.0,
            guidance="",
            teacher_dropout=0.0,
            teacher_epoch=TRAINED,
            start=RANDOM,
            hidden_weight=1.0,
        )
        batches = recipe.distilled and bool(self.setting.unlabelled)  # they have other samples
        epoch = checkpoint.epoch if checkpoint and usable else 0
        return hop.model.width, neutral, batches, epoch

    def separable(self, hop: Hop) -> Sequence[int]:
        """Numbers of the replicates that several workers may divide among themselves.

        There are none for a loaded teacher, and none where the replicates are a stacked model.
        """
        alone = hop.model.recipe is not None and self.mode(hop).slots is None
        return self.replicates if alone else ()

    def finished(self, hop: Hop) -> bool:
        """Whether a hop is finished, and its file undamaged; with all snapshots, if it has any."""
        record = self.store.record("hops", self.key(hop))
        if record is None:
            return False
        if not all(self.snapshots.whole(hop, n, record.epochs) for n in self.checkpoints(hop)):
            return False
        self.drop_checkpoints(hop)  # a kill may have come before they were dropped
        return True

    def keep_rungs(self, hop: Hop) -> None:
        """Count a hop as finished only with the weights that it had at each rung."""
        self.snapshots.keep(hop)

    def saved(self, hop: Hop) -> HopRecord | None:
        """The record of a hop, finished or not; None where nothing is stored."""
        finished = self.store.record("hops", self.key(hop))
        if finished is not None:
            return finished
        found = [self.store.record("checkpoints", name) for name in self.checkpoints(hop)]
        records = [record for record in found if record is not None]
        if len(records) < len(found):
            return None
        least = min(records, key=lambda record: record.epoch)
        curves = (curve[: len(least.epochs)] for record in records for curve in record.curves)
        return replace(least, curves=tuple(curves))

    def uses_user_code(self, hop: Hop) -> bool:
        """Whether a user's own code takes part in the training of a hop."""
        recipe = hop.model.recipe
        own = ":" in self.setting.family or (hop.model.origin and self.study.teacher.own_factories)
        training = self.study.training
        drawn = training.teacher == "online" and ":" in training.augment  # its views, in training
        loss = recipe is not None and ":" in recipe.loss
        return bool(own or drawn or loss or ":" in self.study.objective.metric)

    def new_record(
        self, hop: Hop, *, epoch: int, epochs: Sequence[int], curves: Sequence[Sequence[float]]
    ) -> HopRecord:
        """A record of a hop, to be stored.

        Args:
            hop: The hop.
            epoch: Number of epochs done.
            epochs: Epochs of the rungs.
            curves: Validation score at the rungs, a curve for each replicate.
        """
        recipes: list[dict[str, Any] | None] = [
            None if model.recipe is None else model.recipe.content() for model in hop.lineage
        ]
        return HopRecord(
            widths=tuple(model.width for model in hop.lineage),
            recipes=tuple(recipes),
            mode=self.mode(hop),
            epoch=epoch,
            epochs=tuple(epochs),
            curves=tuple(map(tuple, curves)),
        )

    def checkpoints(self, hop: Hop) -> dict[str, Sequence[int]]:
        """Names of an unfinished hop's checkpoints, with the numbers of the replicates in each."""
        key = self.key(hop)
        if self.separable(hop):
            return {f"{key}-{i}": (i,) for i in self.replicates}
        return {key: self.replicates}

    def drop_checkpoints(self, hop: Hop) -> None:
        """Delete the checkpoints of a hop."""
        for name in self.checkpoints(hop):
            self.store.drop("checkpoints", name)


def _family(name: str, device: str, modes: Mapping[int, Mode]) -> str:
    """A family as keys have it.

    Transformers in bf16 on CPU once attended in bfloat16, and now do in float32: these alone have
    other keys than before.
    """
    changed = name == TRANSFORMER and device == "cpu" and any(m.bf16 for m in modes.values())
    return f"{name}, attention in fp32" if changed else name


def _augmentation(study: Study) -> str:
    """The name of the augmentation; of the user's own, with all that its views depend on."""
    training, own = study.training, plugins.identity(study.training.augment, study.root)
    mixed = "" if training.mixup is None else f" mixed by {training.mixup:g}"
    if training.views is None:
        anew = " drawn anew" if mixed or ":" in training.augment else ""
        return f"{own}{anew}{mixed}"
    return f"{own} {training.views} views of seed {study.data.split_seed}{mixed}"
