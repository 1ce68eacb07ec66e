"""Sets of torchvision, the Hugging Face Hub and OpenML by their names, such as "hf:mnist".

A set is downloaded once, and written as parquet files, which are read like a user's own. So later
starts need neither the package nor a network, and the set stays what it was.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import numbers
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock
from PIL import Image

from tasearch.config.cache_folder import cache_folder
from tasearch.config.data_section import DataSection
from tasearch.data.decoding import Progress
from tasearch.data.hub_names import KEY
from tasearch.data.network import of_hub, of_urls, reason_of
from tasearch.data.part_files import PARTS
from tasearch.errors import DataError, first_line, nearest, shown

BATCH = 1_000  # images that are written at a time
STORED = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # modes of Pillow that PNG stores as they are
FILES = "files"  # folder of what a package keeps itself
SPLITS = (("train", "trainval"), ("val", "valid"), ("test",))  # of torchvision; the first counts
NO_LABEL = -1  # in parts of the Hub whose classes are kept secret

Splits = dict[str, Any]


def downloaded(section: DataSection, root: str, progress: Progress | None = None) -> DataSection:
    """The section that reads a set of a hub from its files, which are written if they are missing.

    Args:
        section: The `[data]` section of a study file; returned as it is if it names no hub.
        root: Folder that its path is relative to.
        progress: Called with (done, total) while images are written.

    Raises:
        DataError: There is no such set, or it cannot be downloaded.
    """
    if section.hub is None:
        return section
    hub, _, name = section.source.partition(":")
    home = cache_folder() / "downloads" if section.path is None else Path(root) / section.path
    folder = home.absolute() / hub / name.replace("/", "--").replace(":", "--")
    if not folder.is_dir():
        try:
            _write(hub, name, folder, progress)
        except (DataError, MemoryError):
            raise
        except Exception as error:  # packages raise many kinds where there is no network
            raise DataError(
                f"data.source: {section.source!r} cannot be had here: {reason_of(error)}; run once "
                f"where there is a network, or copy {shown(folder)} from there"
            ) from error
    return section.model_copy(update={"source": "parquet", "path": str(folder)})


def _write(hub: str, name: str, folder: Path, progress: Progress | None) -> None:
    """Write the files of a set, all of them or none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f".{folder.name}.part")
    with FileLock(folder.with_name(f".{folder.name}.lock")):  # another process may write it
        if folder.is_dir():
            return
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        with of_urls():
            WRITERS[hub](name, unfinished, folder.parent / FILES, progress)
        if not (unfinished / "train.parquet").is_file():
            raise DataError(
                f"data.source: '{hub}:{name}' has no training part that is known here; bring it by "
                f"a function of yours"
            )
        os.replace(unfinished, folder)


def _torchvision(name: str, folder: Path, files: Path, progress: Progress | None) -> None:
    module = _imported("torchvision.datasets", "torchvision")
    known = [n for n in module.__all__ if inspect.isclass(getattr(module, n))]
    if name not in known:
        raise DataError(f"data.source: torchvision has no set {name!r}{nearest(name, known)}")
    for part, dataset in _torchvision_parts(getattr(module, name), str(files)):
        _write_images(folder / f"{part}.parquet", dataset, f"torchvision:{name}", progress)


def _torchvision_parts(make: Callable[..., Any], files: str) -> Iterator[tuple[str, Any]]:
    """The parts of a set, as its class can be called."""
    keys = inspect.signature(make).parameters
    options: Splits = {"download": True} if "download" in keys else {}
    if "train" in keys:
        yield "train", make(files, train=True, **options)
        yield "test", make(files, train=False, **options)
    elif "split" in keys:
        for words in SPLITS:
            for word in words:
                try:
                    found = make(files, split=word, **options)
                except ValueError:  # there is no such split
                    continue
                yield PARTS.get(word, words[0]), found
                break
    else:
        yield "train", make(files, **options)


def _write_images(file: Path, dataset: Any, where: str, progress: Progress | None) -> None:
    """Write a dataset of (image of Pillow, class), with the names of its classes."""
    names = getattr(dataset, "classes", None)
    features = {"label": {"_type": "ClassLabel", "names": names}}
    known = isinstance(names, list) and all(isinstance(name, str) for name in names)
    metadata = {KEY: json.dumps({"info": {"features": features}}).encode()} if known else None
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("label", pa.int64())], metadata=metadata)
    total = len(dataset)
    with pq.ParquetWriter(file, schema) as writer:
        for start in range(0, total, BATCH):
            rows = [_row(dataset[i], where) for i in range(start, min(start + BATCH, total))]
            writer.write_table(pa.Table.from_pylist(rows, schema))
            if progress is not None:
                progress(start + len(rows), total)


def _row(item: Any, where: str) -> dict[str, Any]:
    image, label = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
    if not isinstance(image, Image.Image) or not isinstance(label, numbers.Integral):
        raise DataError(f"data.source: {where!r} should hold images of one class each")
    stream = io.BytesIO()
    whole = image if image.mode in STORED else image.convert("RGB")
    whole.save(stream, "PNG", compress_level=1)
    return {"image": {"bytes": stream.getvalue(), "path": None}, "label": int(label)}


def _hf(name: str, folder: Path, files: Path, progress: Progress | None) -> None:
    package = _imported("datasets", "hf")
    package.disable_progress_bars()
    path, _, config = name.partition(":")
    if Path(path).exists():
        raise DataError(
            f"data.source: 'hf:{shown(name)}': {shown(Path(path).absolute())} would be read in its "
            f"place: start in another folder"
        )
    with of_hub():
        found = package.load_dataset(path, config or None, cache_dir=str(files))
    for split, dataset in found.items():
        labels = [n for n, f in dataset.features.items() if isinstance(f, package.ClassLabel)]
        secret = any({*dataset.unique(label)} == {NO_LABEL} for label in labels)
        if split in PARTS and not secret:
            dataset.to_parquet(str(folder / f"{PARTS[split]}.parquet"))


def _openml(name: str, folder: Path, files: Path, progress: Progress | None) -> None:
    _imported("pandas", "openml")
    from sklearn.datasets import fetch_openml

    own, _, version = name.partition(":")
    which: Splits = {"name": own, "version": int(version) if version else "active"}
    if own.isdigit():
        which = {"data_id": int(own)}
    bunch = fetch_openml(**which, data_home=str(files), as_frame=True, n_retries=1)
    frame = bunch.frame
    if len(bunch.target_names) == 1 and "label" not in frame.columns:
        frame = frame.rename(columns={bunch.target_names[0]: "label"})
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / "train.parquet")


WRITERS: dict[str, Callable[[str, Path, Path, Progress | None], None]] = {
    "torchvision": _torchvision,
    "hf": _hf,
    "openml": _openml,
}


def _imported(module: str, extra: str) -> Any:
    """A module of an optional package.

    Raises:
        DataError: It is not there, or does not fit the installed torch.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:  # a package that was built for another torch raises any kind
        package = module.partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and error.name in (package, module):
            words = f"which is not installed: pip install 'tasearch[{extra}]'"
        else:
            words = f"which cannot be imported: {shown(first_line(error))}"
        raise DataError(f"data.source: {extra!r} needs {package}, {words}") from error
