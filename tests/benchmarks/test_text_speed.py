"""The Trainer of transformers, as the benchmark uses it, and what the benchmark says of rounds."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import common
from benchmarks.hf_trainer import (
    EVALUATED,
    Work,
    all_logits,
    build,
    distiller,
    kd_loss,
    padded,
    train,
    unpadded,
)
from benchmarks.text_speed import (
    CONFIG,
    OURS,
    STUDENTS,
    TEACHER,
    WAYS,
    prepare,
    run_tasearch,
    summary,
)
from tasearch.train.losses import LOSSES, Terms, training_loss
from tests.helpers.packages import package

TEXTS = np.array([[5, 6, 7, 0], [5, 0, 8, 0], [9, 0, 0, 0]])
OPTIONS = {"epochs": 1, "teacher_epochs": 1, "threads": 1, "seed": 3}


def work(folder: Path, **values: Any) -> Work:
    """What is trained: the smallest student of the benchmark."""
    plain = {
        "folder": folder / "large",
        "teacher": folder / "teacher.safetensors",
        "texts": folder / "texts.npz",
        "sizes": {"teacher": TEACHER, "student": STUDENTS["xs"]},
        "batch": 32,
        "epochs": 1,
        "learning_rate": 0.003,
        "warmup": 0.1,
        "temperature": 4.0,
        "alpha": 0.9,
        "classes": 2,
        "vocabulary": 300,
    }
    return Work(**{**plain, **values})


def configured(folder: Path) -> Work:
    """What is trained, with the configuration that `prepare` writes."""
    (folder / "large").mkdir()
    (folder / "large" / "config.json").write_text(json.dumps({**CONFIG, **TEACHER}))
    return work(folder)


def test_texts_lose_only_the_padding_behind_them() -> None:
    texts = unpadded(TEXTS, 0)
    assert [text.tolist() for text in texts] == [[5, 6, 7], [5, 0, 8], [9]]
    batch = padded(texts[1:], 0)
    assert batch["input_ids"].tolist() == [[5, 0, 8], [9, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


class Counts(torch.nn.Module):
    """A model whose logits are the first id and the number of tokens, float64."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        logits = torch.stack([input_ids[:, 0], attention_mask.sum(dim=1)], dim=1).double()
        return type("Output", (), {"logits": logits})


def random_texts() -> list[torch.Tensor]:
    """More texts than a batch of evaluations has, of one to eight ids."""
    random = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 9, (EVALUATED + 5,), generator=random).tolist()
    return [torch.randint(1, 40, (n,), generator=random) for n in lengths]


def test_logits_keep_the_order_of_the_texts() -> None:
    texts = random_texts()
    found = all_logits(Counts(), texts, 0)
    assert found.tolist() == [[text[0], len(text)] for text in texts]


@pytest.mark.slow
def test_cached_logits_are_those_of_each_text_alone(tmp_path: Path) -> None:
    package("transformers")
    own, texts = configured(tmp_path), random_texts()
    teacher = build(own, "teacher").double().eval()
    alone = torch.cat([all_logits(teacher, [text], 0) for text in texts])
    torch.testing.assert_close(all_logits(teacher, texts, 0), alone, rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["", ", grouped"])
def test_trainer_learns_the_same_from_cached_logits(tmp_path: Path, order: str) -> None:
    for name in ("transformers", "accelerate"):
        package(name)
    own, texts = configured(tmp_path), random_texts()
    held = all_logits(Counts(), texts, 0)

    def trained(way: str, logits: torch.Tensor) -> torch.Tensor:
        """Logits of a student that is trained in float64."""
        torch.manual_seed(3)
        student, known = build(own, "student").double(), WAYS[way]
        rows = [
            {"input_ids": ids, "labels": torch.tensor(i % 2)}
            | ({"teacher": logits[i]} if known.cached else {})
            for i, ids in enumerate(texts)
        ]
        distiller(own, known, 3, Counts(), student, rows, 0).train()
        return all_logits(student.eval(), texts, 0)

    loop, cached = (trained(way + order, held) for way in ("loop", "cached"))
    torch.testing.assert_close(cached, loop, rtol=0, atol=1e-5)
    others = trained("cached" + order, held.roll(1, 0))
    assert (others - loop).abs().max() > 1e-3, "logits of other texts show"


def test_loss_is_that_of_tasearch(tmp_path: Path) -> None:
    logits, teacher = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(6) % 3
    terms = Terms(temperature=4.0, alpha=0.9)
    ours = training_loss(LOSSES["kd"], logits, labels, teacher[None], terms, None)
    torch.testing.assert_close(kd_loss(logits, teacher, labels, work(tmp_path)), ours)


def test_rates_count_the_pass_of_the_teacher_for_a_student_alone() -> None:
    def one(seconds: float) -> dict[str, float]:
        both = {"seconds": seconds, "busy_s": seconds / 2, "pass_s": 5.0, "pass_busy_s": 1.0}
        return {**both, "samples": 600.0, "accuracy": 0.5}

    rounds = [{name: one(n) for name in (*OURS, *WAYS)} for n in (5.0, 10.0)]
    for own, n in zip(rounds, (15.0, 25.0), strict=True):
        own["loop"] = {**one(n), "pass_s": 0.0, "pass_busy_s": 0.0}
    found = summary(rounds)
    assert found["ways"]["same"]["samples_per_s"]["alone"] == {"median": 50, "min": 40, "max": 60}
    assert found["ways"]["same"]["samples_per_s"]["held"]["median"] == 90
    times = found["times"]["own"]["loop"]
    assert times.keys() == {"alone"}  # it holds no logits
    assert times["alone"]["wall"] == common.spread([1.5, 25 / 15])
    assert times["alone"]["processor"] == common.spread([7.5 / 3.5, 12.5 / 6])


@pytest.mark.slow
def test_trainer_and_tasearch_train_the_same_texts(tmp_path: Path) -> None:
    for name in ("transformers", "accelerate"):
        package(name)
    random = np.random.default_rng(0)
    file = tmp_path / "texts.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("text", "label"))
        for i in range(160):
            words = ["good" if i % 2 else "bad", *["film"] * random.integers(0, 9)]
            writer.writerow((" ".join(words), i % 2))
    known = prepare(tmp_path, str(file), OPTIONS)
    sizes = {"classes": known["classes"], "vocabulary": known["vocabulary"]}
    found = {name: train(work(tmp_path, **sizes), way, 3, 1) for name, way in WAYS.items()}
    for model in OURS:
        found[model] = run_tasearch(tmp_path, str(file), "xs", model, known, OPTIONS)
    assert {one["samples"] for one in found.values()} == {96.0}
    assert all(0 <= one["accuracy"] <= 1 for one in found.values())
    assert all(one["seconds"] > 0 for one in found.values())
