"""Distillation of text classifiers by the Trainer of the package transformers, for comparison.

It is the usual subclass, whose loss calls the teacher in each step, and the same with the teacher's
logits computed once, before. What costs time and changes no weights is off: logs, saved states,
evaluations, progress bars. Gradients are not clipped, as in tasearch by default.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

EVALUATED = 256  # texts of a batch without gradients
OPTIMIZER = {"optim": "adamw_torch_fused", "weight_decay": 1e-4}
QUIET = {
    "save_strategy": "no",
    "eval_strategy": "no",
    "logging_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is trained, on which texts.

    Args:
        folder: Folder of the config.json of the models.
        teacher: File of the teacher's weights.
        texts: File of token ids and labels, `x_train`, `y_train`, `x_val`, `y_val`, and `pad`.
        sizes: Values of the configuration, of the teacher and of the student.
        classes: Number of classes.
        vocabulary: Number of token ids.
        batch: Samples of a step.
        epochs: Passes over the training texts.
        learning_rate: Peak learning rate.
        warmup: Share of the steps in which it rises.
        temperature: Temperature of the distillation loss.
        alpha: Weight of the distillation loss.
    """

    folder: Path
    teacher: Path
    texts: Path
    sizes: dict[str, dict[str, int]]
    classes: int
    vocabulary: int
    batch: int
    epochs: int
    learning_rate: float
    warmup: float
    temperature: float
    alpha: float


@dataclass(frozen=True, kw_only=True)
class Way:
    """How the Trainer is used.

    Args:
        cached: Whether the teacher's logits are computed once, before.
        grouped: Whether batches are of texts of similar lengths (`group_by_length`).
        bf16: Whether steps run under bfloat16 autocast.
    """

    cached: bool
    grouped: bool
    bf16: bool


def build(work: Work, role: str) -> nn.Module:
    """A classifier of the package with random weights, in the size of "teacher" or "student"."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(work.folder)
    values = {**work.sizes[role], "num_labels": work.classes, "vocab_size": work.vocabulary}
    for name, value in values.items():
        setattr(config, name, value)
    net: nn.Module = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    return net


def load_teacher(work: Work) -> nn.Module:
    """The teacher in eval mode, without gradients."""
    net = build(work, "teacher")
    weights = load_file(work.teacher)
    outer = {name.rpartition(next(iter(net.state_dict())))[0] for name in weights}
    prefix = max(outer, key=len)  # of the modules that tasearch puts around the model
    net.load_state_dict({name.removeprefix(prefix): w for name, w in weights.items()})
    return net.eval().requires_grad_(False)


def unpadded(x: np.ndarray, pad: int) -> list[Tensor]:
    """The ids of each text without those of padding behind it, int64 (tokens,)."""
    lengths = (np.arange(1, x.shape[1] + 1) * (x != pad)).max(axis=1)
    return [torch.from_numpy(row[:n].astype(np.int64)) for row, n in zip(x, lengths, strict=True)]


def padded(texts: Sequence[Tensor], pad: int) -> dict[str, Tensor]:
    """A batch, padded to its longest text: ids and their mask, int64 (texts, tokens)."""
    ids = nn.utils.rnn.pad_sequence([*texts], batch_first=True, padding_value=pad)
    lengths = torch.tensor([len(text) for text in texts])
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    return {"input_ids": ids, "attention_mask": mask.long()}


@torch.no_grad()
def all_logits(net: nn.Module, texts: Sequence[Tensor], pad: int) -> Tensor:
    """Logits of all texts (texts, classes), computed in batches that are alike in length."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts = [order[i : i + EVALUATED] for i in range(0, len(order), EVALUATED)]
    logits = torch.cat([net(**padded([texts[i] for i in own], pad)).logits for own in parts])
    return torch.empty_like(logits).index_copy_(0, torch.tensor(order), logits)


def kd_loss(logits: Tensor, teacher: Tensor, labels: Tensor, work: Work) -> Tensor:
    """Hinton's loss (arXiv 1503.02531): (1 - a) CE + a T^2 KL, all in float32."""
    t = work.temperature
    kl = F.kl_div(
        F.log_softmax(logits.float() / t, dim=1),
        F.log_softmax(teacher.float() / t, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    labelled = F.cross_entropy(logits.float(), labels)
    return (1 - work.alpha) * labelled + work.alpha * t**2 * kl


def train(work: Work, way: Way, seed: int, threads: int) -> dict[str, float]:
    """Distil a student once, in a new process.

    Returns:
        Seconds of wall time and of processor time of the training, without imports and reading;
        those of the teacher's pass before it; samples that were trained on; validation accuracy.
    """
    import transformers

    transformers.set_seed(seed)
    torch.set_num_threads(threads)
    arrays = np.load(work.texts)
    pad = int(arrays["pad"])
    texts, labels = unpadded(arrays["x_train"], pad), torch.from_numpy(arrays["y_train"])
    teacher, student = load_teacher(work), build(work, "student")
    start, busy = time.perf_counter(), time.process_time()
    known = all_logits(teacher, texts, pad) if way.cached else None
    passed, passed_busy = time.perf_counter(), time.process_time()
    rows = [
        {"input_ids": ids, "labels": y, **({} if known is None else {"teacher": known[i]})}
        for i, (ids, y) in enumerate(zip(texts, labels, strict=True))
    ]
    trainer = distiller(work, way, seed, teacher, student, rows, pad)
    trainer.train()
    end, end_busy = time.perf_counter(), time.process_time()
    found = all_logits(student.eval(), unpadded(arrays["x_val"], pad), pad).argmax(dim=1)
    return {
        "seconds": end - passed,
        "busy_s": end_busy - passed_busy,
        "pass_s": passed - start,
        "pass_busy_s": passed_busy - busy,
        "samples": trainer.state.global_step * work.batch,
        "accuracy": float((found.numpy() == arrays["y_val"]).mean()),
    }


def distiller(
    work: Work,
    way: Way,
    seed: int,
    teacher: nn.Module,
    student: nn.Module,
    rows: list[dict[str, Tensor]],
    pad: int,
) -> Any:
    """The Trainer for a student.

    Args:
        work: What is trained.
        way: How.
        seed: Seed of the order of the texts.
        teacher: The teacher, for ways that call it in each step.
        student: The student, changed in place.
        rows: Texts as `input_ids`, with `labels`, and the logits of the `teacher` if they are held.
        pad: Id of padding.
    """
    from transformers import Trainer, TrainingArguments

    class Distiller(Trainer):
        """Learns from a teacher as well as from labels."""

        def compute_loss(self, model: nn.Module, inputs: dict[str, Any], **_: object) -> Tensor:
            labels, held = inputs.pop("labels"), inputs.pop("teacher", None)
            if held is None:
                with torch.no_grad():
                    held = teacher(**inputs).logits
            return kd_loss(model(**inputs).logits, held, labels, work)

    def collate(own: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        rest = [name for name in own[0] if name != "input_ids"]
        batch = padded([row["input_ids"] for row in own], pad)
        return batch | {name: torch.stack([row[name] for row in own]) for name in rest}

    steps = len(rows) // work.batch * work.epochs
    arguments = TrainingArguments(
        output_dir=str(work.folder / "trainer"),
        per_device_train_batch_size=work.batch,
        num_train_epochs=work.epochs,
        learning_rate=work.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(work.warmup * steps),
        max_grad_norm=0.0,
        train_sampling_strategy="group_by_length" if way.grouped else "random",
        dataloader_drop_last=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        use_cpu=True,
        bf16=way.bf16,
        seed=seed,
        **OPTIMIZER,
        **QUIET,
    )
    return Distiller(model=student, args=arguments, train_dataset=rows, data_collator=collate)
