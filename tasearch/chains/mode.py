"""The mode in which the models of a width train.

It is part of a hop's key, since it influences the last bits of a result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mode:
    """How the models of one width train.

    Args:
        bf16: Whether forward passes run under bfloat16 autocast.
        slots: Number of which the slots of a stacked model are a multiple; slots without a model
            are filled up. None if models train one after another.
        shared: Whether models of several hops may share one stacked model. Then the weights of a
            model do not depend, to the last bit, on its slot or on the models in the other slots.
            Otherwise only the replicates of one hop are stacked.
    """

    bf16: bool
    slots: int | None
    shared: bool

    def __str__(self) -> str:
        """A text such as "fp32", "bf16 x5", or "fp32 x4+" if `shared`."""
        slots = "" if self.slots is None else f" x{self.slots}{'+' * self.shared}"
        return ("bf16" if self.bf16 else "fp32") + slots

    @classmethod
    def parse(cls, text: str) -> Mode:
        """The mode whose text this is.

        Raises:
            ValueError: If it is not the text of a mode.

        Example:
            >>> Mode.parse("fp32 x4+")
            Mode(bf16=False, slots=4, shared=True)
        """
        found = re.fullmatch(r"(fp32|bf16)(?: x([1-9][0-9]*)(\+?))?", text)
        if found is None:
            raise ValueError(f'should be such as "fp32", "bf16 x5" or "fp32 x4+", found {text!r}')
        kind, slots, plus = found.groups()
        return cls(bf16=kind == "bf16", slots=int(slots) if slots else None, shared=bool(plus))


def modes_as_text(modes: Mapping[int, Mode]) -> dict[str, str]:
    """Modes by width, as JSON holds them: under the number of a size that has a name."""
    return {str(int(width)): str(mode) for width, mode in modes.items()}


def modes_from_text(content: Mapping[str, str]) -> dict[int, Mode]:
    """Modes by width, from what `modes_as_text` returned.

    Raises:
        ValueError: If a width is not a number, or a text is not a mode.
    """
    return {int(width): Mode.parse(mode) for width, mode in content.items()}
