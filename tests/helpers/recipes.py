"""Recipes, chains and a setting for tests of keys."""

from __future__ import annotations

from dataclasses import replace

from tasearch.chains.chain import Chain
from tasearch.chains.hop import ModelSpec, Setting
from tasearch.chains.recipe import Recipe

KD = Recipe(
    loss="kd",
    temperature=4.0,
    alpha=0.9,
    guidance="serial",
    teacher_dropout=0.25,
    epochs=5,
    learning_rate=0.01,
    batch_size=32,
    optimizer="adamw",
    momentum=0.9,
    schedule="cosine",
    warmup=0.1,
    weight_decay=0.0,
    clip=None,
    ema=None,
)
CE = replace(KD, loss="ce")
SETTING = Setting(
    data="d",
    family="cnn",
    losses=(),
    seed=0,
    replicates=1,
    threads=1,
    trainer=1,
    device="cpu",
    augment="none",
    modes=(),
)


def make_chain(*widths: int, last: Recipe = KD, middle: Recipe = KD) -> Chain:
    """A chain of these widths whose teacher is trained on the labels."""
    teacher = ModelSpec(width=widths[0], recipe=CE)
    assistants = [ModelSpec(width=width, recipe=middle) for width in widths[1:-1]]
    return Chain(models=(teacher, *assistants, ModelSpec(width=widths[-1], recipe=last)))
