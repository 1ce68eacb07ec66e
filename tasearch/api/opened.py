"""A run as Python and notebooks have it: shown, drawn, exported, confirmed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from tasearch.api.inputs import own_modules
from tasearch.config.arguments import check_choice, check_path
from tasearch.config.places import Place
from tasearch.errors import TasearchError
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.front_table import html_table
from tasearch.runs import run as reading
from tasearch.runs.events import Event
from tasearch.runs.journal import OptunaStudy, copied_study
from tasearch.runs.records import ENDED

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from torch import nn

    from tasearch.runs.verdicts import Confirmation


class Student(Candidate):
    """A trained student of a run: a candidate with its model."""

    _run: reading.Run  # no field: a student is equal to its candidate, and is no more as a dict

    @classmethod
    def of(cls, candidate: Candidate, run: reading.Run) -> Student:
        """A candidate as a student of the run that trained it."""
        found = cls(**{f.name: getattr(candidate, f.name) for f in fields(Candidate)})
        object.__setattr__(found, "_run", run)
        return found

    @cached_property
    def model(self) -> nn.Module:
        """The trained student, on the CPU and in eval mode.

        It takes raw float32 samples (samples, *in_shape), and returns logits (samples, classes). Of
        several replicates it is the first one.

        Raises:
            ExportError: The run's study names user code, and the run is not trusted.
            RunError: The data or the code are not those that the student was trained with.
            StoreError: Its weights are missing or damaged.
        """
        from tasearch.exports.export import student_model

        with own_modules(self._run):
            return student_model(self._run, self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Candidate):
            return NotImplemented
        return all(getattr(self, f.name) == getattr(other, f.name) for f in fields(Candidate))

    __hash__ = None  # type: ignore[assignment]  # as of a candidate, whose recipe is a dict

    def __repr__(self) -> str:
        return f"<Student {self.brief}, {self.latency_ms:.4g} ms, trial {self.trial}>"

    def _repr_html_(self) -> str:
        return html_table([self])


class Run(reading.Run):
    """A finished or unfinished run; each part is read once, when it is first used.

    Args:
        directory: The run's directory.
        trusted: Whether user code that the run's study names may run. That is so where this
            process has searched the run, and so has run it already.

    Example:
        ```python
        run = tasearch.Run.open("runs/digits")
        run.front.to_pandas()
        run.plot("assistants")
        predicted = run.best(max_params=1_000).model(samples).argmax(dim=1)
        ```
    """

    @classmethod
    def open(cls, run: str | Place, runs_dir: str | Place = "runs", *, trust: bool = False) -> Self:
        """A run by its place or by its name.

        Args:
            run: Path or URL of the run, or its name under `runs_dir`.
            runs_dir: The folder or the URL of all runs.
            trust: Whether user code that the run's study names may run.

        Raises:
            RunError: There is no such run, or it cannot be opened.
        """
        found = super().open(run, runs_dir)
        found.trusted = trust
        return found

    def refresh(self) -> Self:
        """Forget what was read, so that the run is read again as it is by now.

        Returns:
            The same run.
        """
        self.directory.look()
        kept = {"directory": self.directory, "trusted": self.trusted}
        vars(self).clear()
        vars(self).update(kept)
        return self

    def best(
        self,
        *,
        max_params: int | None = None,
        max_bytes: int | None = None,
        max_latency_ms: float | None = None,
        trial: int | None = None,
    ) -> Student:
        """The student to ship within a budget, or that of one trial.

        Of each student width it is the best chain of the search, or what a confirmation of that
        width ships.

        Args:
            max_params: Largest number of parameters.
            max_bytes: Largest size in bytes.
            max_latency_ms: Longest latency in milliseconds.
            trial: Number of a finished trial, whose student it is, also if others beat it; it goes
                without a budget.

        Returns:
            The student; its `model` is the trained module.

        Raises:
            NothingFits: No candidate is within the budget, or the trial has no finished student.
            RunError: A trial is given together with a budget.
        """
        found = super().best(
            max_params=max_params, max_bytes=max_bytes, max_latency_ms=max_latency_ms, trial=trial
        )
        return Student.of(found, self)

    @property
    def study(self) -> OptunaStudy:
        """A copy of Optuna's study in memory, as it is now; to change it changes no run.

        Raises:
            RunError: There is no study yet, or its file is damaged.
        """
        return copied_study(self.directory, self.manifest.study.name)

    def plot(
        self,
        name: str = "front",
        *,
        x: Literal["params", "bytes", "latency_ms"] = "params",
        y: Literal["error", "accuracy"] = "error",
        dark: bool = False,
    ) -> go.Figure:
        """Draw one of the report's figures.

        Args:
            name: "front", "assistants", "curves", "cost", "progress" or "importance".
            x: The x axis of the front.
            y: The y axis of the front.
            dark: Whether the background is dark.

        Returns:
            The figure of plotly, which a notebook shows.

        Raises:
            RunError: An argument is wrong, or a file of the run is damaged.
            NothingFits: The run has nothing to show in this figure yet.
        """
        from tasearch.report.front_view import X, Y
        from tasearch.report.plots import PLOTS, Look, drawn
        from tasearch.report.style import DARK, LIGHT

        check_choice(name, [*PLOTS], "name")
        check_choice(x, get_args(X), "x")
        check_choice(y, get_args(Y), "y")
        return drawn(self, name, Look(x=x, y=y, theme=DARK if dark else LIGHT))

    def export(
        self,
        out: str | Path,
        *,
        max_params: int | None = None,
        max_bytes: int | None = None,
        max_latency_ms: float | None = None,
        trial: int | None = None,
        quantize: str | Callable[[bytes], bytes] | None = None,
    ) -> Candidate:
        """Write the best student within a budget, or that of one trial, to a folder.

        It is `tasearch.export` of this run, with the same arguments and errors.
        """
        from tasearch.exports.export import export

        with own_modules(self):
            return export(
                self,
                out,
                max_params=max_params,
                max_bytes=max_bytes,
                max_latency_ms=max_latency_ms,
                trial=trial,
                quantize=quantize,
            )

    def report(self, out: str | Path | None = None) -> Path:
        """Write the report: one HTML page that works offline.

        Args:
            out: The page; `report.html` in the run's folder if not given.

        Returns:
            The path of the page.

        Raises:
            RunError: It cannot be written, or a file of the run is damaged.
        """
        from tasearch.report.page import write_report

        return write_report(self, None if out is None else check_path(out, "out"))

    def confirm(
        self, *, on_event: Callable[[Event], None] | None = None, **options: Any
    ) -> Confirmation:
        """Tell whether assistants help, on fresh seeds. The run then knows the verdicts.

        It is `tasearch.confirm` of this run, with the same arguments and errors.
        """
        from tasearch.api.confirming import confirm

        with own_modules(self):
            found = confirm(self, on_event=on_event, **options)
        self.refresh()
        return found

    def __repr__(self) -> str:
        try:
            return f"<Run {self._words}>"
        except TasearchError:
            return f"<Run {str(self.place)!r}: cannot be read>"

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self)[1:-1])}</p>{html_table(self.front.members)}"

    @property
    def _words(self) -> str:
        """The name, the state, the number of trials, the front and the best student."""
        if self.directory.history().finished:
            state = "finished"
        else:
            state = "searching" if self.directory.busy else "stopped"
        over = sum(trial.state in ENDED for trial in self.trials if not trial.free)
        best = f", best {self.choices[0].brief}" if self.choices else ""
        name = repr(self.manifest.study.name)
        trials = f"{over} trial{'s' * (over != 1)}"
        return f"{name}: {state}, {trials}, {len(self.front)} in the front{best}"
