"""Whatever a study file has in it, it is read as a study or refused with a StudyError."""

from __future__ import annotations

import contextlib
import io
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasearch.cli import commands as cli
from tasearch.cli import exit_codes
from tasearch.cli.strict import invoke
from tasearch.config.study import Study
from tasearch.config.study_file import load_study, parse_study, render
from tasearch.errors import StudyError, printable
from tests.helpers.studies import tiny

WHOLE = render(tiny(data={"source": "npz", "path": "d.npz"}, training={"modes": {"12": "fp32"}}))
LINES = WHOLE.splitlines()
KEYS = {
    name: [*field.annotation.model_fields] if hasattr(field.annotation, "model_fields") else []  # type: ignore[union-attr]
    for name, field in Study.model_fields.items()
}

quick = settings(
    max_examples=75, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)

odd_numbers = (
    st.sampled_from([0, -1, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, 2**70, 10**12])
    | st.sampled_from([0.0, -0.0, 5e-324, 1e-300, 1e300, math.nan, math.inf, -math.inf])
    | st.sampled_from([4_000, 5_000]).map(lambda digits: 10**digits)
)
odd_texts = st.sampled_from(
    ["", "\0", "\x1b[31m", "a" * 5_000, "con", "..", "/", ":", "a:b", "a.b:c", "\u202e", "fp32 x9"]
)
scalars = st.none() | st.booleans() | odd_numbers | odd_texts | st.integers() | st.text(max_size=9)
values = st.recursive(
    scalars | st.binary(max_size=3) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
        | st.tuples(inner)
    ),
    max_leaves=6,
)
parts = st.sampled_from(
    ["", "=", "[", "]]", "{", '"', "'''", "\n", "\0", "\x1b", "\ufeff", "é", "#"]
)


def refused(make: Callable[[], Study]) -> tuple[Study | None, str]:
    """A study, or the message of the StudyError; any other error fails the test."""
    try:
        return make(), ""
    except StudyError as error:
        return None, str(error)


def read(content: bytes) -> Study | None:
    """The study of a file; None if it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "s.toml"
        file.write_bytes(content)
        study, said = refused(lambda: load_study(file))
        assert study or (said.startswith(f"{file}: ") and len(said) < 20_000)
        return study


@quick
@given(st.data())
def test_load_study_reads_or_refuses_changed_bytes(data: st.DataObject) -> None:
    content = bytearray(WHOLE.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    read(bytes(content))


@quick
@given(st.data())
def test_load_study_reads_or_refuses_changed_lines(data: st.DataObject) -> None:
    lines = [*LINES]
    for _ in range(data.draw(st.integers(1, 4))):
        place, other = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        kind = data.draw(st.sampled_from(["delete", "double", "move", "insert", "cut"]))
        if kind == "delete":
            del lines[place]
        elif kind == "double":
            lines.insert(other, lines[place])
        elif kind == "move":
            lines.insert(min(other, len(lines) - 1), lines.pop(place))
        elif kind == "insert":
            where = data.draw(st.integers(0, len(lines[place])))
            lines[place] = lines[place][:where] + data.draw(parts) + lines[place][where:]
        else:
            lines[place] = lines[place][: data.draw(st.integers(0, len(lines[place])))]
    read("\n".join(lines).encode())


@pytest.mark.slow
@quick
@given(st.data())
def test_parse_study_takes_or_refuses_any_values(data: st.DataObject) -> None:
    """In Python, where values need not be TOML's; an accepted study is written and read again."""
    content: dict[Any, Any] = tiny().model_dump()
    for _ in range(data.draw(st.integers(1, 3))):
        section = data.draw(st.sampled_from([*KEYS]))
        value = data.draw(values)
        if KEYS[section] and isinstance(content.get(section), dict) and data.draw(st.booleans()):
            content[section][data.draw(st.sampled_from(KEYS[section]) | odd_texts)] = value
        else:
            content[data.draw(st.just(section) | odd_texts | st.integers())] = value
    study, said = refused(lambda: parse_study(content))
    if study is None:
        assert said.startswith("study: ")
        return
    again = read(render(study).encode())
    assert again is not None
    assert again.identity() == study.identity()


@pytest.mark.slow
@settings(parent=quick, max_examples=30)
@given(data=st.data())
def test_command_line_ends_with_exit_code_and_one_message(data: st.DataObject) -> None:
    """Everything but the search, which does not begin: it is enough that the study is read."""
    options = {
        "--trials": odd_numbers,
        "--seed": odd_numbers,
        "--device": odd_texts | st.just("cpu"),
        "--workers": odd_numbers | odd_texts,
        "--runs-dir": odd_texts,
    }
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "run_shown", _not_begun)
        patch.chdir(folder)
        content = bytearray(WHOLE.encode())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + 1] = data.draw(st.binary(max_size=2))
        Path("s.toml").write_bytes(content)
        arguments = ["run", "s.toml"]
        for name in data.draw(st.lists(st.sampled_from([*options]), max_size=3)):
            value = data.draw(options[name])
            text = f"{value:x}" if isinstance(value, int) and value > 2**70 else str(value)
            arguments += [name, text]
        with contextlib.redirect_stderr(io.StringIO()) as stream:
            code = exit_codes.exit_code(lambda: invoke(cli.app, arguments))
        said = stream.getvalue()
        assert code in (2, NOT_BEGUN)
        assert said.startswith("error: ") if code == 2 else not said
        assert printable(said) == said
        assert "Traceback" not in said


NOT_BEGUN = 0


def _not_begun(study: Study, options: Any) -> None:
    raise cli.typer.Exit(NOT_BEGUN)
