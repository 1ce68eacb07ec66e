"""The models of a study, built by width and checked against their contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tasearch.chains.hop import ModelSpec
from tasearch.chains.sizes import sized
from tasearch.config.study import Study
from tasearch.data import Dataset
from tasearch.data.ids import Ids
from tasearch.data.statistics import is_whole
from tasearch.models.call_style import CallStyle, adapted, find_call_style
from tasearch.models.checkpoint import file_digest, load_checkpoint
from tasearch.models.contract import BATCH, check_loaded, state_digest, tried_model
from tasearch.models.ensemble import loaded_ensemble, of_member
from tasearch.models.hf import model_identity
from tasearch.models.hidden import check_hidden
from tasearch.models.inputs import OwnInput
from tasearch.models.loaded import LoadedTeacher, check_falling, describe_teacher, size
from tasearch.models.numerics import same_in_every_process
from tasearch.models.packages import input_spec
from tasearch.models.start import check_starts
from tasearch.models.study_functions import StudyFunctions
from tasearch.models.tensors import as_tensor
from tasearch.models.wrappers import FromRaw, NoModel, taking, without_wrappers


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models of one study.

    The user's functions are looked up once, when the first model is built.

    Args:
        study: The study, which names the family and the teacher.
        in_shape: Shape of a sample: (channels, height, width) or (features,).
        num_classes: Number of classes, which is the length of the logits.
        mean: Mean of raw training samples, float32, broadcastable to one sample; for a teacher
            that takes raw samples.
        std: Standard deviation of raw training samples, shaped like `mean`.
        whole: Whether raw samples are whole numbers.
        unit: Value of a raw sample that is 1 in the units of `teacher.mean`: 255 for uint8 samples.
        ids: What samples of integers hold, which are passed to models as they are; None for others.
    """

    study: Study
    in_shape: tuple[int, ...]
    num_classes: int
    mean: Tensor
    std: Tensor
    whole: bool = False
    unit: float = 1.0
    ids: Ids | None = None

    @classmethod
    def for_study(cls, study: Study, data: Dataset) -> Models:
        """The models of a study on its data set."""
        return cls(
            study=study,
            in_shape=data.in_shape,
            num_classes=data.num_classes,
            mean=as_tensor(data.mean),
            std=as_tensor(data.std),
            whole=is_whole(data.train.x) and is_whole(data.validation.x),
            unit=255.0 if data.train.x.dtype == np.uint8 else 1.0,
            ids=data.ids,
        )

    @property
    def family(self) -> str:
        """What identifies the family: its name, and what else decides its models.

        For a user's own family that is the digest of its source; for any family, a multiplier other
        than 1.
        """
        name = model_identity(self._functions.family.name, self.study.root)
        multiplier = self.study.model.multiplier
        return name if multiplier == 1 else f"{name} x{multiplier}"

    def teacher(self) -> ModelSpec:
        """The first model of every chain."""
        section = self.study.teacher
        origin = []
        for path, member in zip(section.paths, self._members, strict=False):
            with of_member(path):
                origin.append(member.teacher().origin or "")
        if section.factory is not None:
            name = self._functions.factory.name  # imported by now, and known by its source
            origin.append(model_identity(name, self.study.root))
        if section.checkpoint is not None:
            origin.append(self._digest)
        elif section.loaded and not self._members:
            origin.append(self._loaded.digest)
        if section.outputs is not None:
            origin.append(section.outputs)
        elif section.loaded and not self._members:
            origin.append(section.inputs + input_spec(section, self.in_shape).words)
        return ModelSpec(
            width=section.width,
            recipe=self.study.teacher_recipe(),
            origin="+".join(origin) or None,
            name=section.label,
        )

    def describe_teacher(self) -> str:
        """What is done about the teacher, in one line.

        Its model is built for its size alone, since this is told before anything is checked.

        Raises:
            ModelError: The teacher cannot be built.
        """
        loaded = self._loaded if self.study.teacher.loaded else None
        params = size(self.build(self.study.teacher.width))
        grey = len(self.in_shape) == 3 and self.in_shape[0] == 1
        return describe_teacher(self.study, params, loaded, grey=grey)

    def checkpoint_path(self) -> Path:
        """The path of the teacher's checkpoint, of which there must be one."""
        assert self.study.teacher.checkpoint is not None
        return Path(self.study.root) / self.study.teacher.checkpoint

    def build(self, width: int, seed: int = 0) -> nn.Module:
        """A model on CPU that maps standardized samples to logits alone.

        A loaded teacher is built once, frozen and in eval mode, and is only to be read.

        Args:
            width: Width of the model.
            seed: Seed of its initial weights.

        Raises:
            ModelError: The user's function or checkpoint breaks its contract.
        """
        if self._is_loaded(width):
            return self._loaded.net
        net = self._make(width, seed)
        return taking(self.ids, adapted(net, self._call_style(width)))

    def check(self, widths: Sequence[int]) -> dict[int, nn.Module]:
        """Build a model of each width and try it: each must learn, and sizes must fall.

        Args:
            widths: Widths, strictly decreasing.

        Returns:
            A model by width, with the initial weights of seed 0, in eval mode; only to be read.
            A loaded teacher is not among them.

        Raises:
            ModelError: A model cannot be trained, or is no smaller than the one before it.
        """
        nets: dict[int, nn.Module] = {}
        wider = None
        for width in widths:
            if self._is_loaded(width):
                continue
            nets[width] = self._checked(width)
            if wider is not None:
                check_falling(self.study, {w: size(nets[w]) for w in (wider, width)})
            wider = width
        teacher = {self.study.teacher.width: self._loaded.net} if self.study.teacher.loaded else {}
        check_starts(self.study, {**nets, **teacher})
        check_hidden(self.study, {**nets, **teacher})
        return nets

    def check_teacher(self, data: Dataset, device: torch.device) -> Tensor | None:
        """Have a loaded teacher predict the validation set.

        Args:
            data: The study's data set.
            device: Device to call the teacher on.

        Returns:
            Its logits, float32 (samples, classes); None if the teacher is trained here.

        Raises:
            ModelError: The teacher fails, or gives anything but finite logits.
        """
        section = self.study.teacher
        if data.validation.teacher is not None:
            return torch.tensor(data.validation.teacher)
        if not section.loaded:
            return None
        where = f"teacher.factory: {section.factory!r}"
        if section.checkpoint is not None:
            where = f"teacher.checkpoint: {self.checkpoint_path()}"
        raw = torch.split(as_tensor(data.validation.x), BATCH)
        samples = (x if self.ids else (x.float() - self.mean) / self.std for x in raw)
        net, words = self._loaded.net, f"{where}: the teacher"
        return check_loaded(net, words, samples, self.num_classes, device)

    def check_members(self, data: Dataset, device: torch.device) -> dict[str, Tensor]:
        """Have each member of a teacher predict the validation set, as `check_teacher` does.

        Returns:
            By the name of each member, its logits, float32 (samples, classes); empty for any other
            teacher.
        """
        found: dict[str, Tensor] = {}
        for path, member in zip(self.study.teacher.paths, self._members, strict=False):
            with of_member(path):
                logits = member.check_teacher(data, device)
            assert logits is not None
            found[f"{member.study.teacher.label} ({len(found) + 1})"] = logits
        return found

    def _checked(self, width: int) -> nn.Module:
        """A model as it is built, after it was tried."""
        where, build = f"the model of {sized(width)}", partial(self.build, width)
        own = self._is_users(width)
        return tried_model(build, where, self.in_shape, self.num_classes, own=own)

    def _is_loaded(self, width: int) -> bool:
        return self.study.teacher.loaded and width == self.study.teacher.width

    @cached_property
    def _digest(self) -> str:
        """The digest of the checkpoint, as it was when it was first asked for."""
        return file_digest(self.checkpoint_path())

    @cached_property
    def _loaded(self) -> LoadedTeacher:
        section, words = self.study.teacher, ""
        if self._members:
            sections = [member.study.teacher for member in self._members]
            loads = [partial(getattr, member, "_loaded") for member in self._members]
            return loaded_ensemble([*zip(section.paths, sections, loads, strict=True)])
        net = self._make(section.width, 0)
        if section.checkpoint is not None:
            tokens, plain = self.ids.tokens if self.ids else None, without_wrappers(net)
            words = load_checkpoint(plain, self.checkpoint_path(), self._digest, tokens)
        digest, spec = state_digest(net), input_spec(section, self.in_shape)
        spec.check(self.in_shape, ids=self.ids is not None)
        if not spec.plain:
            net = OwnInput(net, spec, self.unit, len(self.in_shape))
        if self._is_users(section.width):
            style = find_call_style(taking(self.ids, net), self.in_shape, trained=False)
            net = adapted(net, style)
        net = taking(self.ids, net)
        if section.inputs == "raw" and not self.ids:
            net = FromRaw(net, self.mean, self.std, whole=self.whole)
        net = net.eval().requires_grad_(False)
        return LoadedTeacher(net=net, digest=digest, spec=spec, words=(words,) if words else ())

    @cached_property
    def _members(self) -> tuple[Models, ...]:
        """For each member of the teacher, the models of the study whose teacher it alone is."""
        sections = self.study.teacher.models if self.study.teacher.members else ()
        studies = [self.study.model_copy(update={"teacher": section}) for section in sections]
        return tuple(replace(self, study=study) for study in studies)

    @cached_property
    def _call_styles(self) -> dict[int, CallStyle]:
        """By width, how models are called, as far as it was found out."""
        return {}

    def _call_style(self, width: int) -> CallStyle:
        """How models of a width are called, found out with one that is not used for more."""
        if width not in self._call_styles:
            style = CallStyle()
            if self._is_users(width):
                net = taking(self.ids, self._make(width, 0))
                style = find_call_style(net, self.in_shape, trained=True)
            self._call_styles[width] = style
        return self._call_styles[width]

    def _is_users(self, width: int) -> bool:
        """Whether the user's code makes the model of a width."""
        teacher = self.study.teacher
        own = width == teacher.width and teacher.factory is not None
        return own or ":" in self.study.model.family

    def _make(self, width: int, seed: int) -> nn.Module:
        """A model as the family or the factory returns it."""
        teacher = self.study.teacher
        if width == teacher.width and teacher.outputs is not None:
            return NoModel(self.num_classes)
        if width == teacher.width and teacher.factory is not None:
            with same_in_every_process():  # the factory may fit the model that it returns
                return self._functions.factory(width, seed)
        return self._functions.family(width, seed)

    @cached_property
    def _functions(self) -> StudyFunctions:
        return StudyFunctions(
            study=self.study,
            in_shape=self.in_shape,
            num_classes=self.num_classes,
            ids=self.ids,
        )
