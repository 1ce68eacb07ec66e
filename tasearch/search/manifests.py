"""The manifest of a run: read from the run, brought up to date, or made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tasearch.chains.space import Space
from tasearch.data.labels import are_numbers
from tasearch.errors import RunError, option
from tasearch.runs.comparable import check_comparable
from tasearch.runs.directory import RunDirectory
from tasearch.runs.journal import read_identity
from tasearch.runs.manifest import Manifest, Profile
from tasearch.search.chain_space import make_space
from tasearch.search.profiler import Profiler


@dataclass(frozen=True, kw_only=True)
class FoundManifest:
    """The manifest that a run has from now on.

    Args:
        manifest: The manifest.
        space: The chains within the budget.
        before: The manifest of the run so far, if its study has grown; else None.
    """

    manifest: Manifest
    space: Space
    before: Manifest | None = None


def find_manifest(
    run: RunDirectory, inputs: Mapping[str, str], profiler: Profiler
) -> FoundManifest:
    """Read the manifest of a run, or profile the models and make it; nothing is written.

    Args:
        run: The directory of the run, which need not exist.
        inputs: What decides the run's results besides its study file.
        profiler: Profiles the models of the study.

    Raises:
        TasearchError: The run is of another study, a file of it is damaged, or a model is wrong.
    """
    if not run.exists:
        lost = run.journal.exists()
        profile = run.measured() if lost else profiler.profile()
        made = _make(profile, inputs, profiler)
        if lost:
            _check_journal(run, made.manifest)
        return made
    study, before = profiler.study, run.read()
    check_comparable(run, before, study, inputs)
    if before.study.identity() != study.identity() or before.inputs != inputs:
        return replace(_make(profiler.extend(before), inputs, profiler), before=before)
    if profiler.latency_source is not None:
        _check_latency_source(run, before, profiler.latency_source)
    space = make_space(study, profiler.models.teacher(), before.measured)
    return FoundManifest(manifest=replace(before, study=study, space=space.size), space=space)


def _make(profile: Profile, inputs: Mapping[str, str], profiler: Profiler) -> FoundManifest:
    """A new manifest, with the space that its profile leaves."""
    study, data = profiler.study, profiler.data
    space = make_space(study, profiler.models.teacher(), profile.measured)
    manifest = Manifest.from_profile(
        profile,
        study=study,
        inputs=inputs,
        samples=len(data.train),
        validation=len(data.validation),
        space=space.size,
        names=() if are_numbers(data.class_names) else data.class_names,
        bounds=profiler.bounds,
    )
    return FoundManifest(manifest=manifest, space=space)


def _check_latency_source(
    run: RunDirectory, manifest: Manifest, latency_source: RunDirectory
) -> None:
    """Refuse other measurements than those that a run has.

    Raises:
        RunError: They differ.
    """
    lent = latency_source.measured().measured
    if {width: lent.get(width) for width in manifest.measured} != manifest.measured:
        raise RunError(f"{run.path}: has measurements of its own, frozen when it was made")


def _check_journal(run: RunDirectory, manifest: Manifest) -> None:
    """Refuse to give a run that has lost its run.json to another study.

    Raises:
        RunError: The journal is not of this study.
    """
    if read_identity(run, manifest.study.name) != manifest.identity:
        raise RunError(
            f"{run.path / 'run.json'}: is missing, and journal.log is not of this study with these "
            f"data, models and measurements; put the file back, give the study another name, or "
            f"use another {option('runs_dir')}"
        )
