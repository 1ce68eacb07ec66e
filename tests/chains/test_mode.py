from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasearch.chains.mode import Mode, modes_as_text, modes_from_text

slots = st.none() | st.integers(1, 1_000)
modes = st.builds(Mode, bf16=st.booleans(), slots=slots, shared=st.booleans()).filter(
    lambda mode: mode.slots is not None or not mode.shared
)


@given(st.dictionaries(st.integers(1, 100), modes))
def test_modes_survive_their_text(found: dict[int, Mode]) -> None:
    assert modes_from_text(modes_as_text(found)) == found


@pytest.mark.parametrize("text", ["", "fp8", "fp32 x0", "fp32+", "bf16 x-1", " fp32"])
def test_mode_refuses_other_texts(text: str) -> None:
    with pytest.raises(ValueError, match="should be such as"):
        Mode.parse(text)
