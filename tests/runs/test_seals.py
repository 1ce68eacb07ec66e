"""Nothing of a run is believed that is not what was written."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import tasearch
from tasearch import RunError, StoreError, TasearchError
from tasearch.cli import commands as cli
from tasearch.config.study_file import render
from tasearch.exports.student import rebuild_student
from tasearch.report.info import report_info
from tasearch.report.status import status_lines
from tasearch.runs.directory import RunDirectory
from tasearch.runs.event_log import EventLog
from tasearch.runs.events import HopStarted, Notice
from tasearch.runs.journal import REMEDY
from tasearch.runs.seals import HashChain, LineStatus, read_log, seal_json, unseal_json
from tests.helpers.runs import contents
from tests.helpers.studies import tiny
from tests.helpers.runs import facts

FLIPS = 12
AGAIN = "`tasearch run` on the same study writes it again"
EDITED = "does not match its checksum: it was edited, or is damaged"
ORDER = "is out of its order: it was doubled or moved"
GAP = "does not follow the line before: lines between them were removed or changed"


@pytest.fixture
def copy(finished: tasearch.Run, tmp_path: Path) -> Path:
    """A copy of the finished run, to be damaged."""
    return Path(shutil.copytree(finished.path, tmp_path / "runs" / "tiny"))


def figures(path: Path) -> list[Any]:
    """All that the reading commands say of a run, but for its place."""
    run = tasearch.Run.open(path)
    student = rebuild_student(run, run.best()).candidate
    info = report_info(run)
    return [asdict(student), status_lines(run)[1:], vars(info) | {"front": info.front.members}]


def check(path: Path, file: Path, before: list[Any]) -> str:
    """Read a damaged run: refused in a message that names the file, or with figures as before.

    Returns the message; empty where there is none.
    """
    try:
        now = figures(path)
    except TasearchError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert file.name in message
        assert "\n" not in message
        return message
    if file.name != "events.jsonl":
        assert now == before
        return ""
    lines = dict(now[1])
    told = lines.pop("damage", "")
    assert not told or lines["time"].startswith("at least ")
    assert told.startswith(str(file)) or now == before
    assert [now[0], now[2]] == [before[0], before[2]]
    expected = dict(before[1])
    if told and " of unknown: " in lines["trials"]:  # the line that says how many were asked for
        expected["trials"] = expected["trials"].replace(" of 10: ", " of unknown: ")
    assert {**lines, "time": ""} == {**expected, "time": ""}
    return told


@pytest.fixture
def fast_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an export builds of the data, once; the weights are still read."""
    from tasearch.exports import student as exporting

    loaded: dict[str, Any] = {}
    load = exporting.load_data
    monkeypatch.setattr(exporting, "load_data", lambda study: loaded.setdefault("", load(study)))


def restored(file: Path) -> Iterator[Callable[[bytes], None]]:
    """Writes damaged content; the file is whole again in the end."""
    whole = file.read_bytes()
    yield file.write_bytes
    file.write_bytes(whole)


def test_flipped_bytes_are_found_in_every_file(copy: Path, fast_reading: None) -> None:
    before, rng = figures(copy), random.Random(0)
    files = [copy / n for n in ("run.json", "measurements.json", "journal.log", "events.jsonl")]
    files += sorted((copy / "hops").iterdir())[:6]
    for file in files:
        whole = file.read_bytes()
        last = len(whole) - (2 if file == copy / "events.jsonl" else 1)  # no end: a kill's doing
        for place in {0, 20, last, *rng.sample(range(last), FLIPS)}:
            damaged = bytearray(whole)
            damaged[place] ^= 1 << rng.randrange(8)
            file.write_bytes(damaged)
            told = check(copy, file, before)
            assert told or file.parent.name == "hops", (file, place)
        file.write_bytes(whole)
    assert figures(copy) == before


@pytest.mark.parametrize("name", ["journal.log", "events.jsonl"])
def test_lines_removed_doubled_and_swapped_are_found(copy: Path, name: str) -> None:
    file = copy / name
    lines = file.read_bytes().splitlines(keepends=True)
    run = tasearch.Run.open(copy)
    trials, whole = run.trials, run.directory.history()
    middle = len(lines) // 2

    def told(changed: list[bytes]) -> str:
        file.write_bytes(b"".join(changed))
        if name == "events.jsonl":
            return RunDirectory(copy).history().damage
        with pytest.raises(RunError) as error:
            _ = tasearch.Run.open(copy).trials
        assert str(error.value).endswith(f"; {REMEDY}")
        return str(error.value).removesuffix(f"; {REMEDY}")

    for place in sorted({0, 1, middle, len(lines) - 2}):
        line = lines[place]
        removed = told(lines[:place] + lines[place + 1 :])
        assert removed == f"{file}: line {place + 1} {GAP}"
        doubled = told([*lines[: place + 1], line, *lines[place + 1 :]])
        assert doubled == f"{file}: line {place + 2} {ORDER}"
        swapped = told([*lines[:place], lines[place + 1], line, *lines[place + 2 :]])
        assert swapped.startswith(f"{file}: line {place + 1} {GAP}")
        torn = told([*lines[:place], line[: len(line) // 2] + b"\n", *lines[place + 1 :]])
        assert torn.startswith(f"{file}: line {place + 1} ")
        edited = told([*lines[:place], line.replace(b":", b": ", 1), *lines[place + 1 :]])
        assert edited == f"{file}: line {place + 1} {EDITED}"
        for junk in (b"[]\n", b'{"a":1}\n', b"\xff\n", b"\n", b"[" * 3000 + b"\n"):
            assert told([*lines[:place], junk, *lines[place:]]).startswith(
                f"{file}: line {place + 1} "
            )
    file.write_bytes(b"".join(lines))
    assert tasearch.Run.open(copy).trials == trials
    assert RunDirectory(copy).history() == whole


@pytest.mark.parametrize("name", ["run.json", "measurements.json"])
def test_every_edited_value_and_every_removed_key_is_found(copy: Path, name: str) -> None:
    file = copy / name
    content = json.loads(file.read_text())
    remedy = f"put the file back, or remove it: {AGAIN}"
    if name == "measurements.json":
        remedy = "put the file back, or remove the folder and run the study again"
    edits = 0
    for holder, key in [*places(content)]:
        was = holder[key]
        for now in (None, "word", [], {}, 0, 1.5, True, -1):
            holder[key] = now
            if json.dumps(now) != json.dumps(was):
                refused(copy, content, file, f"{EDITED}; {remedy}")
                edits += 1
        holder[key] = was
        if isinstance(holder, dict) and key != "seal":
            taken = holder.pop(key)
            refused(copy, content, file, f"{EDITED}; {remedy}")
            holder[key] = taken
    assert edits > 100
    del content["seal"]
    older = "bears no seal: an older version of tasearch made it, or it was edited"
    refused(copy, content, file, f"{older}; {remedy}")
    file.write_text("[" * 5000)
    with pytest.raises(RunError, match="is no JSON: "):
        RunDirectory(copy).read()
    file.write_text("[]")
    with pytest.raises(RunError, match="should hold a JSON object, found list"):
        RunDirectory(copy).read()
    file.unlink()
    if name == "measurements.json":
        with pytest.raises(RunError) as error:
            RunDirectory(copy).read()
        assert str(error.value) == f"{file}: is missing; {remedy}"


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of JSON with each of its keys; of a long list with its first and last."""
    numbers = range(len(value))
    keys = list(value) if isinstance(value, dict) else {*numbers[:1], *numbers[-1:]}
    for key in keys:
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


def refused(run: Path, content: Any, file: Path, message: str) -> None:
    file.write_text(json.dumps(content))
    with pytest.raises(RunError) as error:
        RunDirectory(run).read()
    assert str(error.value) == f"{file}: {message}"


def test_files_of_different_runs_are_not_mixed(
    copy: Path, finished: tasearch.Run, rerun: Any
) -> None:
    other = rerun(tiny(seed=1), trials=2).path
    for name in ("measurements.json", "journal.log"):
        shutil.copy(other / name, copy / name)
    with pytest.raises(RunError) as error:
        _ = tasearch.Run.open(copy).trials
    assert str(error.value).startswith(f"{copy / 'journal.log'}: ")
    shutil.copy(finished.path / "journal.log", copy / "journal.log")
    shutil.copy(other / "run.json", copy / "run.json")
    for call in (
        lambda: tasearch.Run.open(copy).trials,
        lambda: tasearch.run(tiny(seed=1), runs_dir=copy.parent),
    ):
        with pytest.raises(RunError) as error:
            call()
        assert str(error.value) == (
            f"{copy / 'journal.log'}: is the journal of another run than run.json's, or of an "
            f"older version of tasearch; put the right one back, or remove it: `tasearch run` on "
            f"the same study then tries the same chains again, from the hops that are stored"
        )


def test_measurements_of_another_run_are_refused(copy: Path) -> None:
    file = copy / "measurements.json"
    content = unseal_json("measurements", file.read_bytes())
    content["measurements"][0]["latency_ms"] *= 2
    del content["seal"]
    file.write_bytes(seal_json("measurements", content))
    with pytest.raises(RunError) as error:
        RunDirectory(copy).read()
    assert str(error.value).startswith(
        f"{copy / 'run.json'}: and measurements.json are of different runs; "
    )


def test_two_hops_that_were_swapped_are_found_and_trained_again(copy: Path, rerun: Any) -> None:
    before = contents(tasearch.Run.open(copy))
    run = tasearch.Run.open(copy)
    best = run.trials[run.front.members[-1].trial]
    first, second, *_ = (copy / "hops" / f"{use.key}.safetensors" for use in best.hops)
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    with pytest.raises(StoreError) as error:
        report_info(tasearch.Run.open(copy))
    assert str(error.value) in {
        f"{file}: is damaged: holds what belongs in hops/{other.name}; `tasearch run` on the same "
        f"study makes it again"
        for file, other in ((first, second), (second, first))
    }
    notices: list[str] = []
    tasearch.run(
        tiny(),
        runs_dir=copy.parent,
        on_event=lambda e: notices.append(e.message) if isinstance(e, Notice) else None,
    )
    assert (
        f"{first}: is damaged: holds what belongs in hops/{second.name}; it counts as absent"
        in (notices)
    )
    assert contents(tasearch.Run.open(copy)) == before


def resume(path: Path, **options: Any) -> tuple[tasearch.Run, list[Any]]:
    events: list[Any] = []
    run = tasearch.run(tiny(), runs_dir=path.parent, on_event=events.append, **options)
    return run, events


def told(events: list[Any]) -> list[str]:
    return [event.message for event in events if isinstance(event, Notice)]


def test_a_damaged_journal_is_set_aside_and_made_again(copy: Path, finished: tasearch.Run) -> None:
    journal = copy / "journal.log"
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    for number, place in enumerate((0, len(lines) // 2), 1):
        damaged = b"".join([*lines[:place], b"x" + lines[place], *lines[place + 1 :]])
        journal.write_bytes(damaged)
        run, events = resume(copy)
        assert told(events) == [
            f"{journal}: line {place + 1} {EDITED}; it is kept as journal.log.damaged-{number}, "
            f"and the same chains are tried again"
        ]
        assert (copy / f"journal.log.damaged-{number}").read_bytes() == damaged
        assert facts(run) == facts(finished)
        assert contents(run) == contents(finished)
        assert not any(isinstance(event, HopStarted) for event in events)


def test_a_journal_that_lost_its_end_is_refused_and_completed(
    copy: Path, finished: tasearch.Run
) -> None:
    journal = copy / "journal.log"
    for share in (0.9, 0.0):
        lines = journal.read_bytes().splitlines(keepends=True)
        kept = int(share * len(lines))
        journal.write_bytes(b"".join(lines[:kept]))
        if not kept:
            journal.unlink()
        with pytest.raises(RunError) as error:
            _ = tasearch.Run.open(copy).trials
        assert str(error.value) == (
            f"{journal}: has {kept} lines, and had {len(lines)} when its search ended; put it "
            f"back, or let `tasearch run` on the same study make the rest again from the hops "
            f"that are stored"
        )
        run, events = resume(copy)
        assert facts(run) == facts(finished)
        assert not any(isinstance(event, HopStarted) for event in events)


def test_an_unfinished_last_line_is_no_damage(copy: Path, finished: tasearch.Run) -> None:
    for name in ("journal.log", "events.jsonl"):
        with (copy / name).open("ab") as stream:
            stream.write(b'{"op_code":')
    run = tasearch.Run.open(copy)
    assert facts(run) == facts(finished)
    assert run.directory.history() == finished.directory.history()
    run, events = resume(copy)
    assert facts(run) == facts(finished)
    assert not told(events)
    assert not run.directory.history().damage


def test_a_damaged_event_log_is_named_and_keeps_no_run_from_starting(copy: Path) -> None:
    file = copy / "events.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], b'{"a":1}\n', *lines[3:]]))
    words = f"{file}: line 3 bears no seal, and 1 more line"
    assert dict(status_lines(tasearch.Run.open(copy)))["damage"] == f"{words}; it is left out"
    _, events = resume(copy)
    assert told(events) == [f"{words}; it is left out, and so are its seconds"]
    assert dict(status_lines(tasearch.Run.open(copy)))["time"].startswith("at least ")
    file.write_bytes(os.urandom(5000))
    run, events = resume(copy, trials=11)
    assert told(events)[0].startswith(f"{file}: line 1 bears no seal")
    assert len(run.directory.events()) >= 2


def test_a_run_that_lost_run_json_gets_it_back_if_it_is_of_this_study(
    copy: Path, finished: tasearch.Run
) -> None:
    file = copy / "run.json"
    file.unlink()
    with pytest.raises(RunError) as error:
        tasearch.Run.open(copy)
    assert str(error.value) == f"{file}: is missing; `tasearch run` on the same study writes it"
    with pytest.raises(RunError) as error:
        tasearch.run(tiny(student={"epochs": 5}), runs_dir=copy.parent)
    assert str(error.value) == (
        f"{file}: is missing, and journal.log is not of this study with these data, models and "
        f"measurements; put the file back, give the study another name, or use another --runs-dir"
    )
    assert not file.exists()
    run, events = resume(copy)
    assert facts(run) == facts(finished)
    assert run.manifest == finished.manifest
    assert not any(isinstance(event, HopStarted) for event in events)


def optunas(path: Path) -> optuna.Study:
    """The study as somebody else opens it."""
    storage = JournalStorage(JournalFileBackend(str(path / "journal.log")))
    return optuna.load_study(study_name="tiny", storage=storage)


def test_optunas_own_backend_reads_the_journal(copy: Path, finished: tasearch.Run) -> None:
    study = optunas(copy)
    assert study.user_attrs["identity"] == finished.manifest.identity
    assert [t.number for t in study.trials] == [t.number for t in finished.trials]


def test_others_may_write_what_no_result_depends_on(copy: Path, finished: tasearch.Run) -> None:
    study = optunas(copy)
    study.set_user_attr("note", "looks good")
    study._storage.set_study_system_attr(study._study_id, "dashboard:note:0", "text")
    optuna.create_study(storage=study._storage, study_name="mine").optimize(lambda t: 1.0, 2)
    assert facts(tasearch.Run.open(copy)) == facts(finished)
    journal = copy / "journal.log"
    run, _ = resume(copy, trials=11)  # the lines of others are covered by what follows
    assert facts(run)[: len(finished.trials)] == facts(finished)
    text = journal.read_bytes()
    journal.write_bytes(text.replace(b"looks good", b"looks fine"))
    with pytest.raises(RunError, match=r"journal\.log: line \d+ does not follow the line before"):
        _ = tasearch.Run.open(copy).trials


def test_a_queued_trial_is_taken(copy: Path, finished: tasearch.Run) -> None:
    optunas(copy).enqueue_trial({"assistants": 0})
    trials = tasearch.Run.open(copy).trials
    assert [t.state for t in trials[len(finished.trials) :]] == ["waiting"]


def entered(study: optuna.Study) -> None:
    study.add_trial(optuna.trial.create_trial(values=[1.0, 1.0, 1.0]))


def told_values(study: optuna.Study) -> None:
    study.tell(study.ask(), [1.0, 1.0, 1.0])


def queued_with_attribute(study: optuna.Study) -> None:
    study.enqueue_trial({"assistants": 0}, user_attrs={"free": True})


@pytest.mark.parametrize(
    ("change", "state"),
    [(entered, "foreign"), (told_values, "foreign"), (queued_with_attribute, "waiting")],
)
def test_trials_of_others_are_read_as_what_they_are(
    copy: Path, finished: tasearch.Run, change: Callable[[optuna.Study], None], state: str
) -> None:
    change(optunas(copy))
    read = tasearch.Run.open(copy)
    assert [t.state for t in read.trials[len(finished.trials) :]] == [state]
    assert facts(read)[: len(finished.trials)] == facts(finished)
    assert read.front.members == finished.front.members


def renamed_metrics(study: optuna.Study) -> None:
    study.set_metric_names(["a", "b", "c"])


def claimed(study: optuna.Study) -> None:
    study.set_user_attr("identity", "0" * 32)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (renamed_metrics, "sets the attribute 'study:metric_names', which is tasearch's"),
        (claimed, "sets the attribute 'identity', which is tasearch's"),
    ],
)
def test_others_may_not_write_results(
    copy: Path, change: Callable[[optuna.Study], None], fault: str
) -> None:
    journal = copy / "journal.log"
    lines = journal.read_bytes().count(b"\n")
    change(optunas(copy))
    with pytest.raises(RunError) as error:
        _ = tasearch.Run.open(copy).trials
    assert str(error.value) == f"{journal}: line {lines + 1} bears no seal and {fault}; {REMEDY}"


def test_a_journal_of_an_older_version_is_refused(copy: Path) -> None:
    journal = copy / "journal.log"
    plain = []
    for line in journal.read_text().splitlines():
        content = json.loads(line)
        plain.append({k: v for k, v in content.items() if k not in ("line", "before", "seal")})
    journal.write_text("".join(json.dumps(content) + "\n" for content in plain))
    with pytest.raises(RunError) as error:
        _ = tasearch.Run.open(copy).trials
    assert str(error.value) == (
        f"{journal}: line 1 bears no seal and makes this run's study: an older version of tasearch "
        f"wrote it; {REMEDY}"
    )


def test_a_run_and_its_study_move_together(tmp_path: Path, finished: tasearch.Run) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "own.py").write_text(
        "from torch import nn\n"
        "def net(width, *, in_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(),\n"
        "                         nn.Linear(width, num_classes))\n"
        "def data():\n"
        "    from sklearn.datasets import load_digits\n"
        "    found = load_digits()\n"
        "    return {'x_train': found.images[:600], 'y_train': found.target[:600]}\n"
    )
    study = tiny(data={"source": "own:data"}, model={"family": "own:net"})
    study = study.model_copy(update={"root": str(project)})
    run = tasearch.run(study, trials=2, runs_dir=project / "runs")
    before = facts(run)
    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(project, moved)
    shutil.rmtree(project)
    there = tasearch.Run.open(moved / "runs" / "tiny")
    assert there.manifest.study.root == str(moved)
    assert facts(there) == before
    best = tasearch.export(there, tmp_path / "winner", trust=True)
    assert asdict(best) == asdict(there.best())
    alone = Path(shutil.copytree(there.path, tmp_path / "alone" / "tiny"))
    shutil.move(moved, project)
    assert tasearch.Run.open(alone).manifest.study.root == str(project)


@pytest.mark.parametrize("kind", ["folder", "file", "nothing"])
def test_a_place_that_is_no_run_is_refused(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "tiny"
    if kind == "folder":
        (place / "hops").mkdir(parents=True)
        (place / "thesis.tex").write_text("mine")
        message = "is no run, and holds 'thesis.tex'"
    elif kind == "file":
        place.write_text("mine")
        message = "is no folder"
    else:
        place.symlink_to(tmp_path / "gone")
        message = "is a link to nothing"
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError) as error:
        tasearch.run(tiny(), runs_dir=tmp_path)
    other = "; give the study another name, or use another --runs-dir"
    assert str(error.value) == (
        f"{place}: {message}{other}" if kind == "folder" else f"runs_dir: {place}: {message}"
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_directory_may_be_a_link(tmp_path: Path, finished: tasearch.Run) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "tiny").symlink_to(tmp_path / "disk")
    run = tasearch.run(tiny(), trials=2, runs_dir=tmp_path / "runs", latency_from=finished.path)
    assert (tmp_path / "disk" / "run.json").is_file()
    assert facts(run) == facts(finished)[:2]


FILES = ("run.json", "measurements.json", "journal.log", "events.jsonl", "lock", "hops")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
@pytest.mark.parametrize("name", FILES)
def test_files_replaced_by_other_things_end_in_one_message(
    copy: Path, capsys: pytest.CaptureFixture[str], kind: str, name: str
) -> None:
    file = copy / name
    shutil.rmtree(file) if file.is_dir() else file.unlink()
    if kind == "folder" and name != "hops":
        file.mkdir()
    else:
        os.mkfifo(file)
    study = copy.parent / "tiny.toml"
    study.write_text(render(tiny()))
    for arguments in (["best", copy, "--json"], ["status", copy], ["run", study]):
        options = ["--runs-dir", copy.parent, "--workers", "1"][: 4 if "run" in arguments else 2]
        code, out, err = command(capsys, *arguments, *options)
        assert code in (0, 2), (arguments, err)
        assert err.count("error: ") == (code == 2)
        assert code == 0 or name in err
        assert "Traceback" not in out + err


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of a command in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["tasearch", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def test_commands_name_the_damaged_file(
    copy: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("run.json", "measurements.json", "journal.log"):
        file = copy / name
        whole = file.read_bytes()
        file.write_bytes(whole[:40] + b"~" + whole[41:])
        for arguments in (
            ["best", copy, "--json"],
            ["status", copy],
            ["report", copy, "--out", tmp_path / "page.html"],
            ["export", copy, "--out", tmp_path / "winner"],
        ):
            code, out, err = command(capsys, *arguments)
            assert (code, out) == (2, "")
            assert err.startswith(f"error: {file}: ")
            assert err.count("\n") == 1
        file.write_bytes(whole)
    assert not (tmp_path / "page.html").exists()
    assert not (tmp_path / "winner").exists()
    assert command(capsys, "best", copy, "--json")[0] == 0


@pytest.mark.parametrize("name", ["run.json", "measurements.json"])
def test_a_run_that_lends_its_latencies_is_checked(copy: Path, name: str, tmp_path: Path) -> None:
    file = copy / name
    file.write_bytes(
        file.read_bytes().replace(b'"fp32"', b'"bf16"').replace(b'"seed": 0', b'"seed": 1')
    )
    with pytest.raises(RunError) as error:
        tasearch.run(tiny(), trials=1, runs_dir=tmp_path / "new", latency_from=copy)
    assert str(error.value).startswith(f"{file}: {EDITED}; ")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("at", [1, 2, 3, 5, 8, 13, 21])
def test_a_full_disk_at_any_write_is_one_message(
    finished: tasearch.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Of files written at once, of the journal and of the event log."""
    count, fsync, seal = 0, os.fsync, HashChain.seal

    def tick() -> None:
        nonlocal count
        count += 1
        if count == at:
            raise OSError(errno.ENOSPC, "No space left on device")

    def syncing(handle: int) -> None:
        tick()
        fsync(handle)

    def sealing(chain: HashChain, content: Any) -> bytes:
        line = seal(chain, content)
        tick()
        return line

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", syncing)
        patch.setattr(HashChain, "seal", sealing)
        with pytest.raises(StoreError) as error:
            tasearch.run(tiny(), trials=2, runs_dir=tmp_path, latency_from=finished.path)
    assert str(error.value).endswith(
        ": no room left on the disk; what is finished is kept, make room and run the same command "
        "again"
    )
    run = tasearch.run(tiny(), trials=2, runs_dir=tmp_path, latency_from=finished.path)
    assert facts(run) == facts(finished)[:2]
    assert not run.directory.history().damage


def test_a_log_goes_on_after_damage() -> None:
    chain = HashChain("test")
    lines = [chain.seal({"n": n}) for n in range(5)]
    lines[2] = lines[2].replace(b'"n":2', b'"n":7')
    log = read_log("test", b"".join(lines))
    assert log.damage == [(3, LineStatus.DAMAGED)]
    assert [line["n"] for line in log.lines] == [0, 1, 3, 4]
    lines.append(log.chain.seal({"n": 5}))
    assert read_log("test", b"".join(lines)).damage == [(3, LineStatus.DAMAGED)]
    assert read_log("other", b"".join(lines)).damage[0] == (1, LineStatus.LATER)


@pytest.mark.parametrize("lost", ["emptied", "removed"])
def test_an_event_log_that_is_lost_is_told(copy: Path, lost: str) -> None:
    file = copy / "events.jsonl"
    file.write_bytes(b"") if lost == "emptied" else file.unlink()
    lines = dict(status_lines(tasearch.Run.open(copy)))
    assert lines["damage"] == f"{file}: is missing, or has lost its lines"
    assert " of unknown: " in lines["trials"]
    assert lines["time"] == "at least 0 s of training, how long is left is not known"


def test_a_teacher_whose_hop_is_lost_keeps_its_accuracy(copy: Path) -> None:
    before = dict(status_lines(tasearch.Run.open(copy)))["teacher"]
    assert before.startswith("accuracy ")
    for file in (copy / "hops").iterdir():
        file.unlink()
    assert dict(status_lines(tasearch.Run.open(copy)))["teacher"] == before


def test_lost_lines_of_the_event_log_never_add_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "events.jsonl"
    log, now = EventLog(file), [0.0]
    monkeypatch.setattr("tasearch.runs.event_log.time.time", lambda: now[0])
    for at, event in (
        *((1e9, "search"), (1e9 + 4, "start"), (1e9 + 10, "end")),
        *((2e9, "search"), (2e9 + 3, "start"), (2e9 + 5, "end")),
    ):
        now[0] = at
        log.append(event, {})
    assert log.read().seconds == 15.0
    lines = file.read_bytes().splitlines(keepends=True)
    for place, line in enumerate(lines):
        for instead in (b"", b"[]\n", line.replace(b"000", b"007", 1)):
            file.write_bytes(b"".join([*lines[:place], instead, *lines[place + 1 :]]))
            assert 0.0 <= EventLog(file).read().seconds <= 15.0, (place, instead)
