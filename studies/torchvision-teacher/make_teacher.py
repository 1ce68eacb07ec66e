"""Trains a ResNet18 of torchvision on the pictures of studies/own-images, and saves it as Lightning
saves its models: for a study that takes such a checkpoint as it is.

pip install torchvision
python studies/own-images/make_images.py
python studies/torchvision-teacher/make_teacher.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn

SIDE = 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # as torchvision's own weights want it
HERE = Path(__file__).parent


def samples(part: Path) -> tuple[Tensor, Tensor]:
    """The pictures of a part, float32 (samples, 3, SIDE, SIDE), standardized, and their labels."""
    classes = sorted(folder for folder in part.iterdir() if folder.is_dir())
    files = [(file, i) for i, folder in enumerate(classes) for file in sorted(folder.iterdir())]
    resized = [Image.open(file).convert("RGB").resize((SIDE, SIDE)) for file, _ in files]
    x = torch.from_numpy(np.stack([np.asarray(image) for image in resized])).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (x / 255 - mean) / std, torch.tensor([i for _, i in files])


def train(images: Path, file: Path, epochs: int) -> float:
    """Train and save the model; the accuracy on the validation part."""
    torch.manual_seed(0)
    x, y = samples(images / "train")
    net = torchvision.models.resnet18(num_classes=int(y.max()) + 1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    state = {f"model.{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": state, "epoch": epochs, "hyper_parameters": {"lr": 1e-3}}, file)
    net.eval()
    x, y = samples(images / "val")
    with torch.inference_mode():
        return float((net(x).argmax(dim=1) == y).float().mean())


if __name__ == "__main__":
    images = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "own-images" / "images"
    file = Path(sys.argv[2]) if len(sys.argv) > 2 else HERE / "teacher.ckpt"
    accuracy = train(images, file, int(sys.argv[3]) if len(sys.argv) > 3 else 8)
    print(f"{file}: {accuracy:.1%} of the validation part")
