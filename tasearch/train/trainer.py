"""The trainer: a hop in, its weights and curve in the store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tasearch import plugins
from tasearch.chain import Hop, Setting, derived_seed
from tasearch.data import Dataset, Part
from tasearch.errors import OutOfMemoryError, TasearchError, TrainingError, first_line
from tasearch.models import Models
from tasearch.numerics import cpu_threads
from tasearch.store import HopRecord, Store
from tasearch.study import Study
from tasearch.train.loop import (
    Progress,
    State,
    evaluate,
    make_optimizer,
    pack,
    predict,
    train,
    unpack,
)
from tasearch.train.losses import LOSSES, Loss

NO_MEMORY = "can't allocate memory"  # what torch says on CPU
TRAINER_VERSION = 1  # raise it with every change that alters weights


class Trainer:
    """Trains hops of one study into one store.

    Args:
        study: its training section, seed and rungs.
        models: builds pupils.
        data: training and validation parts.
        store: keeps hops, half-trained hops and soft targets.
        device: to train on.
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
        replicate: int = 0,
    ) -> None:
        self.study, self.models, self.store, self.device = study, models, store, device
        self.mean, self.std = torch.from_numpy(data.mean), torch.from_numpy(data.std)
        self.x, self.y = self._tensors(data.train)
        self.validation = self._tensors(data.validation)
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
        state, rungs = self._start(hop, key), self.study.search.rungs
        if recipe is None:
            state.curve, state.rungs = [evaluate(state.net, *self.validation)], [0]
            self._finish(hop, key, state)
            return
        targets = self._targets(hop.ancestor) if hop.ancestor and recipe.guided else None
        noise = (self.study.seed, self.setting.replicate, hop.pupil.width)
        for progress in train(
            state,
            x=self.x,
            y=self.y,
            targets=targets,
            validation=self.validation,
            recipe=recipe,
            loss=self.losses[recipe.loss],
            rungs=rungs,
            noise=noise,
        ):
            if progress.epoch == progress.epochs:
                self._finish(hop, key, state)
            elif progress.accuracy is not None:
                self.store.save("partial", key, pack(state), _record_of(hop, state))
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

    def _start(self, hop: Hop, key: str) -> State:
        """A fresh pupil, or one as its last saved rung left it."""
        width = hop.pupil.width
        seed = derived_seed("weights", self.study.seed, self.setting.replicate, width)
        net = self.models.build(width, seed).to(self.device)
        recipe = hop.pupil.recipe
        optimizer = (
            torch.optim.SGD([torch.zeros(())]) if recipe is None else make_optimizer(net, recipe)
        )
        state = State(net=net, optimizer=optimizer)
        saved = self.store.load("partial", key)
        if saved is not None:
            tensors, record = saved
            unpack(state, tensors)
            state.epoch = record.epoch
            state.rungs, state.curve = list(record.epochs), list(record.curve)
        return state

    def _finish(self, hop: Hop, key: str, state: State) -> None:
        self.store.save("hops", key, state.net.state_dict(), _record_of(hop, state))
        self.store.drop("partial", key)

    def _targets(self, hop: Hop) -> Tensor:
        """Raw fp16 logits of an ancestor on the training part, made once and kept."""
        key = self.key(hop)
        saved = self.store.load("targets", key)
        if saved is not None:
            return saved[0]["logits"].to(self.device).float()
        record = self.saved(hop)
        assert record is not None, f"ancestor {hop.label} is not stored"
        logits = predict(self.net(hop).to(self.device), self.x).half().cpu()
        if not logits.isfinite().all():
            raise TrainingError(f"the logits of {hop.label} do not fit 16 bits")
        self.store.save("targets", key, {"logits": logits}, record)
        return logits.to(self.device).float()

    def _tensors(self, part: Part) -> tuple[Tensor, Tensor]:
        x = (torch.from_numpy(part.x) - self.mean) / self.std
        return x.to(self.device), torch.from_numpy(np.array(part.y)).to(self.device)


def _record_of(hop: Hop, state: State) -> HopRecord:
    recipes: list[dict[str, Any] | None] = [
        None if p.recipe is None else dataclasses.asdict(p.recipe) for p in hop.lineage
    ]
    return HopRecord(
        widths=tuple(p.width for p in hop.lineage),
        recipes=tuple(recipes),
        epoch=state.epoch,
        epochs=tuple(state.rungs),
        curve=tuple(state.curve),
    )


def _loss_names(study: Study) -> list[str]:
    names = [*study.assistants.loss, *study.student.loss, next(iter(LOSSES))]
    return sorted(set(names))


def _loss(name: str, root: str) -> Loss:
    return plugins.resolve(name, LOSSES, path="loss", root=root)
