"""Lets torchvision be imported beside torch's CPU build, in tests and the processes they start.

torchvision's package on PyPI is built for CUDA. Beside torch's CPU build its compiled operators do
not load, and importing it then fails where it describes two of them, which only models of
detection call. Here they are declared, without any code. A torchvision whose operators load is
left as it is. tests/conftest.py puts this folder on PYTHONPATH, and Python imports a module of this
name at every start.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any

SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


class MissingOperators(MetaPathFinder):
    """Declares the operators just before torchvision describes them; finds no module itself."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name != "torchvision._meta_registrations":
            return
        import torch

        for operator, schema in SCHEMAS.items():
            if not hasattr(torch.ops.torchvision, operator):
                torch.library.define(f"torchvision::{operator}", schema)


sys.meta_path.insert(0, MissingOperators())
