"""The study file: TOML to a study and back.

`parse_study` refuses what it does not know, with the path of each mistake; `render` writes a study
as commented TOML, and reading that gives the same study.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tasearch.errors import StudyError, nearest
from tasearch.sections import Section
from tasearch.study import Study


def parse_study(content: Mapping[str, Any], where: str = "study") -> Study:
    """Check the content of a study file.

    Args:
        content: as `tomllib` reads it.
        where: named in messages.

    Raises:
        StudyError: with every mistake, a line each.
    """
    try:
        study = Study.model_validate(dict(content))
    except ValidationError as error:
        lines = (f"{where}: {_mistake(e, content)}" for e in error.errors())
        raise StudyError("\n".join(lines)) from None
    conflicts = study.conflicts()
    if conflicts:
        raise StudyError("\n".join(f"{where}: {path}: {rule}" for path, rule in conflicts))
    return study


def load_study(path: str | Path) -> Study:
    """Read a study file; `root` becomes absolute.

    Raises:
        StudyError: where it is missing, is no TOML or breaks a rule.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StudyError(f"{path}: no such study file; `tasearch init {path}` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{path}: is not valid TOML: {error}") from None
    study = parse_study(content, str(path))
    try:
        root = (path.parent / study.root).resolve()
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: root: is no folder: {error}") from None
    return study.model_copy(update={"root": str(root)})


def render(study: Study, title: str = "A tasearch study.") -> str:
    """The study as commented TOML; keys without a value are commented out."""
    lines = [f"# {line}".rstrip() for line in title.splitlines()]
    lines += ["# A list of values where one would do is searched (loss, temperature, alpha,"]
    lines += ["# learning_rate).", ""]
    sections = []
    for name, field in Study.model_fields.items():
        value = getattr(study, name)
        if isinstance(value, Section):
            sections.append((name, value))
        else:
            lines += _entry(name, field.description or "", value)
    for name, section in sections:
        lines += ["", f"# {(type(section).__doc__ or '').strip()}", f"[{name}]"]
        for inner, field in type(section).model_fields.items():
            lines += _entry(inner, field.description or "", getattr(section, inner))
    return "\n".join(lines) + "\n"


def _entry(name: str, meaning: str, value: Any) -> list[str]:
    if value is None:
        return [f"# {meaning}", f"# {name} ="]
    if isinstance(value, tuple) and len(value) == 1 and name != "widths":
        value = value[0]
    return [f"# {meaning}", f"{name} = {_literal(value)}"]


def _literal(value: Any) -> str:
    """TOML for a string, a number, a list or a table of plain names.

    JSON's strings and numbers are TOML's too.
    """
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, dict):
        inner = ", ".join(f"{name} = {_literal(entry)}" for name, entry in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, int) and value >= 10_000:
        return f"{value:_}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _mistake(error: ErrorDetails, content: Mapping[str, Any]) -> str:
    """`section.key[2]: rule, found value`."""
    path = ""
    section: type[BaseModel] = Study
    value: Any = content
    for part in error["loc"]:
        if isinstance(part, str):
            path += f".{part}" if path else part
        elif isinstance(value, list):
            path += f"[{part}]"
        if error["type"] == "extra_forbidden" and part == error["loc"][-1]:
            return f"{path}: unknown key{nearest(str(part), section.model_fields)}"
        inner = section.model_fields.get(str(part))
        if inner and isinstance(inner.annotation, type) and issubclass(inner.annotation, Section):
            section = inner.annotation
        value = value.get(part) if isinstance(value, Mapping) else value
    rule = error["msg"].removeprefix("Input ").replace("String should", "should")
    for said, meant in _PLAINER:
        rule = re.sub(said, meant, rule)
    found = list(error["input"]) if isinstance(error["input"], tuple) else error["input"]
    return f"{path}: {rule[0].lower()}{rule[1:]}, found {_shown(found)}"


_PLAINER = (("a valid tuple", "a list"), ("a valid dictionary.*", "a table"))


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
