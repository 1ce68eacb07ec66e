"""Reads of the held-out test set: each one is logged, so that a card can say how many there were.

test_reads.json  when, by which command, and for which chains
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tasearch.config.files import write_atomic
from tasearch.errors import RunError, StoreError, first_line
from tasearch.runs.seals import read_file, seal_json, unseal_json

FILE = "test_reads.json"


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
    file = run / FILE
    try:
        content = unseal_json("test reads", read_file(file))
        return [ReadOfTest(**{**r, "chains": tuple(r["chains"])}) for r in content["reads"]]
    except FileNotFoundError:
        return []
    except StoreError as error:
        raise RunError(f"{file}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{file}: cannot be read: {first_line(error)}") from None


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
