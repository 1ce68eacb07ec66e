from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import tasearch
from benchmarks import table
from benchmarks.merged_tables import merged
from benchmarks.table import Table
from benchmarks.table_teacher import write_teacher
from tasearch.data import load_data
from tasearch.errors import RunError
from tasearch.models import Models
from tests.helpers.studies import tiny

pytestmark = pytest.mark.slow  # each run trains all chains of a space


def keys(seed: int, replicates: int = 1, **assistants: Any) -> dict[str, Any]:
    search = {"sampler": "random", "pruner": "none", "trials": 100, "replicates": replicates}
    return {"seed": seed, "search": search, "assistants": assistants or {"max": 1}}


@pytest.fixture(scope="module")
def contents(finished: tasearch.Run, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Tables of two seeds, the second one with two replicates."""
    found = []
    for seed in (0, 1):
        study = tiny(**keys(seed, 1 + seed))
        folder = tmp_path_factory.mktemp(f"seed-{seed}")
        run = tasearch.run(study, runs_dir=folder, latency_from=finished.path)
        found.append(table.build(run.directory, {"commit": f"of seed {seed}"}))
    return found


def test_curves_of_each_chain_stand_side_by_side(contents: list[Any]) -> None:
    both = Table(merged(contents))
    one, two = map(Table, contents)
    assert both.replicates == 3
    for chain in both.space(both.manifest):
        own = both[chain.hop()]
        parts = one[chain.hop()], two[chain.hop()]
        assert own.curves == parts[0].curves + parts[1].curves
        assert own.seconds == pytest.approx(parts[0].seconds + parts[1].seconds, abs=0.01)
    assert len({entry.curves for entry in both.entries()}) > 1


def test_one_table_stays_as_it_is(contents: list[Any]) -> None:
    assert merged(contents[:1]) == contents[0]


def test_replicates_are_added_to_a_table(contents: list[Any], tmp_path: Path) -> None:
    one, two = (json.loads(json.dumps(content)) for content in contents)
    file = tmp_path / "table.json.gz"
    table.save(one, file)
    both = merged([table.content_of(file, {}), two])
    assert both == merged([one, two])
    assert both["seeds"] == [0, 1]
    assert [both["provenance"], *both["others"]] == [one["provenance"], two["provenance"]]
    third = {**one, "seeds": [7], "study": {**one["study"], "seed": 7}}
    all_three = merged([both, third])
    assert Table(all_three).replicates == 4 and all_three["seeds"] == [0, 1, 7]
    assert all_three["others"] == both["others"]
    with pytest.raises(RunError, match="different seeds, found \\[0, 1, 1\\]"):
        merged([both, two])


def test_recipes_in_another_order_are_found(contents: list[Any]) -> None:
    one, two = contents
    order = [*range(len(two["recipes"]))][::-1]
    turned = {
        **two,
        "recipes": [two["recipes"][i] for i in order],
        "hops": [[w, [order.index(i) for i in r], s, c] for w, r, s, c in two["hops"]],
    }
    assert merged([one, turned]) == merged([one, two])


def test_what_does_not_belong_together_is_refused(contents: list[Any]) -> None:
    one, two = contents
    with pytest.raises(RunError, match="different seeds, found \\[0, 0\\]"):
        merged([one, one])
    with pytest.raises(RunError, match="the same samples, found"):
        merged([one, {**two, "samples": 1}])
    modes = dict.fromkeys(two["modes"], "bf16")
    with pytest.raises(RunError, match="the same precisions"):
        merged([one, {**two, "modes": modes}])
    with pytest.raises(RunError, match="differ in their seeds alone"):
        merged([one, {**two, "study": {**two["study"], "model": {"family": "mlp"}}}])
    with pytest.raises(RunError, match="the same chains"):
        merged([one, {**two, "hops": two["hops"][1:]}])


def test_teacher_of_a_run_as_a_file(finished: tasearch.Run, tmp_path: Path) -> None:
    file = tmp_path / "teacher.safetensors"
    teacher = {"width": 16, "checkpoint": str(file), "inputs": "standardized"}
    accuracy = write_teacher(finished.directory, file)
    assert load_file(file)
    study = tiny(teacher=teacher)
    data = load_data(study)
    net = Models.for_study(study, data).build(16)
    samples = torch.tensor((data.validation.x - data.mean) / data.std)
    right = net(samples.float()).argmax(1) == torch.tensor(data.validation.y)
    assert right.float().mean().item() == pytest.approx(accuracy)
