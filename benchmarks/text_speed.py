"""How many times faster than the Trainer of transformers does tasearch distil a text classifier?

The Trainer is that of Hugging Face's package, with a distillation loss. The work is the same: the
teacher, a DistilBERT of four layers that tasearch has trained before; the student's shape and
loss; texts, token ids, batch size, optimizer, schedule, epochs and threads. Each training runs in
a new process, all of them in turn, and the next round has another seed. The Trainer is used in
several ways. Batches are padded to their longest text; in `loop` the teacher is called in each
step, in `cached` its logits are computed once, before. `grouped` has batches of texts of similar
lengths (group_by_length), which the Trainer takes from long to short; `bf16` is bfloat16 autocast.

tasearch trains the same DistilBERT (`same`), and its own family `transformer` of the same shape
(`own`). Its time includes building, evaluating and saving. Times are given for one student whose
teacher has no other (`alone`, the teacher's pass counts) and with the teacher's logits held.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks import common, hops
from benchmarks.hf_trainer import Way, Work, train
from benchmarks.paired import interval
from tasearch.chains.hop import Hop
from tasearch.chains.mode import modes_as_text, modes_from_text
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.data import Dataset, load_data
from tasearch.models import Models
from tasearch.models.numerics import flush_denormals_everywhere, keep_freed_memory
from tasearch.runs.store import replicate
from tasearch.train.fast.autotuning import study_modes

DATA = "../shared/data/text/trec"  # from the repository root
LENGTH, VOCABULARY, BATCH, WARMUP = 48, 4_000, 32, 0.1
TEMPERATURE, ALPHA = 4.0, 0.9
WAYS = {
    "loop": Way(cached=False, grouped=False, bf16=False),
    "loop, grouped": Way(cached=False, grouped=True, bf16=False),
    "cached": Way(cached=True, grouped=False, bf16=False),
    "cached, grouped": Way(cached=True, grouped=True, bf16=False),
    "cached, grouped, bf16": Way(cached=True, grouped=True, bf16=True),
}
OURS = ("same", "own")  # models that tasearch trains: DistilBERT, and its own family
TEACHER = {"n_layers": 4, "dim": 128, "n_heads": 4, "hidden_dim": 512}
STUDENTS = {  # by name: layers, features, heads, hidden units
    "m": {"n_layers": 2, "dim": 96, "n_heads": 3, "hidden_dim": 192},
    "xs": {"n_layers": 1, "dim": 16, "n_heads": 1, "hidden_dim": 32},
}
CONFIG = {
    "model_type": "distilbert",
    "max_position_embeddings": LENGTH,
    "dropout": 0.0,  # tasearch's family has none
    "attention_dropout": 0.0,
    "seq_classif_dropout": 0.0,
    "pad_token_id": 0,
}


def study_of(folder: Path, data: str, student: str, model: str, options: dict[str, Any]) -> Study:
    """The study of one student.

    Args:
        folder: Folder of the models, with config.json; the teacher's weights where there are some.
        data: Folder or file of the texts.
        student: Name of the student.
        model: "same" for a DistilBERT, or "own" for the family `transformer`.
        options: `epochs`, `teacher_epochs`, `threads`, `seed`.
    """
    shape, saved = STUDENTS[student], folder / "teacher.safetensors"
    keys = ("layers", "width", "heads", "feed_forward")
    own = dict(zip(keys, shape.values(), strict=True))
    teacher: dict[str, Any] = {"epochs": options["teacher_epochs"], "learning_rate": 0.001}
    if saved.exists():
        teacher = {"checkpoint": saved.name}
    if model == "own":
        content = {"family": "transformer", "sizes": [{"name": student, **own, "norm": "post"}]}
        teacher |= {"factory": "hf:large", "width": 1_000}
    else:
        sizes = [{"name": "l", **TEACHER}, {"name": student, **shape}]
        content = {"family": "hf:large", "sizes": sizes}
        teacher |= {"width": "l"}
    parsed = parse_study(
        {
            "seed": options["seed"],
            "data": {
                "source": "text",
                "path": str((common.ROOT / data).resolve()),
                "length": LENGTH,
                "vocabulary": VOCABULARY,
            },
            "model": content,
            "teacher": teacher,
            "assistants": {"max": 0},
            "student": {
                "widths": [student],
                "epochs": options["epochs"],
                "learning_rate": 0.003,
                "temperature": TEMPERATURE,
                "alpha": ALPHA,
            },
            "training": {
                "batch_size": BATCH,
                "warmup": WARMUP,
                "threads": options["threads"],
                "stack": "never",  # of one model
            },
            "search": {"rungs": 1},
        }
    )
    return parsed.model_copy(update={"root": str(folder)})


# Each of these functions runs in a new process.


def prepare(folder: Path, data: str, options: dict[str, Any]) -> dict[str, Any]:
    """Train the teacher, write it and the token ids, and choose modes as a run does.

    Returns:
        What is known of the data, and the modes of tasearch's students.
    """
    flush_denormals_everywhere()
    (folder / "large").mkdir()
    (folder / "large" / "config.json").write_text(json.dumps({**CONFIG, **TEACHER}))
    study = study_of(folder, data, next(iter(STUDENTS)), "same", options)
    found = load_data(study)
    modes = hops.chosen_modes(study, found) | _teacher_mode(study, found)
    trainer = hops.make_trainer(study, found, folder / "teacher", modes)
    teacher = Hop(lineage=(trainer.models.teacher(),))
    saved = trainer.store.load("hops", trainer.key(teacher))
    assert saved is not None
    save_file(replicate(saved[0], 0), folder / "teacher.safetensors")
    record = trainer.store.record("hops", trainer.key(teacher))
    assert record is not None and found.tokens is not None
    parts = {"train": found.train, "val": found.validation}
    arrays = {f"{k}_{name}": getattr(part, k) for name, part in parts.items() for k in "xy"}
    np.savez(folder / "texts.npz", pad=np.array(found.tokens.pad), **arrays)
    chosen = {}
    for name in STUDENTS:
        for model in OURS:
            own = study_of(folder, data, name, model, options)
            chosen[f"{name}, {model}"] = modes_as_text(hops.chosen_modes(own, found))
    return {
        "texts": len(found.train),
        "validation": len(found.validation),
        "classes": found.num_classes,
        "vocabulary": found.tokens.vocabulary,
        "teacher_accuracy": record.curves[0][-1],
        "modes": chosen,
    }


def _teacher_mode(study: Study, data: Dataset) -> hops.Modes:
    return study_modes(Models.for_study(study, data), [study.teacher.width], hops.CPU, print)


def run_tasearch(
    folder: Path,
    data: str,
    student: str,
    model: str,
    known: dict[str, Any],
    options: dict[str, Any],
) -> dict[str, float]:
    """Distil a student, then another one with the teacher's logits held."""
    flush_denormals_everywhere()  # as in a worker
    keep_freed_memory()
    torch.set_num_threads(options["threads"])
    study = study_of(folder, data, student, model, options)
    modes = modes_from_text(known["modes"][f"{student}, {model}"])
    with tempfile.TemporaryDirectory() as runs:
        trainer = hops.make_trainer(study, load_data(study), Path(runs), modes)
        times = []
        for temperature in (TEMPERATURE, TEMPERATURE + 1):
            hop = hops.student_hop(trainer, temperature)
            start, busy = time.perf_counter(), time.process_time()
            for _ in hops.epoch_spans(trainer, hop):
                pass
            times.append((time.perf_counter() - start, time.process_time() - busy))
            if temperature == TEMPERATURE:
                record = trainer.store.record("hops", trainer.key(hop))
    assert record is not None
    (first, first_busy), (held, held_busy) = times
    return {
        "seconds": held,
        "busy_s": held_busy,
        "pass_s": first - held,
        "pass_busy_s": first_busy - held_busy,
        "samples": known["texts"] // BATCH * BATCH * options["epochs"],
        "accuracy": record.curves[0][-1],
    }


# The rest runs in the first process.


def run_round(
    folder: Path, data: str, student: str, known: dict[str, Any], options: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """All ways to train one student, one after another."""
    work = Work(
        folder=folder / "large",
        teacher=folder / "teacher.safetensors",
        texts=folder / "texts.npz",
        sizes={"teacher": TEACHER, "student": STUDENTS[student]},
        classes=known["classes"],
        vocabulary=known["vocabulary"],
        batch=BATCH,
        epochs=options["epochs"],
        learning_rate=0.003,
        warmup=WARMUP,
        temperature=TEMPERATURE,
        alpha=ALPHA,
    )
    found: dict[str, dict[str, float]] = {}
    for model in OURS:
        given = (folder, data, student, model, known, options)
        (found[model],) = common.fresh(run_tasearch, *given, large_pages=True)
    for name, way in WAYS.items():
        (found[name],) = common.fresh(train, work, way, options["seed"], options["threads"])
    return found


def summary(rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Samples per second and accuracies of each way, and tasearch's speed over the Trainer's.

    Args:
        rounds: What was measured, round by round, by name of the way.
    """
    ways = {
        name: {
            "samples_per_s": {
                "alone": common.spread([_rate(r[name], alone=True) for r in rounds]),
                "held": common.spread([_rate(r[name], alone=False) for r in rounds]),
            },
            "accuracy": interval([100 * r[name]["accuracy"] for r in rounds]),
        }
        for name in (*OURS, *WAYS)
    }
    return {"ways": ways, "times": {model: _times(rounds, model) for model in OURS}}


def _times(rounds: list[dict[str, dict[str, float]]], model: str) -> dict[str, Any]:
    """How many times faster tasearch is than each way of the Trainer, in wall and processor time.

    With logits held, only the ways that hold them are compared.
    """
    found: dict[str, Any] = {}
    for way, kind in WAYS.items():
        for view in ("alone", "held") if kind.cached else ("alone",):
            found.setdefault(way, {})[view] = {
                clock: common.spread(
                    [
                        _rate(r[model], alone=view == "alone", clock=clock)
                        / _rate(r[way], alone=view == "alone", clock=clock)
                        for r in rounds
                    ]
                )
                for clock in ("wall", "processor")
            }
    return found


def _rate(one: dict[str, float], *, alone: bool, clock: str = "wall") -> float:
    """Samples per second, with the teacher's pass if the student is alone."""
    own, before = ("seconds", "pass_s") if clock == "wall" else ("busy_s", "pass_busy_s")
    return one["samples"] / (one[own] + (one[before] if alone else 0.0))


def printed(student: str, found: dict[str, Any]) -> str:
    """The output for one student."""
    head = ["trained by", "samples/s alone", "held", "same/ alone", "own/ alone", "accuracy"]
    rows = []
    for name, one in found["ways"].items():
        rate, accuracy = one["samples_per_s"], one["accuracy"]
        times = [found["times"][m].get(name, {}).get("alone") for m in OURS]
        rows.append(
            [
                name,
                f"{rate['alone']['median']:,.0f}",
                f"{rate['held']['median']:,.0f}",
                *(f"{t['wall']['median']:.2f}" if t else "" for t in times),
                f"{accuracy['mean']:.1f} ({accuracy['low']:.1f} to {accuracy['high']:.1f})",
            ]
        )
    return f"student {student}\n{common.table(head, rows)}"


def main() -> None:
    args = arguments()
    import transformers

    options = {
        "epochs": args.epochs,
        "teacher_epochs": args.teacher_epochs,
        "threads": args.threads,
        "seed": 0,
    }
    result: dict[str, Any] = {
        "question": common.question(__doc__),
        "provenance": common.provenance(args) | {"transformers": transformers.__version__},
        "ways": {name: asdict(way) for name, way in WAYS.items()},
        "shapes": {"teacher": TEACHER, **STUDENTS},
        "students": {name: {"rounds": []} for name in args.students},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (known,) = common.fresh(prepare, folder, args.data, options)
        result["known"] = known
        print(f"teacher: {known['teacher_accuracy']:.1%}; modes: {known['modes']}", flush=True)
        for seed in range(1, args.rounds + 1):
            for student, entry in result["students"].items():
                own = {**options, "seed": seed}
                entry["rounds"].append(run_round(folder, args.data, student, known, own))
                if len(entry["rounds"]) > 1:
                    entry["summary"] = summary(entry["rounds"])
            common.write_json(args.out, result)
            print(f"round {seed} of {args.rounds}", flush=True)
    for student, entry in result["students"].items():
        print(printed(student, entry["summary"]))


def arguments() -> argparse.Namespace:
    """Arguments of the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("--students", nargs="+", choices=STUDENTS, default=[*STUDENTS])
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds, 2 or more")
    parser.add_argument("--epochs", type=int, default=4, help="epochs of a student")
    parser.add_argument("--teacher-epochs", type=int, default=8, help="epochs of the teacher")
    parser.add_argument("--threads", type=int, default=1, help="threads of each training")
    text = "file or folder of texts, relative to the repository"
    parser.add_argument("--data", default=DATA, help=text)
    common.add_out_option(parser, "text-speed.json")
    return parser.parse_args()


if __name__ == "__main__":
    main()
