"""Imports run downward only; reading a run needs no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tasearch

PACKAGE = Path(tasearch.__file__).parent
FLOORS = [
    ["errors", "files", "pulse"],
    ["chain", "mode", "syntax", "rounds", "console", "contained"],
    ["space", "front", "skyline", "values"],
    ["sections"],
    ["record", "study", "usercode", "seals", "arguments"],
    ["studyfile", "plugins", "numerics", "processes", "cuda", "ties"],
    ["data", "timing"],
    ["models", "store", "onnx_export", "call_limits", "snapshot"],
    ["eventlog", "measure", "commands"],
    ["rundir"],
    ["train", "ending"],
    ["search"],
    ["api", "report"],
    ["shipping", "display", "early"],
    ["running"],
    ["cli"],
    ["__main__", "__init__"],
]
LEVEL = {name: level for level, floor in enumerate(FLOORS) for name in floor}
PURE = [name for floor in FLOORS[:5] for name in floor] + ["studyfile"]
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(file: Path) -> str:
    """The top-level module or package of a file."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names |= {f"{module}.{a.name}" if module == "tasearch" else module for a in node.names}
    return names


@pytest.mark.parametrize("file", MODULES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_run_downward(file: Path) -> None:
    for name in imported(file):
        if name.startswith("tasearch."):
            other = name.split(".")[1]
            if other in LEVEL and other != room(file):
                assert LEVEL[other] < LEVEL[room(file)], f"{file} imports {name}"


@pytest.mark.parametrize("file", MODULES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_only_the_search_imports_optuna_and_the_pure_import_little(file: Path) -> None:
    tops = {name.partition(".")[0] for name in imported(file)}
    if room(file) != "search":
        assert "optuna" not in tops
    if room(file) in PURE:
        assert not tops & {"torch", "numpy", "optuna", "sklearn"}


def test_every_module_has_its_floor() -> None:
    assert {room(file) for file in MODULES} == set(LEVEL)


def test_reading_a_run_imports_no_torch(finished: tasearch.Run) -> None:
    code = (
        "import sys\n"
        "from tasearch.cli import app\n"
        "for command in (['best', RUN], ['best', RUN, '--json'], ['status', RUN],\n"
        "                ['report', RUN, '--out', RUN + '/page.html']):\n"
        "    try:\n"
        "        app(command)\n"
        "    except SystemExit as end:\n"
        "        assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules\n"
        "assert 'sklearn' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", f"RUN = {str(finished.path)!r}\n{code}"], check=True)


def test_public_names_are_there() -> None:
    assert sorted(tasearch.__all__) == sorted(tasearch._HOMES)
    for name in tasearch.__all__:
        assert getattr(tasearch, name) is not None
        assert name in dir(tasearch)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        tasearch.nothing  # noqa: B018
