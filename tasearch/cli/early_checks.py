"""Checks of a study before torch is imported: no data are read, and no user code is run.

The preparation of a search makes the same checks, some seconds later and with the same messages.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tasearch.config.data_section import HUB_PREFIX
from tasearch.config.files import not_regular
from tasearch.config.places import check_place
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.config.values import FOLDERS, PACKAGES, TEXTS
from tasearch.errors import DataError, ModelError, StudyError, TasearchError
from tasearch.runs.opening import find_run, run_at

WHAT = {  # what a path should be
    "parquet": "data file or folder",
    "csv": "data file or folder",
    "text": "data file or folder",
    "imagefolder": "data folder",
}


def check_early(study: Study, options: RunOptions) -> None:
    """Refuse whatever can be refused without reading data and without importing models.

    Args:
        study: The study; its root is absolute.
        options: How it is run.

    Raises:
        TasearchError: A folder, a file or a module is missing or cannot be used, or another driver
            holds the run.
    """
    options.check_places(study)
    run_at(options.run_place(study)).check_free()
    if options.latency_from is not None:
        find_run(check_place(options.latency_from, "--latency-from"), options.runs_place)
    _check_data(study)
    _check_texts(study)
    named = [("model.family", study.model.family, study.model.package)]
    for path, model in zip(study.teacher.paths, study.teacher.models, strict=True):
        _check_file(f"{path}.checkpoint", model.checkpoint, study.root, ModelError)
        named.append((f"{path}.factory", model.factory or "", model.package))
    for path, name, package in named:
        if package is not None and importlib.util.find_spec(PACKAGES[package]) is None:
            raise ModelError(
                f"{path}: {name!r}: needs {PACKAGES[package]}, which is not installed: "
                f"pip install 'tasearch[{package}]'"
            )
    for path, name in study.own_functions:
        _check_module(path, name, study.root)


def _check_data(study: Study) -> None:
    given = study.data.path
    if given is None or study.data.hub:  # which makes its folder
        return
    path, source = Path(study.root) / given, study.data.source
    where = f"(data.path = {given!r})"
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        what = WHAT.get(source, "data file")
        raise DataError(f"{path}: no such {what} {where}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror} {where}") from None
    folder = source in FOLDERS and path.is_dir()
    words = None if folder else not_regular(path)
    if source == "imagefolder" and not folder:
        words = words or "is a file, not a folder"
    if words is None and not os.access(path, os.R_OK):
        words = "Permission denied"
    if words is not None:
        raise DataError(f"{path}: cannot be read: {words} {where}")


def _check_texts(study: Study) -> None:
    """Refuse texts without the package that encodes them, or without their tokenizer."""
    if study.data.source not in TEXTS:
        return
    if importlib.util.find_spec("tokenizers") is None:
        raise DataError(
            "texts need the package tokenizers, which is not installed: "
            "pip install 'tasearch[text]'"
        )
    name = study.data.tokenizer
    if name is not None and not name.startswith(HUB_PREFIX):
        _check_file("data.tokenizer", name, study.root, DataError)


def _check_file(key: str, file: str | None, root: str, kind: type[TasearchError]) -> None:
    """Refuse a file that cannot be read.

    Args:
        key: The key of the study file that names it.
        file: Its path; None where it is not needed.
        root: Folder that the path is relative to.
        kind: Class of the error.
    """
    if file is None:
        return
    path = Path(root) / file
    try:
        path.stat()
    except OSError as error:
        raise kind(f"{key}: {path}: {error.strerror}") from None
    words = not_regular(path)
    if path.is_dir() and key == "data.tokenizer":
        words = "is a folder; name the file tokenizer.json in it"
    if words is None and not os.access(path, os.R_OK):
        words = "Permission denied"
    if words is not None:
        raise kind(f"{key}: {path}: {words}")


def _check_module(path: str, name: str, root: str) -> None:
    """Refuse a module of a user's that has no file, as far as this can be told without importing.

    Args:
        path: The key of the study file that names the module.
        name: Its value, `"package.module:function"`.
        root: The study's root.

    Raises:
        StudyError: There is no such module.
    """
    parts = name.partition(":")[0].split(".")
    places: Sequence[str] | None = None
    for i in range(1, len(parts) + 1):
        module = ".".join(parts[:i])
        if module in sys.modules:
            return
        found = _spec(module, root, places)
        if found is None:
            raise StudyError(
                f"{path}: {name!r}: No module named {module!r}; "
                f"looked in {root} and the Python path"
            )
        file, places = found
        if places is None or _makes_modules(file):
            return


def _spec(
    module: str, root: str, places: Sequence[str] | None
) -> tuple[str | None, list[str] | None] | None:
    """Find a module without importing it.

    Args:
        module: The module's full name.
        root: The study's root.
        places: Folders of the package that the module is in; None if it is in no package.

    Returns:
        The module's file, and the folders of its own modules if it is a package; None if there is
        no such module.
    """
    sys.path.insert(0, root)  # the folders of a package without a file are found through it
    try:
        importlib.invalidate_caches()
        if places is not None:
            spec = importlib.machinery.PathFinder.find_spec(module, places)
        else:
            spec = importlib.util.find_spec(module)  # of a name without dots: imports nothing
        if spec is None:
            return None
        within = spec.submodule_search_locations
        return spec.origin, None if within is None else [*within]
    finally:
        sys.path.remove(root)


def _makes_modules(file: str | None) -> bool:
    """Whether a package may have modules that have no file."""
    try:
        source = Path(file).read_text("utf-8", "replace") if file else ""
    except OSError:
        return True
    return "__path__" in source or "sys.modules" in source
