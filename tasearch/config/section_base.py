"""What the sections of a study file have in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from tasearch.config.values import LONGEST_TEXT


def key(default: Any, meaning: str) -> Any:
    """A key of the study file.

    Args:
        default: The value of the key where a study file does not set it.
        meaning: What the key means: `tasearch init` writes it above the key, and the documentation
            shows it.
    """
    return Field(default=default, description=meaning)


class Section(BaseModel):
    """A section of the study file; unknown keys and values of other types are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        str_max_length=LONGEST_TEXT,
    )
