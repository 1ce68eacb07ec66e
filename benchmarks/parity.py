"""Do ways of training that should be equivalent end in the same accuracies?

A student plain2 learns from a teacher plain6 on a part of CIFAR-10 with crops and flips, in five
replicates with paired seeds. Compared are soft targets cached in 16 bits with an online teacher in
32 bits, bfloat16 with float32, replicates in one stacked model with one after the other, and a pool
of two workers with this process: the paired differences of the test accuracies, and their 95 %
interval.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from scipy.stats import t as student_t
from torch import Tensor

import tasearch
from benchmarks import common
from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.mode import Mode
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.data import Dataset, load_data, load_test
from tasearch.models import Models
from tasearch.runs.events import HopEnded
from tasearch.runs.store import Store
from tasearch.train.loop import evaluate
from tasearch.train.soft_targets import stacked, view_logits
from tasearch.train.tasks import train_hop
from tasearch.train.trainer import Trainer

TEACHER, STUDENT = 6, 2


class Online(Trainer):
    """A trainer without cached soft targets: the teacher runs in each epoch, in 32 bits."""

    def _soft_targets(self, hop: Hop) -> Callable[[int], list[Tensor]]:
        (teacher,) = hop.teachers
        nets = [self._placed(net) for net in self.nets(teacher)]

        @lru_cache(maxsize=1)  # all replicates ask for an epoch before the next
        def targets(epoch: int) -> list[Tensor]:
            pairs, phase = zip(nets, self.views, strict=True), self.views[0].phase(epoch)
            return [stacked([view_logits(net, views, phase)]) for net, views in pairs]

        return targets


def make_study(args: argparse.Namespace) -> Study:
    return parse_study(
        {
            "name": "parity",
            "data": {
                "source": "parquet",
                "path": str((common.ROOT / args.data).resolve()),
                "validation": 0.04,
                "limit": args.images,
            },
            "model": {"family": "plain"},
            "teacher": {"width": TEACHER, "epochs": args.epochs, "learning_rate": 0.003},
            "assistants": {"max": 0},
            "student": {"widths": [STUDENT], "epochs": args.epochs, "learning_rate": 0.003},
            "training": {"augment": "crop4+flip", "precision": "fp32", "stack": "never"},
            "latency": {"backend": "torch"},
            "search": {"replicates": args.replicates, "trials": 1},
        }
    )


def accuracies(trainer: Trainer, hop: Hop, test: tuple[Tensor, Tensor]) -> list[float]:
    """Test accuracy of each replicate of a hop, trained now if it is not stored."""
    if not trainer.store.has(trainer.key(hop)):
        *_, last = train_hop(trainer, hop)
        assert isinstance(last, HopEnded) and last.outcome == "complete", last
    return [evaluate(net, *test) for net in trainer.nets(hop)]


def hops(study: Study) -> list[Hop]:
    """The hop of the teacher, and that of the student."""
    teacher = ModelSpec(width=TEACHER, recipe=study.teacher_recipe())
    model = ModelSpec(width=STUDENT, recipe=study.recipes("student").one_per_loss()[0])
    return list(Chain(models=(teacher, model)).hops())


def in_ways(study: Study, data: Dataset, folder: Path) -> dict[str, list[float]]:
    """The student's test accuracies by way of training, always with the same teachers."""
    part = load_test(study)
    mean, std = torch.from_numpy(data.mean), torch.from_numpy(data.std)
    test = (torch.tensor(part.x) - mean) / std, torch.tensor(part.y)
    teacher, model = hops(study)
    stacked = f"fp32 x{study.search.replicates}"
    ways: dict[str, tuple[type[Trainer], str]] = {
        "one after the other, cached, float32": (Trainer, "fp32"),
        "online teacher": (Online, "fp32"),
        "bfloat16": (Trainer, "bf16"),
        "one stacked model": (Trainer, stacked),
    }
    found = {}
    for name, (kind, mode) in ways.items():
        own = folder / name
        trainer = kind(
            study=study,
            models=Models.for_study(study, data),
            data=data,
            store=Store(own),
            device=torch.device("cpu"),
            modes={TEACHER: Mode.parse("fp32"), STUDENT: Mode.parse(mode)},
        )
        if name != next(iter(ways)):  # all take the teachers of the first way
            (own / "hops").mkdir(parents=True)
            first = folder / next(iter(ways)) / "hops" / f"{trainer.key(teacher)}.safetensors"
            (own / "hops" / first.name).write_bytes(first.read_bytes())
        else:
            accuracies(trainer, teacher, test)
        found[name] = accuracies(trainer, model, test)
        print(f"{name}: {[f'{a:.2%}' for a in found[name]]}", flush=True)
    return found


def in_pools(study: Study, folder: Path) -> dict[str, list[float]]:
    """Validation accuracies of every student of a small study, by number of workers."""
    small = study.model_copy(
        update={
            "student": study.student.model_copy(update={"widths": (4, 2)}),
            "teacher": study.teacher.model_copy(update={"epochs": 2}),
            "search": study.search.model_copy(update={"trials": 2}),
        }
    )
    first = tasearch.run(small, runs_dir=folder / "1")
    others = tasearch.run(small, runs_dir=folder / "2", latency_from=first.path, workers=2)
    return {
        "this process": [a for t in first.trials for a in t.accuracies],
        "a pool of two workers": [a for t in others.trials for a in t.accuracies],
    }


def compared(name: str, values: list[float], against: str, base: list[float]) -> dict[str, Any]:
    """Paired differences: mean, 95 % interval (Student's t), and whether 0 lies within.

    Args:
        name: Way of training.
        values: Its accuracies.
        against: Way of training with which it is compared.
        base: Accuracies of that one, in the same order.
    """
    gaps = [a - b for a, b in zip(values, base, strict=True)]
    mean = statistics.mean(gaps)
    margin = 0.0
    if len(set(gaps)) > 1:
        quantile = float(student_t.ppf(0.975, len(gaps) - 1))
        margin = quantile * statistics.stdev(gaps) / len(gaps) ** 0.5
    return {
        "way": name,
        "against": against,
        "accuracies": values,
        "base": base,
        "mean_difference": mean,
        "interval": [mean - margin, mean + margin],
        "identical": values == base,
        "agrees": mean - margin <= 0 <= mean + margin,
    }


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--images", type=int, default=4_000, help="training images")
    parser.add_argument("--epochs", type=int, default=12, help="epochs of each model")
    parser.add_argument("--replicates", type=int, default=5, help="number of replicates")
    common.add_data_option(parser)
    common.add_out_option(parser, "parity-cpu.json")
    args = parser.parse_args()
    study = make_study(args)
    data = load_data(study)
    with tempfile.TemporaryDirectory() as folder:
        ways = in_ways(study, data, Path(folder))
        pools = in_pools(study, Path(folder))
    rows = []
    for group in (ways, pools):
        (against, base), *rest = group.items()
        rows += [compared(name, values, against, base) for name, values in rest]
    result = {
        "question": common.question(__doc__),
        "provenance": common.provenance(args),
        "comparisons": rows,
    }
    common.write_json(args.out, result)
    head = ["way", "against", "mean", "95 % interval, points", "agrees"]
    print(common.table(head, [shown(row) for row in rows]))


def shown(row: dict[str, Any]) -> list[str]:
    """A comparison's row in the output."""
    low, high = row["interval"]
    mean = statistics.mean(row["accuracies"])
    interval = "identical" if row["identical"] else f"{100 * low:+.2f} .. {100 * high:+.2f}"
    return [row["way"], row["against"], f"{mean:.2%}", interval, "yes" if row["agrees"] else "no"]


if __name__ == "__main__":
    main()
