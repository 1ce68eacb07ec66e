"""Canonical JSON, and seeds that are derived from values."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """The JSON text of a value; equal values have equal texts.

    Args:
        value: A value without NaN or infinities.

    Raises:
        ValueError: If a number in it is not finite.

    Example:
        >>> canonical_json({"b": 1, "a": [2.5]})
        '{"a":[2.5],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def derived_seed(*parts: int | str) -> int:
    """A seed of 63 bits that depends on the values of all parts, and on nothing else."""
    digest = hashlib.sha256(canonical_json(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
