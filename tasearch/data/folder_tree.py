"""Finding the classes and the images of a folder of images, and refusing what is no such folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tasearch.data.part_files import PARTS, suggestion
from tasearch.errors import DataError, quoted, shown

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
SYSTEMS_OWN = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx")  # in small letters
LISTED = 3  # files that a message names
LAYOUT = "images should be in PATH/CLASS or PATH/train/CLASS"


def class_folders(path: Path, given: str) -> dict[str, dict[str, Path]]:
    """The folders of classes by part, "train" first, each part sorted by the names of its classes.

    Args:
        path: The folder.
        given: The value of `data.path`, for messages.

    Raises:
        DataError: There is no such folder, or it is none of images.
    """
    try:
        path.stat()
    except FileNotFoundError:
        raise DataError(f"{shown(path)}: no such data folder (data.path = {given!r})") from None
    except OSError as error:
        raise DataError(
            f"{shown(path)}: cannot be read: {error.strerror} (data.path = {given!r})"
        ) from None
    folders = _folders(path)
    if not _has_parts(path, folders):
        return {"train": _classes(path, folders, least=2)}
    parts: dict[str, dict[str, Path]] = {}
    for name in sorted(folders, key=lambda name: name != "train"):
        part = PARTS[name]
        if part in parts:
            named = [quoted(n) for n in sorted(folders) if PARTS[n] == part]
            raise DataError(f"{shown(path)}: {' and '.join(named)} are the same part; keep one")
        least = 2 if part == "train" else 1
        found = _classes(folders[name], _folders(folders[name]), least=least)
        for label in sorted(found.keys() - parts.get("train", found).keys()):
            raise DataError(
                f"{shown(found[label])}: class {quoted(label)} has no folder in the training part"
            )
        parts[part] = found
    return parts


def image_files(folder: Path) -> list[Path]:
    """The image files in the folder of a class, sorted by name.

    Raises:
        DataError: The folder has no images, or holds anything else.
    """
    files: list[Path] = []
    others: list[str] = []
    for entry in _entries(folder):
        if _is_folder(entry):
            raise DataError(f"{_shown(entry)}: is a folder inside of a class; {LAYOUT}")
        if not entry.is_file():
            raise DataError(f"{_shown(entry)}: is neither a file nor a link to one")
        if _is_image(entry):
            files.append(folder / entry.name)
        else:
            others.append(entry.name)
    if others:
        raise DataError(
            f"{shown(folder)}: should hold images alone ({', '.join(SUFFIXES)}), found "
            f"{_some(others)}"
        )
    if not files:
        raise DataError(f"{shown(folder)}: has no images; remove the folder, or fill it")
    return files


def _classes(path: Path, folders: dict[str, Path], *, least: int) -> dict[str, Path]:
    """The folders of classes in a folder; other files beside them than images are ignored.

    Raises:
        DataError: There are fewer than the least number, or there are images beside them.
    """
    names = [entry.name for entry in _entries(path) if _is_image(entry)]
    loose = [name for name in names if name not in folders]
    if loose:
        raise DataError(f"{shown(path)}: has images outside of classes, {_some(loose)}; {LAYOUT}")
    if len(folders) < least:
        found = f"only {quoted(*folders)}" if folders else "none"
        wanted = "folders of two classes or more" if least == 2 else "the folder of a class"
        raise DataError(f"{shown(path)}: should have {wanted}, has {found}; {LAYOUT}")
    for name in folders:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{shown(folders[name])}: the name of a class should be UTF-8 text"
            ) from None
    return folders


def _has_parts(path: Path, folders: dict[str, Path]) -> bool:
    """Whether folders are those of the parts, else of the classes.

    Raises:
        DataError: They are neither.
    """
    others = [name for name in folders if name not in PARTS]
    if "train" in folders and others and _folders(folders["train"]):
        raise DataError(
            f"{shown(path)}: beside 'train' there may be 'val' and 'test', has {_some(others)}"
            f"{suggestion(others[0])}"
        )
    for name in () if "train" in folders else others:
        if (better := suggestion(name)) and _folders(folders[name]):
            raise DataError(
                f"{shown(path)}: {quoted(name)} is no name of a part, but holds folders{better}"
            )
    return "train" in folders and not others


def _folders(path: Path) -> dict[str, Path]:
    """The folders in a folder by name, sorted by it; links to folders are refused."""
    return {entry.name: path / entry.name for entry in _entries(path) if _is_folder(entry)}


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, sorted by name, without what is ignored; kinds are read along."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{shown(folder)}: cannot be read: {error.strerror}") from None
    return [entry for entry in entries if not _ignored(entry.name)]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder.

    Raises:
        DataError: It is a link to a folder, or to nothing.
    """
    if entry.is_symlink():
        try:
            entry.stat()
        except OSError as error:
            raise DataError(f"{_shown(entry)}: cannot be read: {error.strerror}") from None
        if entry.is_dir():
            raise DataError(
                f"{_shown(entry)}: is a link to a folder, which is not followed; links to files are"
            )
    return entry.is_dir()


def _is_image(entry: os.DirEntry[str]) -> bool:
    """Whether the name is one of an image."""
    return os.path.splitext(entry.name)[1].lower() in SUFFIXES  # noqa: PTH122


def _shown(entry: os.DirEntry[str]) -> str:
    return shown(Path(entry.path))


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEMS_OWN


def _some(names: Sequence[str]) -> str:
    """Some names and how many there are, such as `'a.txt'`, or `5 files such as 'a.txt'`."""
    listed = ", ".join(map(quoted, names[:LISTED]))
    return listed if len(names) <= LISTED else f"{len(names):,} files such as {listed}"
