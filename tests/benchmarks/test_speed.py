"""Speeds: with all passes of the teacher, with a part of them, and with none."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import common
from benchmarks.hops import Pair
from benchmarks.speed import BATCH, SETUPS, Training, run_setup
from benchmarks.speed_summary import WAYS, printed, summary

PAIR = Pair(family="plain", teacher=10, student=2, batch=BATCH, images=None)
KNOWN = {
    "images": 10 * BATCH + 3,
    "models": 4,
    "modes": {2: {"2": "fp32"}, 1: {"2": "bf16"}},
    "forward_flops": 1_000_000,
}


def speeds(held: float) -> dict[str, Any]:
    """What is measured of a setup that trains an image with targets held in 1 / held seconds."""
    process = {"epochs": [], "pass_s": 1.0, "peak_mib": 100.0}
    rates = {"alone": held / 10, "shared": held / 2, "held": held}
    return {"images_per_s": rates, "processes": [process]}


def loop(rate: float) -> dict[str, Any]:
    """What is measured of something else."""
    return {"images_per_s": rate, "peak_mib": {"process": 50.0, "largest_child": 20.0}}


def made_up_round(factor: float, **peers: float) -> dict[str, Any]:
    """A round on a machine that is `factor` times as fast."""
    others = {"careful": 100.0, "published": 50.0, **peers}
    return {
        "others": {name: loop(factor * rate) for name, rate in others.items()},
        "tasearch": {"1": speeds(factor * 400), "2": speeds(factor * 1000)},
        "ceiling": {
            "fp32": {"precision": "fp32", "size": 2048, "gflops": 30.0},
            "bf16": {"precision": "bf16", "size": 1024, "gflops": 12.0 * factor},
        },
    }


def test_passes_of_the_teacher_are_shared_by_students(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both processes train 20 epochs of ten batches in 10 s; one waits 2 s for its teacher."""
    epochs = [(t / 2, (t + 1) / 2) for t in range(20)]
    parts = [Training(epochs=epochs, pass_s=seconds, peak_mib=1.0) for seconds in (2.0, 0.0)]
    monkeypatch.setattr(common, "fresh", lambda *args, **options: parts)
    found = run_setup(PAIR, 2, KNOWN, 10.0)["images_per_s"]
    size = 10 * BATCH
    assert found["held"] == pytest.approx(2 * size / 0.5)
    assert found["shared"] == pytest.approx(size / 0.5 + size / (0.5 + 2.0 / 4))
    assert found["alone"] == pytest.approx(size / 0.5 + size / 2.5)


def test_summary_compares_within_rounds_and_under_one_torch() -> None:
    peers = {"careful_peers": 80.0, "torchdistill": 40.0}
    rounds = [made_up_round(factor, **peers) for factor in (1.0, 2.0, 4.0)]
    found = summary(rounds, KNOWN, SETUPS)
    assert found["setup"] == {"processes": 2, "threads": 1, "mode": "bf16"}
    careful, published = found["others"]["careful"], found["others"]["published"]
    assert careful["images_per_s"] == {"median": 200.0, "min": 100.0, "max": 400.0}
    for way, times in zip(WAYS, (1.0, 5.0, 10.0), strict=True):
        assert careful["times"][way] == {"median": times, "min": times, "max": times}
    assert "over_careful" not in careful
    assert published["over_careful"]["median"] == 0.5
    torchdistill = found["others"]["torchdistill"]
    assert torchdistill["over_careful"]["median"] == 0.5  # of the careful loop under its torch
    assert torchdistill["times"]["held"]["median"] == 25.0
    assert "timm" not in found["others"]
    assert found["ceiling"] == {"precision": "bf16", "sizes": [1024], "gflops": 24.0}
    assert found["utilisation"] == pytest.approx(3 * 1e6 * 2000 / 24e9)


def test_output_says_what_was_skipped_and_gives_the_single_student_first() -> None:
    pair = {
        "label": PAIR.label,
        "target": 16,
        "skipped": {"timm": "no --peers-python"},
        "summary": summary([made_up_round(1.0)], KNOWN, SETUPS),
    }
    lines = printed([pair], 4).splitlines()
    assert "skipped: timm (no --peers-python)" in lines
    (head,) = [line for line in lines if "over careful" in line]
    order = [head.index(title) for title in ("alone", "4 share", "held", "images/s")]
    assert order == sorted(order)
    (row,) = [line for line in lines if line.startswith("careful loop")]
    assert row.split()[2:7] == ["1.0", "(1.0..1.0)", "5.0", "(5.0..5.0)", "10.0"]
