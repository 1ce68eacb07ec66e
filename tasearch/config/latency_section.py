"""The section `[latency]` of a study file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from tasearch.config.section_base import Section, key
from tasearch.config.values import MOST_TOKENS, Threads, as_list, different

LEAST_LENGTH = 2  # tokens of a timed text; torch exports a length of 1 in another way

Lengths = Annotated[
    tuple[Annotated[int, Field(ge=LEAST_LENGTH, le=MOST_TOKENS)], ...],
    BeforeValidator(as_list),
    AfterValidator(different),
]


class LatencySection(Section):
    """How latency is measured, before anything is trained."""

    backend: Literal["onnx", "torch"] = key(
        "onnx", '"onnx": ONNX Runtime on CPU; "torch": torch on the device of the run'
    )
    batch: Annotated[int, Field(ge=1, le=65_536)] = key(1, "samples per timed call")
    threads: Threads = key(1, "CPU threads of a timed call")
    lengths: Lengths = key(
        (),
        "for texts: numbers of tokens at which latency is measured, such as [16, 64, 128]; each is "
        "shown, and the last one counts, in the budget and in the search; by default data.length "
        "alone",
    )
