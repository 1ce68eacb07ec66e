"""What a study's models cost to run and how each trains fastest, found before anything is trained;
and the chains that this leaves within the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn

from tasearch.chains.mode import Mode, modes_from_text
from tasearch.config.study import Study
from tasearch.data import Dataset
from tasearch.errors import ModelError, RunError
from tasearch.models import Models, Standardized
from tasearch.pareto.measurement import Measurement, Timing
from tasearch.profiling.call_limits import check_calls
from tasearch.profiling.counts import parameters
from tasearch.profiling.machine import describe_backend
from tasearch.profiling.measure import measure
from tasearch.profiling.onnx import timed_models
from tasearch.runs.directory import RunDirectory
from tasearch.search.chain_space import _admit_some
from tasearch.train.fast.autotuning import study_modes
from tasearch.train.workers.pool import Pool

SAMPLES = 8  # of the validation part, for models that cannot be timed on random numbers


@dataclass(frozen=True, kw_only=True)
class Profiler:
    """Finds what each width of a study costs to run, and how it trains fastest.

    Args:
        study: whose widths.
        models: of the study.
        data: training and validation parts.
        device: to train on.
        pool: workers that try the modes, or None: this process does.
        lender: a run whose measurements, and modes where they suit, are taken instead.
        warn: told what a person should know.
    """

    study: Study
    models: Models
    data: Dataset
    device: torch.device
    pool: Pool | None
    lender: RunDirectory | None
    warn: Callable[[str], None]

    def modes(self) -> Callable[[], dict[int, Mode]]:
        """Waits for the modes of all widths; a loaded teacher is not trained.

        A run that lends its latencies lends what its probes found too, so that both train alike.
        """
        study, pool, training = self.study, self.pool, self.study.training
        trained = study.widths if study.teacher_recipe() else study.widths[1:]
        if self.lender is not None:
            lent = self.lender.read()
            given, theirs = lent.modes, lent.study
            alike = theirs.training.deciding() == training.deciding()
            alike = alike and theirs.search.replicates == study.search.replicates
            if alike and {*trained} <= {*given}:
                return lambda: {width: given[width] for width in trained}
        pinned = modes_from_text(training.modes)
        open_ = [width for width in trained if width not in pinned]
        if pool is not None:
            pool.ask_modes(self.data, open_)

        def found() -> dict[int, Mode]:
            if pool is not None:
                return pool.modes(self.warn)
            return study_modes(self.models, open_, self.device, self.warn)

        return cache(lambda: pinned | found())

    def measure(
        self, modes: Callable[[], object], checked: Mapping[int, nn.Module]
    ) -> tuple[dict[int, Measurement], str, Timing]:
        """Every width's measurement, the teacher's first, the device in words, and how it was.

        Models are exported while modes are found, but nothing is timed before these are there.
        Where one cannot be had in ONNX, torch is timed: for all widths, or for the teacher, which
        is never a candidate, alone.

        Args:
            modes: Waits for the modes of all widths.
            checked: Models that `Models.check` returned, by width; others are built here.
        """
        data = self.data
        built = {w: checked[w] if w in checked else self.models.build(w) for w in self.study.widths}
        mean, std = torch.from_numpy(data.mean), torch.from_numpy(data.std)
        nets = {width: Standardized(net, mean, std) for width, net in built.items()}
        if self.lender is not None:
            return self._lent(self.lender, nets)
        _admit_some(self.study, nets)
        section, exported = self.study.latency, None
        check_calls(nets, data.in_shape, section, self.device)
        if section.backend == "onnx":
            exported = _exported(nets, data.in_shape, section.batch, self.warn)
            if exported is None:
                section = section.model_copy(update={"backend": "torch"})
        modes()
        measured, timing = measure(
            nets,
            in_shape=data.in_shape,
            section=section,
            device=self.device,
            models=exported,
            warn=self.warn,
            samples=torch.tensor(data.validation.x[:SAMPLES]).float(),
        )
        for notice in timing.notices:
            self.warn(notice)
        return measured, describe_backend(section, self.device), timing

    def setup(self) -> dict[str, Any]:
        """What measurements depend on besides the models."""
        shape = {"in_shape": list(self.data.in_shape), "num_classes": self.data.num_classes}
        return shape | self.study.latency.model_dump()

    def _lent(
        self, lender: RunDirectory, nets: Mapping[int, Standardized]
    ) -> tuple[dict[int, Measurement], str, Timing]:
        """Another run's measurements, if they are of nets of these sizes, timed in the same way."""
        found, sizes = lender.measured(), {w: parameters(net) for w, net in nets.items()}
        if found.setup != self.setup():
            raise RunError(
                f"--latency-from {lender.path}: was measured with {found.setup}, "
                f"this study needs {self.setup()}"
            )
        given = found.measured
        for width, params in sizes.items():
            if width not in given or given[width].params != params:
                has = f"{given[width].params:,} params" if width in given else "no measurement"
                raise RunError(
                    f"--latency-from {lender.path}: should measure width {width} with "
                    f"{params:,} params, has {has}"
                )
        return {width: given[width] for width in sizes}, found.device, found.timing


def _exported(
    nets: Mapping[int, Standardized],
    in_shape: tuple[int, ...],
    batch: int,
    warn: Callable[[str], None],
) -> dict[int, bytes] | None:
    """ONNX models of all widths, or of all but the teacher's; None where another fails too."""
    try:
        return timed_models(nets, in_shape, batch)
    except ModelError as error:
        first = error
    teacher, *_ = nets
    try:
        rest = {width: net for width, net in nets.items() if width != teacher}
        exported = timed_models(rest, in_shape, batch)
    except ModelError as error:
        warn(f"all latencies are torch's, not ONNX Runtime's: {error}")
        return None
    warn(f"the teacher's latency is torch's, not ONNX Runtime's: {first}")
    return exported
