"""Contract suites for what users bring: families, losses, metrics, data sources, samplers.

Call these from your own tests. Each function tries the rules that tasearch relies on, and raises
an error that says which one is broken:

    from tasearch import testing

    def test_family():
        testing.check_family(build, widths=(16, 8, 4), in_shape=(3, 32, 32), num_classes=10)

The families, losses, metrics, sources and samplers of tasearch pass the same suites.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import optuna
import torch
from optuna.samplers import BaseSampler
from torch import Tensor, nn

from tasearch.chains.hop import ModelSpec
from tasearch.chains.sizes import sized
from tasearch.chains.space import Space
from tasearch.config.study import Study
from tasearch.data.arrays import check
from tasearch.data.ids import Ids
from tasearch.data.returned import returned_arrays
from tasearch.models.contract import check_model
from tasearch.models.wrappers import taking
from tasearch.profiling.counts import parameters
from tasearch.runs.journal import DIRECTIONS
from tasearch.search.parameters import distributions
from tasearch.search.sampler import ChainSampler, check_made, try_sampler
from tasearch.train.contracts import check_loss_function, check_metric_function
from tasearch.train.own_augment import OwnAugment

__all__ = [
    "check_augmentation",
    "check_family",
    "check_loss_function",
    "check_metric_function",
    "check_sampler",
    "check_source",
]


def check_family(
    build: Callable[..., nn.Module],
    *,
    widths: Sequence[int] | Mapping[str, Mapping[str, Any]],
    in_shape: tuple[int, ...] = (1, 8, 8),
    num_classes: int = 10,
    ids: tuple[int, int] | None = None,
) -> None:
    """Check a family of models: `build(width, *, in_shape, num_classes) -> nn.Module`.

    At each width the model gives finite logits (batch, num_classes) in train and in eval mode, for
    batches of several sizes, with gradients; a model that is built from the same seed has the same
    weights; two models share none; and a wider model has more parameters.

    Args:
        build: The family's function.
        widths: Widths to try, at least two; or sizes by name, from large to small, each with the
            arguments that `build` takes instead of a width.
        in_shape: Shape of one sample: (channels, height, width), (features,), or (length,) of
            integers.
        num_classes: Length of the logits.
        ids: Least and greatest value of samples that are integers, such as token ids: models get
            them as int64; None for samples of floats.

    Raises:
        ModelError: A model does not behave as one that can be trained.
        AssertionError: Another rule is broken; the message says which.

    Example:
        >>> from tasearch.models import mlp
        >>> check_family(mlp.build, widths=(8, 4), in_shape=(20,), num_classes=3)
    """
    tokens = None if ids is None else Ids(low=ids[0], high=ids[1], dtype="int64")
    integers = tokens is None or (len(in_shape) == 1 and tokens.low <= tokens.high)
    assert integers, (
        f"ids should be (least, greatest), with in_shape = (length,), found {ids} and {in_shape}"
    )
    sizes = []
    named, shape = isinstance(widths, Mapping), {"in_shape": in_shape, "num_classes": num_classes}
    for where, make in _makers(build, widths).items():
        net, same = (_built(make, **shape) for _ in range(2))
        for (name, a), (_, b) in zip(
            net.state_dict().items(), same.state_dict().items(), strict=True
        ):
            assert torch.equal(a, b), f"{where}: {name} differs between two builds of one seed"
            apart = a.numel() == 0 or a.data_ptr() != b.data_ptr()
            assert apart, f"{where}: two models share the memory of {name}"
        sizes.append(parameters(net))
        check_model(taking(tokens, copy.deepcopy(net)), where, in_shape, num_classes)
    assert len(sizes) > 1, f"at least two widths are needed, found {widths}"
    growing = all(a < b or (named and a == b) for a, b in itertools.pairwise(sizes))
    found = f"found {sizes} at {[*_makers(build, widths)]}"
    assert growing, f"a wider model should have more parameters, {found}"


def check_augmentation(augment: Callable[[Tensor], Any], x: np.ndarray) -> None:
    """Check an augmentation: `augment(x) -> a view of the sample x`.

    Its views have the shape and the dtype of the sample, and two calls with the same seeds of
    torch, `numpy.random` and `random` return the same.

    Args:
        augment: The augmentation, such as a transform of `torchvision.transforms.v2`.
        x: Raw samples, uint8 or float32 (samples, *in_shape), the channels first.

    Raises:
        StudyError: A rule is broken; the message says which.

    Example:
        >>> check_augmentation(lambda x: x.flip(-1), np.zeros((2, 3, 8, 8), np.uint8))
    """
    OwnAugment(name="augmentation", function=augment, identity="").try_out(x)


def check_source(load: Callable[[], Any]) -> None:
    """Check a data source: `load() -> {"x_train": ..., "y_train": ..., ...}`, or (x, y), ...

    Its arrays keep the contract of data, and two calls return the same ones.

    Args:
        load: The function that `data.source` names.

    Raises:
        DataError: The arrays break the contract.
        AssertionError: Two calls return different arrays.

    Example:
        >>> import numpy as np
        >>> check_source(lambda: {"x_train": np.eye(6), "y_train": np.arange(6) % 2})
    """
    first, second = (returned_arrays(load, "source") for _ in range(2))
    check(first, layout="auto", where="source")
    same = first.keys() == second.keys()
    same = same and all(np.array_equal(first[name], second[name]) for name in first)
    assert same, "a source should return the same arrays each time: a run could not be continued"


def check_sampler(make: Callable[[int], BaseSampler], *, trials: int = 12) -> None:
    """Check a sampler: `make(seed) -> optuna.samplers.BaseSampler`.

    In a small space of chains it proposes valid ones, each once, for three objectives, and proposes
    the same ones again when it is made from the same seeds.

    Args:
        make: The function that `search.sampler` names.
        trials: Number of proposals, at most the 32 chains of the small space.

    Raises:
        StudyError: The function makes no sampler, or the sampler raises.
        AssertionError: A proposal is none or depends on more than the seed and the trials.

    Example:
        >>> check_sampler(lambda seed: optuna.samplers.RandomSampler(seed=seed), trials=3)
    """
    check_made(make, "the sampler's function")
    try_sampler(_space(), make)
    first, second = (_proposals(make, trials) for _ in range(2))
    assert first == second, "proposals should depend on the seed and the trials alone"


def _makers(
    build: Callable[..., nn.Module], widths: Sequence[int] | Mapping[str, Mapping[str, Any]]
) -> dict[str, Callable[..., nn.Module]]:
    """A family's function with each width or size, the smallest first, by its name in messages."""
    if isinstance(widths, Mapping):
        return {f"size {name}": partial(build, **widths[name]) for name in [*widths][::-1]}
    return {sized(width): partial(build, width) for width in sorted(widths)}


def _built(make: Callable[..., nn.Module], **shape: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make(**shape)


def _space() -> Space:
    study = Study()
    return Space(
        teacher=ModelSpec(width=16, recipe=study.teacher_recipe()),
        assistant_widths=(12, 8, 6),
        student_widths=(5, 4, 3, 2),
        min_assistants=0,
        max_assistants=3,
        assistant_recipes=study.recipes("assistants"),
        student_recipes=study.recipes("student"),
    )


def _proposals(make: Callable[[int], BaseSampler], trials: int) -> list[dict[str, Any]]:
    """What a sampler proposes in a search whose results are fixed beforehand."""
    space = _space()
    sampler = ChainSampler(space, make, 0)
    study = optuna.create_study(directions=DIRECTIONS, sampler=sampler)
    sampler.follow(lambda: study.get_trials(deepcopy=False)[:-1])
    proposed: list[dict[str, Any]] = []
    for number in range(min(trials, space.size)):
        sampler.see(number)
        trial = study.ask(distributions(space))
        chain = space.chain(trial.params)
        assert chain is not None, f"{trial.params} is no chain of the space"
        choices = space.choices(chain)
        assert choices not in proposed, f"{choices} was proposed twice"
        sampler.remember(choices)
        proposed.append(choices)
        width = chain.student.width
        study.tell(trial, (width / 10 + len(chain.assistants) / 100, width, width / 100))
    return proposed
