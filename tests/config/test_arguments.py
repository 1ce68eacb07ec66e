from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tasearch
from tasearch.config.study import Study
from tasearch.config.study_file import load_study
from tasearch.errors import StudyError
from tests.helpers.studies import tiny

NO_PATHS: list[tuple[Any, str]] = [
    (3, "should be a path (str or pathlib.Path), found 3"),
    (None, "should be a path (str or pathlib.Path), found None"),
    (b"x", "should be a path (str or pathlib.Path), found b'x'"),
    ("", "should be a path, found ''"),
    ("a\0b", "should have no NUL, found 'a\\x00b'"),
]


@pytest.mark.parametrize(("path", "said"), NO_PATHS)
def test_message_about_path_names_argument(path: Any, said: str) -> None:
    for function, name in (
        (load_study, "path"),
        (tasearch.Run.open, "run"),
        (tasearch.load, "folder"),
    ):
        with pytest.raises(tasearch.TasearchError) as error:
            function(path)
        assert str(error.value) == f"{name}: {said}"
    with pytest.raises(tasearch.RunError) as error:
        tasearch.run(tiny(), runs_dir=path)
    assert str(error.value) == f"runs_dir: {said}"


ARGUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"workers": True}, 'workers: should be "auto" or a number from 1 to 1,024, found True'),
    ({"workers": 0}, 'workers: should be "auto" or a number from 1 to 1,024, found 0'),
    ({"workers": 1.5}, 'workers: should be "auto" or a number from 1 to 1,024, found 1.5'),
    ({"workers": "many"}, "workers: should be \"auto\" or a number from 1 to 1,024, found 'many'"),
    ({"device": None}, 'device: should be "auto", "cpu" or "cuda", found None'),
    ({"device": "tpu"}, 'device: should be "auto", "cpu" or "cuda", found \'tpu\''),
    ({"trials": 0}, "trials: should be a number from 1 to 1,000,000, found 0"),
    ({"trials": "3"}, "trials: should be a number from 1 to 1,000,000, found '3'"),
    ({"trials": True}, "trials: should be a number from 1 to 1,000,000, found True"),
    ({"latency_from": 3}, "latency_from: should be a path (str or pathlib.Path), found 3"),
    ({"on_event": 3}, "on_event: should be a function, found 3"),
]


@pytest.mark.parametrize(("options", "said"), ARGUMENTS)
def test_run_names_wrong_argument(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(tasearch.RunError) as error:
        tasearch.run(tiny(), **{"runs_dir": tmp_path / "runs", **options})
    assert str(error.value) == said
    assert not (tmp_path / "runs").exists()


def test_run_checks_study_that_python_changed(tmp_path: Path) -> None:
    for study, said in (
        (3, "study: should be a Study or the path of a study file, found 3"),
        (tmp_path, f"{tmp_path}: is a folder, not a file"),
        (
            tiny().model_copy(update={"seed": -1}),
            "study: seed: should be greater than or equal to ",
        ),
        (tiny().model_copy(update={"name": 3}), "study: name: should be a valid string, found 3"),
        (
            Study(assistants=tiny().assistants.model_copy(update={"min": 3})),
            "study: assistants.min: should not exceed assistants.max 2, found 3",
        ),
    ):
        with pytest.raises(StudyError) as error:
            tasearch.run(study, runs_dir=tmp_path / "runs")  # type: ignore[arg-type]
        assert str(error.value).startswith(said)
