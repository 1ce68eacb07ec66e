"""The section `[latency]` of a study file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasearch.config.section_base import Section, key
from tasearch.config.values import Threads


class LatencySection(Section):
    """How latency is measured, before anything is trained."""

    backend: Literal["onnx", "torch"] = key(
        "onnx", '"onnx": ONNX Runtime on CPU; "torch": torch on the device of the run'
    )
    batch: Annotated[int, Field(ge=1, le=65_536)] = key(1, "samples per timed call")
    threads: Threads = key(1, "CPU threads of a timed call")
