"""How a group is halved where memory is short."""

from __future__ import annotations

import pytest

from tasearch.chains.mode import Mode
from tasearch.train.fast.memory import Memory


@pytest.mark.parametrize(
    ("mode", "models", "expected"),
    [
        ("fp32 x5", 5, [3, 2, 1]),
        ("bf16 x8", 8, [4, 2, 1]),
        ("fp32 x2+", 5, [4, 2]),
        ("fp32 x4+", 12, [8, 4]),
        ("fp32 x8+", 3, []),
        ("fp32 x1+", 3, [2, 1]),
        ("fp32", 5, []),
    ],
)
def test_memory_halves_groups_as_far_as_their_mode_allows(
    mode: str, models: int, expected: list[int]
) -> None:
    said: list[str] = []
    memory = Memory(said.append)
    found = []
    assert memory.most(4) is None
    while memory.halve("16 → 4", 4, Mode.parse(mode), models):
        found.append(memory.most(4))
    assert found == expected
    assert len(said) == len(expected)
    assert memory.most(3) is None
