"""Where does the time of a training step go?

For three hops, on one thread and with cached soft targets: milliseconds of a step without a
profiler; the shares of operators under PyTorch's profiler; and a lower bound for a loop of single
operators.

The lower bound is the number of operator calls in the step times the cost of an empty call, plus
the time of its convolutions alone, at their shapes, precision and memory format. A step would take
that long if it called the same operators without Python and if all other arithmetic were free.
Fused operators could be faster.

The profiler itself takes time for each operator, so that its steps are longer; shares are shares of
these longer steps.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from benchmarks import common, hops
from benchmarks.hops import Pair
from tasearch.models.numerics import cpu_threads
from tasearch.train.trainer import Trainer

THREADS = 1
WARM_CALLS, CALLS, TRIES = 20, 100, 5  # calls of one operator
TOP = 15  # number of operators that are listed
CASES = {  # by name: family, teacher, student, batch, replicates, epochs
    "digits": ("cnn", 64, 4, 64, 1, 40),
    "digits-x5": ("cnn", 64, 4, 64, 5, 40),
    "plain2-64": ("plain", 10, 2, 64, 1, 5),
    "plain2-128": ("plain", 10, 2, 128, 1, 5),
}
OURS = ("_Normalized", "_NormalizedBackward")  # operators of tasearch.train.fast.norms
GROUPS = {  # parts of operators' names; the first group that fits counts
    "convolution": ("conv",),
    "batch norm, pooling, relu": ("batch_norm", "pool", "relu", "threshold", "clamp_min"),
    "dense layers": ("addmm", "aten::mm", "linear"),
    "loss": ("softmax", "nll_loss", "cross_entropy", "kl_div", "exp", "aten::mean", "aten::sum"),
    "optimizer": ("_fused_", "zero_"),
    "gather and augment": ("index", "flip", "where", "addcmul", "gather", "remainder"),
    "copies and casts": ("copy", "_to", "aten::to", "contiguous", "clone", "empty"),
    "other operators": ("aten::",),
}


def run_case(name: str, file: Path) -> dict[str, Any]:
    """All figures of one case; it runs in a new process.

    Args:
        name: Key of `CASES`.
        file: File that `common.write_images` wrote.
    """
    family, teacher, student, batch, replicates, epochs = CASES[name]
    pair = Pair(
        family=family,
        teacher=teacher,
        student=student,
        batch=batch,
        images=None if family == "cnn" else file,
        replicates=replicates,
    )
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        study, data = pair.load(folder, threads=THREADS, epochs=epochs)
        modes = hops.chosen_modes(study, data)
        trainer = hops.make_trainer(study, data, folder, modes)
        for _ in hops.epoch_spans(trainer, hops.student_hop(trainer, 1.0)):
            pass  # fills the cache of soft targets
        plain, _ = steady(trainer, 2.0, nullcontext())
        activity = profile(activities=[ProfilerActivity.CPU])
        profiled, events = steady(trainer, 3.0, activity)
    steps = len(data.train) // batch * replicates  # of one model, in an epoch
    seen = steps * len(profiled)
    mode = modes[student]
    operator_calls = calls(events) / seen
    result = {
        "pair": pair.label,
        "batch": batch,
        "replicates": replicates,
        "mode": str(mode),
        "ms_per_step": common.spread([1e3 * seconds / steps for seconds in plain]),
        "profiled_ms_per_step": 1e3 * sum(profiled) / seen,
        "profile": shares(events, sum(profiled), seen),
        "operator_calls": operator_calls,
    }
    if mode.slots is None:
        with cpu_threads(THREADS, flush_denormals=True):
            net, shape = pair.build(student, data), (batch, *data.in_shape)
            result["floor"] = lower_bound(net, shape, mode.bf16, operator_calls)
    return result


def steady(
    trainer: Trainer, temperature: float, activity: Any
) -> tuple[list[float], list[FunctionEvent]]:
    """Seconds of a hop's epochs, and the events of the profiler.

    The first epoch, in which the model is built, and the last, in which it is evaluated, are left
    out.

    Args:
        trainer: Trainer with cached soft targets.
        temperature: Temperature of the hop.
        activity: A profiler, or a context that does nothing.
    """
    spans = hops.epoch_spans(trainer, hops.student_hop(trainer, temperature))
    next(spans)
    with activity:
        found = [next(spans) for _ in range(trainer.study.student.epochs - 2)]
    events = list(activity.events()) if isinstance(activity, profile) else []  # type: ignore[no-untyped-call]
    return [end - start for start, end in found], events


def calls(events: list[FunctionEvent]) -> int:
    """Number of operator calls that were not made by another operator."""
    return sum(_operator(e) and not (e.cpu_parent and _operator(e.cpu_parent)) for e in events)


def _operator(event: FunctionEvent) -> bool:
    return str(event.name).startswith(("aten::", *OURS))


def group(name: str) -> str:
    """The group of an event, by its name."""
    if name in OURS:
        return "batch norm, pooling, relu"
    if name.startswith("aten::"):
        return next(g for g, parts in GROUPS.items() if any(part in name for part in parts))
    return "autograd's nodes" if "Backward" in name or "AccumulateGrad" in name else "python"


def shares(events: list[FunctionEvent], seconds: float, steps: int) -> dict[str, Any]:
    """Shares of profiled time by group, and the operators that take most of it.

    Args:
        events: Events of the profiler.
        seconds: Profiled time.
        steps: Number of steps, each model of a stacked model counted.
    """
    self_us: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for event in events:
        self_us[event.name] += event.self_cpu_time_total
        counts[event.name] += 1
    groups: Counter[str] = Counter()
    for name, us in self_us.items():
        groups[group(name)] += us
    del groups["python"]  # spans of Python code that PyTorch marks, such as an optimizer's step
    result = {name: us / (seconds * 1e6) for name, us in groups.most_common()}
    result["python and dispatch"] = 1 - sum(result.values())
    top = [(n, us) for n, us in self_us.most_common() if group(n) != "python"][:TOP]
    return {
        "shares": result,
        "top": [
            {"name": n, "us_per_step": us / steps, "calls_per_step": counts[n] / steps}
            for n, us in top
        ],
    }


def lower_bound(
    net: nn.Module, shape: tuple[int, ...], bf16: bool, count: float
) -> dict[str, float]:
    """The lower bound of a step's time, and its parts.

    Args:
        net: The model.
        shape: Shape of a batch.
        bf16: Whether convolutions run in bfloat16.
        count: Number of operator calls in a step.
    """
    empty = torch.empty(0)
    with torch.no_grad():
        each = milliseconds(lambda: empty.neg_(), 10 * CALLS)
    kernels = convolutions(net, shape, bf16)
    return {
        "empty_call_us": 1e3 * each,
        "convolutions_ms": kernels,
        "ms_per_step": count * each + kernels,
    }


def convolutions(net: nn.Module, shape: tuple[int, ...], bf16: bool) -> float:
    """Milliseconds of the convolutions of a step, forward and backward."""
    dtype = torch.bfloat16 if bf16 else torch.float32
    seen: list[tuple[nn.Conv2d, Tensor]] = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, args, out: seen.append((m, args[0].detach())))
    net(torch.randn(shape))
    return sum(
        convolution(conv, x.to(dtype, memory_format=torch.channels_last), first=x is seen[0][1])
        for conv, x in seen
    )


def convolution(conv: nn.Conv2d, x: Tensor, *, first: bool) -> float:
    """Milliseconds of one convolution, forward and backward.

    Args:
        conv: The convolution.
        x: Its input.
        first: Whether its input are the images, which need no gradient.
    """
    weight = conv.weight.detach().to(x.dtype, memory_format=torch.channels_last)
    bias = None if conv.bias is None else conv.bias.detach().to(x.dtype)
    sizes = None if bias is None else list(bias.shape)
    settings: tuple[Any, ...] = (
        conv.stride,
        conv.padding,
        conv.dilation,
        False,
        [0, 0],
        conv.groups,
    )
    grad = torch.randn_like(torch.convolution(x, weight, bias, *settings))
    mask = [not first, True, bias is not None]
    backward = torch.ops.aten.convolution_backward
    return milliseconds(
        lambda: torch.convolution(x, weight, bias, *settings), CALLS
    ) + milliseconds(lambda: backward(grad, x, weight, sizes, *settings, mask), CALLS)


def milliseconds(call: Callable[[], object], count: int) -> float:
    """Milliseconds of one call: the least of several means over many calls."""
    for _ in range(WARM_CALLS):
        call()
    tries = []
    for _ in range(TRIES):
        start = time.perf_counter()
        for _ in range(count):
            call()
        tries.append(1e3 * (time.perf_counter() - start) / count)
    return min(tries)


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument(
        "--cases", nargs="+", choices=CASES, default=list(CASES), help="hops to profile"
    )
    parser.add_argument("--images", type=int, default=2_560, help="images of an epoch of CIFAR-10")
    common.add_data_option(parser)
    common.add_out_option(parser, "profile-cpu.json")
    args = parser.parse_args()
    result: dict[str, Any] = {
        "question": common.question(__doc__),
        "provenance": common.provenance(args),
        "threads": THREADS,
        "cases": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npz"
        (result["images"],) = common.fresh(common.write_images, args.data, args.images, file)
        for name in args.cases:
            (result["cases"][name],) = common.fresh(run_case, name, file)
            print(printed(name, result["cases"][name]), flush=True)
    common.write_json(args.out, result)


def printed(name: str, case: dict[str, Any]) -> str:
    """The output for one case."""
    step, below = case["ms_per_step"], case.get("floor")
    lines = [
        f"{name}: {case['pair']}, batch {case['batch']}, {case['mode']}",
        f"  {step['median']:.3f} ms per step and model ({step['min']:.3f}..{step['max']:.3f}), "
        f"{case['profiled_ms_per_step']:.3f} profiled, {case['operator_calls']:.0f} operator calls",
    ]
    if below is not None:
        lines.append(
            f"  lower bound {below['ms_per_step']:.3f} ms = "
            f"calls at {below['empty_call_us']:.2f} us + "
            f"convolutions {below['convolutions_ms']:.3f} ms"
        )
    lines += [f"  {share:6.1%}  {title}" for title, share in case["profile"]["shares"].items()]
    rows = [
        (f"  {t['name']}", f"{t['us_per_step']:.1f}", f"{t['calls_per_step']:.1f}")
        for t in case["profile"]["top"]
    ]
    return "\n".join([*lines, common.table(["  operator", "us per step", "calls"], rows), ""])


if __name__ == "__main__":
    main()
