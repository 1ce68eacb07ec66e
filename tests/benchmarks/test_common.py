from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from benchmarks import common
from benchmarks.common import ROOT, without_places


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{ROOT}/benchmarks/results/x.json", "benchmarks/results/x.json"),
        ("/home/ann/runs/digits", "digits"),
        ("/x", "x"),
        (
            f"[PosixPath('/home/ann/a'), PosixPath('{ROOT}/b/c')]",
            "[PosixPath('a'), PosixPath('b/c')]",
        ),
        ("s3://bucket/runs", "s3://bucket/runs"),
        ("runs/digits", "runs/digits"),
        ("cuda, 3/4", "cuda, 3/4"),
    ],
)
def test_places_on_a_disk_are_not_told(text: str, told: str) -> None:
    assert without_places(text) == told


def test_provenance_tells_arguments_without_places(tmp_path: Path) -> None:
    args = argparse.Namespace(runs=[tmp_path / "one"], rounds=3)
    found = common.provenance(args)["arguments"]
    assert found == {"runs": "[PosixPath('one')]", "rounds": "3"}
