"""`tasearch compare`: runs side by side, and a figure of their fronts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import tasearch
from tasearch.cli.compare_command import sizes_table
from tasearch.cli.tables import print_table
from tasearch.pareto.hypervolume import hypervolume
from tasearch.report.intervals import apart, difference_interval
from tasearch.report.rows import rows_of
from tasearch.report.run_comparison import RunComparison, common_box, compare_runs
from tasearch.report.runs_figure import COLOURS, SYMBOLS, runs_figure
from tasearch.report.text import flops_text
from tasearch.runs.comparable import DATA, check_same_data
from tests.helpers.commands import command
from tests.helpers.runs import only_prepared
from tests.helpers.studies import tiny


@pytest.fixture(scope="module")
def twin(finished: tasearch.Run, tmp_path_factory: pytest.TempPathFactory) -> tasearch.Run:
    """The same run in another folder."""
    path = tmp_path_factory.mktemp("twin") / finished.path.name
    shutil.copytree(finished.path, path)
    return tasearch.Run.open(path)


@pytest.fixture(scope="module")
def other(finished: tasearch.Run, tmp_path_factory: pytest.TempPathFactory) -> tasearch.Run:
    """A run on the same data, with another seed and without the smallest student."""
    study = tiny(name="other", seed=1, student={"widths": [6, 4]}, search={"trials": 6})
    return tasearch.run(
        study, runs_dir=tmp_path_factory.mktemp("other"), latency_from=finished.path
    )


@pytest.fixture
def found(finished: tasearch.Run, other: tasearch.Run) -> RunComparison:
    return compare_runs({"tiny": finished, "other": other})


def test_equal_runs_have_no_difference(finished: tasearch.Run, twin: tasearch.Run) -> None:
    found = compare_runs({"a": finished, "b": twin})
    first, second = found.runs
    assert first.hypervolume == second.hypervolume > 0
    box = finished.manifest.reference_box
    assert first.hypervolume == hypervolume(finished.front.candidates, box)
    assert {size.params for size in found.sizes} == {row.params for row in first.rows}
    for size in found.sizes:
        one, two = size.students
        assert one.difference is None and two.difference == 0
        assert two.interval is not None
        low, high = two.interval
        assert low < 0 < high and not two.apart


def test_command_shows_every_run(
    finished: tasearch.Run, twin: tasearch.Run, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "fronts.json"
    code, text, said = command(capsys, "compare", finished.path, twin.path, "--out", file)
    assert (code, said) == (0, "")
    assert max(map(len, text.splitlines()[:-1])) <= 80
    assert text.count(flops_text(finished.costs.paid)) == 2
    assert text.splitlines()[-1] == f"wrote {file}"
    names = [trace["name"] for trace in json.loads(file.read_text())["data"]]
    assert names == [str(finished.path), str(twin.path)]  # the folders have one name


@pytest.mark.slow
def test_sizes_are_those_that_two_runs_have(
    finished: tasearch.Run, other: tasearch.Run, found: RunComparison
) -> None:
    own = [{row.params for row in rows_of(run) if row.finished} for run in (finished, other)]
    assert [size.params for size in found.sizes] == sorted(own[0] & own[1])
    assert own[0] - own[1]
    for size in found.sizes:
        for student, run in zip(size.students, (finished, other), strict=True):
            same = [row for row in rows_of(run) if row.finished and row.params == size.params]
            assert student.row.accuracy == max(row.accuracy or 0 for row in same)
        one, two = size.students
        assert one.row.accuracy is not None and one.row.interval is not None
        assert two.row.accuracy is not None and two.row.interval is not None
        ends = difference_interval(
            two.row.accuracy, two.row.interval, one.row.accuracy, one.row.interval
        )
        assert (two.difference, two.interval) == (two.row.accuracy - one.row.accuracy, ends)
        better, worse = sorted((one.row, two.row), key=lambda row: -(row.accuracy or 0))
        assert better.accuracy is not None and better.interval is not None
        assert worse.accuracy is not None and worse.interval is not None
        told = apart(better.accuracy, better.interval, worse.accuracy, worse.interval)
        assert two.apart == told


@pytest.mark.slow
def test_hypervolumes_are_of_one_box_that_holds_the_box_of_each_run(
    finished: tasearch.Run, other: tasearch.Run, found: RunComparison
) -> None:
    runs = (finished, other)
    box = common_box(runs)
    for run, compared in zip(runs, found.runs, strict=True):
        own = run.manifest.reference_box
        assert box.params[0] <= own.params[0] and own.params[1] <= box.params[1]
        assert box.latency_ms[0] <= own.latency_ms[0] and own.latency_ms[1] <= box.latency_ms[1]
        assert all(max(box.corner(c)) < 1 for c in run.front.candidates)
        assert compared.hypervolume == hypervolume(run.front.candidates, box)
    ends = [run.manifest.reference_box.params for run in runs]
    assert box.params == (min(low for low, _ in ends), max(high for _, high in ends))


@pytest.mark.slow
def test_figure_has_each_front_with_its_intervals(found: RunComparison) -> None:
    figure = runs_figure(found.runs)
    for trace, run in zip(figure.data, found.runs, strict=True):
        assert trace.name == run.name
        assert [*trace.customdata] == [row.trial for row in run.front]
        assert [*trace.x] == [row.params for row in run.front]
        for row, y, up in zip(run.front, trace.y, trace.error_y.array, strict=True):
            assert row.interval is not None
            assert 1 - (y + up) == pytest.approx(row.interval[0])
    assert len({trace.marker.color for trace in figure.data}) == len(figure.data)


def test_runs_of_a_figure_look_unlike() -> None:
    looks = {(COLOURS[i % len(COLOURS)], SYMBOLS[i % len(SYMBOLS)]) for i in range(40)}
    assert len(looks) == 40


def test_size_that_the_first_run_lacks_has_no_difference(
    finished: tasearch.Run,
    twin: tasearch.Run,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    third = tmp_path / "third"
    shutil.copytree(twin.path, third)
    opened = tasearch.Run.open(third)
    first = tasearch.Run.open(finished.path)
    smallest = min(row.params for row in rows_of(first) if row.finished)
    first.__dict__["trials"] = [
        trial
        for trial in first.trials
        if not trial.chain or first.manifest.measured[trial.chain[-1]].params > smallest
    ]
    found = compare_runs({"a": first, "b": twin, "c": opened})
    assert [student.run for student in found.sizes[0].students] == ["b", "c"]
    assert all(student.difference is None for student in found.sizes[0].students)
    print_table(sizes_table(found))
    assert capsys.readouterr().out.count("no\n") == 2 * (len(found.sizes) - 1)


def test_other_data_are_refused(finished: tasearch.Run, twin: tasearch.Run) -> None:
    manifest = finished.manifest
    check_same_data([(finished.directory, manifest), (twin.directory, twin.manifest)])
    elsewhere = replace(manifest, inputs={**manifest.inputs, DATA: "0" * 32})
    with pytest.raises(tasearch.RunError, match=f"{twin.path}: has other data than") as error:
        check_same_data([(finished.directory, manifest), (twin.directory, elsewhere)])
    assert "[data]" in str(error.value)


def test_latencies_of_another_machine_give_a_notice(
    finished: tasearch.Run, twin: tasearch.Run
) -> None:
    assert compare_runs({"a": finished, "b": twin}).notice == ""
    moved = tasearch.Run.open(twin.path)
    moved.__dict__["manifest"] = replace(twin.manifest, device="another machine")
    moved.__dict__["trials"] = twin.trials
    assert "not measured alike" in compare_runs({"a": finished, "b": moved}).notice


def test_wrong_runs_are_refused_in_words(
    finished: tasearch.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = only_prepared(finished, tmp_path)
    link = tmp_path / "link"
    link.symlink_to(finished.path)
    for runs, code, message in (
        ([finished.path], 2, "RUN: should be two runs or more, found 1"),
        ([finished.path, link], 2, f"RUN: {finished.path}: is given 2 times"),
        ([finished.path, tmp_path / "no"], 2, f"{tmp_path}/no: no such run"),
        ([finished.path, prepared], 1, f"{prepared}: no student was trained to the end"),
        ([finished.path, prepared, "--out", "a.pdf"], 2, "--out: should end in .png, .svg"),
    ):
        ended, _, said = command(capsys, "compare", *runs)
        assert ended == code
        assert said.startswith(f"error: {message}") and said.count("\n") == 1
