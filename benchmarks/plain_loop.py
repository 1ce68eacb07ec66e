"""A training loop as a careful tutorial writes it, with which tasearch is compared.

It is careful: the teacher is in eval mode under `no_grad`, the KL term is `batchmean` times T
squared, the data come from a `DataLoader` with two workers. It is slow because it does what
tutorials do: transforms in Python for each image, and a forward pass of the teacher in each step of
the student, all in fp32, with PyTorch's default number of threads.

The transforms are written in plain PyTorch, since tasearch does not depend on torchvision.
"""

from __future__ import annotations

import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

MEAN = torch.tensor([0.4914, 0.4822, 0.4465])[:, None, None]
STD = torch.tensor([0.2470, 0.2435, 0.2616])[:, None, None]
PADDING = 4
WORKERS = 2
WARM_STEPS = 5  # until the clock starts
TEMPERATURE = 4.0
ALPHA = 0.9
CPU = torch.device("cpu")


class Images(Dataset[tuple[Tensor, int]]):
    """Images in memory, transformed one by one.

    Args:
        images: Images, uint8 of shape (samples, height, width, channels).
        labels: Class indices of shape (samples,).
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.from_numpy(self.images[index]).permute(2, 0, 1)
        return transform(image), int(self.labels[index])


def transform(image: Tensor) -> Tensor:
    """Random crop with padding, random flip, conversion to float, standardization.

    Args:
        image: Image, uint8 of shape (channels, height, width).

    Returns:
        Image, float32 of the same shape.
    """
    _, height, width = image.shape
    image = F.pad(image, (PADDING,) * 4)
    top, left = torch.randint(2 * PADDING + 1, (2,)).tolist()
    image = image[:, top : top + height, left : left + width]
    if torch.rand(()) < 0.5:
        image = image.flip(2)
    return (image.float() / 255 - MEAN) / STD


def kd_loss(logits: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
    """(1 - alpha) CE + alpha T² KL, the mean over samples (Hinton et al., arXiv 1503.02531).

    Args:
        logits: The student's logits of shape (samples, classes).
        targets: The teacher's logits of the same shape.
        labels: Class indices of shape (samples,).
    """
    divergence = F.kl_div(
        F.log_softmax(logits / TEMPERATURE, dim=1),
        F.softmax(targets / TEMPERATURE, dim=1),
        reduction="batchmean",
    )
    return (1 - ALPHA) * F.cross_entropy(logits, labels) + ALPHA * TEMPERATURE**2 * divergence


def train_epoch(
    teacher: nn.Module,
    student: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int,
    seconds: float = float("inf"),
    device: torch.device = CPU,
) -> float:
    """Train for one epoch, or for a part of it.

    Args:
        teacher: Teacher, whose logits are the soft targets.
        student: Model to train.
        images: Images, uint8 of shape (samples, height, width, channels).
        labels: Class indices of shape (samples,).
        batch_size: Samples of each step.
        seconds: Time after which training stops.
        device: Device of both models.

    Returns:
        Images per second, without the start of the workers and the first steps.
    """
    loader = DataLoader(
        Images(images, labels),
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=WORKERS,
    )
    optimizer = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    teacher.eval()
    student.train()
    running_loss, elapsed, start = 0.0, 0.0, time.perf_counter()
    for step, (x, y) in enumerate(loader, start=1):
        x, y = x.to(device), y.to(device)
        with torch.no_grad():
            targets = teacher(x)
        loss = kd_loss(student(x), targets, y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        running_loss += loss.item()
        if step == WARM_STEPS:
            start = time.perf_counter()
        elapsed = time.perf_counter() - start
        if step > WARM_STEPS and elapsed > seconds:
            break
    assert step > WARM_STEPS, f"an epoch must have more than {WARM_STEPS} steps, but has {step}"
    return (step - WARM_STEPS) * batch_size / elapsed
