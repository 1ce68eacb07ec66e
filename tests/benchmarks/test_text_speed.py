"""The Trainer of transformers, as the benchmark uses it, and what the benchmark says of rounds."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import common
from benchmarks.hf_trainer import EVALUATED, Work, all_logits, kd_loss, padded, train, unpadded
from benchmarks.text_speed import OURS, STUDENTS, TEACHER, WAYS, prepare, run_tasearch, summary
from tasearch.train.losses import LOSSES, Terms, training_loss

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


def test_texts_lose_only_the_padding_behind_them() -> None:
    texts = unpadded(TEXTS, 0)
    assert [text.tolist() for text in texts] == [[5, 6, 7], [5, 0, 8], [9]]
    batch = padded(texts[1:], 0)
    assert batch["input_ids"].tolist() == [[5, 0, 8], [9, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_logits_keep_the_order_of_the_texts() -> None:
    class Counts(torch.nn.Module):
        """Tells the first id and the number of tokens."""

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            logits = torch.stack([input_ids[:, 0], attention_mask.sum(dim=1)], dim=1).float()
            return type("Output", (), {"logits": logits})

    lengths = np.random.default_rng(0).integers(1, 9, EVALUATED + 5)
    texts = [torch.full((int(n),), i + 1) for i, n in enumerate(lengths)]
    found = all_logits(Counts(), texts, 0)
    assert found.tolist() == [[i + 1, n] for i, n in enumerate(lengths)]


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
        pytest.importorskip(name, reason=f"{name} is not installed")
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
    for order in ("", ", grouped"):
        assert found[f"cached{order}"]["accuracy"] == found[f"loop{order}"]["accuracy"]
    assert all(one["seconds"] > 0 for one in found.values())
