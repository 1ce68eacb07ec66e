"""What a model costs to run: parameters, bytes, FLOPs, latency. Measured before any training.

Latency: eval mode, batch norm folded, inputs rotated, warmed up, in rounds side by side
(`tasearch.profiling.timing`). Models whose timings do not tell them apart have one latency
(`tasearch.profiling.ties`).
"""

from __future__ import annotations

import contextlib
import math
import platform
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnx.helper
import onnx.numpy_helper
import onnxruntime
import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from tasearch.config.sections import LatencySection
from tasearch.errors import ModelError, raised
from tasearch.models.numerics import cpu_threads
from tasearch.pareto.measurement import Measurement, Timing, tied_with
from tasearch.profiling.onnx import onnx_session, quiet, timed_models
from tasearch.profiling.ties import tied_latencies
from tasearch.profiling.timing import Call, Others, Timed, busy_notice, busy_signs, time_rounds
from tasearch.train.cuda import recorded

ROTATED = 8  # different inputs, at most
INPUTS_GB = 1.0  # that they take, unless a single batch takes more
REFERENCE_WIDTH, REFERENCE_LAYERS = 128, 3
CUDA_ROUNDS, CUDA_CALLS, CUDA_WARM_CALLS = 10, 100, 50  # of `cuda_latency`


def measure(
    nets: Mapping[int, nn.Module],
    *,
    in_shape: tuple[int, ...],
    section: LatencySection,
    device: torch.device,
    models: Mapping[int, bytes] | None = None,
    warn: Callable[[str], None] = lambda text: None,
    samples: Tensor | None = None,
) -> tuple[dict[int, Measurement], Timing]:
    """Measure models side by side.

    Args:
        nets: by width, on CPU, taking raw samples; put into eval mode.
        in_shape: (channels, height, width) or (features,).
        section: backend, batch and threads.
        device: where the torch backend runs.
        models: of `timed_models`, where they are there already; a model that is not among them is
            timed in torch.
        warn: told what cannot be done with a model, and what is done instead.
        samples: some raw ones (samples, *in_shape), for a model that fails on random numbers, such
            as a table; None for none.

    Returns:
        Every width's measurement, with one latency for all that are tied; and how the machine was.

    Raises:
        ModelError: where a model cannot be exported to ONNX, or fails in a timed call.
    """
    if section.backend == "onnx" and models is None:
        models = timed_models(nets, in_shape, section.batch)
    inputs = _inputs(in_shape, section.batch)
    at = {width: partial(_at, width, warn) for width in nets}
    calls, examples = {}, {}
    for width, net in nets.items():
        words, told = f"width {width}: a timed call with latency.batch = {section.batch}", at[width]
        own_inputs = _fit(net.eval(), inputs, samples)
        examples[width] = own_inputs[0, :1]
        model = (models or {}).get(width)
        calls[width] = _call(net, model, own_inputs, section, device, words, told)
    net, model = _reference()
    alone = _inputs((REFERENCE_WIDTH,), 1)
    own = _call(net, model, alone, section, device, "a timed call of the reference net", warn)
    others = Others()
    with cpu_threads(section.threads):
        timed, rounds = time_rounds(calls, own)
    signs = busy_signs(rounds, others.used(), section.threads)
    measured = _measurements(nets, in_shape, timed, at, examples)
    tied = sum(bool(tied_with(width, measured)) for width in measured)
    return measured, Timing(reference=rounds, notices=busy_notice(signs, tied, len(measured)))


def _measurements(
    nets: Mapping[int, nn.Module],
    in_shape: tuple[int, ...],
    timed: Mapping[int, Timed],
    at: Mapping[int, Callable[[str], None]],
    examples: Mapping[int, Tensor],
) -> dict[int, Measurement]:
    latencies = tied_latencies({width: t.rounds.medians_ms for width, t in timed.items()})
    return {
        width: Measurement(
            width=width,
            params=parameters(net),
            bytes=weight_bytes(net),
            flops=forward_flops(net, in_shape, at[width], examples[width]),
            latency_ms=latencies[width],
            latency_p95_ms=timed[width].p95_ms,
            rounds=timed[width].rounds,
        )
        for width, net in nets.items()
    }


def _at(width: int, warn: Callable[[str], None], text: str) -> None:
    warn(f"width {width}: {text}")


def cuda_latency(
    net: nn.Module, in_shape: tuple[int, ...], batch: int, device: torch.device
) -> dict[str, dict[str, float]]:
    """Milliseconds of one batch on a GPU: medians over rotated inputs, after a warm-up.

    Args:
        net: on CPU, taking raw samples.
        in_shape: (channels, height, width) or (features,).
        batch: samples in a call.
        device: a CUDA device.

    Returns:
        By "eager", operation by operation, and "graph", launched as one CUDA graph: `host_ms`, from
        the call until the logits are there, by the host's clock; `device_ms`, between events before
        and after calls that follow each other, divided by their number.
    """
    folded = _folded(net.eval(), lambda text: None).to(device)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn((ROTATED, batch, *in_shape), generator=generator).to(device)
    place = torch.empty_like(inputs[0])
    with torch.inference_mode():
        graph = recorded(lambda: folded(place))

        def replay(i: int) -> None:
            place.copy_(inputs[i % ROTATED])
            graph.replay()

        calls: dict[str, Call] = {"eager": lambda i: folded(inputs[i % ROTATED]), "graph": replay}
        return {
            kind: {
                "host_ms": float(np.median(_host_times(call, device))),
                "device_ms": float(np.median([_device_time(call) for _ in range(CUDA_ROUNDS)])),
            }
            for kind, call in calls.items()
        }


def _host_times(call: Call, device: torch.device) -> list[float]:
    times = []
    for i in range(CUDA_WARM_CALLS + CUDA_CALLS):
        start = time.perf_counter()
        call(i)
        torch.cuda.synchronize(device)
        times.append(1e3 * (time.perf_counter() - start))
    return times[CUDA_WARM_CALLS:]


def _device_time(call: Call) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    for i in range(CUDA_WARM_CALLS):
        call(i)
    start.record()
    for i in range(CUDA_CALLS):
        call(i)
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / CUDA_CALLS


def forward_flops(
    net: nn.Module,
    in_shape: tuple[int, ...],
    warn: Callable[[str], None] = lambda text: None,
    sample: Tensor | None = None,
) -> int:
    """Floating-point operations of one forward pass of one sample, a multiply-add counting two.

    Recurrent layers and attention run as the products that they are made of, for torch counts
    nothing of those that are one operation.

    Args:
        net: on CPU; put into eval mode.
        in_shape: (channels, height, width) or (features,).
        warn: told where they cannot be counted; each weight then counts as one multiply-add.
        sample: what they are counted for, (1, *in_shape); None for zeros.
    """
    x = torch.zeros(1, *in_shape) if sample is None else sample
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            quiet(),
            torch.backends.mkldnn.flags(enabled=False),
            sdpa_kernel(SDPBackend.MATH),
            FlopCounterMode(display=False) as counter,
            torch.no_grad(),
        ):
            net.eval()(x)
        return int(counter.get_total_flops()) or 2 * parameters(net)
    except Exception as error:  # a user's model may do what the counter cannot follow
        found = raised(error)
        warn(f"FLOPs are taken as twice the parameters, for counting them raised {found}")
        return 2 * parameters(net)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def parameters(net: nn.Module) -> int:
    """Numbers in all parameters."""
    return sum(p.numel() for p in net.parameters())


def weight_bytes(net: nn.Module) -> int:
    """Bytes of all weights and buffers."""
    return sum(t.numel() * t.element_size() for t in net.state_dict().values())


def describe(section: LatencySection, device: torch.device) -> str:
    """The backend and the machine that latencies are of, in words."""
    if section.backend == "onnx":
        runtime = f"ONNX Runtime {onnxruntime.__version__}, {_processor()}"
    elif device.type == "cuda":
        runtime = f"torch {torch.__version__}, {torch.cuda.get_device_name(device)}"
    else:
        runtime = f"torch {torch.__version__}, {_processor()}"
    return f"{runtime}, batch {section.batch}, {section.threads} thread" + "s" * (
        section.threads > 1
    )


def _inputs(in_shape: tuple[int, ...], batch: int) -> Tensor:
    """Batches to take turns with, (batches, batch, *in_shape): fewer where they are large."""
    room = int(INPUTS_GB * 2**30) // (4 * batch * math.prod(in_shape))
    generator = torch.Generator().manual_seed(0)
    return torch.randn((max(1, min(ROTATED, room)), batch, *in_shape), generator=generator)


def timed_in_onnx(words: str) -> bool:
    """Whether latencies that `describe` has put into words are ONNX Runtime's."""
    return words.startswith("ONNX Runtime")


def _fit(net: nn.Module, inputs: Tensor, samples: Tensor | None) -> Tensor:
    """The inputs, or samples in their place where the model needs such."""
    if samples is None:
        return inputs
    try:
        with torch.no_grad():
            net(inputs[0, :1])
    except Exception:  # a user's model may raise anything
        places = torch.arange(inputs.shape[0] * inputs.shape[1]) % len(samples)
        return samples[places].view(inputs.shape)
    return inputs


def _call(
    net: nn.Module,
    model: bytes | None,
    inputs: Tensor,
    section: LatencySection,
    device: torch.device,
    words: str,
    warn: Callable[[str], None],
) -> Call:
    """One call of a model on one of several inputs; one that fails is told in `words`."""
    try:
        call = _raw_call(net, model, inputs, section, device, warn)
    except Exception as error:
        raise _failed(words, error) from error

    def guarded(i: int) -> object:
        try:
            return call(i % len(inputs))
        except Exception as error:  # of memory, or whatever a user's model raises
            raise _failed(words, error) from error

    return guarded


def _failed(words: str, error: Exception) -> ModelError:
    return ModelError(f"{words} failed: {raised(error)}")


def _raw_call(
    net: nn.Module,
    model: bytes | None,
    inputs: Tensor,
    section: LatencySection,
    device: torch.device,
    warn: Callable[[str], None],
) -> Call:
    if section.backend == "onnx" and model is not None:
        session = onnx_session(model, section.threads)
        arrays = [{"x": x.numpy()} for x in inputs]
        return lambda i: session.run(None, arrays[i])
    folded = _folded(net, warn).to(device)
    batches: list[Tensor] = list(inputs.to(device))

    def call(i: int) -> object:
        with torch.inference_mode():
            logits = folded(batches[i])
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return logits

    return call


def _reference() -> tuple[nn.Module, bytes]:
    """A dense net of fixed weights, the same in every study, for torch and as ONNX."""
    size, layers = REFERENCE_WIDTH, []
    nodes, values = [], []
    for i in range(REFERENCE_LAYERS):
        layer = nn.Linear(size, size)
        weight = (np.arange(size * size, dtype=np.float32) % 13 - 6).reshape(size, size) / size
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.zero_()
        layers += [layer, nn.ReLU()]
        source = f"x{i}" if i else "x"
        nodes.append(onnx.helper.make_node("Gemm", [source, f"w{i}"], [f"h{i}"], transB=1))
        nodes.append(onnx.helper.make_node("Relu", [f"h{i}"], [f"x{i + 1}"]))
        values.append(onnx.numpy_helper.from_array(weight, f"w{i}"))
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, size])
        for name in ("x", f"x{REFERENCE_LAYERS}")
    ]
    graph = onnx.helper.make_graph(nodes, "reference", ends[:1], ends[1:], values)
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return nn.Sequential(*layers).eval(), model.SerializeToString()


def _folded(net: nn.Module, warn: Callable[[str], None]) -> nn.Module:
    """Batch norms folded into convolutions, where torch can trace the model; else itself."""
    if not any(isinstance(module, _BatchNorm) for module in net.modules()):
        return net
    try:
        with quiet():
            return fuse(net)
    except Exception as error:  # tracing a user's model may raise anything
        found = raised(error)
        warn(f"timed with its batch norms as they are, for tracing the model raised {found}")
        return net


def _processor() -> str:
    """The processor's name, where the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
