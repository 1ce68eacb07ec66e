"""A run at a URL: a search goes on from an empty disk, and ends as one in a folder does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tasearch
from tasearch.config.places import Url
from tasearch.config.study_file import render
from tasearch.errors import RunError, StoreError
from tasearch.runs.events import EpochDone, Event, TrialDone
from tasearch.runs.opening import run_at
from tasearch.runs.remote.bucket import Bucket
from tasearch.runs.remote.lease import LEASES, Lease, LeaseLost
from tasearch.runs.remote.store import RemoteStore
from tasearch.runs.run import Run
from tests.helpers.commands import command
from tests.helpers.object_stores import FailingStore, Killed, objects, quick_leases
from tests.helpers.remote_runs import same
from tests.helpers.runs import events_of, facts
from tests.helpers.studies import tiny

MODES = dict.fromkeys(("16", "12", "8", "6", "4", "2"), "fp32")
KILLS = 5
STUDY = tiny(name="run", search={"trials": 4}, training={"modes": MODES})


@pytest.fixture(scope="module")
def local(finished: tasearch.Run, tmp_path_factory: pytest.TempPathFactory) -> tasearch.Run:
    """The study, searched in a folder."""
    folder = tmp_path_factory.mktemp("local")
    return tasearch.run(STUDY, runs_dir=folder, latency_from=finished.path)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """Goes on as on another machine, whose disk is empty."""
    numbers = iter(range(99))
    return lambda: monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / f"disk-{next(numbers)}"))


def search(url: Url, finished: tasearch.Run, **options: Any) -> tasearch.Run:
    return tasearch.run(STUDY, runs_dir=url.parent, latency_from=finished.path, **options)


@pytest.mark.slow
def test_search_at_a_url_is_that_in_a_folder(
    url: Url, finished: tasearch.Run, local: tasearch.Run, elsewhere: Callable[[], None]
) -> None:
    run = search(url, finished)
    assert run.place == url
    assert "lock" not in " ".join(objects(url))
    assert Bucket(url).names(LEASES) == []
    same(url, local)
    elsewhere()
    same(url, local)
    before = objects(url)
    assert facts(search(url, finished)) == facts(local)  # there is nothing left to train
    assert {name: found for name, found in objects(url).items() if "hops/" in name} == {
        name: found for name, found in before.items() if "hops/" in name
    }


def test_search_goes_on_from_an_empty_disk(
    url: Url, finished: tasearch.Run, local: tasearch.Run, elsewhere: Callable[[], None]
) -> None:
    """Each trial is searched on another machine."""
    for trials in range(1, 5):
        elsewhere()
        search(url, finished, trials=trials)
    same(url, local)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("half", [False, True], ids=["missing", "half-written"])
def test_death_at_any_write_changes_nothing(
    failing: Url,
    finished: tasearch.Run,
    local: tasearch.Run,
    elsewhere: Callable[[], None],
    half: bool,
) -> None:
    """It goes on from an empty disk, dies again some writes later, and so on."""
    deaths, fatal = 0, 17
    while True:
        elsewhere()
        FailingStore.heal()
        FailingStore.half, FailingStore.fatal = half, fatal if deaths < KILLS else -1
        try:
            search(failing, finished)
        except Killed:
            deaths += 1
            fatal = 11 + 7 * deaths % 13
            continue
        break
    assert deaths == KILLS
    same(failing, local)


@pytest.mark.slow
def test_second_driver_is_refused(
    url: Url, finished: tasearch.Run, elsewhere: Callable[[], None]
) -> None:
    options = {"runs_dir": url.parent, "latency_from": finished.path}
    events = events_of(STUDY, **options)
    next(events)
    with pytest.raises(RunError, match=f"^{url}: another tasearch is running or confirming it"):
        search(url, finished)
    elsewhere()
    with pytest.raises(RunError, match=f"^{url}: another tasearch, on .*, is running"):
        search(url, finished)
    events.close()
    assert len(search(url, finished).trials) >= 4


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Ends the signs of life of all leases that there are, as sleep does."""
    made: list[Lease] = []
    begin = Lease.__init__

    def noted(self: Lease, *arguments: Any) -> None:
        made.append(self)
        begin(self, *arguments)

    def silence() -> None:
        for lease in made:
            lease._over.set()
            lease._life.join()

    monkeypatch.setattr(Lease, "__init__", noted)
    return silence


def test_driver_that_was_asleep_ends_in_words(
    url: Url,
    finished: tasearch.Run,
    local: tasearch.Run,
    elsewhere: Callable[[], None],
    silent: Callable[[], None],
) -> None:
    asleep = events_of(STUDY, runs_dir=url.parent, latency_from=finished.path)
    for event in asleep:
        if isinstance(event, TrialDone):
            break
    silent()
    elsewhere()
    search(url, finished)
    after = objects(url)
    with pytest.raises(LeaseLost, match=r"has taken the run over, .*; nothing was written over"):
        for _ in asleep:
            pass
    kept = objects(url)
    assert {name: kept.get(name) for name in after} == after
    elsewhere()
    same(url, local)


@pytest.mark.slow
def test_lost_network_ends_the_search_and_loses_nothing(
    failing: Url,
    finished: tasearch.Run,
    local: tasearch.Run,
    elsewhere: Callable[[], None],
) -> None:
    def lose(event: Event) -> None:
        if isinstance(event, TrialDone):
            FailingStore.fail(ConnectionResetError("gone"))

    with pytest.raises(StoreError, match=r"ConnectionResetError: gone; nothing finished is lost"):
        search(failing, finished, on_event=lose)
    FailingStore.heal()
    assert len([t for t in Run.open(failing).trials if t.state == "complete"]) >= 1
    elsewhere()
    search(failing, finished)
    same(failing, local)


@pytest.mark.slow
def test_network_that_comes_back_is_waited_for(
    failing: Url, finished: tasearch.Run, local: tasearch.Run
) -> None:
    for event in events_of(STUDY, runs_dir=failing.parent, latency_from=finished.path):
        if isinstance(event, TrialDone):
            FailingStore.fail(ConnectionResetError("gone"), times=3)
    same(failing, local)


def test_wrong_credentials_are_told_before_anything_is_made(
    failing: Url, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "study.toml"
    file.write_text(render(STUDY))
    FailingStore.fail(PermissionError("Forbidden"))
    code, _, err = command(capsys, "run", file, "--runs-dir", failing.parent)
    assert code == 2
    assert "it is refused: PermissionError: Forbidden; check the URL, the credentials" in err
    for words in (("status", failing), ("best", "run", "--runs-dir", failing.parent)):
        code, _, err = command(capsys, *words)
        assert code == 2
        assert "PermissionError: Forbidden" in err
    FailingStore.heal()
    assert objects(failing) == {}


def test_failed_preparation_leaves_nothing_at_the_url(url: Url, finished: tasearch.Run) -> None:
    study = STUDY.model_copy(update={"student": STUDY.student.model_copy(update={"widths": (15,)})})
    with pytest.raises(tasearch.TasearchError):
        tasearch.run(study, runs_dir=url.parent, latency_from="nothing")
    assert objects(url) == {}


@pytest.mark.slow
def test_commands_take_urls(
    url: Url,
    finished: tasearch.Run,
    elsewhere: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    file = tmp_path / "study.toml"
    file.write_text(render(STUDY))
    options = ("--runs-dir", url.parent)
    measured = ("--latency-from", finished.path)
    code, out, err = command(capsys, "run", file, *options, *measured, "--workers", 1)
    assert code == 0, err
    assert f"tasearch export {url} --out winner" in out
    elsewhere()
    for words in (("status", url), ("status", "run", *options), ("best", url), ("front", url)):
        code, out, err = command(capsys, *words)
        assert code == 0, err
        assert str(url) in out or words[0] not in ("status",)
    code, out, _ = command(capsys, "enqueue", url, "12-4")
    assert code == 0 and "is queued" in out
    elsewhere()
    assert any(t.state == "waiting" for t in Run.open(url).trials)
    code, _, err = command(capsys, "export", url, "--out", tmp_path / "winner")
    assert code == 0, err
    elsewhere()
    assert [read.by for read in Run.open(url).test_reads] == ["export"]
    code, _, err = command(capsys, "report", "run", *options, "--out", tmp_path / "page.html")
    assert code == 0, err
    assert (tmp_path / "page.html").is_file()


@pytest.mark.slow
def test_commands_tell_what_they_wait_for(
    url: Url,
    finished: tasearch.Run,
    elsewhere: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """A driver was killed on another machine; each command comes from yet another one."""
    file = tmp_path / "study.toml"
    file.write_text(render(STUDY))
    bucket, number = Bucket(url), 10
    found = tasearch.run(STUDY, runs_dir=url.parent, latency_from=finished.path)
    run = ("run", file, "--runs-dir", url.parent, "--latency-from", finished.path)
    left = {"host": "a-node", "process": 7, "beat": 3, "seconds": 1.0}
    waits = "waiting for up to 1 s, until another tasearch, on a-node (process 7), gives a sign"
    for words in (
        (*run, "--workers", 1, "--trials", 5),
        ("enqueue", url, "8-4"),
        ("confirm", url, "--front"),
        ("export", url, "--out", tmp_path / "winner"),
    ):
        elsewhere()
        bucket.write(f"{LEASES}/{number:08}-dead.json", json.dumps(left).encode())
        number += 10
        code, out, err = command(capsys, *words)
        assert code == 0, out + err
        assert out.count(waits) == 1, (words, out)
    assert len(Run.open(url).trials) > len(found.trials)


@pytest.mark.slow
def test_queueing_is_refused_while_another_machine_searches(
    url: Url, finished: tasearch.Run, elsewhere: Callable[[], None]
) -> None:
    events = events_of(STUDY, runs_dir=url.parent, latency_from=finished.path)
    for event in events:
        if isinstance(event, TrialDone):
            break
    queued = tasearch.enqueue(str(url), "8-4")  # on the driver's own machine
    elsewhere()
    assert run_at(url).busy
    assert "searching" in repr(tasearch.Run.open(url))
    with pytest.raises(RunError, match=f"^{url}: another tasearch, on .*, is running"):
        tasearch.enqueue(str(url), "12-2")
    for _ in events:
        pass
    elsewhere()
    assert Run.open(url).trials[queued.number].state == "waiting"  # more trials are to be asked for


def test_run_that_is_not_there_is_told(url: Url) -> None:
    with pytest.raises(RunError) as error:
        tasearch.Run.open(str(url))
    assert str(error.value).startswith(f"{url}: no such run; `tasearch run STUDY.toml` makes one")
    with pytest.raises(RunError, match=r"^s3://bucket: names no run; a run is such as s3://buck"):
        tasearch.Run.open("s3://bucket")


@pytest.mark.slow
def test_reader_sees_what_is_committed(
    url: Url, finished: tasearch.Run, elsewhere: Callable[[], None]
) -> None:
    events = events_of(STUDY, runs_dir=url.parent, latency_from=finished.path)
    done = 0
    for event in events:
        if isinstance(event, TrialDone):
            done += 1
            if done == 1:
                elsewhere()
                run = tasearch.Run.open(str(url))
                assert sum(trial.state == "complete" for trial in run.trials) >= 1
            elif done == 2:
                there = tasearch.Run.open(str(url)).directory.store()
                assert type(there) is RemoteStore
    run.refresh()
    assert sum(trial.state != "running" for trial in run.trials) >= 4


@pytest.mark.slow
def test_confirmation_goes_on_elsewhere(
    url: Url, finished: tasearch.Run, elsewhere: Callable[[], None]
) -> None:
    search(url, finished)
    with quick_leases():
        elsewhere()
        found = tasearch.Run.open(str(url)).confirm(front=True)
        elsewhere()
        since = time.monotonic()
        again = tasearch.Run.open(str(url)).confirm(front=True)
    assert again == found
    assert time.monotonic() - since < 30
    elsewhere()
    assert tasearch.Run.open(str(url)).confirmations == [found]


@pytest.mark.slow
def test_reader_beside_the_driver_changes_no_file_of_its(url: Url, finished: tasearch.Run) -> None:
    """The driver's checkpoint may be newer than the one in the store, for a moment."""
    events = events_of(STUDY, runs_dir=url.parent, latency_from=finished.path)
    for event in events:
        if isinstance(event, EpochDone) and event.accuracy is not None:
            break
    run = tasearch.Run.open(str(url))
    (file,) = (run.path / "checkpoints").glob("*.safetensors")
    file.write_bytes(b"newer than in the store")
    warnings: list[str] = []
    assert run.directory.store(warnings.append).record("checkpoints", file.stem) is None
    assert "it counts as absent" in warnings[0]
    assert file.read_bytes() == b"newer than in the store"
    events.close()


@pytest.mark.slow
def test_search_from_python_brings_its_data_along(
    url: Url, elsewhere: Callable[[], None], tmp_path: Path
) -> None:
    """Data and models of Python are in the store, so that another machine goes on and exports."""
    generator = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = (generator.normal(size=(120, 6)) + 2 * np.eye(3, 6)[y]).astype(np.float32)
    own: dict[str, Any] = {
        "build": "mlp",
        "widths": [12, 8, 4, 2],
        "epochs": 2,
        "study": {"training": {"precision": "fp32"}, "latency": {"backend": "torch"}},
        "progress": False,
        "name": url.name,
        "runs_dir": str(url.parent),
    }
    first = tasearch.search(x, y, trials=2, **own)
    elsewhere()
    run = tasearch.search(x, y, trials=4, **own)
    assert [vars(trial) for trial in run.trials[:2]] == facts(first)
    elsewhere()
    other = tasearch.Run.open(str(url))
    assert other.path != run.path
    assert len([trial for trial in other.trials if not trial.free]) == 4
    assert other.export(tmp_path / "winner").label == run.best().label
    assert other.best().model(torch.tensor(x[:2])).shape == (2, 3)
    with pytest.raises(RunError, match=r"was made with other data"):
        tasearch.search(x + 1, y, trials=5, **own)
