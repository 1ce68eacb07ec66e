"""Imports run downward only; reading a run needs no torch."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tasearch

PACKAGE = Path(tasearch.__file__).parent
ROOMS = [  # each imports only from those before it
    "errors",
    "chains",
    "pareto",
    "config",
    "data",
    "models",
    "runs",
    "report",
    "train",
    "profiling",
    "search",
    "testing",
    "exports",
    "confirmation",
    "api",
    "cli",
    "__init__",
    "__main__",
]
LEVEL = {name: level for level, name in enumerate(ROOMS)}
PURE = ["errors", "chains", "pareto", "config", "runs", "report"]  # without torch
OPTUNA = ["runs", "search", "testing"]  # the only rooms that import it
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = {
    ".".join(("tasearch", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): file
    for file in MODULES
}


def room(file: Path) -> str:
    """The top-level module or package of a file."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@functools.cache
def imported(file: Path) -> frozenset[str]:
    """Every module that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            for alias in node.names:
                full = f"{module}.{alias.name}"
                names.add(full if full in NAMES else module)
    return frozenset(names)


@pytest.mark.parametrize("file", MODULES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_rooms_import_only_rooms_below(file: Path) -> None:
    for name in imported(file) & NAMES.keys():
        other = room(NAMES[name])
        if other != room(file) and (other, room(file)) != ("__init__", "cli"):
            assert LEVEL[other] < LEVEL[room(file)], f"{file} imports {name}"


def test_no_modules_import_each_other() -> None:
    graph = {name: imported(file) & NAMES.keys() - {name} for name, file in NAMES.items()}
    order = graphlib.TopologicalSorter(graph)
    order.prepare()  # raises CycleError with the circle


@pytest.mark.parametrize("file", MODULES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_rooms_import_only_their_own_dependencies(file: Path) -> None:
    tops = {name.partition(".")[0] for name in imported(file)}
    if room(file) not in OPTUNA:
        assert "optuna" not in tops
    if room(file) in PURE:
        assert not tops & {"torch", "sklearn"} or file.name == "store.py"  # only for its types


def test_every_module_has_its_room() -> None:
    assert {room(file) for file in MODULES} == set(LEVEL)
    assert len(LEVEL.keys() - {"__init__", "__main__"}) <= 16


# Modules and functions that may be longer, each with its reason
LONG_MODULES = {
    "tasearch.train.fast.kernels": "numba's cache on disk notices changes of one file only",
}
LONG_FUNCTIONS: dict[str, str] = {}


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    lines = (node.end_lineno or 0) - node.lineno + 1
    if ast.get_docstring(node) is None:
        return lines
    docstring = node.body[0]
    return lines - ((docstring.end_lineno or 0) - docstring.lineno + 1)


def test_modules_have_at_most_300_lines() -> None:
    lines = {name: len(file.read_text("utf-8").splitlines()) for name, file in NAMES.items()}
    long = {name for name, count in lines.items() if count > 300}
    assert long == LONG_MODULES.keys()


def test_functions_have_at_most_40_lines() -> None:
    long = {
        f"{name}.{node.name}"
        for name, file in NAMES.items()
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > 40
    }
    assert long == LONG_FUNCTIONS.keys()


# Words of an earlier, private language; each has a term of the field in its place
OLD_WORDS = re.compile(
    r"\b(abreast|bloomers?|catalogue|company|companions?|culprit|desks?|essence|handover|heir"
    r"|judge|laps?|ledger|lessons?|litter|neighbours?|nobody|obituary|pupils?|scout|seats?|stairs|testif(y|ies))\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("file", MODULES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_old_words_occur_nowhere(file: Path) -> None:
    text = file.read_text("utf-8").replace('derived_seed("catalogue"', "")
    assert [found.group() for found in OLD_WORDS.finditer(text)] == []


def test_noun_phrases_describe_arguments() -> None:
    for name, file in NAMES.items():
        for argument, text in re.findall(
            r"^ {8,12}(\w+): (of|likewise|whose|see above)\b", file.read_text("utf-8"), re.M
        ):
            raise AssertionError(f"{name}: {argument}: {text} ...")


# Where only a shell's commands are: rooms, and modules that serve one command
OF_SHELL = (
    *("cli", "report", "tasearch.config.arguments"),
    *("tasearch.search.first_study", "tasearch.search.first_given"),
)


def test_messages_name_options_as_python_does_too() -> None:
    for name, file in NAMES.items():
        if room(file) in OF_SHELL or name in OF_SHELL:
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            text = node.value if isinstance(node, ast.Constant) else None
            if not isinstance(text, str) or "\n" in text:  # docstrings of several lines
                continue
            if re.search(r"(?<![\w`-])--[a-z]", text):
                known = "in Python" in text or "trust=True" in text or "`tasearch " in text
                assert known, f"{name}: {text!r}: use errors.option"


@pytest.mark.slow
def test_reading_a_run_imports_no_torch(finished: tasearch.Run) -> None:
    code = (
        "import sys\n"
        "from tasearch.cli.commands import app\n"
        "for command in (['best', RUN], ['best', RUN, '--json'], ['status', RUN], ['front', RUN],\n"
        "                ['report', RUN, '--out', RUN + '/page.html']):\n"
        "    assert 'sklearn' not in sys.modules\n"  # the report asks Optuna for importances
        "    try:\n"
        "        app(command)\n"
        "    except SystemExit as end:\n"
        "        assert not end.code, end.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", f"RUN = {str(finished.path)!r}\n{code}"], check=True)


def test_package_has_its_public_names() -> None:
    assert sorted(tasearch.__all__) == sorted(tasearch._HOMES)
    for name in tasearch.__all__:
        assert getattr(tasearch, name) is not None
        assert name in dir(tasearch)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        tasearch.nothing  # noqa: B018


def test_only_confirm_and_export_read_the_test_part() -> None:
    readers = {name for name, file in NAMES.items() if "load_test" in file.read_text("utf-8")}
    assert readers == {"tasearch.data", "tasearch.confirmation.confirm", "tasearch.exports.metrics"}
