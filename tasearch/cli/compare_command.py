"""Several runs side by side, as tables and as a figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from tasearch.cli.console import err, out
from tasearch.cli.tables import add_cells, number_table, print_table
from tasearch.config.arguments import check_figure
from tasearch.config.files import write_atomic
from tasearch.errors import NothingFits, RunError
from tasearch.report.figure_files import check_images, figure_bytes
from tasearch.report.run_comparison import RunComparison, compare_runs
from tasearch.report.runs_figure import runs_figure
from tasearch.report.text import ends_text, flops_text
from tasearch.runs.run import Run


def show_comparison(runs: Sequence[str], runs_dir: str, file: Path | None) -> None:
    """Print a comparison of runs, and write its figure.

    Args:
        runs: The runs, by path or by name.
        runs_dir: The folder of all runs.
        file: File of the figure; None for no figure.

    Raises:
        RunError: An argument is wrong, or the runs cannot be compared.
        NothingFits: A run has no finished student.
        TasearchError: An image needs kaleido and a browser, and one of them is missing.
    """
    if len(runs) < 2:
        raise RunError(f"RUN: should be two runs or more, found {len(runs)}")
    ending = ""
    if file is not None:
        ending = check_figure(file)
        check_images(ending)
    found = compare_runs(_named([Run.open(run, runs_dir) for run in runs]))
    for run in found.runs:
        if not run.rows:
            raise NothingFits(f"{run.name}: no student was trained to the end; run it further")
    if found.notice:
        err.print(f"notice: {found.notice}", soft_wrap=True)
    print_table(runs_table(found))
    if found.sizes:
        out.print()
        print_table(sizes_table(found))
    if file is not None:
        write_atomic(file, figure_bytes(runs_figure(found.runs), ending, "fronts"))
        out.print(f"wrote {file}", soft_wrap=True)


def _named(runs: Sequence[Run]) -> dict[str, Run]:
    """The runs by the names of their folders, or by their paths where these names are alike."""
    places = Counter(run.path.resolve() for run in runs)
    for run in runs:
        if places[run.path.resolve()] > 1:
            raise RunError(f"RUN: {run.path}: is given {places[run.path.resolve()]} times")
    names = Counter(run.path.name for run in runs)
    return {run.path.name if names[run.path.name] == 1 else str(run.path): run for run in runs}


def runs_table(found: RunComparison) -> Table:
    """A line for each run: hypervolume, members of the front, finished students, cost."""
    table = number_table(("run", "hypervolume", "front", "students", "training"), ("run",))
    for run in found.runs:
        cells = [run.name, f"{run.hypervolume:.4f}", str(len(run.front)), str(len(run.rows))]
        add_cells(table, [*cells, flops_text(run.flops)])
    return table


def sizes_table(found: RunComparison) -> Table:
    """A line for each size and run: the best accuracy, and its difference from the first run."""
    metric = found.metric
    columns = (
        "params",
        "run",
        metric.words,
        "95 % interval",
        "difference",
        "95 % interval",
        "apart",
    )
    table = number_table(columns, ("run",))
    for size in found.sizes:
        for place, student in enumerate(size.students):
            row = student.row
            assert row.interval is not None
            cells = ["" if place else f"{size.params:,}", student.run, metric.text(row.accuracy)]
            cells.append(ends_text(row.interval, metric))
            if student.difference is not None and student.interval is not None:
                ends = metric.difference_range(*student.interval)
                cells += [
                    metric.difference(student.difference),
                    ends,
                    "yes" if student.apart else "no",
                ]
            add_cells(table, cells)
    return table
