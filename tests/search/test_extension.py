"""A study that grows keeps what it has shown; only what makes trials incomparable is refused."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import tasearch
from tasearch.config.study import Study
from tasearch.errors import RunError
from tasearch.runs.directory import RunDirectory
from tasearch.runs.events import TrialStarted
from tasearch.runs.records import TrialRecord
from tests.helpers.runs import events_of, proposed
from tests.helpers.studies import tiny

SMALL: dict[str, Any] = {"student": {"widths": [6, 4]}, "assistants": {"max": 1, "widths": [8]}}
GROWN: dict[str, Any] = {
    "student": {"widths": [6, 4, 2], "temperature": [4.0, 8.0], "loss": ["kd", "dist"]},
    "assistants": {"max": 2, "widths": [12, 8]},
}


def shown(trials: list[TrialRecord]) -> list[Any]:
    """What trials have shown."""
    return [(t.number, t.state, t.chain, t.recipe, t.accuracy, t.curve, t.hops) for t in trials]


def trained(run: tasearch.Run) -> Counter[str]:
    """How often each hop was trained to its end."""
    return Counter(e["hop"] for e in run.directory.events() if e["event"] == "end")


def test_grown_study_continues_its_run(rerun: Any) -> None:
    before = rerun(tiny(**SMALL), trials=3)
    old, chains = shown(before.trials), before.manifest.space
    run = rerun(tiny(**GROWN), trials=7)
    assert shown(run.trials)[: len(old)] == old
    assert run.manifest.study.student.widths == (6, 4, 2)
    assert run.manifest.space > chains
    direct = next(t for t in run.trials[len(old) :] if not t.free)
    assert direct.chain == (16, 2)  # the new width's direct chain comes first
    assert max(trained(run).values()) == 1
    assert sum(not t.free for t in run.trials) == 7
    again = rerun(tiny(**GROWN), trials=7)
    assert again.trials == run.trials
    assert (run.path / "journal.log.extended-1").exists()
    assert not run.directory.extension.exists()


def test_run_keeps_its_pruner_unless_the_study_names_another(rerun: Any) -> None:
    """Runs of when "skyline" was the default continue with it."""
    before = rerun(tiny(**SMALL, search={"pruner": "skyline"}), trials=2)
    assert "pruner" not in tiny(**SMALL).search.model_fields_set
    run = rerun(tiny(**SMALL), trials=3)
    assert run.path == before.path
    assert run.manifest.study.search.pruner == "skyline"
    run = rerun(tiny(**SMALL, search={"pruner": "none"}), trials=4)
    assert run.manifest.study.search.pruner == "none"


@pytest.mark.slow
def test_interruption_anywhere_changes_no_extension(
    rerun: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rerun(tiny(**SMALL), "whole", trials=3)
    whole = rerun(tiny(**GROWN), "whole", trials=6)

    class Killed(BaseException):
        pass

    for place in range(5):
        rerun(tiny(**SMALL), f"cut{place}", trials=3)
        with monkeypatch.context() as patch:
            count = iter(range(place))
            for name in ("rename", "replace"):
                was = getattr(Path, name)

                def cut(self: Path, *args: Any, was: Any = was, count: Any = count) -> Any:
                    inside = "exten" in f"{self} {args}"
                    if inside and next(count, None) is None:
                        raise Killed
                    return was(self, *args)

                patch.setattr(Path, name, cut)
            with pytest.raises(Killed):
                rerun(tiny(**GROWN), f"cut{place}", trials=6)
        run = rerun(tiny(**GROWN), f"cut{place}", trials=6)
        assert run.trials == whole.trials, place
        assert run.manifest.measured == whole.manifest.measured


def test_reader_reports_interrupted_extension(rerun: Any) -> None:
    run = rerun(tiny(**SMALL), trials=2)
    run.directory.extension.mkdir()
    assert RunDirectory(run.path).read() == run.manifest  # it holds nothing
    shutil.copy(run.path / "run.json", run.directory.extension)
    with pytest.raises(RunError) as error:
        RunDirectory(run.path).read()
    assert str(error.value) == (
        f"{run.path}: its study has grown, and that was cut off; `tasearch run` on the same study "
        f"ends it"
    )
    rerun(tiny(**SMALL), trials=2)
    assert RunDirectory(run.path).read() == run.manifest


def test_tighter_budget_removes_students_from_front(rerun: Any) -> None:
    before = rerun(tiny(**SMALL), trials=4)
    small = min(c.params for c in before.front.candidates)
    run = rerun(tiny(**SMALL, budget={"max_params": small}), trials=5)
    assert {c.params for c in run.front.candidates} == {small}
    assert shown(run.trials)[: len(before.trials)] == shown(before.trials)
    wide = rerun(tiny(**SMALL), trials=5)
    assert {c.params for c in wide.front.candidates} > {small}


@pytest.mark.slow
def test_study_may_drop_and_restore_width(rerun: Any) -> None:
    first = rerun(tiny(**GROWN), trials=8)
    less = rerun(tiny(**SMALL), trials=9)
    assert shown(less.trials)[: len(first.trials)] == shown(first.trials)
    again = rerun(tiny(**GROWN), trials=10)
    assert shown(again.trials)[: len(less.trials)] == shown(less.trials)
    assert max(trained(again).values()) == 1


INCOMPARABLE: list[tuple[str, Study]] = [
    ("seed was 0, is 1", tiny(**SMALL, seed=1)),
    (
        "student.epochs was 4, is 5",
        tiny(assistants=SMALL["assistants"], student={"widths": [6, 4], "epochs": 5}),
    ),
    ("search.replicates was 1, is 2", tiny(**SMALL, search={"replicates": 2})),
    ("search.rungs was 4, is 3", tiny(**SMALL, search={"rungs": 3})),
    ("training.batch_size was 64, is 32", tiny(**SMALL, training={"batch_size": 32})),
    ("latency.batch was 1, is 2", tiny(**SMALL, latency={"batch": 2})),
]


def test_run_refuses_changes_that_make_trials_incomparable(rerun: Any, tmp_path: Path) -> None:
    rerun(tiny(**SMALL), trials=2)
    for words, study in INCOMPARABLE:
        with pytest.raises(RunError) as error:
            rerun(study)
        assert str(error.value) == (
            f"{tmp_path / 'again' / 'tiny'}: was made by a different study: {words}; "
            f"give the study another name, or use another --runs-dir (in Python runs_dir)"
        )


LADDER: dict[str, Any] = {
    "teacher": {"epochs": 1},
    "assistants": {"max": 2, "widths": [12, 8], "epochs": 1},
    "student": {"widths": [6, 4], "epochs": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("max_concurrent", [1, 8])
@pytest.mark.parametrize("low", [0, 2])
def test_budget_may_grow_and_shrink_with_any_lookahead(
    rerun: Any, max_concurrent: int, low: int
) -> None:
    ladder = {**LADDER, "assistants": {**LADDER["assistants"], "min": low}}
    search = {"max_concurrent": max_concurrent, "sampler": "random", "pruner": "none"}
    sizes = {w: m.params for w, m in rerun(tiny(**ladder), trials=1).manifest.measured.items()}
    budgets = [sizes[6], None, sizes[8], sizes[4], None]
    before: list[Any] = []
    for i, most in enumerate(budgets):
        study = tiny(**ladder, search=search, budget={"max_params": most} if most else {})
        run = rerun(study, "budgets", trials=4 + 2 * i)
        assert shown(run.trials)[: len(before)] == before
        before = shown(run.trials)
        whole = Counter((t.chain, str(t.recipe)) for t in run.trials if t.state == "complete")
        assert max(whole.values()) == 1
        fits = [c for c in run.front.candidates if most is None or c.params <= most]
        assert fits == [*run.front.candidates]
    # with no limit, every assistant that was trained is a candidate too
    widths = {use.width for t in run.trials for use in t.hops[1:] if use.trained == use.epochs}
    assert {c.chain[-1] for c in run.front.candidates} == widths
    assert rerun(study, "budgets", trials=12).trials == run.trials


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(8, 1), (1, 8), (4, 2)])
def test_lookahead_may_change_after_interruption(
    finished: tasearch.Run, tmp_path: Path, before: int, after: int
) -> None:
    def study(max_concurrent: int) -> Study:
        return tiny(**LADDER, search={"max_concurrent": max_concurrent, "sampler": "random"})

    options = {"runs_dir": tmp_path, "latency_from": finished.path, "trials": 10}
    begun = 0
    events = events_of(study(before), **options)
    for event in events:
        begun += isinstance(event, TrialStarted)
        if begun >= 6:
            break
    events.close()
    run = tasearch.run(study(after), **options)
    chains = run.manifest.space
    assert len(proposed(run)) == min(10, chains)
    assert {t.state for t in run.trials} <= {"complete", "pruned"}


def test_run_keeps_foreign_folders(rerun: Any) -> None:
    run = rerun(tiny(**SMALL), trials=2)
    for name in ("extension", "extension.new"):
        (run.path / name).mkdir()
        (run.path / name / "notes.txt").write_text("mine")
    rerun(tiny(**SMALL), trials=3)
    rerun(tiny(**GROWN), trials=4)
    for name in ("extension", "extension.new"):
        assert (run.path / name / "notes.txt").read_text() == "mine"
    assert not run.directory.extension.exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"guidance": "serial"}, {"guidance": "dense"}),
        ({"loss": ["kd", "ce"]}, {"loss": ["kd", "ce"], "temperature": [2.0, 4.0]}),
        ({"loss": ["kd", "ce"]}, {"loss": ["kd", "ce"], "teacher_epoch": ["progressive", 1.0]}),
    ],
    ids=["guidance", "temperature", "teacher epoch"],
)
def test_extension_tries_no_student_again(
    rerun: Any, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """An option without influence on a chain may have had another value when it was tried."""
    short: dict[str, Any] = {"teacher": {"epochs": 1}, "assistants": {"max": 1, "epochs": 1}}
    rerun(tiny(**short, student={"epochs": 1, **before}), trials=7)
    run = rerun(tiny(**short, student={"epochs": 1, **after}), trials=16)
    students = [trial.hops[-1].key for trial in run.trials]
    assert len({*students}) == len(students)
