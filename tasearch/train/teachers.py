"""The models of stored hops, and what they teach in each epoch of another model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, cached_property, lru_cache, partial
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from tasearch.chains.hop import Hop
from tasearch.chains.recipe import Recipe
from tasearch.chains.rungs import teaching_rung
from tasearch.errors import TrainingError
from tasearch.models import Models
from tasearch.models.hidden import hidden_sizes
from tasearch.models.start import start_from
from tasearch.runs.store import HopRecord, replicate
from tasearch.train.archive import HopArchive
from tasearch.train.hidden import HiddenLoss
from tasearch.train.online import OnlineTeachers
from tasearch.train.snapshots import snapshot_name
from tasearch.train.soft_targets import Targets, stacked


class _Nets(list[nn.Module]):
    """Models of one hop, one for each replicate: a list of which there are weak references."""


class Teachers:
    """The models of stored hops, trained or as they were at a rung, and their soft targets.

    Args:
        archive: The stored hops.
        models: The study's models.
        targets: Soft targets by hop and phase of the augmentation.
        placed: Function that moves a model to the device.
        given: The logits of a loaded teacher of which there are only these, on the device, float16
            (samples, classes); None where its model is there.
    """

    def __init__(
        self,
        archive: HopArchive,
        models: Models,
        targets: Targets,
        placed: Callable[[nn.Module], nn.Module],
        given: Tensor | None = None,
    ) -> None:
        self._archive, self._models = archive, models
        self._targets, self._placed, self._given = targets, placed, given
        self._in_use = WeakValueDictionary[tuple[str, int | None], _Nets]()

    def nets(self, hop: Hop, rung: int | None = None) -> list[nn.Module]:
        """The models of a stored hop, one for each replicate, on CPU and in eval mode.

        They take standardized samples.

        Args:
            hop: The hop.
            rung: The rung whose weights they have, from 1; None for the trained models.

        Raises:
            TrainingError: There is no snapshot of the rung.
        """
        archive, width = self._archive, hop.model.width
        if rung is not None:
            found = [self._snapshot(hop, i, rung) for i in archive.replicates]
            return [_with_weights(self._trainable.build(width), own) for own in found]
        saved = archive.store.load("hops", archive.key(hop))
        assert saved is not None, f"hop {hop.label} is not stored"
        if hop.model.recipe is None:  # all replicates are the same net, which is only read
            return [self.loaded(hop)] * len(archive.replicates)
        found = [replicate(saved[0], i) for i in archive.replicates]
        return [_with_weights(self._models.build(width), own) for own in found]

    def start(self, net: nn.Module, hop: Hop, number: int) -> None:
        """Give a new model of a hop weights of the model before, as that is when it is trained.

        Args:
            net: The model, on the CPU; changed in place.
            hop: Its hop, whose ancestors are stored.
            number: Number of its replicate.

        Raises:
            ModelError: The model before does not fit.
        """
        assert hop.ancestor is not None
        before = hop.ancestor
        if before.model.recipe is None:
            start_from(net, self.loaded(before))
            return
        saved = self._archive.store.load("hops", self._archive.key(before))
        assert saved is not None, f"hop {before.label} is not stored"
        built = self._models.build(before.model.width)
        start_from(net, _with_weights(built, replicate(saved[0], number)))

    def loaded(self, hop: Hop) -> nn.Module:
        """The net of a loaded teacher.

        Raises:
            TrainingError: If its weights are not the ones that the run began with.
        """
        net, origin = self._models.build(hop.model.width), hop.model.origin
        if origin is not None and self._models.teacher().origin != origin:
            names = " and ".join(repr(one.factory) for one in self._archive.study.teacher.models)
            raise TrainingError(
                f"teacher.factory: {names} should make the same weights in every "
                f"process, made others than when the run began"
            )
        return net

    def soft_targets(self, hop: Hop) -> Callable[[int], Sequence[Tensor | OnlineTeachers]]:
        """A function from the number of an epoch to the teachers' logits for each replicate.

        The teachers' models are built only if their logits are neither in memory nor stored; online
        teachers are returned themselves.

        Args:
            hop: The hop that learns from them.
        """
        recipe = hop.model.recipe
        assert recipe is not None
        if self._archive.study.training.teacher == "online":
            return self._online(hop, recipe)
        each = [self._logits(teacher, recipe) for teacher in hop.teachers]

        def targets(epoch: int) -> list[Tensor]:
            found = [logits(epoch) for logits in each]
            return [stacked(parts) for parts in zip(*found, strict=True)]

        return targets

    def _online(self, hop: Hop, recipe: Recipe) -> Callable[[int], list[OnlineTeachers]]:
        """A function from the number of an epoch to the teachers of each replicate."""
        each = [self._nets_of_epochs(teacher, recipe) for teacher in hop.teachers]

        def teachers(epoch: int) -> list[OnlineTeachers]:
            found = [nets(epoch) for nets in each]
            return [OnlineTeachers(parts) for parts in zip(*found, strict=True)]

        return teachers

    def hidden(self, hop: Hop) -> Callable[[int], Sequence[nn.Module]]:
        """A function from the number of an epoch to the models whose hidden layers a hop's models
        learn from: those of the model before, one for each replicate, on the device."""
        recipe = hop.model.recipe
        assert recipe is not None and hop.ancestor is not None
        return self._nets_of_epochs(hop.ancestor, recipe)

    def hidden_loss(self, net: nn.Module, hop: Hop, seed: int) -> HiddenLoss | None:
        """The loss of a model on hidden layers of the model before; None for logits alone.

        Args:
            net: The model.
            hop: Its hop.
            seed: Seed of the projections.
        """
        recipe = hop.model.recipe
        assert recipe is not None
        if not recipe.hidden_parts or hop.ancestor is None:
            return None
        teacher = hidden_sizes(self._models.build(hop.ancestor.model.width))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            loss = HiddenLoss(recipe.hidden_parts, hidden_sizes(net), teacher)
        self._placed(loss)
        return loss

    def _nets_of_epochs(self, teacher: Hop, recipe: Recipe) -> Callable[[int], Sequence[nn.Module]]:
        """A function from the number of an epoch to a hop's models, as they then teach."""
        nets, rungs = self._nets_on_device(teacher), self._archive.snapshots.rungs(teacher)

        def found(epoch: int) -> Sequence[nn.Module]:
            rung = teaching_rung(recipe, epoch, rungs)
            return nets(None if rung == rungs else rung)

        return found

    def _nets_on_device(self, teacher: Hop) -> Callable[[int | None], Sequence[nn.Module]]:
        """A function from a rung, or None, to the models that a teacher had there, one for each
        replicate; hops that train together share them."""
        key = self._archive.key(teacher)

        @lru_cache(maxsize=1)  # a progressive teacher never goes back
        def nets(rung: int | None) -> Sequence[nn.Module]:
            found = self._in_use.get((key, rung))
            if found is None:
                found = _Nets(map(self._placed, self.nets(teacher, rung)))
                self._in_use[key, rung] = found
            return found

        return nets

    def _logits(self, teacher: Hop, recipe: Recipe) -> Callable[[int], list[Tensor]]:
        """A function from the number of an epoch to one teacher's logits for each replicate."""
        if self._given is not None and teacher.model.recipe is None:
            given = [self._given] * len(self._archive.replicates)
            return lambda epoch: given
        key, rungs = self._archive.key(teacher), self._archive.snapshots.rungs(teacher)
        record = cache(lambda: self._record(teacher))

        nets = self._nets_on_device(teacher)

        def logits(epoch: int) -> list[Tensor]:
            rung = teaching_rung(recipe, epoch, rungs)
            if rung == rungs:
                return self._targets.get(key, epoch, partial(nets, None), record)
            name = snapshot_name(key, rung)
            return self._targets.get(name, epoch, partial(nets, rung), record)

        return logits

    def _record(self, hop: Hop) -> HopRecord:
        record = self._archive.saved(hop)
        assert record is not None, f"ancestor {hop.label} is not stored"
        return record

    def _snapshot(self, hop: Hop, number: int, rung: int) -> dict[str, Tensor]:
        """The weights of one replicate at a rung."""
        found = self._archive.snapshots.load(self._archive.checkpoints(hop), number, rung)
        if found is not None:
            return found
        raise TrainingError(
            f"the weights of {hop.label} at rung {rung} are missing; "
            f"`tasearch run` on the same study makes them again"
        )

    @cached_property
    def _trainable(self) -> Models:
        """The models, of which the teacher is not loaded: a snapshot has its own weights."""
        study = self._models.study
        if not study.teacher.loaded:
            return self._models
        own = study.teacher.model_copy(update={"checkpoint": None})
        return replace(self._models, study=study.model_copy(update={"teacher": own}))


def _with_weights(net: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    """The net in eval mode, with other weights."""
    net.load_state_dict(weights)
    return net.eval()
