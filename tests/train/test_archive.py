"""The archive of stored hops, against the trainer that fills it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tasearch.chains.mode import modes_from_text
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


@pytest.mark.parametrize(
    ("family", "device", "mode", "changed"),
    [
        ("transformer", "cpu", "bf16", True),
        ("transformer", "cpu", "fp32", False),
        ("transformer", "cuda", "bf16", False),
        ("cnn", "cpu", "bf16", False),
    ],
)
def test_keys_of_transformers_in_bf16_on_cpu_alone_are_new(
    tmp_path: Path, family: str, device: str, mode: str, changed: bool
) -> None:
    own = trainer(tmp_path, tiny())
    modes = modes_from_text(dict.fromkeys(map(str, own.modes), mode))
    archive = HopArchive(
        study=own.study, data="", family=family, device=device, modes=modes, store=own.store
    )
    assert (archive.setting.family != family) is changed
