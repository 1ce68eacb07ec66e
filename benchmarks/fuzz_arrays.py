"""The part of `benchmarks.fuzz` that changes data files and checkpoints."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.damage import CONTENT_KINDS, damaged_content
from benchmarks.forks import ForkServer
from benchmarks.fuzz_checkpoints import checkpoint
from benchmarks.fuzz_npz import npz
from benchmarks.fuzz_parquet import parquet
from benchmarks.fuzz_tally import Tally, run_study

Maker = Callable[[Path, random.Random], tuple[Path, str]]

# Each writes a study and its data into a folder; it returns the file of which one thing is not as
# it should be, and what that is: "bytes" where the file is still to be damaged.
MAKERS: dict[str, Maker] = {"npz": npz, "parquet": parquet, "checkpoint": checkpoint}


def arrays(folder: Path, forks: ForkServer, rng: random.Random, tally: Tally) -> Iterator[None]:
    """Change data files and checkpoints, without an end; one case at each step but the first.

    Args:
        folder: Folder for everything.
        forks: Server that runs commands.
        rng: Source of the changes.
        tally: Receives the cases.
    """
    folder.mkdir()
    yield
    while True:
        seed = rng.randrange(2**32)
        case = random.Random(seed)
        work = folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        name = case.choice([*MAKERS])
        file, kind = MAKERS[name](work, case)
        if kind == "bytes":
            kind = case.choice(CONTENT_KINDS)
            file.write_bytes(damaged_content(file.read_bytes(), kind, case)[0])
        about = {"seed": seed, "file": file.read_bytes()}
        run_study(work, forks, case, tally, "arrays", f"{name}: {kind}", about)
        yield
