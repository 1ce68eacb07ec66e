"""The reference net: a small model, the same in every study, timed in the same rounds as theirs."""

from __future__ import annotations

import numpy as np
import onnx.helper
import onnx.numpy_helper
import torch
from torch import nn

WIDTH = 128  # features of its input and of each layer
LAYERS = 3


def reference_net() -> tuple[nn.Module, bytes]:
    """A dense net with fixed weights.

    Returns:
        The net in eval mode, which takes float32 of shape (1, WIDTH), and the same net as ONNX.
    """
    layers: list[nn.Module] = []
    nodes, values = [], []
    for i in range(LAYERS):
        layer = nn.Linear(WIDTH, WIDTH)
        weight = (np.arange(WIDTH * WIDTH, dtype=np.float32) % 13 - 6).reshape(WIDTH, WIDTH) / WIDTH
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.zero_()
        layers += [layer, nn.ReLU()]
        source = f"x{i}" if i else "x"
        nodes.append(onnx.helper.make_node("Gemm", [source, f"w{i}"], [f"h{i}"], transB=1))
        nodes.append(onnx.helper.make_node("Relu", [f"h{i}"], [f"x{i + 1}"]))
        values.append(onnx.numpy_helper.from_array(weight, f"w{i}"))
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, WIDTH])
        for name in ("x", f"x{LAYERS}")
    ]
    graph = onnx.helper.make_graph(nodes, "reference", ends[:1], ends[1:], values)
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return nn.Sequential(*layers).eval(), model.SerializeToString()
