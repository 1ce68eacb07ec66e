"""How many times faster than a careful tutorial's loop does tasearch train a student?

Both train the same student with the same teacher, on the same images, augmentation, batch size and
cores, in turn, each time in a new process. The teacher is untrained, since accuracy does not matter
for speed.

tasearch trains by its `Trainer`, in one process with all cores and in one process per core; the
setup which is faster over all rounds counts. The main figure is measured with cached soft targets:
it includes all of a student's training (building, evaluating, saving), but no forward pass of the
teacher. These passes are timed separately; figures that include them, for one student and for
several students of one teacher, are printed beside the main figure.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import ceiling, common, hops, plain_loop
from benchmarks.hops import Modes, Pair, Span
from benchmarks.processes import peak_mib
from tasearch.chains.mode import modes_as_text, modes_from_text
from tasearch.models.numerics import flush_denormals_everywhere, keep_freed_memory
from tasearch.profiling.counts import forward_flops

CORES = 2
BATCH = 128
EPOCHS = 2  # of each student, so there are 2 phases of augmentation
PAIRS = {  # by name: family, teacher, student, and the target: how many times faster
    "plain2": ("plain", 10, 2, 16),
    "plain4": ("plain", 10, 4, 8),
    "plain8": ("plain", 10, 8, 6),
    "resnet8": ("resnet", 56, 8, 5),
}
SETUPS = {1: CORES, CORES: 1}  # processes, threads of each


@dataclass(frozen=True, kw_only=True)
class Training:
    """What one process of tasearch did.

    Args:
        epochs: Start and end of each epoch with cached targets, back to back.
        pass_s: Seconds of the teacher's pass over the images of one phase.
        peak_mib: Peak resident memory of the process, MiB.
    """

    epochs: list[Span]
    pass_s: float
    peak_mib: float


# Each of these functions runs in a new process.


def run_tutorial(pair: Pair, seconds: float) -> dict[str, Any]:
    """Train by the tutorial's loop for some seconds."""
    with tempfile.TemporaryDirectory() as folder:
        _, data = pair.load(Path(folder), threads=CORES, epochs=EPOCHS)
    rate = plain_loop.train_epoch(
        pair.fixed_teacher(data),
        pair.build(pair.student, data),
        np.ascontiguousarray(data.train.x.transpose(0, 2, 3, 1)),
        data.train.y,
        batch_size=pair.batch,
        seconds=seconds,
    )
    return {"images_per_s": rate, "peak_mib": peak_mib(), "threads": torch.get_num_threads()}


def run_tasearch(pair: Pair, threads: int, modes: Modes, seconds: float) -> Training:
    """Train a student without cached targets, then others with them for some seconds.

    Args:
        pair: What to train.
        threads: Number of threads.
        modes: Modes of training.
        seconds: Time of the epochs with cached targets.
    """
    flush_denormals_everywhere()  # as in a worker
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study, data = pair.load(folder, threads=threads, epochs=EPOCHS)
        trainer = hops.make_trainer(study, data, folder, modes)
        cold = list(hops.epoch_spans(trainer, hops.student_hop(trainer, 1.0)))
        epochs: list[Span] = []
        temperature = 2.0
        while not epochs or epochs[-1][1] - epochs[0][0] < seconds:
            epochs += hops.epoch_spans(trainer, hops.student_hop(trainer, temperature))
            temperature += 1.0
    cached = statistics.median(end - start for start, end in epochs)
    start, end = cold[-1]
    return Training(epochs=epochs, pass_s=end - start - cached, peak_mib=peak_mib()["process"])


def describe(pair: Pair, precision: str) -> dict[str, Any]:
    """Modes of training that a run would choose, by number of threads, and the student's FLOPs."""
    modes = {}
    with tempfile.TemporaryDirectory() as folder:
        for threads in SETUPS.values():
            study, data = pair.load(
                Path(folder), threads=threads, epochs=EPOCHS, precision=precision
            )
            modes[threads] = modes_as_text(hops.chosen_modes(study, data))
    flops = forward_flops(pair.build(pair.student, data), data.in_shape)
    return {"modes": modes, "forward_flops": flops}


# The rest runs in the first process, which loads no data.


def run_setup(pair: Pair, processes: int, known: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Images per second of several processes together, while all of them trained.

    Args:
        pair: What to train.
        processes: Number of processes.
        known: What `describe` found, and the options of the command line.
        seconds: Time of the training.
    """
    threads = SETUPS[processes]
    modes = modes_from_text(known["modes"][threads])
    parts: list[Training] = common.fresh(
        run_tasearch, pair, threads, modes, seconds, processes=processes, large_pages=True
    )
    start = max(part.epochs[0][0] for part in parts)
    end = min(part.epochs[-1][1] for part in parts)
    epochs = [(end - start) / done(part.epochs, start, end) for part in parts]
    size = known["images"] // pair.batch * pair.batch  # the last, incomplete batch is left out
    return {
        "images_per_s": sum(size / epoch for epoch in epochs),
        "with_pass": {
            str(models): sum(
                size / (epoch + part.pass_s / models)
                for part, epoch in zip(parts, epochs, strict=True)
            )
            for models in (1, known["models"])
        },
        "processes": [asdict(part) for part in parts],
    }


def done(epochs: list[Span], start: float, end: float) -> float:
    """Number of epochs between two moments, with fractions of those that are partly within."""
    assert start < end, "the processes did not train at the same time; raise --seconds"
    return sum(max(0.0, min(b, end) - max(a, start)) / (b - a) for a, b in epochs)


def run_round(pair: Pair, known: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The tutorial, tasearch in each setup, and the matrix product, one after the other."""
    (tutorial,) = common.fresh(run_tutorial, pair, seconds)
    tasearch = {str(n): run_setup(pair, n, known, seconds) for n in SETUPS}
    modes = sorted({mode for by_width in known["modes"].values() for mode in by_width.values()})
    products = {m: common.fresh(ceiling.matrix_product, m, CORES)[0] for m in modes}
    return {"tutorial": tutorial, "tasearch": tasearch, "ceiling": products}


def summary(rounds: list[dict[str, Any]], known: dict[str, Any]) -> dict[str, Any]:
    """Medians and spreads over the rounds, for the setup that is fastest over all of them."""
    rates = {n: [r["tasearch"][n]["images_per_s"] for r in rounds] for n in map(str, SETUPS)}
    best = max(rates, key=lambda n: statistics.median(rates[n]))
    tutorial = [r["tutorial"]["images_per_s"] for r in rounds]
    chosen = [r["tasearch"][best] for r in rounds]
    (mode,) = known["modes"][SETUPS[int(best)]].values()
    products = [r["ceiling"][mode] for r in rounds]
    gflops = statistics.median(product["gflops"] for product in products)
    flops = 3 * known["forward_flops"] * statistics.median(rates[best]) / 1e9
    return {
        "setup": {"processes": int(best), "threads": SETUPS[int(best)], "mode": mode},
        "tutorial_images_per_s": common.spread(tutorial),
        "tasearch_images_per_s": {n: common.spread(found) for n, found in rates.items()},
        "ratio": common.spread([a / b for a, b in zip(rates[best], tutorial, strict=True)]),
        "ratio_with_pass": {
            str(n): common.spread(
                [c["with_pass"][str(n)] / t for c, t in zip(chosen, tutorial, strict=True)]
            )
            for n in (1, known["models"])
        },
        "pass_s": common.spread([p["pass_s"] for c in chosen for p in c["processes"]]),
        "training_gflops": flops,
        "ceiling": {**products[0], "gflops": gflops},
        "utilisation": flops / gflops,
        "peak_mib": {
            "tutorial": max(r["tutorial"]["peak_mib"]["process"] for r in rounds),
            "tutorial_worker": max(r["tutorial"]["peak_mib"]["largest_child"] for r in rounds),
            "tasearch": max(sum(p["peak_mib"] for p in c["processes"]) for c in chosen),
        },
    }


def printed(pairs: list[dict[str, Any]], models: int) -> str:
    """The output: a row for each pair."""
    head = ["pair", "tutorial/s", "tasearch/s", "setup", "times", "(min..max)", "target"]
    head += [f"pass/{n}" for n in (1, models)] + ["of ceiling", "MiB (+worker)", "MiB"]
    rows = []
    for pair in pairs:
        found, setup = pair["summary"], pair["summary"]["setup"]
        ratio, peak = found["ratio"], found["peak_mib"]
        rate = found["tasearch_images_per_s"][str(setup["processes"])]["median"]
        rows.append(
            [
                pair["label"],
                f"{found['tutorial_images_per_s']['median']:,.0f}",
                f"{rate:,.0f}",
                f"{setup['processes']}x{setup['threads']} {setup['mode']}",
                f"{ratio['median']:.1f}",
                f"({ratio['min']:.1f}..{ratio['max']:.1f})",
                pair["target"],
                *(f"{found['ratio_with_pass'][str(n)]['median']:.1f}" for n in (1, models)),
                f"{found['utilisation']:.0%}",
                f"{peak['tutorial']:,.0f}+{peak['tutorial_worker']:,.0f}",
                f"{peak['tasearch']:,.0f}",
            ]
        )
    return common.table(head, rows)


def main() -> None:
    args = arguments()
    result: dict[str, Any] = {
        "question": common.question(__doc__),
        "provenance": common.provenance(args),
        "threads_by_processes": SETUPS,
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npz"
        (result["images"],) = common.fresh(common.write_images, args.data, args.images, file)
        result["pairs"] = measure(args, file)
    common.write_json(args.out, result)
    print(f"{result['images']}, {args.images:,} images in an epoch, batch {BATCH}")
    print(printed(result["pairs"], args.models))


def measure(args: argparse.Namespace, file: Path) -> list[dict[str, Any]]:
    """All rounds of all pairs; the pairs take turns within a round."""
    pairs, found = [], []
    for name in args.pairs:
        family, teacher, student, target = PAIRS[name]
        pair = Pair(family=family, teacher=teacher, student=student, batch=BATCH, images=file)
        (known,) = common.fresh(describe, pair, args.precision)
        print(f"{pair.label}: modes by threads and width: {known['modes']}", flush=True)
        pairs.append(pair)
        known |= {"images": args.images, "models": args.models}
        found.append({"label": pair.label, "batch": BATCH, "target": target, **known, "rounds": []})
    for number in range(1, args.rounds + 1):
        for pair, entry in zip(pairs, found, strict=True):
            entry["rounds"].append(run_round(pair, entry, args.seconds))
            print(f"round {number} of {args.rounds}: {pair.label}", flush=True)
    return [{**entry, "summary": summary(entry["rounds"], entry)} for entry in found]


def arguments() -> argparse.Namespace:
    """Arguments of the command line."""
    parser = common.parser(__doc__)
    parser.add_argument(
        "--pairs", nargs="+", choices=PAIRS, default=list(PAIRS), help="what to train"
    )
    parser.add_argument("--images", type=int, default=5_000, help="images of an epoch")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds")
    parser.add_argument("--seconds", type=float, default=10.0, help="time of each training")
    parser.add_argument(
        "--precision", choices=("auto", "fp32", "bf16"), default="auto", help="tasearch's precision"
    )
    parser.add_argument("--models", type=int, default=10, help="students of one teacher")
    common.add_data_option(parser)
    common.add_out_option(parser, "speed-cpu.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
