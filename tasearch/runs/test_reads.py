"""Reads of the held-out test set: each one is logged, so that a card can say how many there were.

test_reads.json  when, by which command, and for which chains
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tasearch.config.files import write_atomic
from tasearch.runs.sealed_file import read_value
from tasearch.runs.seals import seal_json, unseal_json

FILE = "test_reads.json"
REMEDY = "put the file back, or remove it: later reads are then counted from one again"


@dataclass(frozen=True, kw_only=True)
class ReadOfTest:
    """One read of the test set.

    Args:
        when: Date and time, UTC, in ISO 8601.
        by: The command: "confirm" or "export".
        chains: The chains whose students were evaluated, in words.
    """

    when: str
    by: str
    chains: tuple[str, ...]


def reads_of_test(run: Path) -> list[ReadOfTest]:
    """The reads of a run's test set so far, in order.

    Args:
        run: Path of the run's folder.

    Raises:
        RunError: The file is damaged.
    """
    try:
        return read_value(run / FILE, _reads, REMEDY)
    except FileNotFoundError:
        return []


def log_read_of_test(run: Path, by: str, chains: Sequence[str]) -> int:
    """Log a read before it happens.

    Args:
        run: Path of the run's folder.
        by: The command.
        chains: The chains whose students are evaluated, in words.

    Returns:
        The number of reads, this one included.

    Raises:
        RunError: The file of earlier reads is damaged.
        StoreError: It cannot be written.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    reads = [*reads_of_test(run), ReadOfTest(when=now, by=by, chains=tuple(chains))]
    content = {"reads": [asdict(read) for read in reads]}
    write_atomic(run / FILE, seal_json("test reads", content))
    return len(reads)


def _reads(blob: bytes) -> list[ReadOfTest]:
    content = unseal_json("test reads", blob)
    return [ReadOfTest(**{**r, "chains": tuple(r["chains"])}) for r in content["reads"]]
