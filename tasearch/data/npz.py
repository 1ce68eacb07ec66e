"""A user's `.npz` file; pickled objects in it are never loaded."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from tasearch.errors import DataError
from tasearch.sections import DataSection


def load(section: DataSection, root: str, progress: object = None) -> dict[str, np.ndarray]:
    assert section.path is not None
    path = Path(root) / section.path
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError(f"{path}: should be an .npz archive of named arrays, is one array")
        with archive:
            arrays = {name: archive[name] for name in archive.files}
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise DataError(f"{path}: {name!r} is no array")
        return arrays
    except FileNotFoundError:
        raise DataError(f"{path}: no such data file (data.path = {section.path!r})") from None
    except ValueError as error:
        reason = str(error)
        if "pickle" in reason:
            reason = "it is another format, or holds Python objects, which are never loaded"
        raise DataError(f"{path}: is no readable .npz file: {reason}") from None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: is no readable .npz file: {error}") from None
