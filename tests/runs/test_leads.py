"""Leads over direct distillation, counted in samples."""

from __future__ import annotations

from typing import Any

import tasearch
from tasearch.runs.leads import Lead, lead_over_direct
from tests.helpers.studies import tiny


def test_words_say_how_little_a_lead_is() -> None:
    one = Lead(samples=1.0, validation=359, chains=6, seeds=1, direct=0)
    assert one.words == (
        "lead over direct: 1 of 359 samples, best of 6 chains, one seed: not confirmed"
    )
    some = Lead(samples=-0.4, validation=359, chains=1, seeds=5, direct=0)
    assert some.words == "lead over direct: -0.4 of 359 samples, one chain, 5 seeds: not confirmed"


def test_lead_is_over_the_direct_chain_of_the_same_recipe(rerun: Any) -> None:
    """Also where another recipe without assistants is better."""
    study = tiny(
        student={"widths": [4], "temperature": [2.0, 8.0], "guidance": ["serial", "dense"]},
        assistants={"widths": [12, 8]},
        search={"trials": 40, "sampler": "brute", "pruner": "none"},
    )
    run: tasearch.Run = rerun(study, "leads")
    direct = {
        (t.recipe or {})["student"]["temperature"]: t
        for t in run.trials
        if t.state == "complete" and t.chain == (16, 4)
    }
    assert {*direct} == {2.0, 8.0}
    behind = [c for c in run.front.candidates if len(c.chain) > 2 and c.chain[-1] == 4]
    for candidate in behind:
        found = lead_over_direct(run, candidate)
        assert found is not None
        own = direct[candidate.recipe["student"]["temperature"]]
        assert own.accuracy is not None
        assert found.direct == own.number
        hits = [round(a * found.validation) for a in (candidate.accuracy, own.accuracy)]
        assert found.samples == hits[0] - hits[1]
        assert found.chains == len(behind)
    assert {c.recipe["student"]["guidance"] for c in behind} == {"serial", "dense"}
    assert all(lead_over_direct(run, c) is None for c in run.front.candidates if len(c.chain) == 2)
