"""Students and verdicts as plain values: one name for one fact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import tasearch
from tasearch.report.intervals import accuracy_interval
from tasearch.report.numbers import confirmation_numbers, flat_numbers, student_numbers
from tasearch.report.rows import Row, rows_of

KINDS = {  # what a name stands for, wherever it is
    "chain": list,
    "label": str,
    "interval": list | None,
    "accuracy": float | None,
    "accuracies": list,
    "replicates": int,
    "seeds": int | str,
    "recipe": dict,
    "trial": int | None,
}


def named(value: Any) -> Iterator[tuple[str, Any]]:
    """Every name in a JSON value, with what it stands for."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name, inner
            yield from named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from named(inner)


def longest(run: tasearch.Run) -> Row:
    """The confirmed row with assistants."""
    return next(row for row in rows_of(run) if row.confirmed and row.teaching == "assistants")


def test_names_mean_one_thing_everywhere(confirmed: tasearch.Run) -> None:
    (found,) = confirmed.confirmations
    row = longest(confirmed)
    for numbers in (student_numbers(confirmed, row), confirmation_numbers(confirmed, found)):
        names = dict(named(json.loads(json.dumps(numbers))))
        assert not names.keys() & {"low", "high"}
        for name, value in named(json.loads(json.dumps(numbers))):
            assert isinstance(value, KINDS.get(name, object)), (name, value)


def test_student_has_its_leads_and_what_fresh_seeds_say(confirmed: tasearch.Run) -> None:
    row = longest(confirmed)
    numbers = student_numbers(confirmed, row)
    names = ("over_direct", "over_labels", "latency_p95_ms")
    assert [numbers[name] for name in names] == [getattr(row, name) for name in names]
    assert numbers["as_good_as"] == row.smaller
    fresh, samples = numbers["confirmed"], confirmed.manifest.validation
    assert fresh["accuracies"] == (0.97, 0.99, None, 0.98)
    assert fresh["interval"] == accuracy_interval([0.97, 0.99, 0.98], samples)
    assert fresh["accuracy_of"]["replicates"] == 3
    assert fresh["verdicts"]["assistants"]["interval"] == (0.05, 0.136)
    assert numbers["interval"] == row.interval != fresh["interval"]


def test_confirmation_has_the_same_numbers_as_its_student(confirmed: tasearch.Run) -> None:
    (found,) = confirmed.confirmations
    row = longest(confirmed)
    numbers = student_numbers(confirmed, row)
    told = confirmation_numbers(confirmed, found)
    (comparison,) = told["comparisons"]
    first = comparison["first"]
    assert {**numbers["confirmed"], "verdicts": None} == {
        **{name: first[name] for name in numbers["confirmed"] if name != "verdicts"},
        "verdicts": None,
    }
    assert [first[name] for name in ("chain", "label")] == [row.chain, row.label]
    assert told["ship"][str(row.width)]["trial"] == row.trial


def test_flat_numbers_hold_no_lists(confirmed: tasearch.Run) -> None:
    row = longest(confirmed)
    flat = flat_numbers(confirmed, row)
    assert not any(isinstance(value, list | tuple | dict) for value in flat.values())
    assert flat["confirmed_seeds"] == 3
    assert row.confirmed is not None
    ends = tuple(flat[f"confirmed_{name}"] for name in ("low", "high"))
    assert ends == row.confirmed.interval


@pytest.mark.parametrize("make", [student_numbers, flat_numbers])
def test_what_is_not_known_is_none(budgeted: tasearch.Run, make: Any) -> None:
    direct = next(r for r in rows_of(budgeted) if r.finished and r.teaching == "direct")
    numbers = make(budgeted, direct)
    assert numbers["over_direct"] is None
    assert numbers.get("confirmed") is None and numbers.get("confirmed_seeds") is None
