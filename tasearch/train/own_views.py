"""Views of samples by a function of the user's: drawn once, and kept in a memory-mapped file.

A view depends on the function, the sample's index, the view's number and `data.split_seed` alone;
`seed` only decides when it is shown, as it does for crops. So searches and confirmations on the
same data share the file, and an ancestor's logits on the views are exact.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tasearch.chains.keys import derived_seed
from tasearch.config.study import Study
from tasearch.data import Dataset
from tasearch.data.cache import cached, is_cached
from tasearch.errors import StudyError
from tasearch.train.augmentation import (
    ViewedData,
    channels_first,
    channels_last,
    standardized,
)
from tasearch.train.own_augment import OwnAugment

FORMAT = "views 1"  # raise the number when files of before cannot be read any more
CUDA_FRACTION = 1 / 2  # largest part of a GPU's memory that views may take


@dataclass(frozen=True, kw_only=True)
class OwnViews:
    """The views that a user's function makes of the training set.

    Args:
        augment: The function.
        count: Number of views of each sample.
        seed: Seed of the views.
        limit: Largest size of all views in bytes.
    """

    augment: OwnAugment
    count: int
    seed: int
    limit: float

    @classmethod
    def of(cls, study: Study) -> OwnViews | None:
        """The views of a study; None if its augmentation is built in, or draws them anew.

        Raises:
            StudyError: There is no such function.
        """
        augment, training = OwnAugment.of(study), study.training
        if augment is None or training.views is None:
            return None
        return cls(
            augment=augment,
            count=training.views,
            seed=study.data.split_seed,
            limit=training.views_gb * 1e9,
        )

    def try_out(self, x: np.ndarray) -> float:
        """Call the function twice for a few views of a few samples; see `OwnAugment.try_out`.

        Raises:
            StudyError: The function breaks a rule, or all views are larger than the study allows.
        """
        size = x.nbytes * self.count
        if size > self.limit:
            raise StudyError(
                f"training.views: {self.count} views of {len(x):,} samples take {size / 1e9:.3g} "
                f"GB, more than training.views_gb = {self.limit / 1e9:g}; ask for fewer views"
            )
        return self.augment.try_out(x)

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
        parts = FORMAT, *given, self.augment.identity, self.count, self.seed
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
                views = channels_last(torch.from_numpy(self._views_of(x, i)))
                stream.write(views.contiguous().numpy().data)

    def _views_of(self, x: np.ndarray, sample: int) -> np.ndarray:
        """All views of one sample, (count, *in_shape)."""
        numbers = range(self.count)
        seeds = (derived_seed("view", self.seed, sample, number) for number in numbers)
        return self.augment.views(x, ((sample, seed) for seed in seeds))


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


def _check_fits(needed: int, device: torch.device) -> None:
    most = torch.cuda.get_device_properties(device).total_memory * CUDA_FRACTION
    if needed > most:
        raise StudyError(
            f"training.views: the views take {needed / 1e9:.3g} GB, more than the "
            f"{most / 1e9:.3g} GB that they may take of {device}; ask for fewer views"
        )
