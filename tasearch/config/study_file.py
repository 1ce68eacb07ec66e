"""The study file: TOML to a study and back.

`parse_study` refuses unknown keys and wrong values, with the path of each mistake. `render` writes
a study as commented TOML, from which the same study is read again.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import tomllib
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tasearch.chains.sizes import plain
from tasearch.config.arguments import check_path, check_utf8
from tasearch.config.files import not_regular
from tasearch.config.section_base import Section
from tasearch.config.study import Study
from tasearch.errors import StudyError, first_line, nearest, quoted, short

LARGEST_FILE = 1_000_000  # bytes of a study file
LISTS = ("widths", "sizes", "members")  # keys whose list of one value stays a list
MOST_MISTAKES = 20  # that one message lists
RENAMED = {  # keys of before 0.1, by section
    "assistants": {"edges": "guidance", "drop": "teacher_dropout"},
    "student": {"edges": "guidance", "drop": "teacher_dropout"},
    "training": {"fuse": "stack"},
    "search": {
        "patience": "min_improvement",
        "max_cost": "max_flops",
        "evidence": "n_startup_trials",
        "margin": "noise_margin",
        "quantile": "gain_quantile",
        "audit": "audit_fraction",
        "lookahead": "max_concurrent",
    },
}


def parse_study(content: Mapping[str, Any], where: str = "study") -> Study:
    """Check the content of a study file.

    Args:
        content: The content as `tomllib` reads it.
        where: The name of the file or object, for messages.

    Raises:
        StudyError: If there is any mistake; the message has a line for each.
    """
    where = str(where)
    if not isinstance(content, Mapping):
        raise StudyError(
            f"{where}: should be a dict of keys and sections, found {quoted(content)}; "
            f"`load_study` reads a file"
        )
    try:
        study = Study.model_validate(dict(content))
    except ValidationError as error:
        errors = error.errors()
        if any(e["loc"][:2] == ("model", "sizes") for e in errors):  # no name of theirs is known
            errors = [e for e in errors if e["type"] != "width"]
        mistakes = [_mistake(e, content).removeprefix(": ") for e in errors]
        raise StudyError(_message(where, mistakes)) from None
    except RecursionError:
        raise StudyError(f"{where}: is nested too deeply") from None
    conflicts = study.conflicts()
    if conflicts:
        raise StudyError(_message(where, [f"{path}: {rule}" for path, rule in conflicts]))
    return study


def check_study(study: object) -> Study:
    """Check a study that was made or changed from Python, by the rules of a study file.

    Args:
        study: A `Study`, or the path of a study file.

    Raises:
        StudyError: If there is any mistake; the message has a line for each.
    """
    if isinstance(study, str | os.PathLike):
        return load_study(study)
    if not isinstance(study, Study):
        raise StudyError(
            f"study: should be a Study or the path of a study file, found {quoted(study)}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's about wrong values, which parse_study names
        return parse_study(study.model_dump(exclude_unset=True))  # keeps which keys were given


def _message(where: str, mistakes: list[str]) -> str:
    """The message: a line for each of the first mistakes, and how many more there are."""
    lines = [f"{where}: {mistake}" for mistake in mistakes[:MOST_MISTAKES]]
    if len(mistakes) > MOST_MISTAKES:
        lines.append(f"{where}: and {len(mistakes) - MOST_MISTAKES:,} more mistakes")
    return "\n".join(lines)


def load_study(path: str | os.PathLike[str]) -> Study:
    """Read a study file.

    Args:
        path: The file.

    Returns:
        The study, whose `root` is an absolute path.

    Raises:
        StudyError: If the file is missing, is not TOML or breaks a rule.
    """
    file = check_path(path, "path", StudyError)
    study = parse_study(_toml(file), str(file))
    try:
        root = (
            file.parent / study.root
        ).resolve()  # it need not exist: an export may have been moved
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links form a loop
        raise StudyError(f"{file}: root: is no folder: {first_line(error)}") from None
    check_utf8(root, f"{file}: root", StudyError)
    return study.model_copy(update={"root": str(root)})


def _toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file; a byte order mark at its beginning is allowed."""
    try:
        words = not_regular(path)
        if words is not None:
            raise StudyError(f"{path}: {words}")
        with path.open("rb") as stream:
            raw = stream.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise StudyError(f"{path}: no such study file; `tasearch init {path}` writes one") from None
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(raw) > LARGEST_FILE:
        raise StudyError(f"{path}: is no study file: has more than {LARGEST_FILE:,} bytes")
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise StudyError(f"{path}: is UTF-16 text; save it as UTF-8")
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise StudyError(f"{path}: is no UTF-8 text: line {line}; save it as UTF-8") from None
    except RecursionError:
        raise StudyError(f"{path}: is not valid TOML: nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{path}: is not valid TOML: {short(str(error), 300)}") from None
    except ValueError as error:  # a number of thousands of digits; Python's advice is cut off
        reason = first_line(error).partition(";")[0]
        raise StudyError(f"{path}: is not valid TOML: {short(reason, 300)}") from None


def render(
    study: Study, title: str = "A tasearch study.", keys: Collection[str] | None = None
) -> str:
    """A study as commented TOML.

    Args:
        study: The study.
        title: The comment at the top.
        keys: The keys to write, such as `data.source`; None for all. The others should have their
            defaults.

    Returns:
        The text, with each key and its meaning; keys without a value are commented out.
    """
    written = (lambda path: True) if keys is None else {*keys}.__contains__
    lines = [f"# {line}".rstrip() for line in title.splitlines()]
    lines += [
        "# loss, temperature, alpha, guidance, teacher_epoch, start, hidden, hidden_weight and"
    ]
    lines += ["# learning_rate take one value, or a list of values to try.", ""]
    sections = []
    for name, field in Study.model_fields.items():
        value = getattr(study, name)
        if isinstance(value, Section):
            sections.append((name, value))
        elif written(name):
            lines += _entry(name, field.description or "", value)
    for name, section in sections:
        fields = type(section).model_fields.items()
        inside = [(inner, field) for inner, field in fields if written(f"{name}.{inner}")]
        if inside:
            lines += ["", f"# {(type(section).__doc__ or '').strip()}", f"[{name}]"]
        for inner, field in inside:
            lines += _entry(inner, field.description or "", getattr(section, inner))
    return "\n".join(lines) + "\n"


def _entry(name: str, meaning: str, value: Any) -> list[str]:
    if value is None:
        return [f"# {meaning}", f"# {name} ="]
    if isinstance(value, tuple) and len(value) == 1 and name not in LISTS:
        value = value[0]
    return [f"# {meaning}", f"{name} = {_literal(value)}"]


def _literal(value: Any) -> str:
    """TOML of a string, a number, a list or a table whose keys need no quotes.

    JSON writes strings and numbers as TOML does, except for the character DEL.
    """
    value = plain(value)
    if isinstance(value, Section):
        value = value.model_dump(exclude_defaults=True)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, dict):
        inner = ", ".join(f"{name} = {_literal(entry)}" for name, entry in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, int) and value >= 10_000:
        return f"{value:_}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _mistake(error: ErrorDetails, content: Mapping[str, Any]) -> str:
    """The line for one mistake, such as `section.key[2]: rule, found value`."""
    path = ""
    section: type[BaseModel] = Study
    value: Any = content
    for part in error["loc"]:
        if part == "[key]":  # pydantic puts this behind a key that is wrong itself
            break
        if isinstance(part, str):
            name = short(part)
            path += f".{name}" if path else name
        elif isinstance(value, list | tuple):
            path += f"[{part}]"
        if error["type"] == "extra_forbidden" and part == error["loc"][-1]:
            renamed = RENAMED.get(str(error["loc"][0]), {}).get(str(part))
            if renamed and len(error["loc"]) == 2:
                return f"{path}: is called {renamed!r} now"
            return f"{path}: unknown key{nearest(short(str(part)), section.model_fields)}"
        inner = section.model_fields.get(str(part))
        if inner and isinstance(inner.annotation, type) and issubclass(inner.annotation, Section):
            section = inner.annotation
        value = value.get(part) if isinstance(value, Mapping) else value
    rule = error["msg"].removeprefix("Input ").replace("String should", "should")
    for pattern, words in _PLAIN_WORDS:
        rule = re.sub(pattern, words, rule)
    found = list(error["input"]) if isinstance(error["input"], tuple) else error["input"]
    return f"{path}: {rule[0].lower()}{rule[1:]}, found {_shown(found)}"


_PLAIN_WORDS = (("a valid tuple", "a list"), ("a valid dictionary.*", "a table"))


def _shown(value: Any) -> str:
    """A value as a study file has it, shortened."""
    value = [*map(plain, value)] if isinstance(value, list) else plain(value)
    try:
        return short(json.dumps(value, default=str))
    except Exception:  # a number of too many digits, nesting too deep, an object's own __str__
        return f"one of type {type(value).__name__}"
