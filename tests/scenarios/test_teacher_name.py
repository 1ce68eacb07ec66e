"""The name of a teacher, which stands for its width wherever a chain is shown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tasearch
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.config.study_file import parse_study, render
from tasearch.config.teacher_section import TeacherSection
from tasearch.errors import RunError, StudyError
from tasearch.runs.events import HopEnded, HopStarted, TrialDone, TrialStarted
from tasearch.search.written_chain import written_widths
from tests.helpers.commands import command
from tests.helpers.recipes import SETTING
from tests.helpers.studies import tiny

OWN = """
from torch import nn

def make(*, in_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 400), nn.ReLU(), nn.Linear(400, num_classes))
"""


@pytest.mark.parametrize(
    ("section", "label"),
    [
        ({}, ""),
        ({"name": "large one"}, "large one"),
        ({"factory": "nets.big:make"}, "big"),
        ({"factory": "nets.big:wide"}, "wide"),
        ({"factory": "timm:resnet18.a1_in1k"}, "resnet18.a1_in1k"),
        ({"factory": "timm:resnet18", "name": "R18 (ours)"}, "R18 (ours)"),
        ({"factory": f"timm:{'x' * 50}"}, "x" * 40),
    ],
)
def test_teacher_is_called_by_what_is_known(section: dict[str, Any], label: str) -> None:
    assert TeacherSection(**section).label == label


@pytest.mark.parametrize("name", ["", " a", "a ", "a → b", "a: b", "<b>", "a\nb", "x" * 41])
def test_name_has_characters_that_need_no_care(name: str) -> None:
    with pytest.raises(StudyError, match=r"^study: teacher\.name: "):
        parse_study({"teacher": {"name": name}})


def test_name_decides_nothing() -> None:
    named = ModelSpec(width=64, recipe=None, origin="a", name="big")
    plain = replace(named, name="")
    assert named == plain
    assert Hop(lineage=(named,)).key(SETTING) == Hop(lineage=(plain,)).key(SETTING)
    assert Hop(lineage=(named, ModelSpec(width=8, recipe=None))).label == "big → 8"
    assert tiny(teacher={"name": "big"}).identity() == tiny().identity()


@pytest.mark.slow
def test_name_is_shown_wherever_a_chain_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    study = tiny(
        name="named",
        teacher={"width": 777_777, "factory": "own:make", "name": "R18 x", "epochs": 1},
        assistants={"max": 1, "min": 1, "widths": [12, 8], "epochs": 1},
        student={"widths": [4], "epochs": 1},
        search={"trials": 1, "rungs": 1},
    )
    said: list[Any] = []
    study = study.model_copy(update={"root": str(tmp_path)})
    run = tasearch.run(study, on_event=said.append)
    (chain,) = {e.label for e in said if isinstance(e, TrialStarted)}
    first, *rest = chain.split(" → ")
    assert first == "R18 x" and len(rest) == 2
    hops = {e.label for e in said if isinstance(e, HopStarted)}
    assert hops == {"R18 x", f"R18 x → {rest[0]}", chain}
    assert [e.label for e in said if isinstance(e, HopEnded) and e.teacher] == ["R18 x"]
    assert {e.record.label for e in said if isinstance(e, TrialDone)} == hops - {"R18 x"}
    assert run.best().label in hops
    (tmp_path / "named.toml").write_text(render(study))
    for words, shown in (
        (["run", "named.toml", "--trials", "2"], "R18 x → "),
        (["best", "named"], "R18 x → "),
        (["front", "named"], "R18 x → "),
        (["report", "named", "--out", "page.html"], "page.html"),
        (["export", "named", "--out", "out"], "R18 x → "),
    ):
        code, out, err = command(capsys, *words)
        assert code == 0 and shown in out, (out, err)
        assert "777777 →" not in out + err
    page = (tmp_path / "page.html").read_text()
    assert "teacher R18 x" in page and "777777 →" not in page
    card = (tmp_path / "out" / "README.md").read_text()
    assert "the chain R18 x → " in card
    with pytest.raises(RunError, match="was tried already"):
        tasearch.enqueue("named", chain.replace("→", "-"))


def test_chain_to_enqueue_may_begin_with_the_name() -> None:
    for text in ("R18-x - 12 - 4", "R18-x → 12 → 4", "R18-x->12-4", "12-4", " R18-x 12 4"):
        assert written_widths(text, tiny(teacher={"name": "R18-x"})) == [12, 4]
    assert written_widths("64-12-4", tiny()) == [64, 12, 4]
    with pytest.raises(StudyError, match="should be widths"):
        written_widths("R18-12-4", tiny(teacher={"name": "R18-x"}))
