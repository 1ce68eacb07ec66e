"""Do hidden layers of the teacher teach more than its logits? Questions of TREC, equal epochs.

Question: what do losses on hidden layers (`student.hidden`) add to soft targets alone, at the same
number of epochs, and what do they cost? Each seed trains a student by every way, with equal initial
weights and batches, from one fixed teacher; the last epoch counts, and nothing is chosen.

    python -m benchmarks.hidden_layers studies/trec.toml

A line of --lines is one training. It may be stopped at any time, and goes on where it was. Since
texts are never augmented and the teacher is fixed, its hidden layers are computed once here and
not in each epoch (`Remembered`): the same values up to rounding, in much less time. So the times
of students that learn from hidden layers leave out their teacher's passes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

import tasearch.train.hidden
from benchmarks.common import add_out_option, parser, provenance, question, write_json
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.mode import Mode
from tasearch.config.study import Study
from tasearch.config.study_file import load_study
from tasearch.data import Dataset, load_data, load_test
from tasearch.models import Models
from tasearch.models.hidden import HiddenLayers, hidden_sizes, read_hidden
from tasearch.models.tensors import as_tensor
from tasearch.models.tokens import mask_of
from tasearch.models.wrappers import without_wrappers
from tasearch.runs.store import Store
from tasearch.train.hidden import matched_blocks
from tasearch.train.loop import evaluate
from tasearch.train.tasks import train_hop
from tasearch.train.trainer import Trainer

BASE = "soft targets"
WAYS: dict[str, dict[str, Any]] = {
    BASE: {},
    "states": {"hidden": "states"},
    "relations": {"hidden": "relations"},
    "embeddings": {"hidden": "embeddings"},
    "all three": {"hidden": "states+relations+embeddings"},
    "labels alone": {"loss": "ce"},
}


class Remembered:
    """Reads hidden layers, those of frozen models only once for each text.

    Args:
        blocks: The blocks whose states are kept; others are empty.
    """

    def __init__(self, blocks: set[int]) -> None:
        self._blocks = blocks
        self._known: dict[bytes, list[Tensor]] = {}

    def __call__(self, net: Any, ids: Tensor) -> tuple[Tensor, HiddenLayers]:
        """As `read_hidden`; of remembered texts there are no logits."""
        mask = mask_of(ids, net.ids.tokens.pad)
        texts = [row[own].numpy().tobytes() for row, own in zip(ids, mask, strict=True)]
        if not all(text in self._known for text in texts):
            _, layers = read_hidden(net, ids)
            for row, text in enumerate(texts):
                length = int(mask[row].sum())
                kept = [layers.states[i] for i in sorted(self._blocks)]
                parts = (layers.embeddings, *layers.vectors, *kept)
                self._known[text] = [part[row, :length].clone() for part in parts]
        rows = [self._known[text] for text in texts]
        first, *rest = (self._padded(parts, ids.shape[1]) for parts in zip(*rows, strict=True))
        states = dict(zip(sorted(self._blocks), rest[3:], strict=True))
        return torch.empty(0), HiddenLayers(
            mask=mask,
            embeddings=first,
            vectors=tuple(rest[:3]),
            states=tuple(states.get(i, torch.empty(0)) for i in range(max(self._blocks) + 1)),
        )

    @staticmethod
    def _padded(parts: Sequence[Tensor], length: int) -> Tensor:
        whole = torch.zeros(len(parts), length, parts[0].shape[1])
        for row, part in zip(whole, parts, strict=True):
            row[: len(part)] = part
        return whole


def trainer(study: Study, data: Dataset, folder: Path) -> Trainer:
    """A trainer of single models in float32 on the CPU."""
    return Trainer(
        study=study,
        models=Models.for_study(study, data),
        data=data,
        store=Store(folder),
        device=torch.device("cpu"),
        modes=dict.fromkeys(study.widths, Mode(bf16=False, slots=None, shared=False)),
    )


def fixed_teacher(study: Study, data: Dataset, folder: Path) -> Study:
    """The study with a teacher that is trained here once, on the study's own seed."""
    file = (folder / "teacher.pt").absolute()
    if not file.exists():
        own = trainer(study, data, folder / "teacher")
        hop = Hop(lineage=(own.models.teacher(),))
        for _ in train_hop(own, hop):
            pass
        torch.save(without_wrappers(own.nets(hop)[0]).state_dict(), file)
    changes = {"checkpoint": str(file), "inputs": "standardized"}
    return study.model_copy(update={"teacher": study.teacher.model_copy(update=changes)})


def measure(
    study: Study, out: Path, seeds: range, ways: list[str], sizes: list[str], weight: float
) -> None:
    """Append a line for each seed, size and way that the file does not have yet."""
    folder = out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    known = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {(k["seed"], k["size"], k["way"], k["weight"]) for k in known}
    data, test = load_data(study), load_test(study)
    study = fixed_teacher(study, data, folder)
    models = Models.for_study(study, data)
    teacher = hidden_sizes(models.build(study.teacher.width)).blocks
    widths = [width for width in study.student.widths if not sizes or str(width) in sizes]
    students = [hidden_sizes(models.build(width)).blocks for width in widths]
    tasearch.train.hidden.read_hidden = Remembered(  # type: ignore[attr-defined]
        {place for blocks in students for place in matched_blocks(blocks, teacher)}
    )
    for seed in seeds:
        for width in widths:
            for way in ways:
                if (seed, str(width), way, weight) in done:
                    continue
                changes = {"hidden": ("none",), "start": ("random",), "loss": ("kd",)}
                changes |= {name: (value,) for name, value in WAYS[way].items()}
                student = study.student.model_copy(
                    update={**changes, "hidden_weight": (weight,), "widths": (width,)}
                )
                own = trainer(
                    study.model_copy(update={"student": student, "seed": seed}), data, folder / "s"
                )
                line = trained(own, width, test)
                line |= {"seed": seed, "size": str(width), "way": way, "weight": weight}
                with out.open("a") as file:
                    file.write(json.dumps(line) + "\n")


def trained(own: Trainer, width: int, test: Any) -> dict[str, Any]:
    """Train a student; its accuracy on both parts, and the seconds of its training."""
    teacher = own.models.teacher()
    recipe = own.study.recipes("student").one_per_loss()[0]
    for _ in train_hop(own, Hop(lineage=(teacher,))):
        pass
    models = (teacher,) * recipe.distilled + (ModelSpec(width=width, recipe=recipe),)
    hop = Hop(lineage=models)
    began = time.process_time()
    for _ in train_hop(own, hop):
        pass
    seconds, (net,) = time.process_time() - began, own.nets(hop)
    return {
        "validation": evaluate(net, *own.validation),
        "test": evaluate(net, as_tensor(test.x), torch.tensor(test.y)),
        "cpu_s": round(seconds, 2),
    }


def summary(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean gains over soft targets alone with 95 % intervals by t, paired by seed, in points.

    Args:
        lines: Trainings, as `measure` writes them.
    """
    found: dict[str, Any] = {}
    for size, weight in sorted({(line["size"], line["weight"]) for line in lines}):
        of_size = [line for line in lines if line["size"] == size]
        base = {line["seed"]: line for line in of_size if line["way"] == BASE}
        own = [line for line in of_size if line["weight"] == weight and line["seed"] in base]
        for way in dict.fromkeys(line["way"] for line in own):
            pairs = [(line, base[line["seed"]]) for line in own if line["way"] == way]
            entry: dict[str, Any] = {"seeds": len(pairs)}
            for part in ("validation", "test"):
                values = 100 * np.array([[a[part], b[part]] for a, b in pairs])
                gains = values[:, 0] - values[:, 1]
                entry[part] = {"mean": round(float(values[:, 0].mean()), 2)}
                if way != BASE and len(gains) > 1:
                    mean = float(gains.mean())
                    margin = float(stats.t.ppf(0.975, len(gains) - 1) * stats.sem(gains))
                    ends = {"gain": mean, "low": mean - margin, "high": mean + margin}
                    entry[part] |= {name: round(value, 2) for name, value in ends.items()}
            entry["cpu_s"] = float(np.median([a["cpu_s"] for a, _ in pairs]))
            found[f"{size}, {way}, weight {weight:g}"] = entry
    return found


def main() -> None:
    options = parser(__doc__)
    options.add_argument("study", nargs="?", help="study file, whose teacher and sizes are taken")
    options.add_argument("--lines", type=Path, default=Path("hidden.jsonl"), help="all trainings")
    options.add_argument("--seeds", type=int, default=10, help="number of seeds")
    options.add_argument("--first", type=int, default=1, help="the first seed")
    options.add_argument("--ways", nargs="+", choices=[*WAYS], default=[*WAYS])
    options.add_argument("--sizes", nargs="+", default=[], help="of students; none for all")
    options.add_argument("--weight", type=float, default=1.0, help="student.hidden_weight")
    add_out_option(options, "hidden-layers.json")
    given = options.parse_args()
    about = provenance(given)
    torch.set_num_threads(1)
    if given.study:
        seeds = range(given.first, given.first + given.seeds)
        study = load_study(given.study)
        measure(study, given.lines, seeds, given.ways, given.sizes, given.weight)
    lines = [json.loads(line) for line in given.lines.read_text().splitlines()]
    result = {"question": question(__doc__), "summary": summary(lines), "trainings": lines}
    write_json(given.out, {**result, "provenance": about})


if __name__ == "__main__":
    main()
