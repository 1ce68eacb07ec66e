"""The trainer: from a hop to its weights and its curve in the store."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from tasearch.chains.hop import Hop
from tasearch.chains.keys import derived_seed
from tasearch.chains.mode import Mode
from tasearch.chains.recipe import Recipe
from tasearch.config import plugins
from tasearch.config.study import Study
from tasearch.data import Dataset
from tasearch.errors import OutOfMemoryError, TasearchError, TrainingError, raised
from tasearch.models import Models
from tasearch.runs.store import HopRecord, Store, numbered, replicate
from tasearch.train.archive import HopArchive
from tasearch.train.batches import TrainingJob
from tasearch.train.class_weights import class_weights
from tasearch.train.cuda import set_up_cuda
from tasearch.train.fast.cuda_graphs import Graphs
from tasearch.train.fast.memory import Memory, is_out_of_memory
from tasearch.train.fast.norms import fuse_norms
from tasearch.train.fast.stacked_loop import train_models
from tasearch.train.layout import image_format
from tasearch.train.lengths import text_lengths
from tasearch.train.loop import EpochResult, evaluate, least_epoch, predict, train_in_turn
from tasearch.train.losses import LOSSES
from tasearch.train.measured import measured
from tasearch.train.metrics import score_function
from tasearch.train.online import OnlineTeachers
from tasearch.train.samples import outputs_on_device, training_views, validation_set
from tasearch.train.snapshots import snapshot_name
from tasearch.train.soft_targets import Targets
from tasearch.train.state import State, pack, unpack
from tasearch.train.teachers import Teachers
from tasearch.train.workers.replicates import Numbers


class Trainer(HopArchive):
    """An archive of hops that can train them.

    Args:
        study: The study.
        models: The study's models.
        data: The training set and the validation set.
        store: Where hops, checkpoints and soft targets are stored.
        device: The device to train on.
        modes: How models are trained, by width.

    Attributes:
        views: The augmented training set, for each replicate.
        y: Labels of the training set, int64 (samples,).
        validation: Inputs and labels of the validation set.
        score: The metric of the study.
        losses: The losses that the study may use, by name.
        memory: The largest stacked models that fit in memory.
        graphs: Recorded steps; None on CPU.
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
        super().__init__(
            study=study,
            data=data.fingerprint,
            family=models.family,
            device=device.type,
            modes=modes,
            store=store,
            unlabelled=data.unlabelled_digest,
        )
        self.models, self.device = models, device
        if device.type == "cuda":
            set_up_cuda(device, deterministic=study.training.deterministic)
        views = training_views(study, data, device)
        self.views = [views.reseeded(derived_seed("views", study.seed, i)) for i in self.replicates]
        self._share = study.training.unlabelled_share if data.unlabelled is not None else 0.0
        self.y = torch.tensor(data.train.y, device=device)
        self.validation = validation_set(data, device)
        self.score = score_function(study.objective.metric, study.root)
        self._class_weights = class_weights(study, self.y, data.num_classes)
        self._lengths = text_lengths(study, data)
        self.losses = {
            name: plugins.resolve(name, LOSSES, path="loss", root=study.root)
            for name in self.loss_names
        }
        self.memory = Memory(store.warn)
        self.graphs = Graphs(device, store.warn) if device.type == "cuda" else None
        targets = Targets(self.views, store, study.training.targets_gb * 1e9)
        given = outputs_on_device(data.train.teacher, device, torch.float16)
        self._teachers = Teachers(self, models, targets, self._placed, given)
        self._teacher_outputs = outputs_on_device(data.validation.teacher, device)

    def begin(self, hop: Hop, part: Numbers = ()) -> tuple[list[State], list[TrainingJob]] | None:
        """Prepare the training of a hop.

        Args:
            hop: The hop, whose ancestors are stored.
            part: Numbers of the replicates to train; empty for all.

        Returns:
            The models as their last saved rungs left them, and what each learns from; None for a
            loaded teacher, which is then evaluated and stored.
        """
        recipe = hop.model.recipe
        if recipe is None:
            self._store_teacher(hop)
            return None
        targets = self._soft_targets(hop) if hop.teachers else None
        hidden = self._teachers.hidden(hop) if recipe.hidden_parts else None
        jobs = [
            TrainingJob(
                views=self.views[i],
                y=self.y,
                targets=None if targets is None else lambda epoch, i=i: targets(epoch)[i],  # type: ignore[misc]
                validation=self.validation,
                loss=self.losses[recipe.loss],
                rungs=self.study.search.rungs,
                bf16=self.mode(hop).bf16,
                width=hop.model.width,
                seed_parts=self._seed_parts(i, hop.model.width),
                unlabelled=self._share if targets else 0.0,
                score=self.score,
                class_weights=self._class_weights,
                lengths=self._lengths,
                hidden=None if hidden is None else lambda epoch, i=i: hidden(epoch)[i],  # type: ignore[misc]
            )
            for i in part or self.replicates
        ]
        return self._restore(hop, recipe, part), jobs

    def train(
        self, hop: Hop, states: Sequence[State], jobs: Sequence[TrainingJob]
    ) -> Iterator[list[EpochResult]]:
        """Train models that `begin` has prepared, in the mode of their width.

        Those that learn from hidden layers train one after another, since their teachers are called
        in the loop.

        Args:
            hop: The hop of the models, or one of several hops that share a `stacking_key`.
            states: The models, changed in place.
            jobs: What each model learns from.

        Yields:
            The result of each epoch for each model.
        """
        if jobs[0].hidden is not None:
            return train_in_turn(states, jobs)
        return train_models(
            states,
            jobs,
            slots=self.mode(hop).slots,
            most=self.memory.most(hop.model.width),
            graphs=self.graphs,
        )

    def keep(self, hop: Hop, states: list[State], part: Numbers = ()) -> None:
        """Save models at a rung: as checkpoints, or as the finished hop.

        Where workers divide the replicates, the one that finishes the last replicate stores the
        hop.

        Args:
            hop: The hop.
            states: The models, at the same epoch.
            part: Numbers of their replicates; empty for all.
        """
        recipe, epoch = states[0].recipe, least_epoch(states)
        ended = epoch == recipe.epochs
        if part or not ended:
            models = dict(zip(part or self.replicates, states, strict=True))
            for name, numbers in self.checkpoints(hop).items():
                own = [models[i] for i in numbers if i in models]
                if own and own[0].epoch == epoch:
                    if not ended and self.snapshots.kept(hop):
                        rung = len(own[0].rungs)
                        self._save_result("snapshots", snapshot_name(name, rung), hop, own)
                    record = self._record(hop, own)
                    self.store.save("checkpoints", name, numbered(map(pack, own)), record)
        if ended and not part:
            self._finish(hop, states)
        elif ended:
            with self.store.alone(self.key(hop)):
                self._finish(hop, self._restore(hop, recipe))

    def explained(self, hop: Hop, error: BaseException) -> TrainingError:
        """The reason for which trials fail whose hop has raised an error.

        Raises:
            BaseException: The error itself, if neither a user's code nor a lack of memory is the
                cause.
        """
        if isinstance(error, TrainingError):
            return TrainingError(f"hop {hop.label}: {error}")
        if is_out_of_memory(error):
            return OutOfMemoryError(f"hop {hop.label}: out of memory on {self.device}")
        if isinstance(error, TasearchError) or not self.uses_user_code(hop):
            raise error
        return TrainingError(f"hop {hop.label}: {raised(error)}")

    def nets(self, hop: Hop) -> list[nn.Module]:
        """The trained models of a stored hop, one for each replicate, on CPU and in eval mode.

        They take standardized samples.
        """
        return self._teachers.nets(hop)

    def _restore(self, hop: Hop, recipe: Recipe, part: Numbers = ()) -> list[State]:
        """The models of a hop as their last saved rungs left them; fresh where none is saved."""
        width, states = hop.model.width, []
        for name, numbers in self.checkpoints(hop).items():
            if part and not {*part} & {*numbers}:
                continue
            saved = self.store.load("checkpoints", name)
            if saved is not None and not self.snapshots.whole(hop, name, saved[1].epochs):
                saved = None  # so that the snapshots are made again
            for place, i in enumerate(numbers):
                seed = derived_seed("weights", *self._seed_parts(i, width))
                net = self.models.build(width, seed)
                if saved is None and recipe.inherits:
                    self._teachers.start(net, hop, i)
                net = self._placed(net)
                fuse_norms(net)
                hidden = derived_seed("projections", *self._seed_parts(i, width))
                state = State(net, recipe, self._teachers.hidden_loss(net, hop, hidden))
                if saved is not None:
                    tensors, record = saved
                    unpack(state, replicate(tensors, place))
                    state.epoch = record.epoch
                    state.rungs, state.curve = list(record.epochs), list(record.curves[place])
                states.append(state)
        return states

    def _seed_parts(self, replicate: int, width: int) -> tuple[int | str, ...]:
        """What initial weights and orders of batches depend on: no chain, and no other size."""
        return self.study.seed, replicate, self.study.model.identities.get(width, width)

    def _finish(self, hop: Hop, states: list[State]) -> None:
        """Store a hop, if all its models are trained to the end."""
        if least_epoch(states) < states[0].recipe.epochs:
            return
        self._save_result("hops", self.key(hop), hop, states, ended=True)
        self.drop_checkpoints(hop)

    def _save_result(
        self, kind: str, name: str, hop: Hop, states: Sequence[State], *, ended: bool = False
    ) -> None:
        """Save the weights that count, with the hop's record; measure it where it has ended."""
        with contextlib.ExitStack() as stack:
            nets = [stack.enter_context(state.result()) for state in states]
            record = self._record(hop, states)
            if ended:
                logits = (predict(net, self.validation[0]) for net in nets)
                record = measured(record, logits, self.validation[1], self.score)
            weights = numbered(net.state_dict() for net in nets)
            self.store.save(kind, name, weights, record)

    def _store_teacher(self, hop: Hop) -> None:
        """Evaluate a loaded teacher, and store it as every replicate."""
        net = self._placed(self._teachers.loaded(hop))
        if self._teacher_outputs is None:
            found = evaluate(net, *self.validation, self.score)
            logits = predict(net, self.validation[0])
        else:
            logits = self._teacher_outputs
            found = float(self.score(logits, self.validation[1]))
        curves = [[found]] * len(self.replicates)
        record = self.new_record(hop, epoch=0, epochs=[0], curves=curves)
        record = measured(record, [logits] * len(curves), self.validation[1], self.score)
        weights = numbered(net.state_dict() for _ in self.replicates)
        self.store.save("hops", self.key(hop), weights, record)

    def _soft_targets(self, hop: Hop) -> Callable[[int], Sequence[Tensor | OnlineTeachers]]:
        """A function from the number of an epoch to what teaches each replicate."""
        return self._teachers.soft_targets(hop)

    def _placed(self, net: nn.Module) -> nn.Module:
        """The net on the device, in the memory format of its inputs."""
        if len(self.views[0].shape) == 3:
            layout = image_format(net, self.device)
            net = net.to(memory_format=layout)  # type: ignore[call-overload]
        return net.to(self.device)

    def _record(self, hop: Hop, states: Sequence[State]) -> HopRecord:
        first, curves = states[0], [state.curve for state in states]
        return self.new_record(hop, epoch=first.epoch, epochs=first.rungs, curves=curves)
