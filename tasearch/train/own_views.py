"""Views of samples by a function of the user's: drawn once, and kept in a memory-mapped file.

A view depends on the function, the sample's index, the view's number and `data.split_seed` alone;
`seed` only decides when it is shown, as it does for crops. So searches and confirmations on the
same data share the file, and an ancestor's logits on the views are exact.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import random
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tasearch.chains.keys import derived_seed
from tasearch.config import plugins
from tasearch.config.study import Study
from tasearch.data import Dataset
from tasearch.data.cache import cached, is_cached
from tasearch.data.converted import as_array
from tasearch.errors import DataError, StudyError, raised
from tasearch.runs import heartbeat
from tasearch.train.augmentation import (
    ViewedData,
    channels_first,
    channels_last,
    standardized,
)

TRIED = 4  # samples that a function is tried on, and views of each
FORMAT = "views 1"  # raise the number when files of before cannot be read any more
CUDA_FRACTION = 1 / 2  # largest part of a GPU's memory that views may take


@dataclass(frozen=True, kw_only=True)
class OwnViews:
    """The views that a user's function makes of the training set.

    Args:
        name: The function as the study names it, `"package.module:function"`.
        function: The function, from a raw sample (*in_shape) to a view of it.
        identity: Name and digest of the function.
        count: Number of views of each sample.
        seed: Seed of the views.
        limit: Largest size of all views in bytes.
    """

    name: str
    function: Callable[[Tensor], Any]
    identity: str
    count: int
    seed: int
    limit: float

    @classmethod
    def of(cls, study: Study) -> OwnViews | None:
        """The views of a study; None if its augmentation is built in.

        Raises:
            StudyError: There is no such function.
        """
        name, training = study.training.augment, study.training
        if ":" not in name:
            return None
        assert training.views is not None  # a rule of the section
        return cls(
            name=name,
            function=plugins.resolve(name, {}, path="training.augment", root=study.root),
            identity=plugins.identity(name, study.root),
            count=training.views,
            seed=study.data.split_seed,
            limit=training.views_gb * 1e9,
        )

    def try_out(self, x: np.ndarray) -> float:
        """Call the function twice for a few views of a few samples.

        Args:
            x: Raw samples, uint8 or float32 (samples, *in_shape).

        Returns:
            Seconds of one call.

        Raises:
            StudyError: The function raises, returns anything but a view, or another one when it is
                called again; or all views are larger than the study allows.
        """
        size = x.nbytes * self.count
        if size > self.limit:
            raise StudyError(
                f"training.views: {self.count} views of {len(x):,} samples take {size / 1e9:.3g} "
                f"GB, more than training.views_gb = {self.limit / 1e9:g}; ask for fewer views"
            )
        samples, count = range(min(TRIED, len(x))), min(TRIED, self.count)
        since = time.perf_counter()
        once, again = ([self._views_of(x, i, count) for i in samples] for _ in range(2))
        if not all(map(np.array_equal, once, again)):
            raise StudyError(
                f"training.augment: {self.name!r} made two views with the same seed; the seeds of "
                f"torch, numpy.random and random are set before each call: draw from these alone, "
                f"and keep nothing between calls"
            )
        return (time.perf_counter() - since) / (2 * len(samples) * count)

    def drawn(self, data: Dataset) -> np.ndarray:
        """All views, drawn now unless they are cached.

        Returns:
            Memory-mapped, uint8 or float32 like the samples, (samples, views, *in_shape) with the
            channels last.

        Raises:
            StudyError: The function breaks a rule.
            DataError: There is no room for the views.
        """

        def write(folder: Path) -> None:
            self._write(data.inputs, folder / "views.npy")

        return cached(self._key(data), write, "views of samples")["views"]

    def are_drawn(self, data: Dataset) -> bool:
        """Whether the views are cached."""
        return is_cached(self._key(data))

    def _key(self, data: Dataset) -> str:
        given = data.fingerprint, data.unlabelled_digest
        parts = FORMAT, *given, self.identity, self.count, self.seed
        return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()[:32]

    def _write(self, x: np.ndarray, path: Path) -> None:
        """Write all views; not to mapped memory, where a full disk would kill the process."""
        shape = (len(x), self.count, *channels_last(torch.from_numpy(x[:1])).shape[1:])
        needed, free = x.nbytes * self.count, shutil.disk_usage(path.parent).free
        if needed > free:
            raise OSError(errno.ENOSPC, f"{needed:,} bytes are needed, {free:,} are free")
        header = {"descr": x.dtype.str, "fortran_order": False, "shape": shape}
        with path.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            for i in range(len(x)):
                views = channels_last(torch.from_numpy(self._views_of(x, i, self.count)))
                stream.write(views.contiguous().numpy().data)

    def _views_of(self, x: np.ndarray, sample: int, count: int) -> np.ndarray:
        """The first views of one sample, (count, *in_shape)."""
        with _seeds_restored():
            return np.stack([self._view(x, sample, number) for number in range(count)])

    def _view(self, x: np.ndarray, sample: int, number: int) -> np.ndarray:
        where = f"training.augment: {self.name!r} of sample {sample}"
        seed = derived_seed("view", self.seed, sample, number)
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


class DrawnData(ViewedData):
    """The samples of a data set, and views of them that were drawn before.

    On CPU they stay in the mapped file, which processes share; on CUDA they are in its memory.

    Args:
        x: Raw views, (samples, views, *in_shape) with the channels last.
        mean: Mean of raw samples, broadcastable to a sample.
        std: Standard deviation of raw samples, broadcastable to a sample.
        seed: Seed of the order of views.

    Raises:
        StudyError: They are too large for the device.
    """

    def __init__(self, x: np.ndarray, mean: Tensor, std: Tensor, seed: int) -> None:
        shape = channels_first(torch.empty(0, *x.shape[2:])).shape[1:]
        super().__init__((len(x), *shape), x.shape[1], mean.device, seed=seed)
        self._scale, self._shift = channels_last(1 / std), channels_last(-mean / std)
        if self.device.type == "cuda":
            _check_fits(x.nbytes, self.device)
        with warnings.catch_warnings():  # torch has no tensors that are only read
            warnings.filterwarnings("ignore", message=".*not writable")
            mapped = torch.from_numpy(x)
        self._x = mapped.to(self.device).flatten(0, 1)

    def views(self, samples: Tensor, numbers: Tensor) -> Tensor:
        """Some views of samples; see `ViewedData.views`."""
        x = self._x.index_select(0, samples * self.count + numbers)
        return channels_first(standardized(x, self._scale, self._shift))


def price(views: OwnViews, data: Dataset, call_s: float) -> str:
    """What views take, in words, for somebody who has not drawn them yet.

    Args:
        views: The views.
        data: The data set.
        call_s: Seconds of one call of the function.
    """
    samples, size = len(data.inputs), views.count * data.inputs.nbytes / 1e6
    calls = views.count * samples
    return (
        f"training.views: {views.count} views of {samples:,} samples are drawn once, before "
        f"the first training: about {calls * call_s:,.0f} s and {size:,.0f} MB "
        f"of the cache; a model that teaches computes soft targets up to {views.count} times, not "
        f"once"
    )


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


def _check_fits(needed: int, device: torch.device) -> None:
    most = torch.cuda.get_device_properties(device).total_memory * CUDA_FRACTION
    if needed > most:
        raise StudyError(
            f"training.views: the views take {needed / 1e9:.3g} GB, more than the "
            f"{most / 1e9:.3g} GB that they may take of {device}; ask for fewer views"
        )


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
