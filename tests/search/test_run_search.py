"""What a search tells before its first trial."""

from __future__ import annotations

from pathlib import Path

import pytest

import tasearch
from tasearch.runs.events import Notice
from tests.helpers.runs import events_of
from tests.helpers.studies import tiny

MESSAGES = {
    "random": "no assistant will be tried: the first 3 trials",
    "ehvi": "hardly an assistant will be tried: 3 trials",
}


@pytest.mark.parametrize(("sampler", "message"), MESSAGES.items())
@pytest.mark.parametrize(("trials", "told"), [(3, True), (4, False)])
def test_search_says_when_no_assistant_will_be_tried(
    sampler: str, message: str, trials: int, told: bool, tmp_path: Path, finished: tasearch.Run
) -> None:
    """The tiny study has three widths of students, and so three baselines."""
    study = tiny(search={"trials": trials, "sampler": sampler})
    events = events_of(study, runs_dir=tmp_path, latency_from=finished.path)
    words = []
    for event in events:
        if not isinstance(event, Notice):
            break
        words.append(event.message)
    events.close()
    assert any(message in w for w in words) == told
    assert any("or search fewer losses or widths of students" in w for w in words) == told
