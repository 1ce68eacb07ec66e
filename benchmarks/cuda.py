"""How near to the limits of a GPU does tasearch train, and what do the published chains give?

In parts, each alone and of some minutes at most; each replaces its own figures in the result:

    python -m benchmarks.cuda epochs       milliseconds an epoch, one model and eight side by side
    python -m benchmarks.cuda loop         times a careful tutorial's loop on the same GPU
    python -m benchmarks.cuda latency      of batches of 1 and 256, eager and as a graph
    python -m benchmarks.cuda agreement    the same hops on CPU and on the GPU
    python -m benchmarks.cuda takd         the experiment of 1902.03393 as a study; goes on from
                                           where it was; `takd-dist` and `takd-dense` are others

Training is by `Trainer` and `train`, as in a search. Networks are untrained and soft targets are
noise where only speed is asked for.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import tasearch
from benchmarks import common, plain_loop
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.data import load_data
from tasearch.models import FAMILIES, Models
from tasearch.profiling.cuda_latency import cuda_latency
from tasearch.runs.events import SearchFinished
from tasearch.runs.records import TrialRecord
from tasearch.runs.store import Store
from tasearch.train.batches import TrainingJob
from tasearch.train.loop import train
from tasearch.train.soft_targets import view_logits
from tasearch.train.state import State
from tasearch.train.trainer import Trainer

BATCH = 128
EPOCH = 50_000  # images
NETS = {  # milliseconds of an epoch of 50,000 images, at most, that are aimed at
    "plain2": 60,
    "plain10": 250,
    "resnet8": 150,
    "resnet20": 400,
}
ABREAST = 8  # replicates of plain2, in less than twice the time of one
LOOPS = {("plain10", "plain2"): 30, ("resnet56", "resnet20"): 10}  # times the tutorial, at least
BATCHES = (1, 256)  # of latency
STEPS, REPLICATES, AGREEING_EPOCHS = 20, 5, 12  # of the comparison with CPU
JUDGES = 2_000  # validation samples of accuracies that are compared
SKIPPED = 2  # first epochs: a graph is recorded, memory is asked for
PUBLISHED = {"no KD": 70.16, "direct": 72.57, "one assistant": 73.51}  # 1902.03393, best of each
STUDIES = ("takd", "takd-dist", "takd-dense")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where parts run.

    Args:
        device: of the trainings.
        images: file of `common.write_images`.
        epochs: timed, of each.
        args: of the command line.
    """

    device: torch.device
    images: Path
    epochs: int
    args: argparse.Namespace

    def trainer(
        self,
        net: str,
        folder: Path,
        *,
        epochs: int,
        replicates: int = 1,
        mode: str = "bf16",
        device: torch.device | None = None,
    ) -> Trainer:
        """A trainer of one network, named by its family and width."""
        family, width = parts(net)
        content = {
            "data": {"source": "npz", "path": str(self.images), "layout": "chw"},
            "model": {"family": family},
            "training": {"augment": "crop4+flip", "batch_size": BATCH, "optimizer": "sgd"},
            "search": {"rungs": 1, "replicates": replicates},
            "student": {"epochs": epochs},
        }
        study: Study = parse_study(content)
        data = load_data(study)
        return Trainer(
            study=study,
            models=Models.for_study(study, data),
            data=data,
            store=Store(folder, print),
            device=device or self.device,
            modes={width: mode},
        )


def parts(net: str) -> tuple[str, int]:
    """Family and width of such as "plain2"."""
    family = net.rstrip("0123456789")
    return family, int(net.removeprefix(family))


def models(trainer: Trainer, *, distilled: bool = True) -> tuple[list[State], list[TrainingJob]]:
    """Fresh models of the trainer's width; with noise for soft targets, the same in all epochs."""
    (width,) = trainer.modes
    recipe = trainer.study.recipes("student").firsts()[0]
    learning = trainer.begin(Hop(lineage=(ModelSpec(width=width, recipe=recipe),)))
    assert learning is not None
    states, jobs = learning
    if distilled:
        classes = trainer.models.num_classes
        shape = 1, len(trainer.y), classes
        generator = torch.Generator().manual_seed(0)
        held = (3 * torch.randn(shape, generator=generator)).half().to(trainer.device)
        jobs = [replace(job, targets=lambda phase: held) for job in jobs]
        return states, jobs
    for state in states:
        state.recipe = replace(recipe, loss="ce")
    return states, [replace(job, loss=trainer.losses["ce"]) for job in jobs]


def epoch_times(trainer: Trainer, slots: int | None) -> list[float]:
    """Milliseconds for EPOCH images, of epochs after the first ones; the last, which is evaluated,
    is left out."""
    states, jobs = models(trainer)
    scale = 1e3 * EPOCH / (len(trainer.y) // BATCH * BATCH)
    times, start = [], time.perf_counter()
    for _ in train(states, jobs, slots=slots, graphs=trainer.graphs):
        end = time.perf_counter()
        times.append(scale * (end - start))
        start = end
    return times[SKIPPED:-1]


def epochs(bench: Bench) -> dict[str, Any]:
    """Milliseconds an epoch of 50,000 images, with soft targets held."""
    found: dict[str, Any] = {}
    for net, replicates in [*((net, 1) for net in NETS), ("plain2", ABREAST)]:
        slots = replicates if replicates > 1 else None
        mode = "bf16" if slots is None else f"bf16 x{slots}"
        with tempfile.TemporaryDirectory() as folder:
            count = bench.epochs + SKIPPED + 1
            trainer = bench.trainer(
                net, Path(folder), epochs=count, replicates=replicates, mode=mode
            )
            times = epoch_times(trainer, slots)
        name = net if slots is None else f"{net} x{slots}"
        found[name] = common.spread(times) | {"images": len(trainer.y), "aim": NETS[net]}
        print(f"{name}: {found[name]['median']:.1f} ms an epoch", flush=True)
    alone, side_by_side = found["plain2"]["median"], found[f"plain2 x{ABREAST}"]["median"]
    found["abreast_over_alone"] = side_by_side / alone
    return found


def loop(bench: Bench) -> dict[str, Any]:
    """Images a second against the tutorial's, in turn."""
    found: dict[str, Any] = {}
    for (teacher, student), aim in LOOPS.items():
        rounds = []
        for _ in range(bench.args.rounds):
            with tempfile.TemporaryDirectory() as folder:
                count = bench.epochs + SKIPPED + 1
                trainer = bench.trainer(student, Path(folder), epochs=count)
                held = 1e3 * EPOCH / statistics.median(epoch_times(trainer, None))
                rounds.append(
                    {
                        "tutorial": tutorial(bench, trainer, teacher, student),
                        "tasearch": held,
                        "pass_s": teacher_pass(trainer, teacher),
                    }
                )
        ratios = [r["tasearch"] / r["tutorial"] for r in rounds]
        name = f"{teacher} -> {student}"
        found[name] = {"times": common.spread(ratios), "aim": aim, "rounds": rounds}
        print(f"{name}: {found[name]['times']['median']:.1f} times the tutorial", flush=True)
    return found


def built(trainer: Trainer, net: str) -> torch.nn.Module:
    family, width = parts(net)
    shape, classes = trainer.models.in_shape, trainer.models.num_classes
    torch.manual_seed(0)
    made = FAMILIES[family](width, in_shape=shape, num_classes=classes)
    return made.to(trainer.device).eval()


def tutorial(bench: Bench, trainer: Trainer, teacher: str, student: str) -> float:
    """Images a second of the careful tutorial's loop on the same device."""
    with np.load(bench.images) as arrays:
        images, labels = arrays["x_train"].transpose(0, 2, 3, 1).copy(), arrays["y_train"]
    return plain_loop.train_epoch(
        built(trainer, teacher),
        built(trainer, student),
        images,
        labels,
        batch_size=BATCH,
        seconds=bench.args.seconds,
        device=bench.device,
    )


def teacher_pass(trainer: Trainer, teacher: str) -> float:
    """Seconds of a teacher's pass over the views of an epoch, the second time."""
    net = built(trainer, teacher)
    times = []
    for phase in range(2):
        start = time.perf_counter()
        float(view_logits(net, trainer.views[0], phase).sum())
        times.append(time.perf_counter() - start)
    return times[-1]


def latency(bench: Bench) -> dict[str, Any]:
    """Milliseconds of a batch, by network and batch size."""
    found: dict[str, Any] = {}
    for net in NETS:
        family, width = parts(net)
        model = FAMILIES[family](width, in_shape=(3, 32, 32), num_classes=10)
        for batch in BATCHES:
            times = cuda_latency(model, (3, 32, 32), batch, bench.device)
            found[f"{net}, batch {batch}"] = times
            words = {kind: {n: round(t, 3) for n, t in by.items()} for kind, by in times.items()}
            print(f"{net}, batch {batch}: {words}", flush=True)
    return found


def agreement(bench: Bench) -> dict[str, Any]:
    """Weights after some steps in fp32, and accuracies of paired replicates, on both devices."""
    found: dict[str, Any] = {}
    for net in ("plain2", "resnet8"):
        ends: dict[str, list[list[float]]] = {}
        first: dict[str, dict[str, Tensor]] = {}
        for device in (torch.device("cpu"), bench.device):
            with tempfile.TemporaryDirectory() as folder:
                one = bench.trainer(net, Path(folder), epochs=1, mode="fp32", device=device)
                states, jobs = models(one)
                assert len(one.y) == STEPS * BATCH
                for _ in train(states, jobs, slots=None, graphs=one.graphs):
                    pass
                first[device.type] = {
                    name: tensor.detach().cpu().double()
                    for name, tensor in states[0].net.state_dict().items()
                }
            with tempfile.TemporaryDirectory() as folder:
                many = bench.trainer(
                    net,
                    Path(folder),
                    epochs=AGREEING_EPOCHS,
                    replicates=REPLICATES,
                    mode="fp32",
                    device=device,
                )
                states, jobs = models(many, distilled=False)
                for _ in train(states, jobs, slots=None, graphs=many.graphs):
                    pass
                ends[device.type] = [state.curve for state in states]
        ours, theirs = first[bench.device.type], first["cpu"]
        pairs = [(ours[name], theirs[name]) for name in ours if ours[name].ndim]
        finals = {kind: [curve[-1] for curve in curves] for kind, curves in ends.items()}
        gaps = [
            100 * (a - b) for a, b in zip(finals[bench.device.type], finals["cpu"], strict=True)
        ]
        found[net] = {
            "steps": STEPS,
            "largest_relative_distance": max(
                float((a - b).norm() / b.norm().clamp(min=1e-12)) for a, b in pairs
            ),
            "accuracies": finals,
            "gap_points": {
                "mean": statistics.fmean(gaps),
                "standard_error": statistics.stdev(gaps) / len(gaps) ** 0.5,
            },
        }
        print(f"{net}: {found[net]}", flush=True)
    return found


def published(bench: Bench, name: str) -> dict[str, Any]:
    """A study of the published experiment, for so many minutes more."""
    study = tasearch.load_study(common.ROOT / f"studies/{name}.toml")
    path = str((common.ROOT / bench.args.data).resolve())
    study = study.model_copy(update={"data": study.data.model_copy(update={"path": path})})
    end = time.monotonic() + 60 * bench.args.minutes
    events = tasearch.steps(study, runs_dir=bench.args.runs, device=bench.device.type)
    over = False
    for event in events:
        over = isinstance(event, SearchFinished)
        if time.monotonic() > end:
            break
    events.close()  # type: ignore[attr-defined]
    run = tasearch.Run.open(Path(bench.args.runs) / name)
    found: dict[str, Any] = {
        "over": over,
        "published": PUBLISHED,
        "seconds_of_hops": sum(e["seconds"] for e in run.directory.events() if e["event"] == "end"),
        "chains": chains(run.trials),
    }
    for chain, values in found["chains"].items():
        print(f"{chain}: {100 * values['mean']:.2f} ± {100 * values['deviation']:.2f}")
    print("over" if over else "not over yet: the same command goes on")
    return found


def chains(trials: Sequence[TrialRecord]) -> dict[str, dict[str, Any]]:
    """Validation accuracies of each chain's replicates."""
    found = {}
    for trial in trials:
        if trial.state == "complete" and not trial.free:
            words = "-".join(map(str, trial.chain))
            loss = trial.recipe["student"]["loss"]
            found[f"{words} {loss}"] = {
                "accuracies": trial.accuracies,
                "mean": statistics.fmean(trial.accuracies),
                "deviation": statistics.stdev(trial.accuracies),
            }
    return found


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "epochs": epochs,
    "loop": loop,
    "latency": latency,
    "agreement": agreement,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=[*PARTS, *STUDIES])
    parser.add_argument("--device", default="cuda", help="cpu tries the benchmark itself")
    parser.add_argument("--images", type=int, default=50_000, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=10, help="that are timed")
    parser.add_argument("--rounds", type=int, default=3, help="of the loops in turn")
    parser.add_argument("--seconds", type=float, default=15.0, help="of the tutorial's loop")
    parser.add_argument("--minutes", type=float, default=8.5, help="of a study at a time")
    parser.add_argument("--data", default=common.CIFAR, help="seen from the repository root")
    parser.add_argument("--runs", default="runs", help="where studies' runs are")
    parser.add_argument("--out", type=Path, default=common.RESULTS / "cuda.json")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device; --device cpu tries the benchmark itself")
    device = torch.device(args.device)
    known = json.loads(args.out.read_text("utf-8")) if args.out.exists() else {"parts": {}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npz"
        what = ""
        if args.part in PARTS:
            sizes = (args.images, common.VALIDATION)
            if args.part == "agreement":
                sizes = (STEPS * BATCH, JUDGES)
            what = common.write_images(args.data, sizes[0], file, sizes[1])
        bench = Bench(device=device, images=file, epochs=args.epochs, args=args)
        work = PARTS.get(args.part, lambda bench: published(bench, args.part))
        provenance = common.provenance(args) | {"images": what}
        known["question"] = (__doc__ or "").splitlines()[0]
        known["parts"][args.part] = {"provenance": provenance, "found": work(bench)}
    common.write_json(args.out, known)


if __name__ == "__main__":
    main()
