"""A study with given timings: what ties and a busy machine change, up to the export."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import numpy as np
import pytest
from typer.testing import CliRunner

import tasearch
from tasearch.cli.commands import app
from tasearch.errors import StudyError
from tasearch.pareto.measurement import TimingRounds
from tasearch.profiling.timing import Call, ModelTimings
from tasearch.report.info import report_info
from tasearch.report.page import render_page
from tasearch.runs.events import Event, Notice, TrialStarted
from tests.helpers.studies import tiny

TRUTH = {16: 0.06, 12: 0.0443, 8: 0.0441, 6: 0.0445, 4: 0.0302, 2: 0.03}  # milliseconds
NOISE, ROUNDS = 0.03, 20
BUSY = TimingRounds(medians_ms=(0.01,) * 10 + (0.0134,) * 10, spreads=(0.02,) * ROUNDS)


def given_rounds(
    calls: Mapping[int, Call], reference: Call
) -> tuple[dict[int, ModelTimings], TimingRounds]:
    """Replacement of `time_rounds` with known timings."""
    generator = np.random.default_rng(0)
    timed = {}
    for width in calls:
        noise = np.exp(NOISE * generator.standard_normal(ROUNDS))
        medians = tuple(float(f"{TRUTH[width] * x:.5g}") for x in noise)
        rounds = TimingRounds(medians_ms=medians, spreads=(0.03,) * ROUNDS)
        timed[width] = ModelTimings(rounds=rounds, p95_ms=max(medians))
    return timed, BUSY


@dataclass(frozen=True, kw_only=True)
class Told:
    """A run and its events."""

    run: tasearch.Run
    events: list[Event]


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """A run on a busy machine, with two groups of widths that are tied."""
    events: list[Event] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tasearch.profiling.measure.time_rounds", given_rounds)
        patch.setattr("tasearch.profiling.machine.OtherProcesses.used", lambda self: None)
        folder = tmp_path_factory.mktemp("busy")
        run = tasearch.run(tiny(), runs_dir=folder, on_event=events.append, workers=1)
        yield Told(run=run, events=events)


def test_tied_widths_share_the_mean_of_their_medians(busy: Told) -> None:
    measured = busy.run.manifest.measured
    for group in ((12, 8, 6), (4, 2), (16,)):
        (latency,) = {measured[width].latency_ms for width in group}
        medians = [median(measured[width].rounds.medians_ms) for width in group]
        assert latency == pytest.approx(fmean(medians))
    assert measured[2].latency_ms < measured[12].latency_ms < measured[16].latency_ms


def test_run_notices_a_busy_machine_once_before_training(busy: Told) -> None:
    message = (
        "the machine was busy while latencies were measured: rounds of the reference net "
        "differed by 34%; they are less certain, 5 of 6 widths are tied"
    )
    notice, started = Notice(message=message), TrialStarted
    before = itertools.takewhile(lambda event: not isinstance(event, started), busy.events)
    assert sum(event == notice for event in before) == busy.events.count(notice) == 1
    assert busy.run.manifest.timing.notices == (message,)
    events: list[Event] = []
    tasearch.run(tiny(), runs_dir=busy.run.path.parent, on_event=events.append)
    assert not any("busy" in event.message for event in events if isinstance(event, Notice))


def test_measurements_file_keeps_every_round(busy: Told) -> None:
    content = json.loads((busy.run.path / "measurements.json").read_text())
    assert content["timing"]["reference"]["medians_ms"] == [*BUSY.medians_ms]
    assert content["timing"]["reference"]["spreads"] == [*BUSY.spreads]
    for size in content["measurements"]:
        assert len(size["rounds"]["medians_ms"]) == ROUNDS
        assert size["rounds"]["spreads"] == [0.03] * ROUNDS


def test_front_keeps_the_best_of_tied_students(busy: Told) -> None:
    run = busy.run
    tied = {width: run.manifest.measured[width] for width in (12, 8, 6)}
    assert len({size.median_ms for size in tied.values()}) == 3
    limit = tied[6].latency_ms
    found = run.best(max_latency_ms=limit)
    among = [c.accuracy for c in run.front.candidates if c.chain[-1] <= 12]
    assert found.accuracy == max(among)
    values = {tuple(c.chain[-1:]): c.latency_ms for c in run.front.candidates}
    assert len(set(values.values())) <= 2
    members = run.front.members
    for one in members:  # of tied ones, a larger one is on the front by its accuracy alone
        for other in members:
            if one.latency_ms == other.latency_ms and one.params > other.params:
                assert one.accuracy > other.accuracy


def shown(*arguments: object) -> str:
    done = CliRunner().invoke(app, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_commands_name_tied_widths(busy: Told) -> None:
    run = busy.run
    found = run.best()
    size = run.manifest.measured[found.chain[-1]]
    others = {12: "8 and 6", 8: "12 and 6", 6: "12 and 8"}[size.width]
    words = (
        f"{size.latency_ms:.4g} ms, tied with widths {others}; "
        f"its own median is {size.median_ms:.4g} ms"
    )
    told = shown("best", run.path)
    assert f"latency    median {words}; p95 " in told
    assert f" ms ({run.manifest.device})\n" in told
    page = render_page(report_info(run))
    fast, slow = run.manifest.measured[2].latency_ms, run.manifest.measured[12].latency_ms
    assert (
        f"Widths 4 and 2 are tied, at {fast:.4g} ms. Widths 12, 8 and 6 are tied, at {slow:.4g} ms."
    ) in page
    notice = run.manifest.timing.notices[0]
    assert f"<li>{notice[:1].upper()}{notice[1:]}.</li>" in page


@pytest.mark.slow
def test_export_names_tied_widths(busy: Told, tmp_path: Path) -> None:
    tasearch.export(busy.run, tmp_path / "winner", max_latency_ms=0.04)
    metrics = json.loads((tmp_path / "winner" / "metrics.json").read_text())
    size = busy.run.manifest.measured[metrics["chain"][-1]]
    (other,) = {4, 2} - {size.width}
    assert metrics["latency_tied_with"] == [other]
    assert metrics["latency_ms"] == size.latency_ms
    assert metrics["latency_median_ms"] == size.median_ms
    card = (tmp_path / "winner" / "README.md").read_text()
    (notice,) = metrics["latency_notices"]
    assert "the machine was busy" in notice
    assert (
        f"| latency | {size.latency_ms:.4g} ms, tied with width {other}; its own median is "
        f"{size.median_ms:.4g} ms ({busy.run.manifest.device}; {notice}) |"
    ) in card


def test_run_copies_latencies_of_another_run_without_a_notice(busy: Told, tmp_path: Path) -> None:
    events: list[Event] = []
    again = tasearch.run(
        tiny(), runs_dir=tmp_path, trials=1, latency_from=busy.run.path, on_event=events.append
    )
    assert again.manifest.measured == busy.run.manifest.measured
    assert again.manifest.timing == busy.run.manifest.timing
    assert not any("busy" in event.message for event in events if isinstance(event, Notice))


@pytest.mark.slow
def test_run_refuses_a_batch_beyond_memory_and_writes_nothing(tmp_path: Path) -> None:
    study = tiny(latency={"batch": 65_536}, model={"family": "cnn"}, teacher={"width": 1024})
    with pytest.raises(StudyError) as error:
        tasearch.run(study, runs_dir=tmp_path)
    # into and out of a layer of the teacher: 1,024 channels of 8 x 8 float32 each
    assert str(error.value) == (
        "latency.batch: should be at most 8,192, for one operation of width 1024 may take 4 GiB; "
        "found 65,536"
    )
    assert not (tmp_path / "tiny").exists()
