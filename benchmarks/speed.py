"""How many times faster than other ways does tasearch train a student?

The others are a careful tutorial's loop, the loop that was published with TAKD, and, where
`--peers-python` names an environment that has them, torchdistill and timm. All train the same
student with the same teacher, on the same images, batch size and cores, in turn, each time in a new
process. The teacher is untrained, since accuracy does not matter for speed.

tasearch trains by its `Trainer`, in one process with all cores and in one process per core; the
setup which is faster over all rounds counts. Three figures are given: with all the teacher's passes
for one student alone, with a part of them, as if several students had the same teacher, and with
soft targets held, without any. Each includes all of a student's training: building, evaluating,
saving.

The peers need another torch, so the careful loop is measured under their torch as well.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import ceiling, common, hops, peers, plain_loop
from benchmarks.hops import Modes, Pair, Span
from benchmarks.peers import Peers
from benchmarks.processes import peak_mib, wait_for_others
from benchmarks.speed_summary import printed, summary
from tasearch.chains.mode import modes_as_text, modes_from_text
from tasearch.models.numerics import flush_denormals_everywhere, keep_freed_memory
from tasearch.profiling.counts import forward_flops

CORES = 2
BATCH = 128
EPOCHS = 2  # of each student, so there are 2 phases of augmentation
PAIRS = {  # by name: family, teacher, student, and the target: times the careful loop, targets held
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


def run_loop(pair: Pair, teacher_gradients: bool, seconds: float) -> dict[str, Any]:
    """Train by a loop written by hand for some seconds: the careful one, or the published one."""
    torch.set_num_threads(CORES)
    with tempfile.TemporaryDirectory() as folder:
        _, data = pair.load(Path(folder), threads=CORES, epochs=EPOCHS)
    rate = plain_loop.train_epoch(
        pair.fixed_teacher(data),
        pair.build(pair.student, data),
        np.ascontiguousarray(data.train.x.transpose(0, 2, 3, 1)),
        data.train.y,
        batch_size=pair.batch,
        seconds=seconds,
        teacher_gradients=teacher_gradients,
    )
    return {"images_per_s": rate, "peak_mib": peak_mib(), "threads": torch.get_num_threads()}


def run_tasearch(pair: Pair, threads: int, modes: Modes, seconds: float, meeting: Path) -> Training:
    """Train a student without cached targets, then others with them for some seconds.

    Args:
        pair: What to train.
        threads: Number of threads.
        modes: Modes of training.
        seconds: Time of the epochs with cached targets.
        meeting: Empty folder for all processes of the setup, which begin these epochs together.
    """
    flush_denormals_everywhere()  # as in a worker
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study, data = pair.load(folder, threads=threads, epochs=EPOCHS)
        trainer = hops.make_trainer(study, data, folder, modes)
        cold = list(hops.epoch_spans(trainer, hops.student_hop(trainer, 1.0)))
        wait_for_others(meeting, CORES // threads)
        epochs: list[Span] = []
        temperature = 2.0
        while not epochs or epochs[-1][1] - epochs[0][0] < seconds:
            epochs += hops.epoch_spans(trainer, hops.student_hop(trainer, temperature))
            temperature += 1.0
    cached = statistics.median(end - start for start, end in epochs)
    start, end = cold[-1]
    return Training(epochs=epochs, pass_s=end - start - cached, peak_mib=peak_mib()["process"])


def describe(pair: Pair, precision: str, networks: Path) -> dict[str, Any]:
    """Modes of training that a run would choose, by number of threads, and the student's FLOPs.

    The networks are written for the peers, or it is said why that is not possible.
    """
    modes = {}
    with tempfile.TemporaryDirectory() as folder:
        for threads in SETUPS.values():
            study, data = pair.load(
                Path(folder), threads=threads, epochs=EPOCHS, precision=precision
            )
            modes[threads] = modes_as_text(hops.chosen_modes(study, data))
    student = pair.build(pair.student, data)
    flops = forward_flops(student, data.in_shape)
    refused = peers.write_networks(networks, pair.fixed_teacher(data), student)
    return {"modes": modes, "forward_flops": flops, "refused": refused}


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
    with tempfile.TemporaryDirectory() as meeting:
        given = (pair, threads, modes, seconds, Path(meeting))
        parts: list[Training] = common.fresh(
            run_tasearch, *given, processes=processes, large_pages=True
        )
    start = max(part.epochs[0][0] for part in parts)
    end = min(part.epochs[-1][1] for part in parts)
    epochs = [(end - start) / done(part.epochs, start, end) for part in parts]
    size = known["images"] // pair.batch * pair.batch  # the last, incomplete batch is left out
    shares = {"alone": 1.0, "shared": 1 / known["models"], "held": 0.0}  # of the teacher's passes
    return {
        "images_per_s": {
            way: sum(size / (e + share * p.pass_s) for p, e in zip(parts, epochs, strict=True))
            for way, share in shares.items()
        },
        "processes": [asdict(part) for part in parts],
    }


def done(epochs: list[Span], start: float, end: float) -> float:
    """Number of epochs between two moments, with fractions of those that are partly within."""
    assert start < end, "the processes did not train at the same time"
    return sum(max(0.0, min(b, end) - max(a, start)) / (b - a) for a, b in epochs)


def run_round(
    pair: Pair, known: dict[str, Any], environment: Peers, networks: Path, seconds: float
) -> dict[str, Any]:
    """All others, tasearch in each setup, and the matrix products, one after the other."""
    assert pair.images is not None
    others: dict[str, Any] = {}
    for name, gradients in (("careful", False), ("published", True)):
        (others[name],) = common.fresh(run_loop, pair, gradients, seconds)
    for name in peers.NEEDS:
        if name not in known["skipped"]:
            others[name] = peers.run_peer(
                environment, name, networks, pair.images, BATCH, seconds=seconds, threads=CORES
            )
    tasearch = {str(n): run_setup(pair, n, known, seconds) for n in SETUPS}
    modes = sorted({mode for by_width in known["modes"].values() for mode in by_width.values()})
    products = {m: common.fresh(ceiling.matrix_product, m, CORES)[0] for m in modes}
    return {"others": others, "tasearch": tasearch, "ceiling": products}


def main() -> None:
    args = arguments()
    environment = peers.find_peers(args.peers_python)
    for name, why in environment.skipped.items():
        print(f"skipped: {name} ({why})", flush=True)
    named = argparse.Namespace(**vars(args) | {"peers_python": bool(args.peers_python)})
    result: dict[str, Any] = {
        "question": common.question(__doc__),
        "provenance": common.provenance(named) | {"peers": environment.versions},
        "threads_by_processes": SETUPS,
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npz"
        (result["images"],) = common.fresh(common.write_images, args.data, args.images, file)
        result["pairs"] = measure(args, environment, file)
    common.write_json(args.out, result)
    print(f"{result['images']}, {args.images:,} images in an epoch, batch {BATCH}")
    print("peers:", ", ".join(f"{n} {v}" for n, v in environment.versions.items()) or "none", "\n")
    print(printed(result["pairs"], args.models))


def measure(args: argparse.Namespace, environment: Peers, file: Path) -> list[dict[str, Any]]:
    """All rounds of all pairs; the pairs take turns within a round."""
    pairs, found = [], []
    for name in args.pairs:
        family, teacher, student, target = PAIRS[name]
        pair = Pair(family=family, teacher=teacher, student=student, batch=BATCH, images=file)
        networks = file.with_name(f"{name}.pt")
        (known,) = common.fresh(describe, pair, args.precision, networks)
        print(f"{pair.label}: modes by threads and width: {known['modes']}", flush=True)
        pairs.append((pair, networks))
        refused = known.pop("refused")
        known |= {
            "images": args.images,
            "models": args.models,
            "skipped": dict.fromkeys(peers.NEEDS, refused) if refused else environment.skipped,
        }
        found.append({"label": pair.label, "batch": BATCH, "target": target, **known, "rounds": []})
    for number in range(1, args.rounds + 1):
        for (pair, networks), entry in zip(pairs, found, strict=True):
            start = time.perf_counter()
            part = run_round(pair, entry, environment, networks, args.seconds)
            entry["rounds"].append(part)
            took = time.perf_counter() - start
            print(f"round {number} of {args.rounds}: {pair.label}, {took:.0f} s", flush=True)
    return [{**entry, "summary": summary(entry["rounds"], entry, SETUPS)} for entry in found]


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
    parser.add_argument(
        "--peers-python",
        type=Path,
        help="Python of an environment with torchvision, torchdistill and timm",
    )
    common.add_data_option(parser)
    common.add_out_option(parser, "speed-cpu.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
