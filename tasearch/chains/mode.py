"""How the pupils of a width train: part of a hop's key, for it decides the last bits of a result.

Pure values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mode:
    """How the pupils of one width train.

    Args:
        bf16: whether forward passes run under bfloat16 autocast.
        seats: of a wide model, a multiple of this, filled up where pupils are too few; None where
            pupils train one after another.
        open: whether pupils of several hops may share it: then a pupil ends bit for bit as it does
            beside any others, in any seat. Otherwise it is for one hop's replicates.
    """

    bf16: bool
    seats: int | None
    open: bool

    def __str__(self) -> str:
        """Such as "fp32", "bf16 x5", or "fp32 x4+" where it is open."""
        seats = "" if self.seats is None else f" x{self.seats}{'+' * self.open}"
        return ("bf16" if self.bf16 else "fp32") + seats

    @staticmethod
    def of(text: str) -> Mode:
        """The mode that `str` made a text of.

        Raises:
            ValueError: where it is none.
        """
        found = re.fullmatch(r"(fp32|bf16)(?: x([1-9][0-9]*)(\+?))?", text)
        if found is None:
            raise ValueError(f'should be such as "fp32", "bf16 x5" or "fp32 x4+", found {text!r}')
        kind, seats, open_ = found.groups()
        return Mode(bf16=kind == "bf16", seats=int(seats) if seats else None, open=bool(open_))
