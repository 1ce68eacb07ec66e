"""What a search would do, told before anything is trained: sizes, chains, and time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from tasearch.chains.assistant_rules import capacity_gap, midpoint
from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop
from tasearch.chains.mode import Mode
from tasearch.chains.space import Space
from tasearch.config.study import Study
from tasearch.data import Dataset
from tasearch.models import Models
from tasearch.models.numerics import cpu_threads
from tasearch.runs.manifest import Manifest
from tasearch.search.prepare import Prepared
from tasearch.train.batches import batch_shape
from tasearch.train.fast.probe import Probe
from tasearch.train.lengths import cut_length, text_lengths

MOST_CHAINS = 20_000  # of more chains, no time is told


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which assistants the rules of the field would take for a student.

    Args:
        student: Width of the student.
        law: Widths of the assistants by the capacity-gap law; none where it wants none.
        midpoint: The assistant half-way in size; None where no assistant is wider.
    """

    student: int
    law: tuple[int, ...]
    midpoint: int | None


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a search would do.

    Args:
        manifest: The study, and the measurement of each width.
        largest_class: Share of the largest class in the training set, 0..1.
        first: Number of chains without assistants that are tried first.
        trials: Number of trials, at most the number of chains.
        epoch_s: Seconds of one epoch of all replicates by width, from timed steps: without soft
            targets and evaluation.
        teacher_s: Seconds of the teacher's training; 0 for a loaded one.
        trials_s: Least and most seconds that the trials take on one worker, without the teacher;
            None where there are too many chains to tell.
        rules: What rules would take, by student within the budget, the widest first.
    """

    manifest: Manifest
    largest_class: float
    first: int
    trials: int
    epoch_s: Mapping[int, float]
    teacher_s: float
    trials_s: tuple[float, float] | None
    rules: tuple[Rules, ...]


def outlook(prepared: Prepared, trials: int) -> Outlook:
    """Tell what a search would do; some steps of each width are timed, and nothing is written.

    Args:
        prepared: The search, prepared.
        trials: Number of trials to reach in all.
    """
    manifest, space = prepared.manifest, prepared.space
    shape = typical_shape(manifest.study, prepared.data)
    alone = epoch_seconds(prepared.models, manifest, prepared.device, shape)
    epoch_s = with_unlabelled(alone, manifest, prepared.data)
    counts = np.bincount(prepared.data.train.y)
    teacher = Hop(lineage=(space.teacher,))
    return Outlook(
        manifest=manifest,
        largest_class=float(counts.max() / counts.sum()),
        first=len(space.baselines()) if manifest.study.search.begins_with_baselines else 0,
        trials=min(trials, space.size),
        epoch_s=epoch_s,
        teacher_s=_seconds(teacher, epoch_s),
        trials_s=trial_seconds(space, epoch_s, trials) if space.size <= MOST_CHAINS else None,
        rules=tuple(rules_of(manifest)),
    )


def typical_shape(study: Study, data: Dataset) -> tuple[int, ...]:
    """The shape of a sample in a batch; of texts, whose batches are cut, that of the mean length.

    Args:
        study: The study.
        data: Its data.
    """
    lengths = text_lengths(study, data)
    if lengths is None:
        return data.in_shape
    return (cut_length(round(float(lengths.double().mean())), *data.in_shape),)


def epoch_seconds(
    models: Models, manifest: Manifest, device: torch.device, shape: tuple[int, ...]
) -> dict[int, float]:
    """Seconds of one epoch of all replicates, by width that is trained.

    Args:
        models: The study's models.
        manifest: Their modes, and the number of samples.
        device: The device to train on.
        shape: Shape of a sample in a batch of models that are not stacked.
    """
    study, found = manifest.study, {}
    recipe = study.recipes("student").one_per_loss()[0]
    with cpu_threads(study.training.threads, flush_denormals=True):
        for width, mode in manifest.modes.items():
            own = shape if mode.slots is None else models.in_shape
            probe = Probe(partial(models.build, width), recipe, own, device)
            step = _step_seconds(probe, mode, study.search.replicates)
            found[width] = step * manifest.samples / probe.batch
    return found


def with_unlabelled(
    epoch_s: Mapping[int, float], manifest: Manifest, data: Dataset
) -> dict[int, float]:
    """Seconds of one epoch by width, where batches also have samples without labels.

    All models but the teacher count as distilled: those with loss "ce" take less.

    Args:
        epoch_s: Seconds of one epoch of the labelled samples, by width.
        manifest: The study, and the number of labelled samples.
        data: The data set.
    """
    if data.unlabelled is None:
        return {**epoch_s}
    training, teacher = manifest.study.training, manifest.study.teacher.width
    share, samples = training.unlabelled_share, manifest.samples
    labelled, size, _ = batch_shape(training.batch_size, samples, share)
    return {w: s if w == teacher else s * size / labelled for w, s in epoch_s.items()}


def _step_seconds(probe: Probe, mode: Mode, replicates: int) -> float:
    """Seconds of a step of all replicates in a mode."""
    if mode.slots is None:
        return replicates * probe.time(1, mode.bf16, stacked=False)
    return probe.time(max(mode.slots, replicates), mode.bf16)


def trial_seconds(space: Space, epoch_s: Mapping[int, float], trials: int) -> tuple[float, float]:
    """Least and most seconds of some trials: the chains that cost least first, and those that cost
    most. Each hop is trained once.

    Args:
        space: The chains.
        epoch_s: Seconds of an epoch by width.
        trials: Number of trials.
    """
    teacher = Hop(lineage=(space.teacher,)).canonical_lineage

    def cost(chains: Iterable[Chain]) -> float:
        hops = {hop.canonical_lineage: hop for chain in chains for hop in chain.hops()}
        return sum(_seconds(hop, epoch_s) for key, hop in hops.items() if key != teacher)

    chains = sorted(space, key=lambda chain: cost([chain]))
    return cost(chains[:trials]), cost(chains[-trials:])


def _seconds(hop: Hop, epoch_s: Mapping[int, float]) -> float:
    recipe = hop.model.recipe
    return 0.0 if recipe is None else recipe.epochs * epoch_s[hop.model.width]


def rules_of(manifest: Manifest) -> Iterable[Rules]:
    """What the rules would take for each student within the budget.

    Args:
        manifest: The study, and the measurement of each width.
    """
    study, measured = manifest.study, manifest.measured
    teacher = measured[study.teacher.width].params
    if not teacher:  # of one that has only outputs, no size is known
        return
    for width in study.student.widths:
        if width not in manifest.candidates:
            continue
        own = measured[width].params
        wider = [w for w in study.assistants.widths if w > width and study.assistants.max]
        sizes = {w: measured[w].params for w in wider}  # without assistants none is measured
        if not sizes:
            yield Rules(student=width, law=(), midpoint=None)
            continue
        law = capacity_gap(own, teacher, sizes, study.assistants.max)
        half = midpoint(own, teacher, sizes)
        yield Rules(student=width, law=law[-1] if law else (), midpoint=half)
