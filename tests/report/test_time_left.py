"""The time left of a search: laws of the range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasearch.report.time_left import Work, left_text, range_text, time_left, work_of_trials

amounts = st.floats(0.01, 1e6)
works = st.builds(Work, flops=amounts, epochs=amounts)
limits = st.tuples(works, works).map(
    lambda pair: (
        Work(
            flops=min(p.flops for p in pair),
            epochs=min(p.epochs for p in pair),
        ),
        Work(
            flops=max(p.flops for p in pair),
            epochs=max(p.epochs for p in pair),
        ),
    )
)
lists = st.lists(works, max_size=12)


@given(lists, limits)
def test_nothing_left_takes_no_time(ended: list[Work], space: tuple[Work, Work]) -> None:
    nothing = work_of_trials(0, ended, *space)
    assert time_left([(Work(flops=1.0, epochs=1.0), 5.0)], *nothing) == (0.0, 0.0)


@given(st.integers(0, 50), st.integers(0, 50), lists, limits)
def test_more_trials_take_no_less(
    fewer: int, more: int, ended: list[Work], space: tuple[Work, Work]
) -> None:
    done = [(Work(flops=3.0, epochs=2.0), 5.0)]
    first = time_left(done, *work_of_trials(fewer, ended, *space))
    second = time_left(done, *work_of_trials(fewer + more, ended, *space))
    assert first is not None and second is not None
    for a, b in zip(first, second, strict=True):
        assert a <= b * (1 + 1e-9) + 1e-9


@given(st.lists(st.tuples(works, st.floats(0, 1e3)), min_size=1), limits)
def test_low_end_is_below_high_end(
    observed: list[tuple[Work, float]], needed: tuple[Work, Work]
) -> None:
    found = time_left(observed, *needed)
    assert found is not None
    assert 0 <= found[0] <= found[1]


@given(st.integers(1, 30), st.integers(1, 30), works, amounts, amounts, st.booleans())
def test_range_holds_the_true_time_of_equal_trials(
    done: int, left: int, cost: Work, per_flop: float, per_epoch: float, teacher_alone: bool
) -> None:
    """Whatever a FLOP and an epoch take, and although a larger model was trained before."""

    def seconds(work: Work) -> float:
        return per_flop * work.flops + per_epoch * work.epochs

    teacher = Work(flops=50 * cost.flops, epochs=cost.epochs)
    trained = [teacher] if teacher_alone else [teacher, cost * done]
    found = time_left(
        [(work, seconds(work)) for work in trained],
        *work_of_trials(left, [cost] * done, cost, cost),
    )
    assert found is not None
    true = seconds(cost * left)
    assert found[0] <= true * (1 + 1e-6)
    assert found[1] >= true * (1 - 1e-6)


def test_time_is_unknown_before_the_first_epoch() -> None:
    assert time_left([(Work(), 0.0)], Work(), Work(flops=1.0, epochs=1.0)) is None
    assert left_text(None) == "time left not known yet"


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.0, 0.0, "0 s"),
        (0.2, 2.5, "0 to 3 s"),
        (29.0, 61.0, "20 to 70 s"),
        (61.0, 89.0, "60 to 90 s"),
        (80.0, 5300.0, "1 to 89 min"),
        (60.0, 120.0, "1 to 2 min"),
        (31.0, 119.0, "30 s to 2 min"),
        (600.0, 3000.0, "10 to 50 min"),
        (3600.0, 9000.0, "1 to 2.5 h"),
    ],
)
def test_range_text_rounds_outwards(low: float, high: float, words: str) -> None:
    assert range_text((low, high)) == words
