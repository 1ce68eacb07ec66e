"""The archive of stored hops, against the trainer that fills it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tasearch.train.archive import HopArchive
from tests.helpers.studies import tiny
from tests.helpers.training import hops, steps, train_all, trainer

WITHOUT_TORCH = """
import sys
import tasearch.train.archive
assert "torch" not in sys.modules
"""


def test_archive_needs_no_torch() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True)


def test_archive_knows_what_a_trainer_has_stored(tmp_path: Path) -> None:
    own = trainer(tmp_path, tiny(), mode="fp32 x1+")
    archive = HopArchive(
        study=own.study,
        data=own.setting.data,
        family=own.setting.family,
        device="cpu",
        modes=own.modes,
        store=own.store,
    )
    teacher, student = hops(own.study, 4)
    assert archive.setting == own.setting
    assert archive.saved(teacher) is None
    train_all(own, [teacher])
    before = archive.stacking_key(student)
    epochs = steps(own, student)
    next(epochs)
    epochs.close()
    assert archive.finished(teacher) and not archive.finished(student)
    for hop in (teacher, student):
        assert archive.key(hop) == own.key(hop)
        assert archive.saved(hop) == own.saved(hop) is not None
    assert archive.stacking_key(student) == own.stacking_key(student) != before
