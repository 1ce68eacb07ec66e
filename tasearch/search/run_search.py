"""Search a prepared run, from taking its lock to the last event."""

from __future__ import annotations

from collections.abc import Iterator

from tasearch.errors import option
from tasearch.runs.directory import Manifest
from tasearch.runs.events import Event, Notice, SearchFinished, TrialDone
from tasearch.runs.journal import open_study, set_damaged_aside
from tasearch.runs.sealed_journal import count_lines
from tasearch.search.annotations import excesses
from tasearch.search.driver import Driver
from tasearch.search.extension import extend
from tasearch.search.preflight import Preflight
from tasearch.search.prepare import Prepared
from tasearch.search.trained_hops import trained_hops


def search(prepared: Prepared, trials: int, retry_failed: bool = False) -> Iterator[Event]:
    """Run or continue a search.

    It ends when `trials` chains have been tried, when a limit of the study is reached, or when the
    space is exhausted. Trials that failed because of the machine, such as for lack of memory, are
    repeated first.

    The iterator may be closed between any two events; the same call continues the search.

    Args:
        prepared: The prepared run.
        trials: Number of chains to try in all.
        retry_failed: Whether to repeat all failed trials, whatever the cause.

    Raises:
        RunError: Another driver holds the run, or the run belongs to another study.
        StoreError: A file cannot be written.
        TrainingError: The teacher cannot be trained.
    """
    run = prepared.run
    try:
        Preflight(prepared.manifest.study, prepared.pool).draw_views(prepared.data)
        with run.locked():
            manifest, repaired = _write(prepared)
            history = run.history()
            run.log("search", trials=trials, teacher=prepared.teacher)
            run.publish()
            if history.damage:
                left = "it is left out, and so are its seconds"
                yield Notice(message=f"{history.damage}; {left}")
            if repaired:
                yield Notice(message=repaired)
            if few := too_few_trials(prepared, trials):
                yield Notice(message=few)
            driver = Driver(
                manifest=manifest,
                space=prepared.space,
                hops=trained_hops(prepared),
                open_optuna=lambda sampler: open_study(
                    run, manifest.study.name, sampler, manifest.identity
                ),
                trials=trials,
                spent=history.seconds,
                retry_failed=retry_failed,
            )
            try:
                for event in driver.events():
                    if isinstance(event, SearchFinished):
                        lines = count_lines(run.journal)
                        run.log("finished", reason=event.reason, journal=lines)
                    if isinstance(event, TrialDone):
                        run.publish()
                    yield event
            finally:
                driver.hops.close()
    finally:
        prepared.close()


def too_few_trials(prepared: Prepared, trials: int) -> str:
    """What to do if a search would hardly try a chain with assistants; else empty.

    Args:
        prepared: The search, prepared.
        trials: Number of trials to reach in all.
    """
    space, search = prepared.space, prepared.manifest.study.search
    direct = len(space.baselines())
    if space.min_assistants or trials > direct or space.size <= direct:
        return ""
    more = f"ask for more with {option('trials')}, or search fewer losses or widths of students"
    if not search.begins_with_baselines:
        return (
            f"hardly an assistant will be tried: {trials} trials are asked for, and most of the "
            f"first ones are chains without assistants; {more}"
        )
    return (
        f"no assistant will be tried: the first {direct} trials are chains without assistants, "
        f"to compare with, and {trials} are asked for; {more}"
    )


def _write(prepared: Prepared) -> tuple[Manifest, str | None]:
    """Write the manifest of a run whose lock is held, if it is new or has changed.

    Returns:
        The manifest; and, in words, what was done about a damaged journal.
    """
    run = prepared.run
    manifest = prepared.manifest
    repaired = set_damaged_aside(run, manifest.study.name)
    if prepared.before is not None:
        extend(run, manifest, prepared.space, excesses(manifest))
    elif not run.exists or run.read() != manifest:  # new, or the folder of its study has moved
        run.write(manifest)
    return manifest, repaired
