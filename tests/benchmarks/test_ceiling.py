"""The matrix product that says how fast a processor could train."""

from __future__ import annotations

import pytest
import torch

from benchmarks import ceiling


@pytest.mark.parametrize(("factor", "size"), [(1.0, 2048), (20.0, 1024), (1e6, 256)])
def test_slow_product_stays_small(
    monkeypatch: pytest.MonkeyPatch, factor: float, size: int
) -> None:
    """A product of 2048 matrices takes `factor` times 0.086 s."""
    monkeypatch.setattr(ceiling, "_best_time", lambda size, precision: factor * size**3 / 1e11)
    found = ceiling.matrix_product("fp32", torch.get_num_threads())
    assert found["size"] == size
    assert found["gflops"] == pytest.approx(200 / factor)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_product_is_measured_in_its_precision(
    monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr(ceiling, "SIZES", (8, 16))
    found = ceiling.matrix_product(precision, torch.get_num_threads(), limit=60.0)
    assert (found["precision"], found["size"]) == (precision, 16)
    assert found["gflops"] > 0
