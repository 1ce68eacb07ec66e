"""What a study's views and teachers take, in words, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator

from tasearch.chains.recipe import NO_HIDDEN
from tasearch.chains.sizes import sized
from tasearch.config.sections import AssistantsSection, StudentSection
from tasearch.config.study import Study
from tasearch.data import Dataset
from tasearch.report.text import flops_text
from tasearch.runs.manifest import Manifest
from tasearch.runs.records import TRAINING_PASSES
from tasearch.train.own_views import OwnViews


def price_of_views(study: Study, data: Dataset, call_s: float) -> Iterator[str]:
    """What mixes take, and the views of a user's augmentation that are not drawn yet.

    Args:
        study: The study.
        data: Its data set.
        call_s: Seconds of one call of the augmentation; 0 for one that is built in.
    """
    views, samples = OwnViews.of(study), len(data.inputs)
    if views is not None and not views.are_drawn(data):
        calls, size = views.count * samples, views.count * data.inputs.nbytes / 1e6
        yield (
            f"training.views: {views.count} views of {samples:,} samples are drawn once, before "
            f"the first training: about {calls * call_s:,.0f} s and {size:,.0f} MB of the cache; a "
            f"model that teaches computes soft targets up to {views.count} times, not once"
        )
    elif views is None and ":" in study.training.augment:
        calls = len(data.train) * (1 if study.training.mixup is None else 2)
        yield (
            f"training.augment is called anew for each sample in each epoch: about "
            f"{calls * call_s:,.2g} s in an epoch of each replicate of a model"
        )
    mixes = study.training.views if study.training.mixup is not None else None
    if mixes is not None:
        passes = min(mixes, max(study.student.epochs, study.assistants.epochs))
        yield (
            f"training.mixup: each sample has {mixes} mixes (training.views), so a model that "
            f"teaches computes soft targets up to {passes} times, not once"
        )


def price_of_teacher(manifest: Manifest) -> Iterator[str]:
    """What teachers take that are called in training, if the study has some.

    Args:
        manifest: What the run is of, with the FLOPs of each width.
    """
    study = manifest.study
    if study.training.teacher == "online":
        price = _price(manifest, study.student, "each student")
        yield f'training.teacher = "online": {price}'
    if study.student.reads_hidden or (study.assistants.max and study.assistants.reads_hidden):
        role = "student" if study.student.reads_hidden else "assistants"
        section = study.student if role == "student" else study.assistants
        found = " or ".join(f'"{name}"' for name in section.hidden if name != NO_HIDDEN)
        price = _price(manifest, section, "each model that learns from hidden layers")
        more = "; the passes of the online teacher come on top" * (
            study.training.teacher == "online"
        )
        yield f"{role}.hidden = {found}: {price}{more}"


def _price(manifest: Manifest, section: StudentSection | AssistantsSection, which: str) -> str:
    """What a teacher takes that passes over each batch of some models."""
    study, measured = manifest.study, manifest.measured
    epochs, teacher = section.epochs, measured[study.teacher.width].flops
    students = [width for width in section.widths if width in manifest.candidates]
    factors = ", ".join(
        f"{1 + teacher / (TRAINING_PASSES * measured[width].flops):.3g} ({sized(width)})"
        for width in students or section.widths
    )
    flops = teacher * manifest.trained_samples * epochs
    return (
        f"a teacher passes over each batch of {which}, "
        f"{epochs} times over the training set and not once for all; that is "
        f"{flops_text(flops)} for each student that the teacher itself teaches, whose training "
        f"takes as many times the FLOPs that it takes alone: {factors}; other costs are told "
        f"without it"
    )
