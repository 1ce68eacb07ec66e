"""The samples of a study on the device that trains: views to learn from, and the validation set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tasearch.chains.keys import derived_seed
from tasearch.config.study import Study
from tasearch.data import Dataset, Split
from tasearch.models.tensors import as_tensor
from tasearch.train.augmentation import AUGMENTATIONS, AugmentedData, ViewedData
from tasearch.train.fast.memory import samples_in_memory
from tasearch.train.mixup import MixedData
from tasearch.train.own_augment import OwnAugment
from tasearch.train.own_views import DrawnData, OwnViews
from tasearch.train.redrawn import RedrawnData, RedrawnMixes

FLOAT_BYTES = 4  # of a standardized value


def training_views(study: Study, data: Dataset, device: torch.device) -> ViewedData:
    """The views of the training set, and of the samples without labels behind it.

    Args:
        study: The study.
        data: Its data set.
        device: The device that trains.
    """
    own, drawn = OwnAugment.of(study), OwnViews.of(study)
    views: ViewedData
    if drawn is not None:
        views = DrawnData(drawn.drawn(data), *_moments(data, device), seed=0)
    elif own is not None:
        views = RedrawnData(data.inputs, own, *_moments(data, device), seed=0)
    else:
        part = replace(data.train, x=data.inputs)
        views = part_views(data, part, study.training.augment, device)
    return _mixed(views, data, study)


def validation_set(data: Dataset, device: torch.device) -> tuple[Tensor | AugmentedData, Tensor]:
    """Inputs and labels of the validation set; many inputs are standardized by batch.

    Args:
        data: The data set.
        device: The device that trains.
    """
    whole = part_views(data, data.validation, "none", device, as_floats=True)
    y = torch.tensor(data.validation.y, device=device)
    if not whole.held:
        return whole, y
    samples = torch.arange(len(whole), device=device)
    return whole.batch(samples, whole.numbers(0)), y


def part_views(
    data: Dataset, part: Split, name: str, device: torch.device, *, as_floats: bool = False
) -> AugmentedData:
    """The augmented samples of a part.

    Args:
        data: The data set.
        part: One of its parts.
        name: Name of the augmentation.
        device: The device that trains.
        as_floats: Whether samples that are kept on the device will be standardized at once.
    """
    x = as_tensor(part.x)
    grown = FLOAT_BYTES / x.itemsize if as_floats else 1
    most = samples_in_memory(device) / grown
    return AugmentedData(x, *_moments(data, device), AUGMENTATIONS[name], seed=0, most=most)


def _mixed(views: ViewedData, data: Dataset, study: Study) -> ViewedData:
    """Views as a study mixes them; the same views if it does not."""
    training, given = study.training, (views, len(data.train), data.num_classes)
    if training.mixup is None:
        return views
    if training.views is None:  # as a rule of the section has it, the teacher is online
        return RedrawnMixes(*given, alpha=training.mixup, seed=0)
    seed = derived_seed("mixup", study.data.split_seed)
    return MixedData(*given, count=training.views, alpha=training.mixup, seed=seed)


def _moments(data: Dataset, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of raw samples, on the device."""
    mean, std = (as_tensor(a).to(device) for a in (data.mean, data.std))
    return mean, std


def outputs_on_device(
    outputs: np.ndarray | None, device: torch.device, dtype: torch.dtype | None = None
) -> Tensor | None:
    """Outputs of a teacher as a tensor, (samples, classes).

    Args:
        outputs: The outputs; None where there are none.
        device: The device.
        dtype: Type of the tensor; None for that of the outputs.
    """
    return None if outputs is None else torch.tensor(outputs, device=device, dtype=dtype)
