from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tasearch.errors import StudyError
from tasearch.train.augmentation import AUGMENTATIONS, AugmentedData, check_augmentation

NONE = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)


def images(samples: int = 6, side: int = 20, dtype: torch.dtype = torch.uint8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (samples, 3, side, side)
    return torch.randint(256, shape, generator=generator, dtype=torch.uint8).to(dtype)


def by_hand(image: Tensor, number: int, pad: int) -> Tensor:
    """One view of one image (channels, height, width), pixel by pixel from the padded image."""
    place, flip = number // 2, number % 2
    height, width = image.shape[1:]
    padded = torch.zeros(3, height + 2 * pad, width + 2 * pad)
    padded[:, pad : pad + height, pad : pad + width] = image
    top, left = place // (2 * pad + 1), place % (2 * pad + 1)
    view = padded[:, top : top + height, left : left + width]
    return view.flip(2) if flip else view


@pytest.mark.parametrize(("name", "count"), [("none", 1), ("flip", 2), ("crop4+flip", 162)])
def test_samples_show_every_view_once_before_any_twice(name: str, count: int) -> None:
    views = AugmentedData(images(), *NONE, AUGMENTATIONS[name], seed=1)
    assert AUGMENTATIONS[name].count == count
    seen = torch.stack([views.numbers(phase) for phase in range(count)])
    assert all(sorted(column) == [*range(count)] for column in seen.T.tolist())
    assert [views.phase(epoch) for epoch in (0, count - 1, count)] == [0, count - 1, 0]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("name", [*AUGMENTATIONS])
def test_batch_shows_views_of_its_numbers(name: str, dtype: torch.dtype) -> None:
    x, pad = images(dtype=dtype), AUGMENTATIONS[name].pad
    mean, std = torch.tensor([90.0, 100, 110])[:, None, None], torch.full((3, 1, 1), 50.0)
    views = AugmentedData(x, mean, std, AUGMENTATIONS[name], seed=3)
    chosen = torch.tensor([4, 0, 0, 5])
    for phase in range(min(AUGMENTATIONS[name].count, 12)):
        numbers = views.numbers(phase)
        batch = views.batch(chosen, numbers)
        assert batch.dtype == torch.float32
        for row, sample in enumerate(chosen.tolist()):
            number = int(numbers[sample]) if name != "none" else 0
            expected = (by_hand(x[sample].float(), number, pad) - mean) / std
            assert torch.allclose(batch[row], expected, atol=1e-5)


def test_view_without_change_equals_image() -> None:
    views = AugmentedData(images(), *NONE, AUGMENTATIONS["crop4+flip"], seed=0)
    middle = 2 * (4 * 9 + 4)
    found = [
        phase for phase in range(162) for n in views.numbers(phase).tolist()[:1] if n == middle
    ]
    shown = views.batch(torch.tensor([0]), views.numbers(found[0]))
    assert torch.equal(shown[0], images()[0].float())


def test_views_depend_on_seed_alone() -> None:
    a, b, c = (
        AugmentedData(images(50), *NONE, AUGMENTATIONS["crop4+flip"], seed=s) for s in (1, 1, 2)
    )
    assert torch.equal(a.numbers(7), b.numbers(7))
    assert not torch.equal(a.numbers(7), c.numbers(7))


def test_samples_have_their_own_orders_of_views() -> None:
    views = AugmentedData(images(200), *NONE, AUGMENTATIONS["crop4+flip"], seed=1)
    steps = (views.numbers(1) - views.numbers(0)) % 162
    assert len(set(steps.tolist())) > 20
    assert len(set(views.numbers(0).tolist())) > 50


def test_features_have_one_view() -> None:
    x = torch.randn(5, 7)
    views = AugmentedData(x, x.mean(0), x.std(0), AUGMENTATIONS["none"], seed=0)
    expected = (x - x.mean(0)) / x.std(0)
    assert torch.allclose(views.batch(torch.arange(5), views.numbers(0)), expected, atol=1e-6)
    with pytest.raises(StudyError, match=r"'flip' needs images, found samples of \(7,\)"):
        check_augmentation("flip", (7,))


def test_augmentation_flips_small_images_and_refuses_to_shift_them() -> None:
    check_augmentation("flip", (1, 8, 8))
    check_augmentation("crop4+flip", (1, 28, 28))
    with pytest.raises(StudyError, match="needs images of 16 pixels a side, found 8x8"):
        check_augmentation("crop4+flip", (1, 8, 8))


@pytest.mark.parametrize("name", [*AUGMENTATIONS])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_samples_by_batch_equal_samples_in_memory_bit_for_bit(
    name: str, channels: int, kind: torch.dtype
) -> None:
    x = images(samples=70)[:, :channels].to(kind)
    if kind == torch.float32:
        x = x * 1.0137 + 0.301
    mean = torch.tensor([90.7, 100.3, 110.9])[:channels, None, None]
    whole, by_batch = (
        AugmentedData(x, mean, mean / 3, AUGMENTATIONS[name], seed=3, most=most)
        for most in (float("inf"), 0)
    )
    assert (whole.held, by_batch.held) == (True, False)
    chosen = torch.tensor([69, 0, 0, 33, 5])
    for phase in range(min(AUGMENTATIONS[name].count, 12)):
        numbers = whole.numbers(phase)
        pair = [views.batch(chosen, numbers) for views in (whole, by_batch)]
        assert torch.equal(*pair)
        assert pair[0].stride() == pair[1].stride()
    at_once = whole.batch(torch.arange(70), whole.numbers(0))
    assert torch.equal(torch.cat([*by_batch.split(64)]), at_once)


@pytest.mark.parametrize("features", [1, 7, 64])
def test_rows_of_numbers_by_batch_equal_those_in_memory_bit_for_bit(features: int) -> None:
    generator = torch.Generator().manual_seed(features)
    x = 50 * torch.randn(300, features, generator=generator)
    mean, std = x.mean(0), x.std(0)
    whole, by_batch = (
        AugmentedData(x, mean, std, AUGMENTATIONS["none"], seed=3, most=most)
        for most in (x.nbytes, x.nbytes - 1)
    )
    assert (whole.held, by_batch.held) == (True, False)
    chosen, numbers = torch.tensor([299, 0, 0, 33, 5]), whole.numbers(0)
    assert torch.equal(whole.batch(chosen, numbers), by_batch.batch(chosen, numbers))
    at_once = whole.batch(torch.arange(300), numbers)
    assert torch.equal(torch.cat([*by_batch.split(64)]), at_once)
    assert torch.equal(torch.cat([*by_batch.split(1)]), at_once)
