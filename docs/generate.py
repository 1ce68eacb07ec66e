"""The page of the study file, written from the schema; and what mkdocs needs besides.

    python docs/generate.py            write docs/study-file.md
    python docs/generate.py --check    end with 1 where it is not what the schema says

As a hook of mkdocs, `mkdocs build --strict` makes the same check. It also turns links to files of
the repository outside docs/ into links that work on the site.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from tasearch.config.section_base import Section
from tasearch.config.study import Study

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "study-file.md"
FIGURES = (  # shown on pages, stored beside what they were drawn from
    "studies/digits-assistants.svg",
    "studies/digits-front.svg",
    "studies/cifar10-front.svg",
    "benchmarks/results/gains.svg",
    "benchmarks/results/regime.svg",
    "benchmarks/results/search-digits.svg",
    "benchmarks/results/search-mnist.svg",
)
VAST = 10_000  # an upper bound beyond this only keeps hashes and file systems safe
OPENING = """# The study file

A study is one TOML file. Every key has a default, so that an empty file is a study: the digits of
scikit-learn, a teacher of width 64, up to three assistants.

- `tasearch init study.toml --data PATH` looks at your data (and with `--teacher FILE|NAME` at your
  teacher) and writes the few keys that matter; `--full` writes every key and its meaning.
- Unknown keys and wrong values are refused before anything starts, with their path and the rule.
- Paths, and modules of your own, are looked for beside the study file (`root` changes that).
- Where the type ends in "or a list", a list of values is searched, and a single value is fixed.
- `"package.module:function"` names a function of yours: see [Extending](extending.md).
"""


def page() -> str:
    """The page as the schema has it."""
    schema = Study.model_json_schema()
    top = [n for n, field in Study.model_fields.items() if not _is_section(field.default)]
    lines = ["<!-- Written by docs/generate.py. Do not edit. -->", "", OPENING]
    lines += ["## Top of the file", "", *_table(Study(), schema, top)]
    for name in Study.model_fields:
        section = getattr(Study(), name)
        if isinstance(section, Section):
            own = schema["$defs"][type(section).__name__]
            lines += ["", f"## `[{name}]`", "", own["description"].strip(), ""]
            lines += _table(section, own, [*type(section).model_fields])
    return "\n".join(lines) + "\n"


def _is_section(value: Any) -> bool:
    return isinstance(value, Section)


def _table(section: Section, schema: dict[str, Any], names: list[str]) -> list[str]:
    """A row for each key: name, type, default, meaning."""
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name in names:
        entry = schema["properties"][name]
        kind = _kind(name, entry)
        cells = (f"`{name}`", kind, _default(entry.get("default")), entry["description"])
        rows.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return rows


def _kind(name: str, entry: dict[str, Any]) -> str:
    """A key's type in words, with its bounds."""
    if "anyOf" in entry:
        kinds = [one for one in entry["anyOf"] if one.get("type") != "null"]
        return ", or ".join(_kind(name, one) for one in kinds)
    if "const" in entry:
        return str(entry["const"])
    if "enum" in entry:
        return ", ".join(f'`"{value}"`' for value in entry["enum"])
    if entry["type"] == "array":
        inner = _kind(name, entry["items"])
        return f"list of: {inner}" if name == "widths" else f"{inner}; or a list"
    if entry["type"] == "object":
        return "table"
    words = {"string": "text", "boolean": "true or false"}
    return words.get(entry["type"], entry["type"]) + _bounds(entry)


def _bounds(entry: dict[str, Any]) -> str:
    """`, 0 or more, below 1`."""
    signs = {
        "minimum": "{} or more",
        "exclusiveMinimum": "above {}",
        "maximum": "{} or less",
        "exclusiveMaximum": "below {}",
    }
    found = {sign: entry[sign] for sign in signs if entry.get(sign, VAST) < VAST}
    if "minimum" in found and "maximum" in found:
        return f", {found['minimum']:,} to {found['maximum']:,}"
    return "".join(f", {signs[sign].format(value)}" for sign, value in found.items())


def _default(value: Any) -> str:
    """A default as the study file would have it."""
    if value is None:
        return "none"
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return f"`{json.dumps(value)}`" if value != {} else "empty"


def _cell(text: str) -> str:
    """Text that stays in one cell of a table; quoted names become code."""
    text = re.sub(r'(?<!`)("[\w.:*-]+")(?!`)', r"`\1`", text).replace("\n", " ")
    parts = re.split(r"(`[^`]*`)", text)  # code is at odd places
    parts[::2] = [re.sub(r"([*\[\]])", r"\\\1", p).replace("<", "&lt;") for p in parts[::2]]
    return "".join(parts).replace("|", "\\|")


# Hooks of mkdocs.


def on_config(config: Any) -> Any:
    """The address of the repository stands in pyproject.toml alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    config["repo_url"] = project["urls"]["Source"]
    config["repo_name"] = project["name"]
    return config


def on_pre_build(config: Any) -> None:
    """Warn of a stale page, which ends a strict build."""
    if not PAGE.exists() or PAGE.read_text("utf-8") != page():
        logging.getLogger("mkdocs").warning(
            "docs/study-file.md is not what the schema says; run python docs/generate.py"
        )


def on_files(files: Any, config: Any) -> Any:
    """Figures that are stored outside docs/ become files of the site."""
    from mkdocs.structure.files import File

    for path in FIGURES:
        target = f"images/{Path(path).name}"
        files.append(File.generated(config, target, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links to files outside docs/ lead to the site's figures, or to the repository."""
    depth = page.file.src_uri.count("/") + 1
    up = "../" * depth

    def moved(match: re.Match[str]) -> str:
        path, _, anchor = match["path"].partition("#")
        if not (ROOT / path).exists():
            logging.getLogger("mkdocs").warning(f"{page.file.src_uri}: no such file: {path}")
        if path in FIGURES:
            return f"]({'../' * (depth - 1)}images/{Path(path).name})"
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        mark = f"#{anchor}" if anchor else ""
        return f"]({config['repo_url']}/{kind}/main/{path}{mark})"

    return re.sub(rf"\]\({re.escape(up)}(?!\.\./)(?P<path>[^)\s]+)\)", moved, markdown)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write docs/study-file.md from the schema.")
    parser.add_argument("--check", action="store_true", help="only compare")
    if parser.parse_args().check:
        same = PAGE.exists() and PAGE.read_text("utf-8") == page()
        print("docs/study-file.md is " + ("up to date" if same else "stale"))
        return int(not same)
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
