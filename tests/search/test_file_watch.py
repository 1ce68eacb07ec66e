"""Files of a run that disappear while it is searched: one message, and nothing is written anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import tasearch
from tasearch.runs.directory import REMEDY
from tasearch.runs.events import Event, HopEnded
from tests.helpers.studies import tiny


def remove_all(run: Path) -> str:
    shutil.rmtree(run)
    return "."


def move(run: Path) -> str:
    run.rename(run.with_name("moved"))
    return "."


def remove(name: str) -> Callable[[Path], str]:
    def act(run: Path) -> str:
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        return name

    return act


def replace_journal(run: Path) -> str:
    (run / "aside").write_bytes(b"")
    (run / "aside").replace(run / "journal.log")
    return "journal.log"


@pytest.mark.parametrize(
    "act",
    [
        move,
        replace_journal,
        *(
            pytest.param(act, marks=pytest.mark.slow)
            for act in (remove_all, remove("run.json"), remove("journal.log"))
        ),
    ],
)
def test_search_reports_a_file_that_disappears(
    finished: tasearch.Run, tmp_path: Path, act: Callable[[Path], str]
) -> None:
    run, names = tmp_path / "runs" / "tiny", []

    def on_event(event: Event) -> None:
        if isinstance(event, HopEnded) and event.outcome == "complete" and not names:
            names.append(act(run))

    with pytest.raises(tasearch.RunError) as error:
        tasearch.run(
            tiny(), runs_dir=tmp_path / "runs", latency_from=finished.path, on_event=on_event
        )
    path = run if names == ["."] else run / names[0]
    assert str(error.value) == (
        f"{path}: was removed, moved or replaced while the run was going; {REMEDY}"
    )


def test_search_reports_its_hops_that_disappear(finished: tasearch.Run, tmp_path: Path) -> None:
    """The message names the first missing one of the hops that the search itself has trained."""
    run, keys = tmp_path / "runs" / "tiny", []

    def on_event(event: Event) -> None:
        if isinstance(event, HopEnded) and event.outcome == "complete":
            keys.append(event.key)
            shutil.rmtree(run / "hops")

    with pytest.raises(tasearch.RunError) as error:
        tasearch.run(
            tiny(), runs_dir=tmp_path / "runs", latency_from=finished.path, on_event=on_event
        )
    assert str(error.value) == (
        f"{run}/hops/{keys[0]}.safetensors: was removed, moved or replaced while the run was "
        f"going; {REMEDY}"
    )


def test_search_reports_earlier_hops_that_disappear(finished: tasearch.Run, tmp_path: Path) -> None:
    options = {"runs_dir": tmp_path / "runs", "latency_from": finished.path}
    run = tasearch.run(tiny(), trials=4, **options)
    gone: list[Path] = []

    def on_event(event: Event) -> None:
        if not gone:
            gone.extend(sorted((run.path / "hops").iterdir()))
            for folder in ("hops", "targets"):
                shutil.rmtree(run.path / folder)

    with pytest.raises(tasearch.RunError) as error:
        tasearch.run(tiny(), trials=8, on_event=on_event, **options)
    words = f": was removed, moved or replaced while the run was going; {REMEDY}"
    assert str(error.value).endswith(words)
    assert Path(str(error.value).removesuffix(words)) in gone
