"""The trainer: a hop in, its weights and curve in the store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from tasearch import plugins
from tasearch.chain import Hop, Recipe, Setting, derived_seed
from tasearch.data import Dataset, Part
from tasearch.errors import OutOfMemoryError, TasearchError, TrainingError, first_line
from tasearch.models import Models
from tasearch.numerics import cpu_threads
from tasearch.store import HopRecord, Store
from tasearch.study import Study
from tasearch.train.layout import image_format
from tasearch.train.loop import Lesson, Progress, State, evaluate, pack, train, unpack
from tasearch.train.losses import LOSSES, Loss
from tasearch.train.targets import Targets, stacked
from tasearch.train.views import VIEWS, Views

NO_MEMORY = "can't allocate memory"  # what torch says on CPU
TRAINER_VERSION = 2  # raise it with every change that alters weights


class Trainer:
    """Trains hops of one study into one store.

    Args:
        study: its training section, seed and rungs.
        models: builds pupils.
        data: training and validation parts.
        store: keeps hops, half-trained hops and soft targets.
        device: to train on.
        precision: "fp32" or "bf16" by width.
        replicate: which repetition of the training noise.
    """

    def __init__(
        self,
        *,
        study: Study,
        models: Models,
        data: Dataset,
        store: Store,
        device: torch.device,
        precision: Mapping[int, str],
        replicate: int = 0,
    ) -> None:
        self.study, self.models, self.store, self.device = study, models, store, device
        self.precision = dict(precision)
        seed = derived_seed("views", study.seed, replicate)
        self.views = self._views(data, data.train, study.training.views, seed)
        self.y = torch.tensor(data.train.y, device=device)
        whole = self._views(data, data.validation, "none", seed)
        every = torch.arange(len(whole), device=device)
        self.validation = whole.batch(every, 0), torch.tensor(data.validation.y, device=device)
        self.targets = Targets(self.views, store, study.training.targets_gb * 1e9)
        self.losses = {name: _loss(name, study.root) for name in _loss_names(study)}
        self.setting = Setting(
            data=data.fingerprint,
            family=models.family,
            losses=tuple(
                (name, plugins.identity(name, study.root)) for name in self.losses if ":" in name
            ),
            seed=study.seed,
            replicate=replicate,
            threads=study.training.threads,
            trainer=TRAINER_VERSION,
            device=device.type,
            views=study.training.views,
            precision=tuple(sorted(self.precision.items())),
        )

    def key(self, hop: Hop) -> str:
        return hop.key(self.setting)

    def train(self, hop: Hop) -> Iterator[Progress]:
        """Train a hop to its end, from its last saved rung; its ancestors must be stored.

        Each rung is saved before its value is yielded, so that closing the iterator, or killing
        the process, loses no finished rung. A loaded teacher is evaluated and stored.

        Raises:
            TrainingError: where the loss is not finite or memory runs out.
        """
        key = self.key(hop)
        steps = self._train(hop, key)
        while True:
            try:
                # not while the caller has control
                with cpu_threads(self.study.training.threads, flush_denormals=True):
                    progress = next(steps, None)
            except TrainingError as error:
                raise TrainingError(f"hop {hop.label}: {error}") from None
            except Exception as error:
                raise self._explained(hop, error) from error
            if progress is None:
                return
            yield progress

    def _explained(self, hop: Hop, error: Exception) -> Exception:
        """An error of a hop as the reason that its trial fails; our own stay what they are."""
        if isinstance(error, torch.OutOfMemoryError) or NO_MEMORY in str(error):
            return OutOfMemoryError(f"hop {hop.label}: out of memory on {self.device}")
        recipe = hop.pupil.recipe
        users = ":" in self.setting.family or hop.pupil.origin or (recipe and ":" in recipe.loss)
        if isinstance(error, TasearchError) or not users:
            return error
        return TrainingError(f"hop {hop.label}: {type(error).__name__}: {first_line(error)}")

    def _train(self, hop: Hop, key: str) -> Iterator[Progress]:
        recipe = hop.pupil.recipe
        if recipe is None:
            self._take_in(hop, key)
            return
        state = self._start(hop, recipe, key)
        lesson = Lesson(
            views=self.views,
            y=self.y,
            targets=self._guide(hop) if hop.teachers else None,
            validation=self.validation,
            loss=self.losses[recipe.loss],
            rungs=self.study.search.rungs,
            bf16=self.precision[hop.pupil.width] == "bf16",
            noise=(self.study.seed, self.setting.replicate, hop.pupil.width),
        )
        for progress in train(state, lesson):
            if progress.epoch == progress.epochs:
                self._finish(hop, key, state)
            elif progress.accuracy is not None:
                self.store.save("partial", key, pack(state), self._record(hop, state))
            yield progress

    def saved(self, hop: Hop) -> HopRecord | None:
        """What the store knows of a hop, finished or not."""
        key = self.key(hop)
        return self.store.record("hops", key) or self.store.record("partial", key)

    def net(self, hop: Hop) -> nn.Module:
        """The trained model of a stored hop, on CPU, in eval mode, taking standardized samples."""
        saved = self.store.load("hops", self.key(hop))
        assert saved is not None, f"hop {hop.label} is not stored"
        net = self.models.build(hop.pupil.width)
        net.load_state_dict(saved[0])
        return net.eval()

    def _start(self, hop: Hop, recipe: Recipe, key: str) -> State:
        """A fresh pupil, or one as its last saved rung left it."""
        width = hop.pupil.width
        seed = derived_seed("weights", self.study.seed, self.setting.replicate, width)
        state = State(self._placed(self.models.build(width, seed)), recipe)
        saved = self.store.load("partial", key)
        if saved is not None:
            tensors, record = saved
            unpack(state, tensors)
            state.epoch = record.epoch
            state.rungs, state.curve = list(record.epochs), list(record.curve)
        return state

    def _finish(self, hop: Hop, key: str, state: State) -> None:
        with state.result() as net:
            self.store.save("hops", key, net.state_dict(), self._record(hop, state))
        self.store.drop("partial", key)

    def _take_in(self, hop: Hop, key: str) -> None:
        """Evaluate a loaded teacher and store it."""
        net = self._placed(self.models.build(hop.pupil.width))
        accuracy = evaluate(net, *self.validation)
        record = HopRecord(
            widths=(hop.pupil.width,),
            recipes=(None,),
            precision="fp32",
            epoch=0,
            epochs=(0,),
            curve=(accuracy,),
        )
        self.store.save("hops", key, net.state_dict(), record)

    def _guide(self, hop: Hop) -> Callable[[int], Tensor]:
        """The soft targets of a hop's teachers by slot; their models are built if one is new."""
        nets = {self.key(t): cache(lambda t=t: self._placed(self.net(t))) for t in hop.teachers}
        records = {self.key(t): cache(lambda t=t: self._known(t)) for t in hop.teachers}

        def guide(slot: int) -> Tensor:
            parts = [self.targets.of(key, slot, nets[key], records[key]) for key in nets]
            return stacked(parts)

        return guide

    def _known(self, hop: Hop) -> HopRecord:
        record = self.saved(hop)
        assert record is not None, f"ancestor {hop.label} is not stored"
        return record

    def _placed(self, net: nn.Module) -> nn.Module:
        """On the device, images' kernels in channels_last format."""
        if len(self.views.shape) == 3:
            layout = image_format(net, self.device)
            net = net.to(memory_format=layout)  # type: ignore[call-overload]
        return net.to(self.device)

    def _views(self, data: Dataset, part: Part, name: str, seed: int) -> Views:
        x = torch.tensor(part.x, device=self.device)
        mean, std = (torch.from_numpy(a).to(self.device) for a in (data.mean, data.std))
        return Views(x, mean, std, VIEWS[name], seed)

    def _record(self, hop: Hop, state: State) -> HopRecord:
        recipes: list[dict[str, Any] | None] = [
            None if p.recipe is None else dataclasses.asdict(p.recipe) for p in hop.lineage
        ]
        return HopRecord(
            widths=tuple(p.width for p in hop.lineage),
            recipes=tuple(recipes),
            precision=self.precision[hop.pupil.width],
            epoch=state.epoch,
            epochs=tuple(state.rungs),
            curve=tuple(state.curve),
        )


def _loss_names(study: Study) -> list[str]:
    names = [*study.assistants.loss, *study.student.loss, next(iter(LOSSES))]
    return sorted(set(names))


def _loss(name: str, root: str) -> Loss:
    return plugins.resolve(name, LOSSES, path="loss", root=root)
