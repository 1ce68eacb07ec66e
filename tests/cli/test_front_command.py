"""`tasearch front`: the members of the front as a table, as JSON and as CSV."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import tasearch
from tasearch.cli.console import out
from tasearch.cli.front_command import front_csv, front_table, show_front
from tasearch.cli.tables import print_table
from tasearch.pareto.candidate import Candidate
from tasearch.report.front_table import front_and_shipped, front_rows
from tasearch.report.intervals import accuracy_interval
from tasearch.report.numbers import flat_numbers, student_numbers
from tasearch.report.rows import Confirmed, Row, rows_of
from tasearch.report.text import ends_text
from tasearch.runs.verdict_file import write_confirmations
from tasearch.runs.verdicts import Arm, Comparison, Confirmation, LookPlan, Verdict
from tests.helpers.commands import command
from tests.helpers.runs import only_prepared


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """80 columns, whatever the environment says."""
    monkeypatch.setattr(out, "_width", 80)


@pytest.fixture(scope="module")
def rows(finished: tasearch.Run) -> list[Row]:
    return front_rows(rows_of(finished))


def test_members_are_those_of_the_front_by_size(finished: tasearch.Run, rows: list[Row]) -> None:
    assert [row.trial for row in rows] == [c.trial for c in finished.front.members]


def test_table_has_a_line_for_each_member(
    finished: tasearch.Run, rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    code, text, said = command(capsys, "front", finished.path)
    assert (code, said) == (0, "")
    lines = text.splitlines()[1:]
    assert "*" not in text and ">" not in text
    for row, line in zip(rows, lines, strict=False):
        assert line.startswith(f"{row.trial:>5}  {row.label} ")
        assert f" {row.accuracy:.1%} " in line and f" {row.params:,} " in line
        smaller = "" if row.smaller is None else row.smaller
        assert re.search(rf" {row.latency_ms:.4g} +{smaller}$", line)
    notes = lines[len(rows) :]
    assert len(notes) == any(row.smaller is not None for row in rows)


def test_table_fits_80_columns_and_keeps_every_number(
    rows: list[Row], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(out, "_width", 200)
    confirmed = Confirmed(accuracy=0.98765, interval=(0.98, 0.99), test=None, seeds=16)
    long = "1024 → 512 → 256 → 128 → 64"
    wide = replace(rows[0], params=123_456_789, label=long, smaller=1234, confirmed=confirmed)
    wide = replace(wide, shipped=True)
    print_table(front_table([*rows, wide]))
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for words in ("123,456,789", " 1234", "98.8%"):
        assert words in text
    assert re.findall(r"\d+", long)[-1] in text
    assert out.width == 200


@pytest.mark.parametrize(("width", "dropped"), [(80, 0), (66, 1), (52, 2), (44, 3), (34, 4)])
def test_narrow_terminals_lose_columns_not_chains_nor_digits(
    width: int,
    dropped: int,
    rows: list[Row],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(out, "_width", width)
    order = ("as good", "95 % interval", "trial", "ms")
    some = [replace(row, label="64 → 24 → 12", smaller=1, latency_ms=0.0123) for row in rows]
    heads = print_table(front_table(some), order)
    assert [head for head in order if head not in heads] == [*order[:dropped]]
    text = capsys.readouterr().out
    assert "…" not in text
    assert text.count("64 → 24 → 12") == len(rows)


@pytest.mark.parametrize(("width", "params"), [(37, True), (28, False), (18, False)])
def test_tiny_terminals_break_chains_before_digits(
    width: int,
    params: bool,
    finished: tasearch.Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(out, "_width", width)
    show_front(finished, as_json=False, as_csv=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["chain", "accuracy", "params"][: 2 + params]
    assert max(map(len, lines)) <= width
    for member in finished.front.members:
        assert any(f"{member.accuracy:.1%}" in line for line in lines)


def test_column_without_a_cell_is_left_out(rows: list[Row]) -> None:
    none = [replace(row, smaller=None) for row in rows]
    assert "as good" not in print_table(front_table(none))
    assert "as good" in print_table(front_table([replace(none[0], smaller=3), *none]))


def test_chain_with_three_assistants_stays_in_one_line(
    rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    confirmed = Confirmed(accuracy=0.98765, interval=(0.98, 0.99), test=None, seeds=16)
    long = "64 → 48 → 32 → 24 → 12"
    row = replace(rows[0], trial=123, params=3_022, latency_ms=0.017191, label=long)
    print_table(front_table([replace(row, shipped=True, smaller=107, confirmed=confirmed)]))
    assert f"> 123  {long}  " in capsys.readouterr().out


@pytest.fixture
def shipped(finished: tasearch.Run, tmp_path: Path) -> tuple[tasearch.Run, Candidate]:
    """A copy of the run with a verdict that ships a direct chain, and that student."""
    run = tasearch.Run.open(shutil.copytree(finished.path, tmp_path / finished.path.name))
    longer = next(c for c in run.front.candidates if len(c.chain) > 2)
    width = longer.chain[-1]
    direct = next(c for c in run.front.candidates if c.chain == (16, width))
    first, second = (
        Arm(chain=c.chain, recipe=c.recipe, accuracies=(0.5, 0.75, 0.5, 0.75))
        for c in (longer, direct)
    )
    verdict = Verdict(answer="no difference", settled=True, pairs=4)
    own = Comparison(question="assistants", first=first, second=second, verdict=verdict)
    done = Confirmation(plan=LookPlan(), comparisons=(own,), finished=True)
    write_confirmations(run.path, [done])
    return tasearch.Run.open(run.path), direct


def test_front_has_what_a_verdict_ships(
    shipped: tuple[tasearch.Run, Candidate], capsys: pytest.CaptureFixture[str]
) -> None:
    run, direct = shipped
    text = command(capsys, "front", run.path)[1]
    interval = ends_text(accuracy_interval([0.5, 0.75, 0.5, 0.75], run.manifest.validation))
    assert re.search(rf"> {direct.trial} +{direct.label} +62\.5%\* +{interval} ", text)
    assert "> what `tasearch confirm` ships of this width" in text
    assert "* mean accuracy on 4 fresh seeds; the others in the search\n" in text
    members = json.loads(command(capsys, "front", run.path, "--json")[1])["front"]
    assert [m["trial"] for m in members if m["shipped"]] == [direct.trial]
    lines = csv.DictReader(command(capsys, "front", run.path, "--csv")[1].splitlines())
    assert [int(line["trial"]) for line in lines if line["shipped"] == "True"] == [direct.trial]


def test_shipped_student_is_listed_though_others_beat_it(rows: list[Row]) -> None:
    beaten = replace(rows[-1], trial=999, front=False, shipped=True)
    dropped = replace(beaten, trial=998, shipped=False)
    assert front_and_shipped((*rows, beaten, dropped)) == [*rows, beaten]


def test_json_has_all_numbers(
    finished: tasearch.Run, rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(command(capsys, "front", finished.path, "--json")[1])
    assert found["run"] == str(finished.path)
    for row, member in zip(rows, found["front"], strict=True):
        assert member == json.loads(json.dumps(student_numbers(finished, row)))
        low, high = member["interval"]
        assert low < member["accuracy"] < high


def test_csv_reads_back_as_the_same_numbers(
    finished: tasearch.Run, rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    text = command(capsys, "front", finished.path, "--csv")[1]
    for row, line in zip(rows, csv.DictReader(text.splitlines()), strict=True):
        assert line["label"] == row.label and line["recipe"] == row.recipe
        assert tuple(map(int, line["chain"].split())) == row.chain
        assert float(line["accuracy"]) == row.accuracy
        assert (float(line["low"]), float(line["high"])) == row.interval
        assert int(line["params"]) == row.params
        assert line["as_good_as"] == ("" if row.smaller is None else str(row.smaller))


def test_csv_has_replicates_and_quotes_labels(finished: tasearch.Run, rows: list[Row]) -> None:
    row = replace(rows[0], replicates=(0.25, 0.75), label='a "b", c')
    (line,) = csv.DictReader(front_csv([flat_numbers(finished, row)]).splitlines())
    assert line["accuracies"] == "0.25 0.75"
    assert line["label"] == 'a "b", c'


def test_json_and_csv_exclude_each_other(
    finished: tasearch.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(capsys, "front", finished.path, "--json", "--csv") == (
        2,
        "",
        "error: --json: goes without --csv; give one of them\n",
    )


def test_front_without_a_member_is_refused(
    finished: tasearch.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = only_prepared(finished, tmp_path)
    for options in ((), ("--json",), ("--csv",)):
        assert command(capsys, "front", run, *options) == (
            1,
            "",
            f"error: {run}: no student was trained to the end; run it further\n",
        )
