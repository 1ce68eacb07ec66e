"""A study checked: what would be searched and what it takes, without training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from tasearch.chains.chain import label
from tasearch.chains.sizes import Size
from tasearch.cli.console import out, print_json, print_line
from tasearch.cli.exit_codes import INTERRUPTED
from tasearch.cli.run_command import preparing
from tasearch.cli.stop import Stop
from tasearch.cli.tables import add_cells, number_table, print_table
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.pareto.measurement import Measurement
from tasearch.report.text import duration
from tasearch.report.time_left import range_text

if TYPE_CHECKING:
    from tasearch.search.outlook import Outlook, Rules


def check_shown(study: Study, options: RunOptions, *, as_json: bool) -> None:
    """Prepare a study, tell what its search would do, and write nothing.

    Args:
        study: The study; its root is absolute.
        options: How it would be run.
        as_json: Whether to print a JSON object.

    Raises:
        TasearchError: Something is wrong with the study, its data, its models or its run.
    """
    try:
        lines = None if as_json else out
        with Stop() as stop, preparing(study, options, stop, lines) as prepared:
            from tasearch.search.outlook import outlook
            from tasearch.search.run_search import too_few_trials

            trials = options.trials_of(study)
            found = outlook(prepared, trials)
            notices = [*prepared.notices, too_few_trials(prepared, trials)]
            for notice in () if as_json else filter(None, notices):
                print_line(f"notice: {notice}")
            show_outlook(found, len(prepared.workers), as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def outlook_numbers(found: Outlook, workers: int) -> dict[str, Any]:
    """What a search would do as plain values for programs.

    Args:
        found: What it would do.
        workers: Number of training processes.
    """
    manifest = found.manifest
    study, candidates = manifest.study, manifest.candidates
    return {
        "study": study.name,
        "samples": manifest.samples,
        "validation": manifest.validation,
        "classes": manifest.classes,
        "largest_class": found.largest_class,
        "widths": [
            {
                "width": int(width),
                **({"size": str(width)} if isinstance(width, Size) else {}),
                "roles": _roles(found, width),
                "within_budget": width in candidates,
                "params": size.params,
                "bytes": size.bytes,
                "latency_ms": size.latency_ms,
                **({"latency_by_length": lengths} if (lengths := _by_length(size)) else {}),
                "epoch_s": found.epoch_s.get(width),
            }
            for width, size in manifest.measured.items()
        ],
        "chains": manifest.space,
        "trials": found.trials,
        "first_trials_without_assistants": found.first,
        "workers": workers,
        "teacher_s": found.teacher_s,
        "trials_s_on_one_worker": found.trials_s,
        "rules": [
            {"student": rule.student, "capacity_gap": rule.law, "midpoint": rule.midpoint}
            for rule in found.rules
        ],
    }


def show_outlook(found: Outlook, workers: int, *, as_json: bool) -> None:
    """Print what a search would do.

    Args:
        found: What it would do.
        workers: Number of training processes.
        as_json: Whether to print a JSON object.
    """
    if as_json:
        print_json(outlook_numbers(found, workers))
        return
    for line in _head(found):
        print_line(line)
    print_table(widths_table(found))
    for line in _rest(found, workers):
        print_line(line)


def widths_table(found: Outlook) -> Table:
    """The widths, the teacher's first."""
    lengths = [n for n, _ in next(iter(found.manifest.measured.values())).by_length[:-1]]
    columns = *(f"ms, {length} tokens" for length in lengths), "epoch"
    table = number_table(("width", "role", "params", "bytes", "ms", *columns), ("role",))
    candidates, teacher = found.manifest.candidates, found.manifest.study.teacher.width
    for width, size in found.manifest.measured.items():
        role = ", ".join(_roles(found, width))
        if width != teacher and width not in candidates:
            role += " (over the budget)"
        seconds = found.epoch_s.get(width)
        took = "loaded" if seconds is None else f"{seconds:{',.0f' if seconds >= 10 else '.2g'}} s"
        cells = [str(width), role, f"{size.params:,}", f"{size.bytes:,}", f"{size.latency_ms:.4g}"]
        cells += [f"{ms:.4g}" for _, ms in size.by_length[:-1]]
        add_cells(table, [*cells, took])
    return table


def _by_length(size: Measurement) -> dict[str, float]:
    """Latencies in milliseconds by length in tokens; empty where the study names no lengths."""
    return {str(length): ms for length, ms in size.by_length}


def _roles(found: Outlook, width: int) -> list[str]:
    study = found.manifest.study
    if width == study.teacher.width:
        return ["teacher"]
    assistants = study.assistants.widths if study.assistants.max else ()
    roles = {"assistant": assistants, "student": study.student.widths}
    return [role for role, widths in roles.items() if width in widths]


def _head(found: Outlook) -> Iterator[str]:
    manifest = found.manifest
    yield (
        f"data       {manifest.samples:,} training and {manifest.validation:,} validation samples, "
        f"{manifest.classes} classes, {found.largest_class:.1%} in the largest"
    )
    students = [w for w in manifest.study.student.widths if w in manifest.candidates]
    yield (
        f"budget     {manifest.study.limits()}: "
        f"{len(students)} of {len(manifest.study.student.widths)} students fit"
    )


def _rest(found: Outlook, workers: int) -> Iterator[str]:
    manifest, first = found.manifest, min(found.first, found.trials)
    yield (
        f"chains     {manifest.space:,} within the budget, {found.trials:,} trials"
        + (f", the first {first} of them without assistants" if first else "")
    )
    for i, rule in enumerate(found.rules):
        yield f"{'rules' if i == 0 else '':<10} {_rule(rule, manifest.study.teacher.width)}"
    teacher = f"teacher {duration(found.teacher_s)}, " if found.teacher_s else ""
    if found.trials_s is None:
        yield f"time       {teacher}the trials: too many chains to tell"
    else:
        low, high = (seconds / workers for seconds in found.trials_s)
        on = f" on {workers} workers" if workers > 1 else ""
        yield (
            f"time       {teacher}the trials {range_text((low, max(low, high)))}{on}, from timed "
            f"steps; soft targets and evaluation come on top"
        )


def _rule(rule: Rules, teacher: int) -> str:
    """What the rules would take for one student."""
    if rule.midpoint is None:
        return f"student {rule.student}: no assistant is wider"
    law = label((teacher, *rule.law, rule.student), None)
    half = label((teacher, rule.midpoint, rule.student), None)
    return f"student {rule.student}: capacity-gap law {law}, midpoint {half}"
