"""The key `model.sizes`: sizes with a name and arguments, and the widths that name them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from tasearch.chains.keys import canonical_json
from tasearch.chains.sizes import Size
from tasearch.config.values import LONGEST_TEXT, MOST_COUNT, MOST_VALUES
from tasearch.errors import quoted

NAME = "name"
RESERVED = ("in_shape", "num_classes")  # what every family's function is given besides
LONGEST = 40  # characters of a name

Arguments = dict[str, Any]


def _sizes(value: Any) -> Any:
    """Refuse what is no list of sizes; each is a table with a name of its own."""
    if not isinstance(value, list | tuple):
        raise PydanticCustomError("sizes", "should be a list of tables")
    if len(value) > MOST_VALUES:
        rule = "should have at most {most} sizes, has {number}"
        raise PydanticCustomError("long", rule, {"most": MOST_VALUES, "number": len(value)})
    for number, size in enumerate(value):
        wrong = _mistake(size)
        if wrong:
            rule = "entry {number} {wrong}"
            raise PydanticCustomError("size", rule, {"number": number + 1, "wrong": wrong})
    names = [size[NAME] for size in value]
    if len({*names}) < len(names):
        raise PydanticCustomError("names", "should have no name twice")
    if len({canonical_json(arguments(size)) for size in value}) < len(names):
        raise PydanticCustomError("arguments", "should have no two sizes with the same arguments")
    return tuple(dict(size) for size in value)


def _mistake(size: Any) -> str:
    """What is wrong with one size; empty if nothing is."""
    example = 'such as { name = "s", width = 8 }'
    if not isinstance(size, Mapping) or NAME not in size:
        return f"should be a table with a name, {example}"
    name = size[NAME]
    letters = isinstance(name, str) and name.isascii() and name.isidentifier()
    if not letters or len(name) > LONGEST:
        return f"should have a name of letters, digits and underscores, {example}"
    if len(size) < 2:
        return f"should have arguments besides its name, {example}"
    for key, value in size.items():
        if not isinstance(key, str) or not key.isidentifier() or key in RESERVED:
            return f"should have no argument {quoted(key)}"
        if not _is_plain(value):
            return f"{key} should be a finite number, a text, true, false or a list of these"
    return ""


def _is_plain(value: Any) -> bool:
    """Whether TOML and JSON can hold a value, and give it back."""
    if isinstance(value, list | tuple):
        return len(value) <= MOST_VALUES and all(
            _is_plain(one) and not isinstance(one, list | tuple) for one in value
        )
    if isinstance(value, str):
        return len(value) <= LONGEST_TEXT
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is bool or (type(value) is int and abs(value) <= MOST_COUNT)


Sizes = Annotated[
    tuple[Arguments, ...],
    BeforeValidator(_sizes),
    WithJsonSchema({"const": "list of: table"}),
]


def arguments(size: Mapping[str, Any]) -> Arguments:
    """The arguments of a size: all but its name."""
    return {key: value for key, value in size.items() if key != NAME}


def ladder(sizes: Sequence[Mapping[str, Any]]) -> dict[str, Size]:
    """The sizes by name, in their order, from large to small."""
    names = [size[NAME] for size in sizes]
    return {name: Size(len(names) - i, name) for i, name in enumerate(names)}


def with_sizes(content: Any) -> Any:
    """The content of a study whose widths are sizes where they name one.

    Where there are sizes, the teacher is the first one unless it is brought, and assistants and
    students may have all sizes below; so keys that are not given are set.
    """
    model = content.get("model") if isinstance(content, Mapping) else None
    try:
        named = ladder(_sizes(model.get("sizes") or ())) if isinstance(model, Mapping) else {}
    except PydanticCustomError:  # which the section tells
        return content
    if not named:
        return content
    found = {**content}
    for section, value in _defaults(found, [*named]).items():
        own = found.get(section, {})
        if isinstance(own, Mapping):
            found[section] = {**own, **_widths({**value, **own}, named)}
    return found


def _defaults(content: Mapping[str, Any], names: list[str]) -> dict[str, dict[str, Any]]:
    """The widths of sections that name none."""
    teacher = content.get("teacher", {})
    own = teacher if isinstance(teacher, Mapping) else {}
    brought = any(own.get(key) for key in ("factory", "outputs", "members"))
    first = own.get("width", names[0])
    below = names if brought or first not in names else names[names.index(first) + 1 :]
    widths = {} if brought else {"width": first}
    return {
        "teacher": widths,
        "assistants": {"widths": below[:-1]},
        "student": {"widths": below},
    }


def _widths(section: Mapping[str, Any], named: Mapping[str, Size]) -> dict[str, Any]:
    """The widths of a section, with sizes in place of their names."""
    found: dict[str, Any] = {}
    if "width" in section:
        found["width"] = _size(section["width"], named)
    if "widths" in section:
        widths = section["widths"]
        several = isinstance(widths, list | tuple)
        found["widths"] = [_size(width, named) for width in widths] if several else widths
    return found


def _size(width: Any, named: Mapping[str, Size]) -> Any:
    return named.get(width, width) if isinstance(width, str) else width
