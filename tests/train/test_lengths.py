"""Batches of texts alike in length, cut to their longest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tasearch.data.ids import Ids, Tokens
from tasearch.errors import ModelError
from tasearch.models.contract import check_model
from tasearch.models.wrappers import Standardized, TakesIds
from tasearch.train.augmentation import AUGMENTATIONS, AugmentedData
from tasearch.train.batches import EpochPlan, TrainingJob, epoch_order, epoch_samples
from tasearch.train.lengths import WINDOW, batch_lengths, by_length, lengths_of, predict_texts
from tasearch.train.loop import predict, train
from tasearch.train.losses import LOSSES
from tasearch.train.soft_targets import view_logits
from tasearch.train.state import State
from tests.helpers.clusters import recipe

PAD, LENGTH, WORDS, SAMPLES = 3, 40, 30, 300
TOKENS = Tokens(vocabulary=WORDS, pad=PAD, cls=None, sep=None, length=LENGTH)


class Bag(nn.Module):
    """The mean of the embeddings of a text; `masked` is how models should be."""

    def __init__(self, masked: bool = True) -> None:
        super().__init__()
        self.words, self.out, self.masked = nn.Embedding(WORDS, 8), nn.Linear(8, 3), masked
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shapes.append(tuple(x.shape))
        mask = (x != PAD if self.masked else x >= 0).unsqueeze(2)
        found: Tensor = self.out((self.words(x) * mask).sum(1) / mask.sum(1).clamp(min=1))
        return found


def net(masked: bool = True) -> TakesIds:
    torch.manual_seed(0)
    return TakesIds(Bag(masked), Ids.of_tokens(TOKENS))


def texts() -> Tensor:
    """Texts of 1 to 40 ids, some of which are like padding within a text."""
    random = np.random.default_rng(0)
    x = random.integers(0, WORDS, (SAMPLES, LENGTH))
    lengths = 1 + random.integers(0, LENGTH, SAMPLES) * random.integers(0, 2, SAMPLES)
    x[np.arange(LENGTH) >= lengths[:, None]] = PAD
    return torch.from_numpy(x.astype(np.int32))


def problem(**changes: Any) -> TrainingJob:
    x, y = texts(), torch.arange(SAMPLES) % 3
    zeros = torch.zeros(LENGTH)
    views = AugmentedData(x, zeros, zeros + 1, AUGMENTATIONS["none"], seed=0)
    job = TrainingJob(
        views=views,
        y=y,
        targets=None,
        validation=(x[:70], y[:70]),
        loss=LOSSES["ce"],
        rungs=1,
        bf16=False,
        width=16,
        seed_parts=(0, 0, 16),
        lengths=torch.from_numpy(lengths_of(x.numpy(), PAD)),
    )
    return replace(job, **changes)


def test_length_counts_up_to_the_last_id() -> None:
    x = np.array([[1, 2, PAD, PAD], [PAD] * 4, [PAD, 1, PAD, 2], [1, PAD, 2, PAD]])
    assert lengths_of(x, PAD).tolist() == [2, 0, 4, 3]


def test_batches_hold_each_sample_once_and_are_alike_in_length() -> None:
    size, count = 4, 4 * 2 * WINDOW
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 100, (count,), generator=generator)
    order = torch.randperm(count, generator=generator)
    found = by_length(order, lengths, size, generator)
    assert found.sort().values.tolist() == [*range(count)]
    spread = [(v.max() - v.min()).item() for v in lengths[found].split(size)]
    assert sum(spread) < 0.2 * sum((v.max() - v.min()).item() for v in lengths[order].split(size))
    firsts = lengths[found].view(-1, size).amax(dim=1)
    assert not torch.equal(firsts, firsts.sort().values), "short and long batches are mixed"


def test_order_is_a_function_of_the_seed_alone() -> None:
    job, own = problem(), recipe(batch_size=32)
    first = epoch_samples(own, job, 0)
    torch.manual_seed(9)
    assert torch.equal(first, epoch_samples(own, job, 0))
    others = [(job, 1), (replace(job, seed_parts=(0, 1, 16)), 0), (replace(job, width=8), 0)]
    same = [torch.equal(first, epoch_samples(own, other, epoch)) for other, epoch in others]
    assert same == [False, False, True]


def test_order_of_other_samples_stays_as_it_was() -> None:
    job, own = problem(lengths=None), recipe(batch_size=32)
    assert torch.equal(epoch_samples(own, job, 0), epoch_order(job, 0)[: SAMPLES // 32 * 32])


def test_batches_of_an_epoch_are_cut_to_their_longest_text() -> None:
    job, own = problem(), recipe(batch_size=32)
    plan = EpochPlan(own, job, 0)
    x, seen = texts(), []
    order = epoch_samples(own, job, 0)
    assert job.lengths is not None
    cuts = batch_lengths(order, job.lengths, 32, LENGTH)
    for batch, samples, cut in zip(plan.batches(), order.split(32), cuts, strict=True):
        longest = int(job.lengths[samples].max())
        assert cut % 8 == 0 and longest <= cut < max(longest, 1) + 8
        assert batch.x.shape == (32, cut) and batch.x.is_contiguous()
        assert torch.equal(batch.x, x[samples, :cut])
        assert torch.equal(batch.labels, job.y[samples])
        seen.append(cut)
    assert min(seen) < max(seen) <= LENGTH


def test_training_on_cut_batches_equals_training_on_padded_ones() -> None:
    found = []
    for cut in (True, False):
        job, own = problem(), recipe(batch_size=32, epochs=2)
        state = State(net().double(), own)
        if not cut:  # the same batches, as the model pads them again
            state.net.register_forward_pre_hook(_padded)
        losses = [result.loss for result in train(state, job)]
        found.append((losses, predict(state.net, texts())))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-5)


def _padded(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (nn.functional.pad(args[0], (0, LENGTH - args[0].shape[1]), value=PAD),)


def test_predictions_are_cut_and_keep_their_order() -> None:
    model, x = net(), texts()
    expected = model.eval()(x)
    model.net.shapes.clear()
    assert torch.allclose(predict(model, x), expected, atol=1e-5)
    widths = [shape[1] for shape in model.net.shapes]
    assert widths == sorted(widths) and widths[0] < LENGTH
    assert torch.allclose(predict_texts(model, x, PAD), expected, atol=1e-5)
    whole = Standardized(model, torch.zeros(LENGTH), torch.ones(LENGTH))
    assert torch.allclose(predict(whole, x), expected, atol=1e-5)
    assert torch.allclose(view_logits(model, problem().views, 0), expected, atol=1e-5)


def test_model_that_sees_padding_is_refused() -> None:
    check_model(net(), "the model", (LENGTH,), 3)
    words = "the model gives other logits if padding is behind a text: .* ids are not 3, the id of"
    with pytest.raises(ModelError, match=words):
        check_model(net(masked=False), "the model", (LENGTH,), 3)


def test_model_of_one_length_is_refused() -> None:
    fixed = TakesIds(
        nn.Sequential(nn.Embedding(WORDS, 2), nn.Flatten(), nn.Linear(2 * LENGTH, 3)),
        Ids.of_tokens(TOKENS),
    )
    words = "should take texts of any length up to 40, failed on 20 ids: .*; the mask of a text is"
    with pytest.raises(ModelError, match=words):
        check_model(fixed, "the model", (LENGTH,), 3)
