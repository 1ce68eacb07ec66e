"""An augmentation of the user's: a function from a sample to a view of it, called with a seed."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasearch.chains.keys import derived_seed
from tasearch.config import plugins
from tasearch.config.study import Study
from tasearch.data.converted import as_array
from tasearch.errors import DataError, StudyError, raised
from tasearch.runs import heartbeat

TRIED = 4  # samples that a function is tried on, and views of each


@dataclass(frozen=True, kw_only=True)
class OwnAugment:
    """A user's augmentation.

    Args:
        name: The function as the study names it, `"package.module:function"`.
        function: The function, from a raw sample (*in_shape) to a view of it.
        identity: Name and digest of the function.
    """

    name: str
    function: Callable[[Tensor], Any]
    identity: str

    @classmethod
    def of(cls, study: Study) -> OwnAugment | None:
        """The augmentation of a study; None if it is built in.

        Raises:
            StudyError: There is no such function.
        """
        name = study.training.augment
        if ":" not in name:
            return None
        return cls(
            name=name,
            function=plugins.resolve(name, {}, path="training.augment", root=study.root),
            identity=plugins.identity(name, study.root),
        )

    def try_out(self, x: np.ndarray) -> float:
        """Call the function twice for a few views of a few samples.

        Args:
            x: Raw samples, uint8 or float32 (samples, *in_shape).

        Returns:
            Seconds of one call.

        Raises:
            StudyError: The function raises, returns anything but a view, or another one when it is
                called again.
        """
        calls = [
            (sample, derived_seed("view", 0, sample, number))
            for sample in range(min(TRIED, len(x)))
            for number in range(TRIED)
        ]
        since = time.perf_counter()
        once, again = (self.views(x, calls) for _ in range(2))
        if not np.array_equal(once, again):
            raise StudyError(
                f"training.augment: {self.name!r} made two views with the same seed; the seeds of "
                f"torch, numpy.random and random are set before each call: draw from these alone, "
                f"and keep nothing between calls"
            )
        return (time.perf_counter() - since) / (2 * len(calls))

    def views(self, x: np.ndarray, calls: Iterable[tuple[int, int]]) -> np.ndarray:
        """Views of samples; the global generators stay as they were.

        Args:
            x: Raw samples, uint8 or float32 (samples, *in_shape).
            calls: The index of a sample and a seed, for each view.

        Returns:
            Raw views, (calls, *in_shape).

        Raises:
            StudyError: The function raises, or returns anything but a view.
        """
        with _seeds_restored():
            return np.stack([self._view(x, sample, seed) for sample, seed in calls])

    def _view(self, x: np.ndarray, sample: int, seed: int) -> np.ndarray:
        where = f"training.augment: {self.name!r} of sample {sample}"
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)  # for functions that draw from it
        random.seed(seed)
        try:
            view = self.function(torch.tensor(x[sample]))  # a copy, which it may change
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:  # it may raise anything, and call sys.exit()
            raise StudyError(f"{where} raised {raised(error)}") from error
        heartbeat.beat()
        return _checked(view, x[sample], where)


def _checked(view: Any, sample: np.ndarray, where: str) -> np.ndarray:
    """A view that a function has returned, of the shape and dtype of the sample.

    Raises:
        StudyError: It is of another shape or dtype, or not finite.
    """
    try:
        found = as_array(view, where)
    except DataError as error:
        raise StudyError(str(error)) from None
    floats = sample.dtype == np.float32 and found.dtype.kind == "f"
    if found.shape != sample.shape or not (floats or found.dtype == sample.dtype):
        advice = "; leave out what standardizes samples, which is done later"
        raise StudyError(
            f"{where}: should return {sample.dtype} of shape {sample.shape} as it was given, "
            f"returned {found.dtype} of shape {found.shape}"
            f"{'' if found.dtype == sample.dtype else advice}"
        )
    if floats and not np.isfinite(found).all():
        raise StudyError(f"{where}: should return finite numbers")
    return found.astype(sample.dtype, copy=False)


@contextlib.contextmanager
def _seeds_restored() -> Iterator[None]:
    """A context that leaves the global generators of torch, numpy and Python as they were."""
    arrays, own = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(arrays)
        random.setstate(own)
