"""Transformers that start from the weights of their teacher."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tasearch
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.recipe import LATER, complete_recipe
from tasearch.config.study import Study
from tasearch.data import load_data
from tasearch.data.ids import Tokens
from tasearch.errors import ModelError, StudyError
from tasearch.models import Models
from tasearch.models.families import FAMILIES
from tasearch.models.start import layers_of, start_from
from tasearch.models.wrappers import without_wrappers
from tests.helpers.recipes import CE, KD, SETTING, make_chain
from tests.helpers.runs import check_stopped_everywhere
from tests.helpers.studies import tiny
from tests.helpers.texts import text_study
from tests.helpers.training import hops, train_all, trainer

TOKENS = Tokens(vocabulary=40, pad=0, cls=None, sep=3, length=8)


def built(width: int = 32, seed: int = 0, **sizes: Any) -> Any:
    """A model whose weights are all random, those that start at zero too."""
    torch.manual_seed(seed)
    net = FAMILIES["transformer"](width, in_shape=(8,), num_classes=3, tokens=TOKENS, **sizes)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net.eval()


def test_model_of_the_same_width_gets_its_teachers_tensors_at_every_second_layer() -> None:
    teacher, net = built(layers=5, heads=4), built(seed=1, layers=3, heads=4)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    start_from(net, teacher)
    for name, value in net.state_dict().items():
        if name.startswith("blocks."):
            _, place, rest = name.split(".", 2)
            name = f"blocks.{2 * int(place)}.{rest}"
        assert torch.equal(value, before[name]), name
    after = teacher.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_layers_are_evenly_spaced_and_include_both_ends() -> None:
    for teachers in range(2, 14):
        for count in range(2, teachers + 1):
            found = layers_of(count, teachers)
            gaps = {b - a for a, b in itertools.pairwise(found)}
            assert found[0] == 0 and found[-1] == teachers - 1
            assert max(gaps) - min(gaps) <= 1 and min(gaps) >= 1


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_channels_without_any_weight_are_cut_off(norm: str) -> None:
    """A narrow model, hidden in a wide one beside zeros, comes out as it was."""
    small = built(16, seed=3, layers=2, heads=2, feed_forward=24, norm=norm)
    wide = built(32, seed=4, layers=2, heads=4, feed_forward=40, norm=norm)
    channels, units = torch.arange(16) * 2, torch.arange(24) + 5
    inner = torch.cat([8 + torch.arange(8), 24 + torch.arange(8)])  # heads 1 and 3 of four
    with torch.no_grad():
        for parameter in wide.parameters():
            parameter.zero_()
        wide.words.weight[:, channels] = small.words.weight
        wide.places[:, channels] = small.places
        wide.norm.weight[channels], wide.norm.bias[channels] = small.norm.weight, small.norm.bias
        wide.head.weight[:, channels], wide.head.bias[:] = small.head.weight, small.head.bias
        for own, block in zip(small.blocks, wide.blocks, strict=True):
            for one, norm_of in zip(own.norms, block.norms, strict=True):
                norm_of.weight[channels], norm_of.bias[channels] = one.weight, one.bias
            block.wide.weight[units[:, None], channels] = own.wide.weight
            block.wide.bias[units] = own.wide.bias
            block.narrow.weight[channels[:, None], units] = own.narrow.weight
            block.narrow.bias[channels] = own.narrow.bias
            rows = torch.cat([inner + 32 * i for i in range(3)])
            block.attention.inputs.weight[rows[:, None], channels] = own.attention.inputs.weight
            block.attention.inputs.bias[rows] = own.attention.inputs.bias
            block.attention.output.weight[channels[:, None], inner] = own.attention.output.weight
            block.attention.output.bias[channels] = own.attention.output.bias
    net = built(16, seed=5, layers=2, heads=2, feed_forward=24, norm=norm)
    start_from(net, wide)
    for name, value in net.state_dict().items():
        assert torch.equal(value, small.state_dict()[name]), name


def test_narrower_heads_keep_the_scores_of_their_features() -> None:
    """Of two features of a head, one is zero: without it, attention stays what it was."""
    teacher, net = built(16, heads=4, layers=1), built(8, seed=1, heads=4, layers=1)
    inputs = teacher.blocks[0].attention.inputs
    with torch.no_grad():
        for parameter in (inputs.weight, inputs.bias):
            parameter.view(3, 4, 4, -1)[:2, :, ::2] = 0  # half the features of queries and keys
        teacher.words.weight[:, 8:] = 0
    start_from(net, teacher)
    own = net.blocks[0].attention.inputs.weight.view(3, 4, 2, 8)
    full = inputs.weight.view(3, 4, 4, 16)[..., :8]
    for head in range(4):
        ours = own[0, head].T @ own[1, head] / 2**0.5
        torch.testing.assert_close(ours, full[0, head].T @ full[1, head] / 4**0.5)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"layers": 3}, "no more layers than its teacher, found 3 and 2"),
        ({"width": 64}, "no more features of a token than its teacher, found 64 and 32"),
        ({"heads": 8}, "no more heads than its teacher, found 8 and 4"),
        ({"heads": 2}, "no more features of a head than its teacher, found 16 and 8"),
        ({"feed_forward": 200}, "no more hidden units than its teacher, found 200 and 128"),
        ({"norm": "post"}, "both should have norms at the same places, pre or post"),
        ({"segments": True}, "both should have segments, or neither"),
    ],
)
def test_model_that_does_not_fit_is_refused(sizes: dict[str, Any], words: str) -> None:
    net = built(**{"width": 32, "heads": 4, **sizes})
    with pytest.raises(ModelError, match=words):
        start_from(net, built(heads=4))


def test_segments_start_as_those_of_the_teacher() -> None:
    teacher, net = built(32, heads=4, segments=True), built(16, seed=1, heads=4, segments=True)
    with torch.no_grad():
        teacher.words.weight[:, 1::2] = 0
    start_from(net, teacher)
    assert torch.equal(net.second, teacher.second[::2])


def inheriting(folder: Path, starts: Any = "teacher", **sections: Any) -> Study:
    content: dict[str, Any] = {
        "model": {
            "family": "transformer",
            "sizes": [
                {"name": "l", "width": 16, "layers": 3, "heads": 2},
                {"name": "m", "width": 16, "layers": 2, "heads": 2},
                {"name": "s", "width": 8, "layers": 1, "heads": 1},
            ],
        },
        "teacher": {"width": "l", "epochs": 2},
        "assistants": {"widths": ["m"], "max": 1, "epochs": 2, "start": starts},
        "student": {"widths": ["m", "s"], "epochs": 2, "start": starts},
        "latency": {"backend": "torch"},
        "search": {"trials": 6, "rungs": 2, "pruner": "none"},
    }
    return text_study(folder, **{**content, **sections})


def test_hop_starts_from_the_trained_model_before(tmp_path: Path) -> None:
    study = inheriting(tmp_path, search={"trials": 3, "rungs": 2, "replicates": 2})
    own = trainer(tmp_path / "store", study)
    teacher, middle, last = hops(study, *study.widths[1:])
    train_all(own, [teacher])
    assert middle.model.recipe is not None
    teachers = [without_wrappers(net).state_dict() for net in own.nets(teacher)]
    for state, weights in zip(own._restore(middle, middle.model.recipe), teachers, strict=True):
        for name, value in without_wrappers(state.net).state_dict().items():
            assert torch.equal(value, weights[name.replace("blocks.1.", "blocks.2.")]), name
    train_all(own, [middle, last])
    assert own.finished(last)
    assert not torch.equal(teachers[0]["words.weight"], teachers[1]["words.weight"])


@pytest.mark.slow
def test_study_that_is_stopped_everywhere_is_the_study_that_is_not(tmp_path: Path) -> None:
    study = inheriting(tmp_path, ["random", "teacher"])
    whole = check_stopped_everywhere(study, tmp_path)
    starts = {(t.recipe or {})["student"].get("start", "random") for t in whole.trials}
    assert starts == {"random", "teacher"}


def test_loaded_teacher_of_the_family_gives_its_weights(tmp_path: Path) -> None:
    first = inheriting(tmp_path)
    data = load_data(first)
    net = without_wrappers(Models.for_study(first, data).build(first.teacher.width, 7))
    torch.save(net.state_dict(), tmp_path / "teacher.pt")
    study = inheriting(tmp_path, teacher={"width": "l", "checkpoint": "teacher.pt"})
    own = trainer(tmp_path / "store", study)
    student = study.recipes("student").one_per_loss()[0]
    teacher = own.models.teacher()
    train_all(own, [Hop(lineage=(teacher,))])
    hop = Hop(lineage=(teacher, ModelSpec(width=study.widths[1], recipe=student)))
    (state,) = own._restore(hop, student)
    for name, value in without_wrappers(state.net).state_dict().items():
        assert torch.equal(value, net.state_dict()[name.replace("blocks.1.", "blocks.2.")])


def test_models_that_do_not_fit_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    sizes = [
        {"name": "l", "width": 32, "layers": 1, "heads": 1},
        {"name": "s", "width": 8, "layers": 2, "heads": 1},
    ]
    study = text_study(
        tmp_path,
        model={"family": "transformer", "sizes": sizes},
        teacher={"width": "l", "epochs": 1},
        assistants={"max": 0, "widths": []},
        student={"widths": ["s"], "epochs": 1, "start": "teacher"},
    )
    words = (
        r'^student\.start: "teacher": the model of size s cannot start from the weights of that '
        r"of size l: it should have no more layers than its teacher, found 2 and 1$"
    )
    with pytest.raises(ModelError, match=words):
        tasearch.run(study, runs_dir=tmp_path / "runs")
    assert not (tmp_path / "runs" / study.name / "hops").exists()


@pytest.mark.parametrize("role", ["student", "assistants"])
def test_other_families_have_no_start_from_a_teacher(role: str) -> None:
    section: dict[str, Any] = {role: {"start": ["random", "teacher"]}}
    with pytest.raises(StudyError) as error:
        tiny(**section)
    assert str(error.value) == (
        f'study: {role}.start: "teacher" goes with family = "transformer" or "hf:FOLDER", '
        f"found 'mlp'"
    )
    brought = {"factory": "own:make", "width": 64, "epochs": 0}
    words = rf'{role}\.start: should be "random" with a teacher that is not of the family'
    with pytest.raises(StudyError, match=words):
        tiny(model={"family": "transformer"}, teacher=brought, **section)


def test_start_of_models_that_learn_from_labels_alone_goes_with_any_family() -> None:
    unused = {"start": "teacher"}
    study = tiny(student={"loss": "ce", **unused}, assistants={"max": 0, **unused})
    assert not study.student.inherits


def test_key_depends_on_the_start_of_distilled_models_alone() -> None:
    inherits = replace(KD, start="teacher")
    assert "start" not in KD.content()
    assert complete_recipe(KD.content()) == {**KD.content(), **LATER}
    assert make_chain(64, 6, last=inherits).hop().key(SETTING) != (
        make_chain(64, 6).hop().key(SETTING)
    )
    labels = replace(CE, start="teacher")
    assert make_chain(64, 6, last=labels).hop().key(SETTING) == (
        make_chain(64, 6, last=CE).hop().key(SETTING)
    )
