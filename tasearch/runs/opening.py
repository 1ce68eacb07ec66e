"""Runs by their places: a folder or a URL, or a name in one of these."""

from __future__ import annotations

from tasearch.config.places import Place, Url
from tasearch.errors import RunError
from tasearch.runs.directory import RunDirectory


def run_at(place: Place) -> RunDirectory:
    """The run at a place, which need not exist yet.

    Args:
        place: The path or the URL of the run.

    Raises:
        TasearchError: There can be no run at the URL.
    """
    if not isinstance(place, Url):
        return RunDirectory(place)
    from tasearch.runs.remote.run import RemoteRun  # runs in folders do without

    return RemoteRun(place)


def find_run(run: Place, runs_dir: Place) -> RunDirectory:
    """An existing run, by its place or by its name under `runs_dir`.

    Args:
        run: The run's path, URL or name.
        runs_dir: The folder or the URL of all runs.

    Raises:
        RunError: There is no such run, it is still preparing, or its run.json is missing.
        StoreError: The URL is out of reach.
    """
    try:
        return _found(run, runs_dir)
    except OSError as error:
        raise RunError(f"{run}: cannot be opened: {error.strerror or error}") from None


def _found(run: Place, runs_dir: Place) -> RunDirectory:
    places = [run_at(run)]
    if not isinstance(run, Url):
        places.append(run_at(runs_dir / run))
    for found in places:
        found.look()
        if found.exists:
            return found
    for found in places:
        if found.preparing:
            raise RunError(
                f"{found.place}: the run is still preparing, and there is nothing to read yet; "
                f"try again when it trains"
            )
    for found in places:
        if found.journal.is_file():
            file = found.path / "run.json"
            raise RunError(f"{file}: is missing; `tasearch run` on the same study writes it")
    raise RunError(f"{run}: no such run; `tasearch run STUDY.toml` makes one in {runs_dir}/")
