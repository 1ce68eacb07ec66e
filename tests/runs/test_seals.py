"""Nothing of a run is accepted that is not what was written."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import tasearch
from tasearch import RunError, StoreError, TasearchError
from tasearch.exports.student import rebuild_student
from tasearch.report.info import report_info
from tasearch.report.status import status_lines
from tasearch.runs.directory import RunDirectory
from tasearch.runs.events import Notice
from tasearch.runs.seals import HashChain, LineStatus, read_log
from tests.helpers.commands import command
from tests.helpers.damage import EDITED
from tests.helpers.runs import contents
from tests.helpers.studies import tiny

AGAIN = "`tasearch run` on the same study writes it again"


def figures(path: Path) -> list[Any]:
    """All that the reading commands say about a run, except for its place; last its log."""
    run = tasearch.Run.open(path)
    student = rebuild_student(run, run.best(), trusted=False).candidate
    info = vars(report_info(run)) | {"run": ""}
    answer = dict(vars(info.pop("answer")))
    logged = [info.pop("head"), answer.pop("cost")]  # what events.jsonl has a part in
    del answer["command"], answer["export_any"]  # they have the path of the run
    return [asdict(student), status_lines(run)[1:], [info, answer], logged]


def check(path: Path, file: Path, before: list[Any]) -> str:
    """Read a damaged run: a message names the file, or all figures are as before.

    Returns:
        The message; empty if there is none.
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
    assert told.removesuffix("; it is left out") in str(now[3])
    assert not told or lines["time"].startswith("wall time at least ")
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


@pytest.mark.parametrize("flips", [1, pytest.param(12, marks=pytest.mark.slow)])
def test_readers_detect_flipped_bytes_in_every_file(
    copy: Path, fast_reading: None, flips: int
) -> None:
    before, rng = figures(copy), random.Random(0)
    files = [copy / n for n in ("run.json", "measurements.json", "journal.log", "events.jsonl")]
    files += sorted((copy / "hops").iterdir())[: max(2, flips // 2)]
    for file in files:
        whole = file.read_bytes()
        last = len(whole) - (
            2 if file == copy / "events.jsonl" else 1
        )  # without its line end it counts as unfinished, not as damaged
        for place in {0, 20, last, *rng.sample(range(last), flips)}:
            damaged = bytearray(whole)
            damaged[place] ^= 1 << rng.randrange(8)
            file.write_bytes(damaged)
            told = check(copy, file, before)
            assert told or file.parent.name == "hops", (file, place)
        file.write_bytes(whole)
    assert figures(copy) == before


@pytest.mark.parametrize("name", ["run.json", "measurements.json"])
@pytest.mark.parametrize(
    "values",
    [(None,), pytest.param(("word", [], {}, 0, 1.5, True, -1), marks=pytest.mark.slow)],
)
def test_json_files_detect_edited_values_and_removed_keys(
    copy: Path, name: str, values: tuple[Any, ...]
) -> None:
    file = copy / name
    content = json.loads(file.read_text())
    remedy = f"put the file back, or remove it: {AGAIN}"
    if name == "measurements.json":
        remedy = "put the file back, or remove the folder and run the study again"
    edits = 0
    for holder, key in [*places(content)]:
        was = holder[key]
        for now in values:
            holder[key] = now
            if json.dumps(now) != json.dumps(was):
                refused(copy, content, file, f"{EDITED}; {remedy}")
                edits += 1
        holder[key] = was
        if isinstance(holder, dict) and key != "seal":
            taken = holder.pop(key)
            refused(copy, content, file, f"{EDITED}; {remedy}")
            holder[key] = taken
    assert edits > 12 * len(values)
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


def test_search_trains_swapped_hops_again(copy: Path, rerun: Any) -> None:
    before = contents(tasearch.Run.open(copy))
    run = tasearch.Run.open(copy)
    best = run.trials[run.front.members[-1].trial]
    first, second, *_ = (copy / "hops" / f"{use.key}.safetensors" for use in best.hops)
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    with pytest.raises(StoreError) as error:
        tasearch.Run.open(copy).directory.store().record("hops", first.stem)
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


def test_log_continues_after_damage() -> None:
    chain = HashChain("test")
    lines = [chain.seal({"n": n}) for n in range(5)]
    lines[2] = lines[2].replace(b'"n":2', b'"n":7')
    log = read_log("test", b"".join(lines))
    assert log.damage == [(3, LineStatus.DAMAGED)]
    assert [line["n"] for line in log.lines] == [0, 1, 3, 4]
    lines.append(log.chain.seal({"n": 5}))
    assert read_log("test", b"".join(lines)).damage == [(3, LineStatus.DAMAGED)]
    assert read_log("other", b"".join(lines)).damage[0] == (1, LineStatus.LATER)
