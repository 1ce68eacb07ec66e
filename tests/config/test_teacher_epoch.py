"""The key `teacher_epoch` of a study file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tasearch.chains.keys import canonical_json
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study, render
from tasearch.errors import StudyError
from tests.helpers.commands import command
from tests.helpers.studies import tiny

LOADED: dict[str, Any] = {"checkpoint": "teacher.safetensors"}


@pytest.mark.parametrize(
    ("given", "values"),
    [
        (1, (1.0,)),
        (0.25, (0.25,)),
        ("progressive", ("progressive",)),
        ([1.0, 0.5, "progressive"], (1.0, 0.5, "progressive")),
    ],
)
def test_teacher_epoch_is_a_value_or_a_list(given: Any, values: tuple[Any, ...]) -> None:
    study = tiny(student={"teacher_epoch": given})
    assert study.student.teacher_epoch == values
    assert Study.model_validate_json(study.model_dump_json()) == study
    assert f"teacher_epoch = {list(values) if len(values) > 1 else values[0]!r}".replace(
        "'", '"'
    ) in render(study)


@pytest.mark.parametrize("wrong", [0, 1.5, -0.5, True, "late", float("nan"), None, [0.5, 2]])
def test_other_values_of_teacher_epoch_are_refused(wrong: Any) -> None:
    with pytest.raises(StudyError) as error:
        tiny(student={"teacher_epoch": wrong})
    place = "student.teacher_epoch" + ("[1]" if isinstance(wrong, list) else "")
    rule = 'should be a number above 0, 1 or less, or "progressive", found '
    assert str(error.value).startswith(f"study: {place}: {rule}") or (
        str(error.value).startswith(f"study: {place}[0]: {rule}")
    )


def test_teacher_epoch_has_no_value_twice() -> None:
    with pytest.raises(StudyError, match=r"student\.teacher_epoch: should have no value twice"):
        tiny(student={"teacher_epoch": [0.5, 0.5]})


def test_study_without_early_teachers_is_the_study_of_before() -> None:
    """The digest is that of a version without the key, so a run that lost its run.json goes on."""
    before = tiny(search={"pruner": "skyline"})  # the default then
    found = hashlib.sha256(canonical_json(before.identity()).encode()).hexdigest()
    assert found == "eb04ec480e64cb50c91f19bbc9939e059a9f5fab955eb41dcc67553681bb4c15"
    assert tiny(student={"teacher_epoch": 0.5}).identity() != tiny().identity()


@pytest.mark.parametrize("role", ["student", "assistants"])
def test_loaded_teacher_has_no_earlier_epochs(
    role: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sections: dict[str, Any] = {role: {"teacher_epoch": [1.0, 0.5]}}
    rule = (
        f"{role}.teacher_epoch: should be 1.0 with a loaded teacher, of which there are no earlier "
        f"epochs: leave the key out, or have the teacher trained here, found 0.5"
    )
    with pytest.raises(StudyError) as error:
        tiny(teacher=LOADED, **sections)
    assert str(error.value) == f"study: {rule}"
    file = tmp_path / "study.toml"
    file.write_text(
        f'[teacher]\ncheckpoint = "teacher.safetensors"\n[{role}]\nteacher_epoch = [1.0, 0.5]\n'
    )
    code, out, err = command(capsys, "run", file, "--runs-dir", tmp_path)
    assert (code, out) == (2, "")
    assert " ".join(err.split()).endswith(rule)


def test_loaded_teacher_goes_with_models_that_need_no_earlier_epoch() -> None:
    alone = {"loss": "ce", "teacher_epoch": 0.5}
    study = tiny(teacher=LOADED, student=alone, assistants={"max": 0, "teacher_epoch": 0.5})
    assert study.early_teachers == {}
    assert parse_study(study.model_dump()) == study
