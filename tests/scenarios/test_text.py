"""Texts, from a CSV file to a student that takes strings."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import tokenizers
import torch

import tasearch
from tasearch.config.study import Study
from tasearch.data import load_data
from tasearch.errors import DataError, ExportError, ModelError, StudyError
from tests.helpers.commands import command
from tests.helpers.studies import SMALL, tiny

OWN = """
import torch
from torch import nn

class Bag(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.words, self.out = nn.Embedding(400, width), nn.Linear(width, classes)
    def forward(self, x):
        mask = (x != 0).unsqueeze(2)
        return self.out((self.words(x) * mask).sum(1) / mask.sum(1).clamp(min=1))

class Blind(Bag):
    def forward(self, x):
        return self.out(self.words(x).mean(1))

def build(width, *, in_shape, num_classes):
    return Bag(width, num_classes)

def blind(width, *, in_shape, num_classes):
    return Blind(width, num_classes)
"""
THINGS = ("train", "film", "soup", "hotel", "song", "road")
PRAISE, BLAME = ("good", "fine", "great"), ("bad", "dull", "awful")


def lines(count: int = 120) -> list[tuple[str, str, str]]:
    """What is spoken of, what is said of it, and which of the two it is."""
    found = []
    for i in range(count):
        thing, said = THINGS[i % 6], (PRAISE if i % 2 else BLAME)[i % 3]
        found.append((f"the {thing}", " ".join([said] * (1 + i % 5)), ("blame", "praise")[i % 2]))
    return found


def study_of(folder: Path, *, pairs: bool = False, **sections: Any) -> Study:
    (folder / "words.py").write_text(OWN)
    rows = [f"{a},{b},{c}" if pairs else f"{a} was {b},{c}" for a, b, c in lines()]
    head = "thing,said,label" if pairs else "text,label"
    (folder / "said.csv").write_text("\n".join([head, *rows]))
    content = SMALL | {"model": {"family": "words:build"}, "search": {"trials": 3}}
    keys = {"text": ["thing", "said"]} if pairs else {}
    data = {"source": "text", "path": "said.csv", "length": 24, "vocabulary": 400, **keys}
    content["data"], content["latency"] = data, {"backend": "onnx"}
    content["training"] = {"batch_size": 8}
    for section in ("teacher", "student"):
        content[section] = {**content[section], "epochs": 8, "learning_rate": 0.05}
    return tiny(**{**content, **sections}).model_copy(update={"root": str(folder)})


@pytest.fixture(scope="module")
def winner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an export."""
    place = tmp_path_factory.mktemp("text")
    run = tasearch.run(study_of(place), runs_dir=place / "runs", workers=1)
    run.export(place / "winner")
    return place / "winner"


def test_student_takes_strings(winner: Path) -> None:
    model = tasearch.load(winner, trust=True)
    texts = ["the soup was great great", "the film was awful"]
    found = model.predict(texts)
    assert found.labels == ("praise", "blame")
    assert model.predict(tuple(texts)).labels == model.predict(np.array(texts)).labels
    assert model.predict(texts[0]).labels == ("praise",)
    assert model.text is not None
    ids = model.text.encode(texts).ids
    assert torch.equal(model.predict(ids).probabilities, found.probabilities)
    assert torch.allclose(model(torch.from_numpy(ids)).softmax(1), found.probabilities, atol=1e-6)


def test_onnx_takes_any_number_of_texts_of_any_length(winner: Path) -> None:
    model = tasearch.load(winner, trust=True)
    session = onnxruntime.InferenceSession(winner / "student.onnx")
    tokenizer = tokenizers.Tokenizer.from_file(str(winner / "tokenizer.json"))
    for texts in (["the road was dull"], ["a", "the song was fine fine fine fine", "bad bad"]):
        ids = np.array([one.ids for one in tokenizer.encode_batch(texts)], np.int32)
        assert ids.shape[1] < 24
        (logits,) = session.run(None, {"x": ids})
        expected = model.predict(texts).probabilities
        assert torch.allclose(torch.from_numpy(logits).softmax(1), expected, atol=1e-5)


def test_codes_of_the_card_run(winner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = (winner / "README.md").read_text("utf-8")
    assert "int32 of shape (n, any number up to 24)" in card
    assert "- `tokenizer.json`: makes token ids" in card
    monkeypatch.chdir(winner)
    codes = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(codes) == 2
    for code in codes:
        with contextlib.redirect_stdout(io.StringIO()) as told:
            exec(code, {})
        assert "praise" in told.getvalue() or "blame" in told.getvalue()


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (["a", 3], r"x\[1\]: should be a string, found 3"),
        ([("a", "b")], r"x\[0\]: should be a string, found \('a', 'b'\)"),
        ([[1, 2]], r"x: should be samples of shape \(n, 24\), found shape \(1, 2\)"),
    ],
)
def test_other_samples_are_refused(winner: Path, x: Any, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        tasearch.load(winner, trust=True).predict(x)


def test_package_is_needed_for_strings_alone(winner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    model = tasearch.load(winner, trust=True)
    assert len(model.predict(np.ones((2, 24), np.int32)).labels) == 2
    with pytest.raises(DataError, match=r"pip install 'tasearch\[text\]'"):
        model.predict(["some words"])


def test_missing_or_changed_tokenizer_is_told(winner: Path) -> None:
    file = winner / "tokenizer.json"
    content = file.read_text("utf-8")
    try:
        file.write_text(content.replace("great", "grape"))
        with pytest.raises(ExportError, match="is not the tokenizer that the student was trained"):
            tasearch.load(winner, trust=True)
        file.unlink()
        with pytest.raises(ExportError, match=r"tokenizer\.json: cannot be read: No such"):
            tasearch.load(winner, trust=True)
    finally:
        file.write_text(content)


def test_pairs_through_workers_to_an_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = study_of(tmp_path, pairs=True, latency={"backend": "torch"})
    run = tasearch.run(study, runs_dir=tmp_path / "runs", workers=2)
    code, out, _ = command(capsys, "export", run.path, "--out", tmp_path / "winner", "--trust")
    assert code == 0 and "\n  tokenizer.json " in out
    model = tasearch.load(tmp_path / "winner", trust=True)
    pairs = [("the soup", "great"), ("the road", "awful awful")]
    assert model.text is not None
    expected = model.predict(model.text.encode(pairs).ids).labels
    assert model.predict(pairs).labels == expected
    assert model.predict(pairs[0]).labels == expected[:1]
    assert model.predict([[*pair] for pair in pairs]).labels == expected
    with pytest.raises(ExportError, match=r"x\[0\]: should be a pair of strings, thing and said"):
        model.predict(["the soup"])
    assert '("some words", "and some more")' in (tmp_path / "winner/README.md").read_text("utf-8")


def test_model_that_sees_padding_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    study = study_of(tmp_path, model={"family": "words:blind"})
    with pytest.raises(ModelError, match="gives other logits if padding is behind a text"):
        tasearch.run(study, runs_dir=tmp_path / "runs", workers=1)


def test_mixup_of_token_ids_is_refused(tmp_path: Path) -> None:
    study = study_of(tmp_path, training={"mixup": 0.2, "views": 2})
    with pytest.raises(StudyError, match=r"training\.mixup: mixes numbers, and samples are integ"):
        tasearch.run(study, runs_dir=tmp_path / "runs", workers=1)


def test_other_tokenizer_is_another_study(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    run = tasearch.run(study, runs_dir=tmp_path / "runs", workers=1)
    data = load_data(study)
    assert data.text is not None
    other = json.loads(data.text.content)
    other["padding"] = None
    (tmp_path / "mine.json").write_text(json.dumps(other))
    section = {"tokenizer": "mine.json", "vocabulary": 8_000}
    changed = study.model_copy(update={"data": study.data.model_copy(update=section)})
    with pytest.raises(tasearch.errors.RunError, match=r"data\.tokenizer"):
        tasearch.run(changed, runs_dir=tmp_path / "runs", workers=1)
    assert run.path.is_dir()


def test_search_from_python_takes_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "words.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    texts, labels = zip(*((f"{a} was {b}", c) for a, b, c in lines()), strict=True)
    run = tasearch.search(
        np.array(texts),
        labels,
        validation=(texts[:30], labels[:30]),
        build=importlib.import_module("words").build,
        widths=[8, 4],
        epochs=1,
        trials=1,
        runs_dir=tmp_path / "runs",
        workers=1,
        study={"data": {"length": 16, "vocabulary": 400}, "latency": {"backend": "torch"}},
    )
    run.export(tmp_path / "winner")
    model = tasearch.load(tmp_path / "winner", trust=True)
    assert model.predict(texts[:3]).labels[0] in ("praise", "blame")
    again = tasearch.run(run.path / "inputs" / "study.toml", runs_dir=tmp_path / "runs", workers=1)
    assert [trial.accuracy for trial in again.trials] == [trial.accuracy for trial in run.trials]
