"""The names of a checkpoint's tensors, matched with those of a model.

Training wraps models: DataParallel, torch.compile, Lightning and averaged models put something
before each name, or between its parts.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from tasearch.errors import ModelError, shown

WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}  # parts of names
COUNTER = "num_batches_tracked"  # of a batch norm; files of old have none, and nothing needs it


@dataclass(frozen=True, kw_only=True)
class Names:
    """A checkpoint's tensors by the model's names, as far as they match.

    Args:
        tensors: The tensors.
        missing: Names of the model that the file lacks, sorted.
        unknown: Names of the file that the model lacks, sorted.
        words: What was done to make the names match.
        hint: End of the message about names that do not match.
    """

    tensors: Mapping[str, Tensor]
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    hint: str = ""

    @property
    def match(self) -> bool:
        """Whether no name is missing or unknown."""
        return not (self.missing or self.unknown)


def match_names(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor], extra: Collection[str] = ()
) -> Names:
    """Match the names in a file with those of a model.

    What wrappers add is taken off if the names then match: parts such as `_orig_mod` anywhere, and
    any prefix, such as `module.` or `model.`. Tensors without that prefix are left out.

    Args:
        given: The file's tensors.
        expected: The model's parameters and buffers; one tensor may have several names.
        extra: Further names that the model's state dict has.

    Raises:
        ModelError: With several prefixes the names match.
    """
    groups, known = tied_names(expected), {*expected, *extra}
    plain = _without_wrappers(given)
    for tensors in (given, plain):
        if _missing(tensors, groups):
            continue
        if tensors.keys() <= known:
            return Names(tensors=tensors, words=_removed(given, tensors))
        # the model is there, and more: a prefix would choose another one
        return _unmatched(tensors, expected, known, _off(given, tensors))
    prefixes = [
        prefix
        for prefix in _prefixes(plain, groups)
        if not _missing(under := _below(prefix, plain), groups) and under.keys() <= known
    ]
    if len(prefixes) > 1:
        listed = " and ".join(repr(shown(prefix)) for prefix in sorted(prefixes)[:3])
        raise ModelError(
            f"holds several models that match, below {listed}; save the state_dict() of one"
        )
    for prefix in prefixes:
        tensors = _below(prefix, plain)
        return Names(tensors=tensors, words=_removed(given, plain, prefix, len(tensors)))
    return _nearest(given, plain, expected, known)


def _nearest(
    given: Mapping[str, Tensor],
    plain: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    known: Collection[str],
) -> Names:
    """Names that do not match, as they match best: as they are, or without what wrappers add.

    Args:
        given: The file's tensors.
        plain: The same under names without the parts that torch's wrappers add.
        expected: The model's parameters and buffers.
        known: All names that the model's state dict has.
    """
    groups = tied_names(expected)
    anchors = [groups[i] for i in (0, len(groups) // 2, -1)] if groups else []  # one may be missing
    prefixes = dict.fromkeys(p for anchor in anchors for p in _prefixes(plain, [anchor]))
    ways = {"": plain, **{prefix: _below(prefix, plain) for prefix in prefixes}}
    faults = {p: len(_missing(t, groups)) + len(t.keys() - known) for p, t in ways.items()}
    best = min(faults, key=lambda prefix: faults[prefix])
    if faults[best] >= len(_missing(given, groups)) + len(given.keys() - known):
        return _unmatched(given, expected, known)
    return _unmatched(ways[best], expected, known, _off(given, plain, best))


def _unmatched(
    given: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    known: Collection[str],
    off: Sequence[str] = (),
) -> Names:
    """Names that do not match, as they are.

    Args:
        given: The file's tensors, by the names that are told.
        expected: The model's parameters and buffers.
        known: All names that the model's state dict has.
        off: What was taken off the names.
    """
    missing = sorted(_missing(given, tied_names(expected)))
    unknown = sorted(given.keys() - known)
    hint = _hint(given, expected, missing, unknown) if missing and unknown else ""
    if off:
        hint += f"; names are those of the file without {' and '.join(map(repr, off))}"
    return Names(tensors=given, missing=missing, unknown=unknown, hint=hint)


def tied_names(expected: Mapping[str, Tensor]) -> list[list[str]]:
    """The names of each tensor of a model, of which a file needs one."""
    names: dict[int, list[str]] = {}
    for name, value in expected.items():
        names.setdefault(id(value), []).append(name)
    return [*names.values()]


def _missing(given: Collection[str], groups: Iterable[list[str]]) -> list[str]:
    """The names of tensors that a file should have under one of them, and has under none."""
    lacking = (names for names in groups if not any(name in given for name in names))
    return [name for names in lacking for name in names if name.rpartition(".")[2] != COUNTER]


def _without_wrappers(given: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors under names without the parts that torch's wrappers add."""
    names = {name: ".".join(p for p in name.split(".") if p not in WRAPPERS) for name in given}
    if len({*names.values()}) < len(names):
        return given
    return {names[name]: value for name, value in given.items()}


def _prefixes(given: Collection[str], groups: list[list[str]]) -> list[str]:
    """What may stand before the names of a model in a file."""
    anchors = next((names for names in groups if not names[0].endswith(COUNTER)), [])
    ends = [(name, anchor) for name in given for anchor in anchors if name.endswith(f".{anchor}")]
    return [*dict.fromkeys(name[: -len(anchor)] for name, anchor in ends)]


def _below(prefix: str, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): value for n, value in given.items() if n.startswith(prefix)}


def _removed(
    given: Collection[str], plain: Collection[str], prefix: str = "", taken: int | None = None
) -> list[str]:
    """What was taken off the names of a file, and how many tensors were left out, in words."""
    off = _off(given, plain, prefix)
    words = [f"names without {' and '.join(map(repr, off))}"] if off else []
    left = 0 if taken is None else len(plain) - taken
    if left:
        words.append(f"{left} other tensor{'s' * (left > 1)} left out")
    return words


def _off(given: Collection[str], plain: Collection[str], prefix: str = "") -> list[str]:
    """What was taken off the names of a file."""
    parts = sorted({part for name in given for part in name.split(".")} & WRAPPERS)
    off = [f"{part}." for part in parts] if given is not plain else []
    return [shown(part) for part in (*off, *filter(None, [prefix]))]


def _hint(
    given: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    missing: list[str],
    unknown: list[str],
) -> str:
    """What may help with names that do not match: a prefix of the model's, or the nearest name."""
    first = next(iter(expected))
    for end in (i + 1 for i, letter in enumerate(first) if letter == "."):
        prefix = first[:end]
        if {prefix + name for name in given} == expected.keys():
            return f"; all names in the model begin with {shown(prefix)!r}: add it to them"
    for name in missing:
        for near in difflib.get_close_matches(name, unknown, n=1):
            return f"; the nearest in the file to {shown(name)} is {shown(near)}"
    return ""
