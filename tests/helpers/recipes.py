"""Recipes and a setting for tests of keys."""

from __future__ import annotations

from dataclasses import replace

from tasearch.chains.hop import Setting
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
