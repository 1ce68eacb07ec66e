"""What a model costs to run: parameters, bytes, FLOPs, latency. Measured before any training.

Latency: eval mode, batch norm folded, inputs rotated, warmed up; the models take turns in rounds,
so that a slow moment of the machine hits all of them, and a round in which one model's timings
spread by more than a tenth of their median is measured again.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from tasearch.cuda import recorded
from tasearch.errors import first_line
from tasearch.front import Measurement
from tasearch.numerics import cpu_threads
from tasearch.onnx_export import onnx_session, quiet, timed_models
from tasearch.sections import LatencySection

ROUNDS = 10
CALLS = 100  # per round and model, so 1,000 timings each
REPEATS = 3  # of a round that is too noisy
SPREAD = 0.1  # interquartile range over median that a quiet round stays under
ROTATED = 8  # different inputs
WARM_CALLS = 50
BUDGET_S = 6.0  # of timing per model; a model slower than that allows gets fewer calls

Call = Callable[[int], object]


def measure(
    nets: Mapping[int, nn.Module],
    *,
    in_shape: tuple[int, ...],
    section: LatencySection,
    device: torch.device,
    models: Mapping[int, bytes] | None = None,
    warn: Callable[[str], None] = lambda text: None,
    samples: Tensor | None = None,
) -> dict[int, Measurement]:
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

    Raises:
        ModelError: where a model cannot be exported to ONNX.
    """
    calls, flops = {}, {}
    if section.backend == "onnx" and models is None:
        models = timed_models(nets, in_shape, section.batch)
    for width, net in nets.items():
        net.eval()
        told = partial(_at, width, warn)
        inputs = _inputs(net, (ROTATED, section.batch, *in_shape), samples)
        flops[width] = forward_flops(net, in_shape, told, inputs[0, :1])
        model = (models or {}).get(width)
        calls[width] = _prepare(net, inputs, section.threads, device, model, told)
    with cpu_threads(section.threads):
        times = _interleaved(calls)
    return {
        width: Measurement(
            width=width,
            params=parameters(net),
            bytes=weight_bytes(net),
            flops=flops[width],
            latency_ms=float(np.median(times[width])),
            latency_p95_ms=float(np.percentile(times[width], 95)),
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
                "device_ms": float(np.median([_device_time(call) for _ in range(ROUNDS)])),
            }
            for kind, call in calls.items()
        }


def _host_times(call: Call, device: torch.device) -> list[float]:
    times = []
    for i in range(WARM_CALLS + CALLS):
        start = time.perf_counter()
        call(i)
        torch.cuda.synchronize(device)
        times.append(1e3 * (time.perf_counter() - start))
    return times[WARM_CALLS:]


def _device_time(call: Call) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    for i in range(WARM_CALLS):
        call(i)
    start.record()
    for i in range(CALLS):
        call(i)
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / CALLS


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
        found = f"{type(error).__name__}: {first_line(error)}"
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


def timed_in_onnx(words: str) -> bool:
    """Whether latencies that `describe` has put into words are ONNX Runtime's."""
    return words.startswith("ONNX Runtime")


def _inputs(net: nn.Module, shape: tuple[int, ...], samples: Tensor | None) -> Tensor:
    """Random inputs of a shape (inputs, batch, *in_shape), or samples, if a model needs them."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(shape, generator=generator)
    if samples is None:
        return noise
    try:
        with torch.no_grad():
            net(noise[0])
    except Exception:  # a user's model may raise anything
        places = torch.arange(shape[0] * shape[1]) % len(samples)
        return samples[places].view(shape)
    return noise


def _prepare(
    net: nn.Module,
    inputs: Tensor,
    threads: int,
    device: torch.device,
    model: bytes | None,
    warn: Callable[[str], None],
) -> Call:
    """One call of the model on one of several rotated inputs, in ONNX Runtime where it is there."""
    if model is not None:
        session = onnx_session(model, threads)
        arrays = [{"x": x.numpy()} for x in inputs]
        return lambda i: session.run(None, arrays[i % ROTATED])
    folded = _folded(net, warn).to(device)
    batches: list[Tensor] = list(inputs.to(device))

    def call(i: int) -> object:
        with torch.inference_mode():
            logits = folded(batches[i % ROTATED])
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return logits

    return call


def _folded(net: nn.Module, warn: Callable[[str], None]) -> nn.Module:
    """Batch norms folded into convolutions, where torch can trace the model; else itself."""
    if not any(isinstance(module, _BatchNorm) for module in net.modules()):
        return net
    try:
        with quiet():
            return fuse(net)
    except Exception as error:  # tracing a user's model may raise anything
        found = f"{type(error).__name__}: {first_line(error)}"
        warn(f"timed with its batch norms as they are, for tracing the model raised {found}")
        return net


def _interleaved(calls: Mapping[int, Call]) -> dict[int, np.ndarray]:
    """Milliseconds of each call, by width: rounds of A B C A B C."""
    counts = {}
    for width, call in calls.items():
        start = time.perf_counter()
        for i in range(WARM_CALLS):
            call(i)
            if time.perf_counter() - start > BUDGET_S / 6:
                break
        seconds = (time.perf_counter() - start) / (i + 1)
        counts[width] = max(3, min(CALLS, int(BUDGET_S / ROUNDS / seconds)))
    times: dict[int, list[np.ndarray]] = {width: [] for width in calls}
    for _ in range(ROUNDS):
        for width, call in calls.items():
            times[width].append(_round(call, counts[width]))
    return {width: np.concatenate(rounds) for width, rounds in times.items()}


def _round(call: Call, count: int) -> np.ndarray:
    """The quietest of up to REPEATS tries of `count` timings, milliseconds."""
    tries = []
    for _ in range(REPEATS):
        times = np.empty(count)
        for i in range(count):
            start = time.perf_counter()
            call(i)
            times[i] = time.perf_counter() - start
        low, median, high = np.percentile(times, [25, 50, 75])
        tries.append(((high - low) / median, times * 1e3))
        if tries[-1][0] <= SPREAD:
            break
    return min(tries, key=lambda t: float(t[0]))[1]


def _processor() -> str:
    """The processor's name, where the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
