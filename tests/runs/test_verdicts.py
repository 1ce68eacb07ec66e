"""The file of verdicts, and what verdicts say to ship."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasearch.errors import RunError
from tasearch.runs.quality import Quality
from tasearch.runs.seals import seal_json, unseal_json
from tasearch.runs.verdict_file import FILE, read_confirmations, write_confirmations
from tasearch.runs.verdicts import (
    Answer,
    Arm,
    Comparison,
    Confirmation,
    LookPlan,
    Question,
    Verdict,
    shipped,
)


def arm(*chain: int, loss: str = "kd") -> Arm:
    recipe: dict[str, Any] = {"assistants": None, "student": {"loss": loss}}
    quality = Quality(
        samples=4,
        accuracy=0.7,
        ece=0.1,
        nll=None,
        agreement=0.9,
        class_samples=(4, 0),
        class_accuracies=(0.7, None),
    )
    return Arm(
        chain=chain,
        recipe=recipe,
        accuracies=(0.9, None, 0.8),
        test=(0.7,),
        quality=quality,
        flops=2.0,
    )


HELPED, DIRECT, ALONE = arm(64, 16, 4), arm(64, 4), arm(64, 4, loss="ce")


def comparison(question: Question, first: Arm, second: Arm, answer: Answer) -> Comparison:
    assessed = Verdict(
        answer=answer, settled=True, pairs=2, difference=0.1, low=0.0, high=0.2, p=0.5, needed=9
    )
    return Comparison(question=question, first=first, second=second, verdict=assessed)


def found() -> Confirmation:
    first = comparison("assistants", HELPED, DIRECT, "helps")
    open_one = Comparison(question="distillation", first=HELPED, second=ALONE, faults=("no",))
    return Confirmation(plan=LookPlan(alpha=0.1), comparisons=(first, open_one), finished=True)


def test_confirmations_survive_their_file(tmp_path: Path) -> None:
    assert read_confirmations(tmp_path) == []
    both = [found(), replace(found(), finished=False)]
    write_confirmations(tmp_path, both)
    assert read_confirmations(tmp_path) == both


def test_verdicts_from_before_quality_are_read(tmp_path: Path) -> None:
    write_confirmations(tmp_path, [found()])
    file = tmp_path / FILE
    content = unseal_json("verdicts", file.read_bytes())
    del content["seal"]
    old = content["confirmations"][0]["comparisons"]
    for name in ("first", "second"):
        for comparison in old:
            del comparison[name]["quality"]
    file.write_bytes(seal_json("verdicts", content))
    (again,) = read_confirmations(tmp_path)
    pairs = zip(again.comparisons, found().comparisons, strict=True)
    for mine, theirs in pairs:
        assert mine.first == replace(theirs.first, quality=None)
        assert mine.second == replace(theirs.second, quality=None)
    assert again.same_plan(found())


def test_every_flipped_byte_is_named(tmp_path: Path) -> None:
    write_confirmations(tmp_path, [found()])
    file = tmp_path / FILE
    blob = file.read_bytes()
    places = range(0, len(blob), 7)
    assert all(damaged(file, blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]) for at in places)


def damaged(file: Path, blob: bytes) -> bool:
    """Whether the content is refused by the file's name, or means the same."""
    file.write_bytes(blob)
    try:
        return read_confirmations(file.parents[1]) == [found()]
    except RunError as error:
        return str(error).startswith(f"{file}: ")


def test_means_leave_failed_seeds_out() -> None:
    assert HELPED.accuracy == pytest.approx(0.85)
    assert Arm(chain=(8, 4), recipe={}).accuracy is None
    pair = Comparison(
        question="assistants",
        first=replace(HELPED, accuracies=(0.9, None, 0.8)),
        second=replace(DIRECT, accuracies=(0.8, 0.7, None)),
    )
    assert pair.differences == (pytest.approx(0.1), None, None)


@pytest.mark.parametrize("answer", ["hurts", "no difference", "cannot tell"])
def test_shorter_chain_is_shipped_unless_the_longer_one_helps(answer: Answer) -> None:
    helps = comparison("assistants", HELPED, DIRECT, "helps")
    not_so = comparison("assistants", HELPED, DIRECT, answer)
    assert shipped([helps]) == HELPED
    assert shipped([not_so]) == DIRECT
    distilled = comparison("distillation", HELPED, ALONE, "helps")
    assert shipped([helps, distilled]) == HELPED
    assert shipped([not_so, distilled]) == DIRECT
    assert shipped([helps, comparison("distillation", HELPED, ALONE, answer)]) == ALONE
    other = arm(64, 4, loss="dist")  # the best distilled student has another recipe
    assert shipped([not_so, comparison("distillation", other, ALONE, "helps")]) == other


def test_shipped_chain_has_all_the_seeds_that_any_comparison_gave_it() -> None:
    longer = replace(DIRECT, accuracies=(0.9, None, 0.8, 0.7, 0.7))
    behind = comparison("assistants", HELPED, longer, "cannot tell")
    assert shipped([behind, comparison("distillation", DIRECT, ALONE, "helps")]) == longer
    assert shipped([behind, comparison("distillation", DIRECT, ALONE, "hurts")]) == ALONE


def test_plan_is_the_same_whatever_came_of_it() -> None:
    begun = replace(
        found(),
        comparisons=tuple(
            replace(c, first=replace(c.first, accuracies=()), verdict=Verdict())
            for c in found().comparisons
        ),
        finished=False,
    )
    assert found().same_plan(begun)
    assert not found().same_plan(replace(begun, plan=LookPlan()))
    assert not found().same_plan(replace(begun, comparisons=begun.comparisons[:1]))


def test_verdicts_are_shown_in_words() -> None:
    helps = "64 → 16 → 4 against 64 → 4: assistants help, +0.1 (+0 to +0.2) on 2 fresh seeds"
    one = comparison("assistants", HELPED, DIRECT, "helps")
    assert repr(one) == f"<Comparison: {helps}>"
    both = found()
    other = "it cannot be told whether distillation helps"
    label = both.comparisons[1].label
    assert repr(replace(both, finished=True)) == f"<Confirmation: {helps}; {label}: {other}>"
    assert repr(replace(both, finished=False)).startswith("<Confirmation (not finished): 64 → 16")
    even = comparison("assistants", HELPED, DIRECT, "no difference")
    assert "no difference beyond the margin, +0.1" in repr(even)
    own = Confirmation(plan=LookPlan(), comparisons=(even,), finished=True)
    assert "no difference beyond 0.01, +0.1" in repr(own)
    assert repr(Confirmation(plan=LookPlan(), comparisons=())).endswith("no comparison>")


def test_notebooks_show_verdicts_as_a_table() -> None:
    html = found()._repr_html_()
    assert "<td>64 → 16 → 4 against 64 → 4</td><td>assistants help</td><td>+0.1</td>" in html
    assert "<td>it cannot be told whether distillation helps</td><td></td><td></td>" in html
