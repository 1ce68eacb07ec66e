"""The trainer: a hop in, its weights and curve in the store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from tasearch.chains.hop import Hop, Setting
from tasearch.chains.keys import derived_seed
from tasearch.chains.mode import Mode
from tasearch.chains.recipe import Recipe
from tasearch.config import plugins
from tasearch.config.study import Study
from tasearch.data import Dataset, Split
from tasearch.errors import OutOfMemoryError, TasearchError, TrainingError, raised
from tasearch.models import Models
from tasearch.runs.store import HopRecord, Store, numbered, replicate
from tasearch.train.augmentation import AUGMENTATIONS, AugmentedData
from tasearch.train.batches import TrainingJob
from tasearch.train.cuda import set_up_cuda
from tasearch.train.fast.cuda_graphs import Graphs
from tasearch.train.fast.memory import Memory, is_short
from tasearch.train.layout import image_format
from tasearch.train.loop import evaluate, least_epoch
from tasearch.train.losses import LOSSES, Loss
from tasearch.train.soft_targets import Targets, stacked
from tasearch.train.state import State, pack, unpack
from tasearch.train.workers.replicates import Numbers

TRAINER_VERSION = 8  # raise it with every change that alters weights


class Trainer:
    """Trains hops of one study into one store.

    Args:
        study: its training section, seed and rungs.
        models: builds models.
        data: training and validation parts.
        store: keeps hops, half-trained hops and soft targets.
        device: to train on.
        modes: by width.
    """

    def __init__(
        self,
        *,
        study: Study,
        models: Models,
        data: Dataset,
        store: Store,
        device: torch.device,
        modes: Mapping[int, Mode],
    ) -> None:
        self.study, self.models, self.store, self.device = study, models, store, device
        self.modes = dict(modes)
        if device.type == "cuda":
            set_up_cuda(device, deterministic=study.training.deterministic)
        self.replicates = range(study.search.replicates)
        views = self._views(data, data.train, study.training.augment)
        self.views = [
            views.reseeded(derived_seed("views", study.seed, replicate))
            for replicate in self.replicates
        ]
        self.y = torch.tensor(data.train.y, device=device)
        whole = self._views(data, data.validation, "none")
        every = torch.arange(len(whole), device=device)
        x = whole.batch(every, whole.numbers(0))
        self.validation = x, torch.tensor(data.validation.y, device=device)
        self.targets = Targets(self.views, store, study.training.targets_gb * 1e9)
        self.memory = Memory(store.warn)
        self.graphs = Graphs(device, store.warn) if device.type == "cuda" else None
        self.losses = {name: _loss(name, study.root) for name in _loss_names(study)}
        self.setting = Setting(
            data=data.fingerprint,
            family=models.family,
            losses=tuple(
                (name, plugins.identity(name, study.root)) for name in self.losses if ":" in name
            ),
            seed=study.seed,
            replicates=len(self.replicates),
            threads=study.training.threads,
            trainer=TRAINER_VERSION,
            device=device.type,
            augment=study.training.augment,
            modes=tuple(sorted(self.modes.items())),
        )

    def key(self, hop: Hop) -> str:
        return hop.key(self.setting)

    def begin(self, hop: Hop, part: Numbers = ()) -> tuple[list[State], list[TrainingJob]] | None:
        """The models of a hop, of all replicates or some, as their last saved rungs left them, and
        what each learns from; None for a loaded teacher, which is evaluated and stored."""
        recipe = hop.model.recipe
        if recipe is None:
            self._take_in(hop)
            return None
        guide = self._soft_targets(hop) if hop.teachers else None
        jobs = [
            TrainingJob(
                views=self.views[i],
                y=self.y,
                targets=None if guide is None else lambda phase, i=i: guide(phase)[i],  # type: ignore[misc]
                validation=self.validation,
                loss=self.losses[recipe.loss],
                rungs=self.study.search.rungs,
                bf16=self.mode(hop).bf16,
                width=hop.model.width,
                noise=(self.study.seed, i),
            )
            for i in part or self.replicates
        ]
        return self._start(hop, recipe, part), jobs

    def mode(self, hop: Hop) -> Mode:
        """In which a hop's models are trained; a loaded teacher, which is not, has the plainest."""
        if hop.model.recipe is None:
            return Mode(bf16=False, slots=None, shared=False)
        return self.modes[hop.model.width]

    def stacking_key(self, hop: Hop) -> Hashable:
        """What hops have in common that may train as one wide model; None for one that may not.

        Teachers, losses, temperatures, weights of the terms and guidance may differ.
        """
        recipe = hop.model.recipe
        if recipe is None or not self.mode(hop).shared:
            return None
        half = self.store.record("checkpoints", self.key(hop))
        own = {"loss": "", "temperature": 1.0, "alpha": 0.0, "guidance": "", "teacher_dropout": 0.0}
        epoch = half.epoch if half else 0
        return hop.model.width, replace(recipe, **own), epoch  # type: ignore[arg-type]

    def apart(self, hop: Hop) -> Sequence[int]:
        """Replicates that may be trained in parts; none of a loaded teacher or a wide model."""
        alone = hop.model.recipe is not None and self.mode(hop).slots is None
        return self.replicates if alone else ()

    def keep(self, hop: Hop, states: list[State], part: Numbers = ()) -> None:
        """Save models at a rung. Half-trained, each that trains alone has its file; finished, all
        replicates have one: whoever ends the last of them writes it."""
        recipe, at = states[0].recipe, least_epoch(states)
        ended = at == recipe.epochs
        if part or not ended:
            models = dict(zip(part or self.replicates, states, strict=True))
            for name, numbers in self._checkpoints(hop).items():
                own = [models[i] for i in numbers if i in models]
                if own and own[0].epoch == at:
                    record = self._record(hop, own)
                    self.store.save("checkpoints", name, numbered(map(pack, own)), record)
        if ended and not part:
            self._finish(hop, states)
        elif ended:
            with self.store.alone(self.key(hop)):
                self._finish(hop, self._start(hop, recipe))

    def is_own(self, hop: Hop) -> bool:
        """Whether a user's own code takes part in the training of a hop."""
        recipe = hop.model.recipe
        own = ":" in self.setting.family or (hop.model.origin and self.study.teacher.factory)
        return bool(own or (recipe and ":" in recipe.loss))

    def explained(self, hop: Hop, error: BaseException) -> TrainingError:
        """An error of a hop as the reason that its trials fail.

        Raises:
            BaseException: the error itself, where it is neither the user's code's nor memory's.
        """
        if isinstance(error, TrainingError):
            return TrainingError(f"hop {hop.label}: {error}")
        if is_short(error):
            return OutOfMemoryError(f"hop {hop.label}: out of memory on {self.device}")
        if isinstance(error, TasearchError) or not self.is_own(hop):
            raise error
        return TrainingError(f"hop {hop.label}: {raised(error)}")

    def finished(self, hop: Hop) -> bool:
        """Whether a hop is stored and whole."""
        key = self.key(hop)
        if not self.store.has(key):
            return False
        self._drop_checkpoints(hop)  # a kill may have come between
        return True

    def saved(self, hop: Hop) -> HopRecord | None:
        """What the store knows of a hop, finished or not."""
        whole = self.store.record("hops", self.key(hop))
        if whole is not None:
            return whole
        found = [self.store.record("checkpoints", name) for name in self._checkpoints(hop)]
        halves = [half for half in found if half is not None]
        if len(halves) < len(found):
            return None
        least = min(halves, key=lambda half: half.epoch)
        curves = (curve[: len(least.epochs)] for half in halves for curve in half.curves)
        return replace(least, curves=tuple(curves))

    def nets(self, hop: Hop) -> list[nn.Module]:
        """The trained models of a stored hop, one a replicate, on CPU, in eval mode, taking
        standardized samples."""
        saved = self.store.load("hops", self.key(hop))
        assert saved is not None, f"hop {hop.label} is not stored"
        if hop.model.recipe is None:  # one net, which is only read
            return [self._loaded(hop)] * len(self.replicates)
        nets = []
        for i in self.replicates:
            net = self.models.build(hop.model.width)
            net.load_state_dict(replicate(saved[0], i))
            nets.append(net.eval())
        return nets

    def _start(self, hop: Hop, recipe: Recipe, part: Numbers = ()) -> list[State]:
        """Fresh models, or as their last saved rung left them."""
        width, states = hop.model.width, []
        for name, numbers in self._checkpoints(hop).items():
            if part and not {*part} & {*numbers}:
                continue
            saved = self.store.load("checkpoints", name)
            for place, i in enumerate(numbers):
                seed = derived_seed("weights", self.study.seed, i, width)
                state = State(self._placed(self.models.build(width, seed)), recipe)
                if saved is not None:
                    tensors, record = saved
                    unpack(state, replicate(tensors, place))
                    state.epoch = record.epoch
                    state.rungs, state.curve = list(record.epochs), list(record.curves[place])
                states.append(state)
        return states

    def _checkpoints(self, hop: Hop) -> dict[str, Sequence[int]]:
        """Names of half-trained models' files, with the replicates in each."""
        key = self.key(hop)
        if self.apart(hop):
            return {f"{key}-{i}": (i,) for i in self.replicates}
        return {key: self.replicates}

    def _drop_checkpoints(self, hop: Hop) -> None:
        for name in self._checkpoints(hop):
            self.store.drop("checkpoints", name)

    def _finish(self, hop: Hop, states: list[State]) -> None:
        """Store a hop, if all its models are trained to the end."""
        if least_epoch(states) < states[0].recipe.epochs:
            return
        with contextlib.ExitStack() as stack:
            nets = [stack.enter_context(state.result()) for state in states]
            weights = numbered(net.state_dict() for net in nets)
            self.store.save("hops", self.key(hop), weights, self._record(hop, states))
        self._drop_checkpoints(hop)

    def _take_in(self, hop: Hop) -> None:
        """Evaluate a loaded teacher and store it, for each replicate the same."""
        net = self._placed(self._loaded(hop))
        accuracy = evaluate(net, *self.validation)
        record = HopRecord(
            widths=(hop.model.width,),
            recipes=(None,),
            mode=self.mode(hop),
            epoch=0,
            epochs=(0,),
            curves=((accuracy,),) * len(self.replicates),
        )
        weights = numbered(net.state_dict() for _ in self.replicates)
        self.store.save("hops", self.key(hop), weights, record)

    def _loaded(self, hop: Hop) -> nn.Module:
        """The net of a loaded teacher.

        Raises:
            TrainingError: where it is not the one that the run began with.
        """
        net, origin = self.models.build(hop.model.width), hop.model.origin
        if origin is not None and self.models.teacher().origin != origin:
            section = self.study.teacher
            raise TrainingError(
                f"teacher.factory: {section.factory!r} should make the same weights in every "
                f"process, made others than when the run began"
            )
        return net

    def _soft_targets(self, hop: Hop) -> Callable[[int], list[Tensor]]:
        """The soft targets of a hop's teachers by phase, for each replicate; their models are built
        if a phase is new."""
        nets = {
            self.key(t): cache(lambda t=t: [*map(self._placed, self.nets(t))]) for t in hop.teachers
        }
        records = {self.key(t): cache(lambda t=t: self._known(t)) for t in hop.teachers}

        def guide(phase: int) -> list[Tensor]:
            found = [self.targets.get(key, phase, nets[key], records[key]) for key in nets]
            return [stacked(parts) for parts in zip(*found, strict=True)]

        return guide

    def _known(self, hop: Hop) -> HopRecord:
        record = self.saved(hop)
        assert record is not None, f"ancestor {hop.label} is not stored"
        return record

    def _placed(self, net: nn.Module) -> nn.Module:
        """On the device, images' kernels in channels_last format."""
        if len(self.views[0].shape) == 3:
            layout = image_format(net, self.device)
            net = net.to(memory_format=layout)  # type: ignore[call-overload]
        return net.to(self.device)

    def _views(self, data: Dataset, part: Split, name: str) -> AugmentedData:
        x = torch.tensor(part.x, device=self.device)
        mean, std = (torch.from_numpy(a).to(self.device) for a in (data.mean, data.std))
        return AugmentedData(x, mean, std, AUGMENTATIONS[name], seed=0)

    def _record(self, hop: Hop, states: list[State]) -> HopRecord:
        recipes: list[dict[str, Any] | None] = [
            None if p.recipe is None else asdict(p.recipe) for p in hop.lineage
        ]
        return HopRecord(
            widths=tuple(p.width for p in hop.lineage),
            recipes=tuple(recipes),
            mode=self.mode(hop),
            epoch=states[0].epoch,
            epochs=tuple(states[0].rungs),
            curves=tuple(tuple(state.curve) for state in states),
        )


def _loss_names(study: Study) -> list[str]:
    names = [*study.assistants.loss, *study.student.loss, next(iter(LOSSES))]
    return sorted(set(names))


def _loss(name: str, root: str) -> Loss:
    return plugins.resolve(name, LOSSES, path="loss", root=root)
