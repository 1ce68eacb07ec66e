"""The parts of `benchmarks.cuda` that measure time: epochs, the tutorial's loop, latency."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common, plain_loop
from benchmarks.cuda_bench import BATCH, CudaBench, build, family_and_width, train_new
from tasearch.models import FAMILIES
from tasearch.profiling.cuda_latency import cuda_latency
from tasearch.train.soft_targets import view_logits
from tasearch.train.trainer import Trainer

EPOCH = 50_000  # images
NETS = {  # target: milliseconds of an epoch of 50,000 images, at most
    "plain2": 60,
    "plain10": 250,
    "resnet8": 150,
    "resnet20": 400,
}
STACKED = 8  # replicates of plain2, which should take less than twice the time of one
LOOPS = {  # target: how many times faster than the tutorial, at least
    ("plain10", "plain2"): 30,
    ("resnet56", "resnet20"): 10,
}
LATENCY_BATCHES = (1, 256)
SKIPPED = 2  # first epochs, in which a graph is recorded and memory is reserved


def epoch_times(trainer: Trainer) -> list[float]:
    """Milliseconds for `EPOCH` images, by epoch.

    The first epochs are left out, and the last, in which models are evaluated.
    """
    scale = 1e3 * EPOCH / (len(trainer.y) // BATCH * BATCH)
    times, start = [], time.perf_counter()
    for _ in train_new(trainer, []):
        end = time.perf_counter()
        times.append(scale * (end - start))
        start = end
    return times[SKIPPED:-1]


def epochs(bench: CudaBench) -> dict[str, Any]:
    """Milliseconds of an epoch of 50,000 images, with cached soft targets."""
    found: dict[str, Any] = {}
    for net, replicates in [*((net, 1) for net in NETS), ("plain2", STACKED)]:
        mode = "bf16" if replicates == 1 else f"bf16 x{replicates}"
        with tempfile.TemporaryDirectory() as folder:
            count = bench.epochs + SKIPPED + 1
            trainer = bench.trainer(
                net, Path(folder), epochs=count, replicates=replicates, mode=mode
            )
            times = epoch_times(trainer)
        name = net if replicates == 1 else f"{net} x{replicates}"
        found[name] = common.spread(times) | {"images": len(trainer.y), "aim": NETS[net]}
        print(f"{name}: {found[name]['median']:.1f} ms per epoch", flush=True)
    alone, stacked = found["plain2"]["median"], found[f"plain2 x{STACKED}"]["median"]
    found["stacked_over_alone"] = stacked / alone
    return found


def loop(bench: CudaBench) -> dict[str, Any]:
    """Images per second of tasearch and of the tutorial's loop, in turn."""
    found: dict[str, Any] = {}
    for (teacher, student), aim in LOOPS.items():
        rounds = []
        for _ in range(bench.args.rounds):
            with tempfile.TemporaryDirectory() as folder:
                count = bench.epochs + SKIPPED + 1
                trainer = bench.trainer(student, Path(folder), epochs=count)
                rate = 1e3 * EPOCH / statistics.median(epoch_times(trainer))
                rounds.append(
                    {
                        "tutorial": tutorial_rate(bench, trainer, teacher, student),
                        "tasearch": rate,
                        "pass_s": teacher_pass(trainer, teacher),
                    }
                )
        ratios = [r["tasearch"] / r["tutorial"] for r in rounds]
        name = f"{teacher} -> {student}"
        found[name] = {"times": common.spread(ratios), "aim": aim, "rounds": rounds}
        print(f"{name}: {found[name]['times']['median']:.1f} times the tutorial", flush=True)
    return found


def tutorial_rate(bench: CudaBench, trainer: Trainer, teacher: str, student: str) -> float:
    """Images per second of the careful tutorial's loop on the same device."""
    with np.load(bench.images) as arrays:
        images, labels = arrays["x_train"].transpose(0, 2, 3, 1).copy(), arrays["y_train"]
    return plain_loop.train_epoch(
        build(trainer, teacher),
        build(trainer, student),
        images,
        labels,
        batch_size=BATCH,
        seconds=bench.args.seconds,
        device=bench.device,
    )


def teacher_pass(trainer: Trainer, teacher: str) -> float:
    """Seconds of a teacher's forward pass over the augmented images of an epoch, after one pass
    to warm up."""
    net = build(trainer, teacher)
    times = []
    for phase in range(2):
        start = time.perf_counter()
        float(view_logits(net, trainer.views[0], phase).sum())
        times.append(time.perf_counter() - start)
    return times[-1]


def latency(bench: CudaBench) -> dict[str, Any]:
    """Milliseconds of a batch, by network and batch size."""
    found: dict[str, Any] = {}
    for net in NETS:
        family, width = family_and_width(net)
        model = FAMILIES[family](width, in_shape=(3, 32, 32), num_classes=10)
        for batch in LATENCY_BATCHES:
            times = cuda_latency(model, (3, 32, 32), batch, bench.device)
            found[f"{net}, batch {batch}"] = times
            words = {kind: {n: round(t, 3) for n, t in by.items()} for kind, by in times.items()}
            print(f"{net}, batch {batch}: {words}", flush=True)
    return found
