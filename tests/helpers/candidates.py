"""Candidates, one by one and as random lists."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from tasearch.pareto.candidate import Candidate


def candidate(
    accuracy: float, params: int, latency_ms: float, trial: int = 0, depth: int = 0
) -> Candidate:
    """A candidate whose chain has `depth` assistants."""
    return Candidate(
        trial=trial,
        chain=(99, *range(50, 50 - depth, -1), 1),
        recipe={},
        accuracy=accuracy,
        params=params,
        bytes=4 * params,
        latency_ms=latency_ms,
    )


# Up to 12 candidates with few distinct values, so that many are equal in some of them.
candidate_lists = st.lists(
    st.builds(
        candidate,
        st.sampled_from([0.2, 0.4, 0.5, 0.8]),
        st.integers(1, 6),
        st.sampled_from([1.0, 2.0, 3.0, 5.0]),
        depth=st.integers(0, 2),
    ),
    max_size=12,
).map(lambda found: [replace(c, trial=number) for number, c in enumerate(found)])
