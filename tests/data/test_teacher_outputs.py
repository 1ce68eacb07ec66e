"""The outputs of a teacher of which there is no model: they go with their samples."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.data import load_data, load_test
from tasearch.data.shared import SharedDataset, read_shared
from tasearch.errors import DataError, StudyError
from tasearch.models import Models
from tasearch.search.teacher_look import look_at_teacher

X = np.arange(400, dtype=np.float32).reshape(200, 2)
Y = np.arange(200) % 4
LOGITS = np.stack([X[:, 0], *np.zeros((3, 200))], axis=1)  # the first tells the sample


def study_of(folder: Path, outputs: str | None = "logits", **arrays: Any) -> Study:
    content: dict[str, Any] = {"x_train": X, "y_train": Y, "teacher_train": LOGITS, **arrays}
    np.savez(folder / "d.npz", **{n: a for n, a in content.items() if a is not None})
    teacher = {} if outputs is None else {"outputs": outputs}
    study = parse_study(
        {
            "data": {"source": "npz", "path": "d.npz", "limit": 50},
            "model": {"family": "mlp"},
            "teacher": teacher,
        }
    )
    return study.model_copy(update={"root": str(folder)})


def test_split_and_limit_pick_outputs_with_their_samples(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    data = load_data(study)
    assert len(data.train) == 50
    for part in (data.train, data.validation, load_test(study)):
        assert part.teacher is not None and part.teacher.dtype == np.float32
        assert np.array_equal(part.teacher[:, 0], part.x[:, 0])


def test_parts_of_the_source_have_their_own_outputs(tmp_path: Path) -> None:
    own = {"x_val": X + 1, "y_val": Y, "teacher_val": LOGITS + 1, "x_test": X, "y_test": Y}
    study = study_of(tmp_path, **own)
    data = load_data(study)
    assert data.validation.teacher is not None
    assert np.array_equal(data.validation.teacher[:, 0], data.validation.x[:, 0])
    assert load_test(study).teacher is None  # which is asked for by nothing but agreement


def test_outputs_are_part_of_the_data(tmp_path: Path) -> None:
    found = load_data(study_of(tmp_path)).fingerprint
    other = load_data(study_of(tmp_path, teacher_train=LOGITS + 1)).fingerprint
    without = load_data(study_of(tmp_path, outputs=None))
    assert without.train.teacher is None  # the arrays may be there, for another study
    bare = load_data(study_of(tmp_path, outputs=None, teacher_train=None)).fingerprint
    assert len({found, other, bare}) == 3 and without.fingerprint == bare


def test_workers_get_the_outputs(tmp_path: Path) -> None:
    data = load_data(study_of(tmp_path))
    with closing(SharedDataset(data)) as shared:
        read = read_shared(shared.path)
    for mine, theirs in ((data.train, read.train), (data.validation, read.validation)):
        assert mine.teacher is not None and theirs.teacher is not None
        assert np.array_equal(mine.teacher, theirs.teacher)
    plain = load_data(study_of(tmp_path, outputs=None))
    with closing(SharedDataset(plain)) as shared:
        assert read_shared(shared.path).train.teacher is None


def test_logarithm_of_probabilities_is_taken(tmp_path: Path) -> None:
    given = np.tile([0.7, 0.3, 0.0, 0.0], (200, 1))
    data = load_data(study_of(tmp_path, "probabilities", teacher_train=given))
    assert data.train.teacher is not None
    expected = np.log([0.7, 0.3, 1e-6, 1e-6]).astype(np.float32)
    np.testing.assert_array_equal(data.train.teacher[0], expected)


def test_teacher_of_outputs_is_looked_at(tmp_path: Path) -> None:
    right = 5.0 * np.eye(4)[Y]
    study = study_of(tmp_path, teacher_train=right)
    data = load_data(study)
    models = Models.for_study(study, data)
    line = "teacher of unknown size: its logits are in the data"
    assert models.describe_teacher() == line
    look = look_at_teacher(models, data, torch.device("cpu"))
    assert (look.words, look.notices) == ("; right in 100.0% of the validation part", ())
    rolled = study_of(tmp_path, teacher_train=np.roll(right, 1, axis=1))
    data = load_data(rolled)
    found = look_at_teacher(Models.for_study(rolled, data), data, torch.device("cpu"))
    assert "with its classes in another order it would be right in 100.0%" in found.notices[0]


def changed(place: tuple[int, int], value: float, given: np.ndarray = LOGITS) -> np.ndarray:
    made = given.copy()
    made[place] = value
    return made


EVEN = np.full((200, 4), 0.25)
WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "missing": (
        "logits",
        {"teacher_train": None},
        "array 'teacher_train' is missing, which teacher.outputs = 'logits' needs: the teacher's "
        "logits for x_train",
    ),
    "missing for validation": (
        "probabilities",
        {"x_val": X, "y_val": Y, "teacher_train": EVEN},
        "array 'teacher_val' is missing, which teacher.outputs = 'probabilities' needs: the "
        "teacher's probabilities for x_val",
    ),
    "without samples": (
        "logits",
        {"teacher_val": LOGITS},
        "array 'teacher_val' goes with 'x_val', which is missing",
    ),
    "shape": (
        "logits",
        {"teacher_train": LOGITS[:, :3]},
        "teacher_train: should be outputs of shape (200, 4), a number for each class, "
        "found float64 of shape (200, 3)",
    ),
    "text": (
        "logits",
        {"teacher_train": np.full((200, 4), "a")},
        "teacher_train: should be outputs of shape (200, 4), a number for each class, "
        "found <U1 of shape (200, 4)",
    ),
    "nan": (
        "logits",
        {"teacher_train": changed((7, 2), np.nan)},
        "teacher_train[7, 2]: should be finite and of at most 65,504 in size, found nan",
    ),
    "large": (
        "logits",
        {"teacher_train": changed((7, 2), 1e5)},
        "teacher_train[7, 2]: should be finite and of at most 65,504 in size, found 100000",
    ),
    "probabilities as logits": (
        "logits",
        {"teacher_train": EVEN},
        "teacher_train: should be logits, found probabilities: all lie in 0 .. 1, and those of "
        'each sample sum to 1; set teacher.outputs = "probabilities"',
    ),
    "logits as probabilities": (
        "probabilities",
        {},
        "teacher_train[1, 0]: should be a probability in 0 .. 1, found 2",
    ),
    "sum": (
        "probabilities",
        {"teacher_train": changed((9, 1), 0.5, EVEN)},
        "teacher_train[9]: probabilities of a sample should sum to 1, found 1.25",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_outputs_are_one_message(tmp_path: Path, case: str) -> None:
    outputs, arrays, words = WRONG[case]
    with pytest.raises(DataError) as error:
        load_data(study_of(tmp_path, outputs, **arrays))
    assert str(error.value) == f"d.npz: {words}"


ALONE = "goes without teacher.outputs, of which there is no model"
AUGMENT = 'should be "none" with teacher.outputs: of augmented images there are no outputs'


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"teacher": {"factory": "a:b"}}, f"teacher.factory: {ALONE}, found 'a:b'"),
        ({"teacher": {"checkpoint": "t"}}, f"teacher.checkpoint: {ALONE}, found 't'"),
        ({"teacher": {"size": 8}}, f"teacher.size: {ALONE}, found (8, 8)"),
        ({"training": {"augment": "flip"}}, f"training.augment: {AUGMENT}, found 'flip'"),
        (
            {"student": {"teacher_epoch": 0.5}},
            "student.teacher_epoch: should be 1.0 with a loaded teacher, of which there are no",
        ),
    ],
)
def test_keys_that_do_not_go_with_outputs(sections: dict[str, Any], words: str) -> None:
    teacher = {"outputs": "logits", **sections.pop("teacher", {})}
    with pytest.raises(StudyError) as error:
        parse_study({**sections, "teacher": teacher})
    assert str(error.value).startswith(f"study: {words}")
