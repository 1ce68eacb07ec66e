"""Losses on hidden layers of transformers: values, gradients, training, identity."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.recipe import HIDDEN
from tasearch.config.study import Study
from tasearch.data import load_data
from tasearch.data.ids import Tokens
from tasearch.models import Models
from tasearch.models.families import FAMILIES
from tasearch.models.hidden import HiddenLayers, hidden_sizes, read_hidden
from tasearch.models.wrappers import without_wrappers
from tasearch.train.hidden import HiddenLoss, matched_blocks, mean_over_tokens
from tasearch.train.loop import predict, train_step
from tasearch.train.losses import Terms
from tasearch.train.state import pack, unpack
from tests.helpers.recipes import CE, KD, SETTING, make_chain
from tests.helpers.runs import check_stopped_everywhere
from tests.helpers.texts import text_study
from tests.helpers.training import DEVICES, files, hops, train_all, train_in_parts, trainer

TOKENS = Tokens(vocabulary=40, pad=0, cls=None, sep=None, length=8)
ALL = "+".join(HIDDEN)


def built(width: int, seed: int, **sizes: Any) -> nn.Module:
    """A transformer in float64 whose weights are all random."""
    torch.manual_seed(seed)
    net = FAMILIES["transformer"](width, in_shape=(8,), num_classes=3, tokens=TOKENS, **sizes)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return net.double()


def texts(count: int = 5) -> Tensor:
    """Texts of three to eight ids, padded with 0."""
    ids = torch.randint(1, 40, (count, 8), generator=torch.Generator().manual_seed(0))
    for row in range(count):
        ids[row, 3 + row :] = 0
    return ids


def hidden_loss(own: nn.Module, teacher: nn.Module, *parts: str) -> HiddenLoss:
    torch.manual_seed(9)
    return HiddenLoss(parts, hidden_sizes(own), hidden_sizes(teacher)).double()


def reference(loss: HiddenLoss, part: str, own: HiddenLayers, teacher: HiddenLayers) -> Tensor:
    """A part of the loss, text by text and token by token."""

    def distance(x: Tensor, y: Tensor) -> Tensor:
        if part in loss.projections:
            weight = loss.projections[part].weight
            assert isinstance(weight, Tensor)
            x = weight @ x
        return 1 - (x @ y) / (x.norm() * y.norm())

    def relations(vectors: Tensor) -> Tensor:
        size = vectors.shape[1] // loss.heads
        heads = [vectors[:, i * size : (i + 1) * size] for i in range(loss.heads)]
        return torch.stack([torch.softmax(h @ h.T / math.sqrt(size), dim=1) for h in heads])

    found = []
    for row, length in enumerate(own.mask.sum(1).tolist()):
        if part == "relations":
            for x, y in zip(own.vectors, teacher.vectors, strict=True):
                p, q = relations(y[row, :length]), relations(x[row, :length])
                found.append((p * (p / q).log()).sum(2).mean() / 3)
        elif part == "embeddings":
            pairs = zip(own.embeddings[row, :length], teacher.embeddings[row], strict=False)
            found.append(torch.stack([distance(x, y) for x, y in pairs]).mean())
        else:
            for x, place in zip(own.states, loss.matched, strict=True):
                pairs = zip(x[row, :length], teacher.states[place][row], strict=False)
                mean = torch.stack([distance(a, b) for a, b in pairs]).mean()
                found.append(mean / len(own.states))
    return torch.stack(found).sum() / len(own.mask)


@pytest.mark.parametrize("width", [24, 16], ids=["wider teacher", "equal width"])
@pytest.mark.parametrize("part", HIDDEN)
def test_loss_is_its_formula_text_by_text(part: str, width: int) -> None:
    """Values and all gradients in float64; heads, layers and widths differ."""
    own, teacher = built(16, 0, layers=2, heads=1), built(width, 1, layers=3, heads=4)
    loss, x = hidden_loss(own, teacher, part), texts()
    assert bool([*loss.parameters()]) == (width != 16 and part != "relations")
    _, layers = read_hidden(own, x)
    trained = [*own.parameters(), *loss.parameters()]
    with torch.no_grad():
        _, theirs = read_hidden(teacher, x)
    values = loss.of_batch(layers, teacher, x), reference(loss, part, layers, theirs)
    torch.testing.assert_close(*values, rtol=1e-9, atol=1e-12)
    assert float(values[0].detach()) > 1e-3
    grads = [
        torch.autograd.grad(value, trained, retain_graph=True, allow_unused=True)
        for value in values
    ]
    used = [(a, b) for a, b in zip(*grads, strict=True) if a is not None]
    assert used
    for ours, expected in used:
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-9)
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize("part", HIDDEN)
def test_padding_counts_nowhere(part: str) -> None:
    own, teacher = built(16, 0, layers=1), built(24, 1, layers=2)
    loss, x = hidden_loss(own, teacher, part), texts(2)  # of three and four tokens
    cut = x[:, :4].contiguous()
    values = [loss.of_batch(read_hidden(own, ids)[1], teacher, ids).detach() for ids in (x, cut)]
    torch.testing.assert_close(values[0], values[1], rtol=1e-9, atol=1e-12)
    for row in range(2):  # a long text counts as much as a short one
        one = x[row : row + 1]
        values[0] = values[0] - loss.of_batch(read_hidden(own, one)[1], teacher, one).detach() / 2
    assert abs(float(values[0])) < 1e-12


@pytest.mark.parametrize("part", HIDDEN)
def test_model_equal_to_its_teacher_has_no_loss(part: str) -> None:
    net = built(16, 0, layers=2, heads=2)
    loss = hidden_loss(net, net, part)
    assert abs(loss.of_batch(read_hidden(net, texts())[1], net, texts()).item()) < 1e-12


def test_blocks_are_matched_at_the_same_relative_depth() -> None:
    for teachers in range(1, 13):
        for blocks in range(1, 13):
            found = matched_blocks(blocks, teachers)
            assert len(found) == blocks and found[-1] == teachers - 1 and found == sorted(found)
            for i, place in enumerate(found, start=1):  # the first that is deep enough
                assert place / teachers < i / blocks <= (place + 1) / teachers


def test_mean_is_over_the_tokens_of_each_text() -> None:
    values = torch.tensor([[1.0, 3.0, 100.0], [5.0, 100.0, 100.0]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert float(mean_over_tokens(values, mask)) == (2.0 + 5.0) / 2


@pytest.mark.parametrize("part", HIDDEN)
def test_model_moves_towards_its_teacher_by_this_loss_alone(part: str) -> None:
    own, teacher = built(16, 0, layers=1), built(24, 1, layers=2)
    loss, x = hidden_loss(own, teacher, part), texts()
    before = float(loss.of_batch(read_hidden(own, x)[1], teacher, x))
    optimizer = torch.optim.Adam([*own.parameters(), *loss.parameters()], lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss.of_batch(read_hidden(own, x)[1], teacher, x).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert float(loss.of_batch(read_hidden(own, x)[1], teacher, x)) < 0.5 * before


def learning(folder: Path, hidden: Any = ALL, **sections: Any) -> Study:
    content: dict[str, Any] = {
        "teacher": {"width": "l", "epochs": 2},
        "assistants": {"widths": ["m"], "max": 1, "epochs": 2, "hidden": hidden},
        "student": {"widths": ["m", "s"], "epochs": 2, "hidden": hidden},
        "latency": {"backend": "torch"},
        "search": {"trials": 6, "rungs": 2, "pruner": "none"},
    }
    return text_study(folder, **{**content, **sections})


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
def test_step_adds_the_weighted_loss_to_that_of_the_logits(tmp_path: Path, bf16: bool) -> None:
    study = learning(tmp_path, student={"widths": ["s"], "hidden": ALL, "hidden_weight": 0.5})
    teacher, student = hops(study, study.student.widths[-1])
    own = trainer(tmp_path / "run", study)
    train_all(own, [teacher])
    found = own.begin(student)
    assert found is not None
    (state,), (job,) = found
    assert job.hidden is not None and state.hidden is not None
    x = torch.tensor(load_data(study).train.x[:32])
    batch: Any = type("Batch", (), {"x": x, "labels": job.y[:32], "targets": None, "kept": None})
    terms, layout = Terms(temperature=1.0, alpha=0.0), torch.contiguous_format
    state.optimizer.rate = 0.0
    loss, before = own.losses["ce"], job.hidden(0)
    alone = train_step(state, batch, loss, terms, bf16=bf16, layout=layout)
    both = train_step(state, batch, loss, terms, bf16=bf16, layout=layout, hidden=before)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        _, layers = read_hidden(state.net, x)
    expected = alone + 0.5 * state.hidden.of_batch(layers, before, x)
    torch.testing.assert_close(both, expected.detach(), rtol=1e-5, atol=1e-6)
    grads = [p.grad for p in state.hidden.parameters() if p.grad is not None]
    assert len(grads) == 2 and all(bool(grad.any()) for grad in grads)


@pytest.mark.parametrize("device", DEVICES)
def test_projections_are_trained_but_not_part_of_the_model(tmp_path: Path, device: str) -> None:
    study = learning(tmp_path)
    lineage = hops(study, study.student.widths[-1])
    own = trainer(tmp_path / "run", study, device)
    train_all(own, lineage[:1])
    found = own.begin(lineage[-1])
    assert found is not None
    (state,), jobs = found
    assert state.hidden is not None
    start = {name: value.clone() for name, value in state.hidden.state_dict().items()}
    for _ in own.train(lineage[-1], [state], jobs):
        pass
    after = state.hidden.state_dict()
    assert set(start) == {"projections.states.weight", "projections.embeddings.weight"}
    assert not any(torch.equal(start[name], after[name]) for name in start)
    own.keep(lineage[-1], [state])
    plain = Models.for_study(study, load_data(study)).build(lineage[-1].model.width)
    assert own.nets(lineage[-1])[0].state_dict().keys() == plain.state_dict().keys()


def test_checkpoint_has_projections_and_their_optimizer_state(tmp_path: Path) -> None:
    study = learning(tmp_path)
    teacher, student = hops(study, study.student.widths[-1])
    own = trainer(tmp_path / "run", study)
    train_all(own, [teacher])
    first, second = own.begin(student), own.begin(student)
    assert first is not None and second is not None
    (state,), (job,) = first
    next(own.train(student, [state], [job]))
    unpack(second[0][0], pack(state))
    ours, theirs = pack(state), pack(second[0][0])
    assert any(name.startswith("hidden.") for name in ours)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("epoch", [1.0, "progressive"], ids=["trained", "progressive"])
def test_stopped_training_on_hidden_layers_ends_the_same(
    tmp_path: Path, epoch: Any, precision: str
) -> None:
    role = {"epochs": 3, "hidden": ALL, "teacher_epoch": epoch}
    study = learning(
        tmp_path,
        assistants={"widths": ["m"], "max": 1, **role},
        student={"widths": ["m", "s"], **role},
        search={"replicates": 2, "rungs": 3},
    )
    lineage = hops(study, *study.student.widths)
    train_all(trainer(tmp_path / "a", study, mode=precision), lineage)
    train_in_parts(tmp_path / "b", study, lineage, 1, precision)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_model_has_the_initial_weights_and_batches_of_other_recipes(tmp_path: Path) -> None:
    """With weight 0 of the loss on hidden layers, the weights are those of logits alone."""
    study = learning(tmp_path)
    _, student = hops(study, study.student.widths[-1])
    recipe = student.model.recipe
    assert recipe is not None
    found = []
    for changes in ({"hidden": "none"}, {"hidden_weight": 1e-30}):
        own = trainer(tmp_path / "run", study)
        hop = replace(student, lineage=(*student.lineage[:-1], replaced(student, **changes)))
        train_all(own, [*hop.lineage[:0], Hop(lineage=student.lineage[:1]), hop])
        found.append(own.nets(hop)[0].state_dict())
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


def replaced(hop: Hop, **changes: Any) -> ModelSpec:
    recipe = hop.model.recipe
    assert recipe is not None
    return replace(hop.model, recipe=replace(recipe, **changes))


@pytest.mark.slow
def test_hidden_layers_bring_a_student_nearer_to_its_teachers(tmp_path: Path) -> None:
    """Of held-out texts, too."""
    study = learning(
        tmp_path,
        teacher={"width": "l", "epochs": 8},
        student={"widths": ["s"], "epochs": 8, "hidden": ALL},
    )
    teacher, student = hops(study, study.student.widths[-1])
    own = trainer(tmp_path / "run", study)
    plain = replace(student, lineage=(*student.lineage[:-1], replaced(student, hidden="none")))
    train_all(own, [teacher, student, plain])
    before, x = own.nets(teacher)[0], own.validation[0]
    assert isinstance(x, Tensor)
    losses = []
    for hop in (student, plain):
        net = own.nets(hop)[0]
        loss = HiddenLoss(("relations",), hidden_sizes(net), hidden_sizes(before))
        with torch.no_grad():
            losses.append(float(loss.of_batch(read_hidden(net, x)[1], before, x)))
    assert losses[0] < 0.7 * losses[1]


@pytest.mark.slow
def test_study_that_is_stopped_everywhere_is_the_study_that_is_not(tmp_path: Path) -> None:
    study = learning(tmp_path, ["none", "states"])
    whole = check_stopped_everywhere(study, tmp_path)
    used = {(t.recipe or {})["student"].get("hidden", "none") for t in whole.trials}
    assert used == {"none", "states"}


def test_reading_layers_leaves_the_model_as_it_is() -> None:
    net = built(16, 0, layers=2)
    before, x = predict(net, texts()), texts()
    logits, layers = read_hidden(net.eval(), x)
    assert torch.equal(logits, before)
    assert len(layers.states) == 2 and [v.shape for v in layers.vectors] == [(5, 8, 16)] * 3
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_replicates_learn_from_their_own_teachers(tmp_path: Path) -> None:
    study = learning(tmp_path, search={"replicates": 2, "rungs": 2})
    teacher, student = hops(study, study.student.widths[-1])
    own = trainer(tmp_path / "run", study)
    train_all(own, [teacher])
    found = own.begin(student)
    assert found is not None
    for job, net in zip(found[1], own.nets(teacher), strict=True):
        assert job.hidden is not None
        taught = without_wrappers(job.hidden(1)).state_dict()
        assert all(torch.equal(v, taught[n]) for n, v in without_wrappers(net).state_dict().items())
    projections = [state.hidden.state_dict() for state in found[0] if state.hidden is not None]
    name = "projections.states.weight"
    assert not torch.equal(projections[0][name], projections[1][name])


def test_hops_on_hidden_layers_are_trained_singly(tmp_path: Path) -> None:
    study = learning(tmp_path)
    _, student = hops(study, study.student.widths[-1])
    own = trainer(tmp_path / "run", study, mode="fp32 x4+")
    plain = replace(student, lineage=(*student.lineage[:-1], replaced(student, hidden="none")))
    assert own.stacking_key(student) is None
    assert own.stacking_key(plain) is not None


def test_key_depends_on_hidden_layers_only_where_they_are_used() -> None:
    plain = make_chain(64, 6).hop().key(SETTING)
    used = replace(KD, hidden="states")
    assert not {"hidden", "hidden_weight"} & {*KD.content()}
    keys = {
        make_chain(64, 6, last=replace(KD, **own)).hop().key(SETTING)  # type: ignore[arg-type]
        for own in ({"hidden": "states"}, {"hidden": "states", "hidden_weight": 2.0})
    }
    assert len(keys) == 2 and plain not in keys
    assert make_chain(64, 6, last=replace(KD, hidden_weight=2.0)).hop().key(SETTING) == plain
    labels = make_chain(64, 6, last=CE).hop().key(SETTING)
    alone = replace(CE, hidden="states", hidden_weight=2.0)
    assert make_chain(64, 6, last=alone).hop().key(SETTING) == labels
    assert used.hidden_parts == ("states",) and alone.hidden_parts == ()
