"""Distillation as other packages train it, for comparison with tasearch.

Runs in an environment of its own, which has no tasearch: torch, torchvision, torchdistill and timm.
The networks come as a file, the images as another. What is measured is printed as JSON.

torchdistill trains by its distillation box, with the loss and the step of its sample for CIFAR-10.
timm trains by its task for distillation, with the loader, the optimizer and the step of its
training script. Both get torchvision's crops and flips, which timm would replace by crops of random
size that take longer. Both compute the teacher's logits in each step, without gradients.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import plain_loop
from benchmarks.plain_loop import ALPHA, MEAN, PADDING, STD, TEMPERATURE, WORKERS
from benchmarks.processes import peak_mib

CPU = torch.device("cpu")
SGD = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}


@dataclass(frozen=True, kw_only=True)
class Loop:
    """An epoch of a package.

    Args:
        batches: Arguments of each step.
        step: Train on one batch, and return its loss.
    """

    batches: Iterable[tuple[Any, ...]]
    step: Callable[..., float]


def torchdistill_loop(teacher: nn.Module, student: nn.Module, images: Any, batch: int) -> Loop:
    """torchdistill's box, with the meters of its example."""
    from torchdistill.core.distillation import get_distillation_box
    from torchdistill.misc.log import MetricLogger, SmoothedValue

    config = torchdistill_config(batch)
    box = get_distillation_box(teacher, student, {"train": images}, config, CPU, None, False, 1)
    box.pre_epoch_process(epoch=0)
    meters = MetricLogger(delimiter="  ")
    meters.add_meter("lr", SmoothedValue(window_size=1, fmt="{value}"))

    def step(x: Tensor, y: Tensor, supplement: Any) -> float:
        loss = box.forward_process(x, y, supplement)
        box.post_forward_process(loss=loss)
        meters.update(loss=loss.item(), lr=box.optimizer.param_groups[0]["lr"])
        return loss.item()

    return Loop(batches=meters.log_every(box.train_data_loader, 100, "Epoch"), step=step)


def torchdistill_config(batch: int) -> dict[str, Any]:
    """What its sample for CIFAR-10 has, with this benchmark's numbers."""
    criterion = {
        "student_module_path": ".",
        "student_module_io": "output",
        "teacher_module_path": ".",
        "teacher_module_io": "output",
        "temperature": TEMPERATURE,
        "alpha": 1 - ALPHA,  # its alpha is the weight of the labels
        "reduction": "batchmean",
    }
    kd = {"criterion": {"key": "KDLoss", "kwargs": criterion}, "weight": 1.0}
    return {
        "num_epochs": 1,
        "train_data_loader": {
            "dataset_id": "train",
            "sampler": {"class_or_func": torch.utils.data.RandomSampler, "kwargs": None},
            "kwargs": {"batch_size": batch, "num_workers": WORKERS, "drop_last": True},
        },
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
        "student": {"forward_proc": "forward_batch_only", "requires_grad": True},
        "optimizer": {"key": "SGD", "kwargs": dict(SGD)},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": {"kd": kd}}},
    }


def timm_loop(teacher: nn.Module, student: nn.Module, images: Any, batch: int) -> Loop:
    """timm's task, with the meters of its training script."""
    from timm.data import create_loader
    from timm.optim import create_optimizer_v2
    from timm.task import LogitDistillationTask
    from timm.utils import AverageMeter
    from torchvision.transforms import Compose, PILToTensor

    mean, std = (tuple(values.flatten().tolist()) for values in (MEAN, STD))
    for net in (teacher, student):  # as each of timm's own models says it
        net.pretrained_cfg = {"mean": mean, "std": std}  # type: ignore[assignment]
        net.num_classes, net.in_chans = 10, 3  # type: ignore[assignment]
    loader = create_loader(
        images,
        input_size=(3, 32, 32),
        batch_size=batch,
        is_training=True,
        mean=mean,
        std=std,
        num_workers=WORKERS,
        device=CPU,
    )
    images.transform = Compose([*crop_and_flip(), PILToTensor()])  # the loader standardizes
    task = LogitDistillationTask(
        student_model=student,
        teacher_model=teacher,
        criterion=nn.CrossEntropyLoss(),
        task_loss_weight=1 - ALPHA,
        temperature=TEMPERATURE,
        device=CPU,
        verbose=False,
    )
    optimizer = create_optimizer_v2(student, opt="momentum", **SGD)
    losses = AverageMeter()
    task.get_trainable_module().train()
    optimizer.zero_grad()

    def step(x: Tensor, y: Tensor) -> float:
        loss = task(x, y)["loss"]
        loss.backward()
        optimizer.step()
        losses.update(loss.item(), x.shape[0])
        optimizer.zero_grad()
        return losses.val

    return Loop(batches=loader, step=step)


LOOPS = {"torchdistill": torchdistill_loop, "timm": timm_loop}


def crop_and_flip() -> list[Any]:
    """torchvision's crops with padding, and flips."""
    from torchvision.transforms import RandomCrop, RandomHorizontalFlip

    return [RandomCrop(32, padding=PADDING), RandomHorizontalFlip()]


def torchvision_dataset(images: np.ndarray, labels: np.ndarray) -> Any:
    """Images in memory that come as pictures and are transformed one by one, as torchvision's are.

    Args:
        images: Images, uint8 of shape (samples, height, width, channels).
        labels: Class indices of shape (samples,).
    """
    from PIL import Image
    from torchvision.datasets import VisionDataset
    from torchvision.transforms import Compose, Normalize, ToTensor

    class Images(VisionDataset):
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return self.transform(Image.fromarray(images[index])), int(labels[index])

    normalize = Normalize(MEAN.flatten().tolist(), STD.flatten().tolist())
    return Images(transform=Compose([*crop_and_flip(), ToTensor(), normalize]))


def images_per_s(name: str, networks: Path, file: Path, *, batch: int, seconds: float) -> float:
    """Train for one epoch, or for some seconds of it.

    Args:
        name: Name of a package, or "careful" for the careful tutorial's loop.
        networks: File of the teacher and the student.
        file: File of the images.
        batch: Samples of each step.
        seconds: Time to measure.

    Returns:
        Images per second, without the start of the workers and the first steps.
    """
    nets = torch.load(networks, weights_only=False)
    teacher, student = nets["teacher"], nets["student"]
    with np.load(file) as arrays:
        images, labels = arrays["x_train"].transpose(0, 2, 3, 1).copy(), arrays["y_train"]
    if name == "careful":
        return plain_loop.train_epoch(
            teacher, student, images, labels, batch_size=batch, seconds=seconds
        )
    loop = LOOPS[name](teacher, student, torchvision_dataset(images, labels), batch)
    clock = plain_loop.Clock(seconds)
    for arguments in loop.batches:
        loop.step(*arguments)
        if clock.step_ends():
            break
    return clock.steps_per_s() * batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=("careful", *LOOPS))
    parser.add_argument("networks", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rate = images_per_s(
        args.name, args.networks, args.images, batch=args.batch, seconds=args.seconds
    )
    found = {"images_per_s": rate, "peak_mib": peak_mib(), "threads": torch.get_num_threads()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
