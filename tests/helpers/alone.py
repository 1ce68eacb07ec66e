"""An export as it is used elsewhere: by ONNX Runtime, in a process without torch and tasearch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

CODE = """
import sys
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
(logits,) = session.run(None, {session.get_inputs()[0].name: np.load(sys.argv[2])})
assert not {"torch", "tasearch"} & {*sys.modules}
np.save(sys.argv[3], logits)
"""


def logits_alone(winner: Path, x: np.ndarray, folder: Path) -> np.ndarray:
    """The logits of an exported student.

    Args:
        winner: The folder of the export.
        x: Samples as it takes them.
        folder: A folder for files in between.
    """
    given, found = folder / "given.npy", folder / "found.npy"
    np.save(given, x)
    files = [winner / "student.onnx", given, found]
    subprocess.run([sys.executable, "-I", "-c", CODE, *map(str, files)], check=True)
    logits: np.ndarray = np.load(found)
    return logits
