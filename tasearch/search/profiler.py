"""What each width of a study costs to run and how it trains fastest, found before the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from tasearch.chains.mode import Mode
from tasearch.chains.sizes import sized
from tasearch.config.study import Study
from tasearch.data import Dataset
from tasearch.errors import ModelError, RunError, option
from tasearch.models import Models, Standardized
from tasearch.models.tensors import as_tensor
from tasearch.profiling.call_limits import check_calls
from tasearch.profiling.counts import parameters
from tasearch.profiling.lengths import cut_samples, measure_lengths
from tasearch.profiling.machine import describe_backend
from tasearch.profiling.onnx import timed_models
from tasearch.runs.directory import RunDirectory
from tasearch.runs.manifest import Profile
from tasearch.search.chain_space import check_sizes
from tasearch.search.steps import Step, no_step
from tasearch.train.fast.autotuning import study_modes
from tasearch.train.workers.pool import Pool

SAMPLES = 8  # of the validation set, for models that cannot be timed on random numbers

FindModes = Callable[[], dict[int, Mode]]


@dataclass(frozen=True, kw_only=True)
class Profiler:
    """Measures the models of a study, and tries how they train fastest.

    Args:
        study: The study.
        models: Its models.
        data: Its training set and its validation set.
        device: The device to train on.
        pool: Workers that try the modes; None if this process does.
        latency_source: A run whose measurements are used instead of new ones, and whose modes if
            its models train alike; None to measure.
        warn: Called with each notice for the user.
        step: Called with the name of each step when it begins.
        bounds: Scores of guessing and of perfect predictions, for a metric of the user's.
    """

    study: Study
    models: Models
    data: Dataset
    device: torch.device
    pool: Pool | None
    latency_source: RunDirectory | None
    warn: Callable[[str], None]
    step: Step = no_step
    bounds: tuple[float, float] | None = None

    def profile(self) -> Profile:
        """The profile of all widths.

        Raises:
            TasearchError: A model is wrong, or no student fits the budget by its size.
        """
        checked = self.models.check(self.study.widths)
        return self._measured_in(self._start_modes(), checked)

    def extend(self, before: Profile) -> Profile:
        """The profile after a study has grown.

        If a width is new, all widths are measured again, side by side; modes stay as they were.

        Args:
            before: The profile of the run so far.

        Raises:
            TasearchError: A model is wrong, or no student fits the budget by its size.
        """
        study = self.study
        if {*study.widths} <= {*before.measured}:
            return before
        checked = self.models.check(study.widths)
        first, *rest = sorted({*study.widths, *before.measured}, reverse=True)
        assert first == study.teacher.width
        training = study.training.model_copy(
            update={"modes": before.pinned_modes() | study.training.modes}
        )
        student = study.student.model_copy(update={"widths": tuple(rest)})
        wide = replace(
            self, study=study.model_copy(update={"student": student, "training": training})
        )
        # the modes of a lending run may not cover the widths that this run had before
        find_modes = (wide if self.latency_source is None else self)._start_modes()
        found = wide._measured_in(find_modes, checked)
        return replace(found, setup=before.setup, modes={**found.modes, **before.modes})

    def _start_modes(self) -> FindModes:
        """Start to find the modes of all widths that are trained.

        A run that lends its latencies lends its modes too, so that both train alike.

        Returns:
            A function that waits for the modes, by width.
        """
        study, pool = self.study, self.pool
        trained = study.widths if study.teacher_recipe() else study.widths[1:]
        lent = self._lent_modes()
        if {*trained} <= {*lent}:
            return lambda: {width: lent[width] for width in trained}
        pinned = study.pinned_modes
        to_find = [width for width in trained if width not in pinned]
        if pool is not None:
            pool.ask_modes(self.data, to_find)

        def found() -> dict[int, Mode]:
            if pool is not None:
                return pool.modes(self.warn)
            return study_modes(self.models, to_find, self.device, self.warn)

        return cache(lambda: pinned | found())

    def _lent_modes(self) -> Mapping[int, Mode]:
        """The modes of a lending run that trains alike, by width; none without such a run."""
        if self.latency_source is None:
            return {}
        lent, study = self.latency_source.read(), self.study
        alike = lent.study.training.deciding() == study.training.deciding()
        same_replicates = lent.study.search.replicates == study.search.replicates
        return lent.modes if alike and same_replicates else {}

    def _measured_in(self, find_modes: FindModes, checked: Mapping[int, nn.Module]) -> Profile:
        """The profile of all widths.

        Models are exported while modes are found, but nothing is timed before these are there. If a
        model cannot be exported to ONNX, torch is timed: for all widths, or only for the teacher,
        which is never a candidate.

        Args:
            find_modes: Waits for the modes of all widths.
            checked: Models that `Models.check` returned, by width; others are built here.
        """
        data = self.data
        mean, std = as_tensor(data.mean), as_tensor(data.std)
        built = {w: checked[w] if w in checked else self.models.build(w) for w in self.study.widths}
        nets = {width: Standardized(net, mean, std) for width, net in built.items()}
        if self.latency_source is not None:
            lent = self._lent(self.latency_source, nets)
            self.step("autotuning")
            return replace(lent, setup=self._setup(), modes=find_modes())
        check_sizes(self.study, nets)
        section, exported = self.study.latency, None
        samples = torch.tensor(data.validation.x[:SAMPLES])
        samples = samples if data.ids else samples.float()
        cut = cut_samples(samples, section.lengths, texts=data.tokens is not None)
        check_calls(nets, data.in_shape, section, self.device)
        if section.backend == "onnx":
            self.step("ONNX export")
            exported = _all_exported(nets, cut, section.batch, self.warn)
            if exported is None:
                section = section.model_copy(update={"backend": "torch"})
        self.step("autotuning")
        find_modes()
        self.step("latencies")
        measured, timing = measure_lengths(
            nets, samples, cut, section=section, device=self.device, models=exported, warn=self.warn
        )
        for notice in timing.notices:
            self.warn(notice)
        return Profile(
            measured=measured,
            setup=self._setup(),
            modes=find_modes(),
            device=describe_backend(section, self.device),
            timing=timing,
        )

    def _setup(self) -> dict[str, Any]:
        """What measurements depend on besides the models."""
        shape = {"in_shape": list(self.data.in_shape), "num_classes": self.data.num_classes}
        section = self.study.latency.model_dump(mode="json")
        if not section["lengths"]:  # as in runs of before there was the key
            del section["lengths"]
        return shape | section

    def _lent(self, latency_source: RunDirectory, nets: Mapping[int, Standardized]) -> Profile:
        """Another run's profile of these widths.

        Raises:
            RunError: It was measured in another way, or of models of other sizes.
        """
        found, sizes = latency_source.measured(), {w: parameters(net) for w, net in nets.items()}
        if found.setup != self._setup():
            raise RunError(
                f"{option('latency_from')}: {latency_source.path} was measured with {found.setup}, "
                f"this study needs {self._setup()}"
            )
        given = found.measured
        for width, params in sizes.items():
            same = width in given and str(given[width].width) == str(width)
            if not same or given[width].params != params:
                has = f"{given[width].params:,} params" if same else "no measurement"
                raise RunError(
                    f"{option('latency_from')}: {latency_source.path} should measure "
                    f"{sized(width)} with {params:,} params, has {has}"
                )
        return replace(found, measured={width: given[width] for width in sizes})


def _all_exported(
    nets: Mapping[int, Standardized],
    cut: Sequence[Tensor],
    batch: int,
    warn: Callable[[str], None],
) -> list[dict[int, bytes]] | None:
    """ONNX models by width for each length of samples, as `_exported` returns them."""
    found = [_exported(nets, samples, batch, warn) for samples in cut]
    whole = [models for models in found if models is not None]
    return whole if len(whole) == len(cut) else None


def _exported(
    nets: Mapping[int, Standardized],
    samples: Tensor,
    batch: int,
    warn: Callable[[str], None],
) -> dict[int, bytes] | None:
    """ONNX models by width, perhaps without the teacher's; None if another one fails."""
    in_shape, kind = tuple(samples.shape[1:]), samples.dtype
    try:
        return timed_models(nets, in_shape, batch, kind)
    except ModelError as error:
        first = error
    teacher, *_ = nets
    try:
        rest = {width: net for width, net in nets.items() if width != teacher}
        exported = timed_models(rest, in_shape, batch, kind)
    except ModelError as error:
        warn(f"all latencies are torch's, not ONNX Runtime's: {error}")
        return None
    warn(f"the teacher's latency is torch's, not ONNX Runtime's: {first}")
    return exported
