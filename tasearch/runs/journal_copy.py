"""A copy of a run's journal for other programs, which may write to it."""

from __future__ import annotations

from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tasearch.errors import NothingFits
from tasearch.runs.run import Run
from tasearch.runs.sealed_journal import SealedJournal
from tasearch.runs.seals import LINE_KEYS


def copied_storage(run: Run, folder: Path) -> JournalStorage:
    """Optuna's storage of a run as it is now, in a file of its own without seals.

    Args:
        run: The run, which is only read.
        folder: The folder of the copy, which has no journal yet.

    Raises:
        RunError: The journal is damaged, or of another run.
        NothingFits: The run has no trial yet.
    """
    if not run.trials:  # reading them checks the whole journal
        raise NothingFits(f"{run.path}: has no trial yet; run it further")
    journal = SealedJournal(run.directory.journal, run.manifest.study.name)
    backend = JournalFileBackend(str(folder / run.directory.journal.name))
    backend.append_logs(
        [
            {key: value for key, value in line.items() if key not in LINE_KEYS}
            for line in journal.read_logs(0)
        ]
    )
    return JournalStorage(backend)
