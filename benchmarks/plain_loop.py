"""Training loops written by hand, with which tasearch is compared.

One is the loop of a careful tutorial. It is careful: the teacher is in eval mode under `no_grad`,
the KL term is `batchmean` times T squared, the data come from a `DataLoader` with two workers. It
is slow because it does what tutorials do: transforms in Python for each image, and a forward pass
of the teacher in each step of the student, all in fp32.

The other is the loop that was published with TAKD (Mirzadeh et al., arXiv 1902.03393). It does the
same, but without `no_grad`: each step computes gradients of the teacher's weights as well, which no
optimizer uses. The published loss takes another mean of the KL term, and the published data have no
crops and flips; here both loops have the same loss and data.

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


class Clock:
    """Counts steps and their time once the first ones have warmed up.

    Args:
        seconds: Time to measure.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.steps, self.start, self.elapsed = 0, 0.0, 0.0

    def step_ends(self) -> bool:
        """Count a step, and tell whether the time is over."""
        self.steps += 1
        if self.steps == WARM_STEPS:
            self.start = time.perf_counter()
        if self.steps <= WARM_STEPS:
            return False
        self.elapsed = time.perf_counter() - self.start
        return self.elapsed > self.seconds

    def steps_per_s(self) -> float:
        """Steps per second, without the first ones."""
        assert self.steps > WARM_STEPS, f"{self.steps} steps; only those after {WARM_STEPS} count"
        return (self.steps - WARM_STEPS) / self.elapsed


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
    teacher_gradients: bool = False,
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
        teacher_gradients: Whether the teacher's gradients are computed too, as in TAKD's loop.

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
    running_loss, clock = 0.0, Clock(seconds)
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        with torch.set_grad_enabled(teacher_gradients):
            targets = teacher(x)
        loss = kd_loss(student(x), targets, y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        running_loss += loss.item()
        if clock.step_ends():
            break
    return clock.steps_per_s() * batch_size
