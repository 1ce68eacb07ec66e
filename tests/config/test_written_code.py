"""Functions of a program, written as source, are the same functions."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasearch.config.module_copies import module_copies
from tasearch.config.module_import import only_from
from tasearch.config.written_code import WrittenCode, importable, is_users_module
from tasearch.errors import StudyError
from tests.helpers.notebook import Notebook, cell


def written(value: Any, name: str = "f") -> str:
    code = WrittenCode("build")
    code.add(name, value)
    return code.text()


def again(value: Any) -> Any:
    """What the source of a value makes of nothing but itself."""
    names: dict[str, Any] = {"__name__": "own_f"}
    exec(compile(written(value), "own_f.py", "exec", dont_inherit=True), names)
    return names["f"]


def refused(value: Any) -> str:
    with pytest.raises(StudyError) as error:
        written(value)
    return str(error.value)


CELLS = {
    "global": "N = 3\ndef f(x):\n    return x + N",
    "literals": (
        "V = [1, (2.5,), float('inf'), {'a': {3}, 'b': b'c'}, None, (), set(), 1j, range(3),"
        " frozenset({1})]\ndef f(x):\n    return V, x"
    ),
    "imports": "import math\nfrom os import path as p\ndef f(x):\n    return math.pi, p.sep",
    "helper": "def g(x):\n    return 2 * x\ndef f(x):\n    return g(x)",
    "lambda": "n = 4\nf, g = (lambda x: x + n), (lambda x: x - n)",
    "second lambda": "n = 4\ng, f = (lambda x: x + n), (lambda x: x - n)",
    "recursion": "def f(x):\n    return 1 if x < 1 else x * f(x - 1)",
    "mutual": "def g(x):\n    return f(x - 1)\ndef f(x):\n    return x if x < 1 else g(x)",
    "closure": "def make(n):\n    def f(x):\n        return x + n\n    return f\nf = make(7)",
    "default": "N = 3\ndef f(x, *, n=N):\n    return x + n",
    "decorator": (
        "import functools\ndef twice(g):\n    @functools.wraps(g)\n    def inner(x):\n"
        "        return 2 * g(x)\n    return inner\n@twice\ndef f(x):\n    return x + 1"
    ),
    "cache": "import functools\n@functools.cache\ndef f(x):\n    return x + 1",
    "partial": "import functools\ndef g(n, x):\n    return n - x\nf = functools.partial(g, 9)",
    "class": (
        "N = 2\nclass A:\n    n = N\n    def __init__(self, x):\n        self.x = x\n"
        "    def get(self):\n        return self.x * self.n\n"
        "def f(x):\n    return A(x).get()"
    ),
    "base after use": (
        "class A:\n    def get(self):\n        return B().two()\n"
        "class B(A):\n    def two(self):\n        return 2\ndef f(x):\n    return A().get()"
    ),
    "super": (
        "class A:\n    def get(self):\n        return 1\n"
        "class B(A):\n    def get(self):\n        return super().get() + 1\n"
        "def f(x):\n    return B().get()"
    ),
    "alias": "def g(x):\n    return x + 5\nh = g\ndef f(x):\n    return h(x) + g(x)",
    "comprehension": "N = 3\nclass A:\n    t = [i + N for i in range(3)]\n    def get(self):\n"
    "        return self.t\ndef f(x):\n    return A().get()",
    "enum": "import signal\nS = signal.Signals.SIGINT\ndef f(x):\n    return S",
    "local of a global's name": "x = object()\ndef f(x):\n    return x + 1",
    "postponed": "from __future__ import annotations\ndef f(x: Unknown) -> Nothing:\n    return x",
    "decorated line": "def same(g):\n    return g\n@same\n\n# comment\ndef f(x):\n    return x",
    "dataclass": (
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n    n: int = 3\n"
        "    def get(self):\n        return self.n\ndef f(x):\n    return A(x).get() + A().get()"
    ),
    "property": (
        "class A:\n    @property\n    def n(self):\n        return 1\n    @staticmethod\n"
        "    def m(x):\n        return x\ndef f(x):\n    return A().n + A.m(x)"
    ),
    "async": "async def g():\n    pass\ndef f(x):\n    return g.__name__",
}


@pytest.mark.parametrize("text", CELLS.values(), ids=CELLS)
def test_written_function_answers_as_the_original(text: str) -> None:
    original = cell(text).f
    for x in (0, 3):
        assert again(original)(x) == original(x)


plain = (
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text()
        | st.binary(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(st.text(), inner, max_size=3)
        ),
        max_leaves=10,
    )
    | st.sets(st.integers())
    | st.frozensets(st.text())
    | st.complex_numbers(allow_nan=False)
)


@given(plain)
def test_plain_value_is_written_as_an_equal_one(value: Any) -> None:
    code = WrittenCode("build")
    made = eval(code.expression(value, "v"))
    assert made == value and type(made) is type(value)


def test_comments_and_layout_do_not_change_the_source() -> None:
    one = cell("N = 3\ndef f(x):\n    return x + N")
    other = cell("# first\nN=3\n\ndef f( x ):  # adds\n    return (x + N)")
    assert written(one.f) == written(other.f)


def test_another_value_or_body_changes_the_source() -> None:
    texts = [f"N = {n}\ndef f(x):\n    return {body}" for n in (3, 4) for body in ("x + N", "N")]
    assert len({written(cell(text).f) for text in texts}) == len(texts)


def test_last_definition_counts() -> None:
    notebook = Notebook()
    notebook.run("def g(x):\n    return 1")
    f = notebook.run("def f(x):\n    return g(x)").f
    notebook.run("def g(x):\n    return 2")
    assert f(0) == again(f)(0) == 2


MODULE = "put the function into a module, a .py file, and import it from there"
REFUSED = {
    "object": (
        "class A: pass\no = A()\ndef f(x):\n    return o",
        f"build: uses 'o', which is of type __main__.A, which no run can keep: {MODULE}",
    ),
    "object within": (
        "o = {'a': [object()]}\ndef f(x):\n    return o",
        f"build: uses 'o', which is of type object, which no run can keep: {MODULE}",
    ),
    "iterator": (
        "f = iter([1])",
        f"build: is of type list_iterator, which no run can keep: {MODULE}",
    ),
    "bound method": (
        "class A:\n    def get(self, x):\n        return x\nf = A().get",
        f"build: is of type method, which no run can keep: {MODULE}",
    ),
    "evaluated": (
        "f = eval('lambda x: x')",
        "build: was typed at a prompt or made by exec, so its source is not known: " + MODULE,
    ),
    "class without methods": (
        "class A:\n    n = 1\ndef f(x):\n    return A",
        "build: uses 'A', which is a class without methods of its own, so its source is not "
        f"found: {MODULE}",
    ),
    "foreign method": (
        "class A:\n    def get(self):\n        return 1\nA.other = lambda self: 2\n"
        "def f(x):\n    return A",
        f"build: uses 'A', which has a method that was not defined in it: {MODULE}",
    ),
    "old default": (
        "N = 1\ndef f(x, n=N):\n    return n\nN = 2",
        "build: was defined when 'N', the default of 'n', had another value; run its definition "
        "again",
    ),
    "local base": (
        "def make():\n    class B:\n        def get(self): pass\n    class A(B):\n"
        "        def got(self): pass\n    def f(x):\n        return A\n    return f\nf = make()",
        f"build: uses 'A', which needs 'B', which only the function around it knows: {MODULE}",
    ),
    "no value yet": (
        "def make():\n    def f(x):\n        return n\n    return f\n    n = 1\nf = make()",
        "build: needs 'n', which has no value yet",
    ),
    "two of a name": (
        "def make(n):\n    def g(x):\n        return n + x\n    return g\n"
        "a, b = make(1), make(2)\ndef f(x):\n    return a(x) + b(x)",
        "build: uses 'g', which stands for different things in several functions; rename one",
    ),
    "below decorators": (
        "def twice(g):\n    def inner(x):\n        return 2 * g(x)\n    return inner\n"
        "@twice\ndef h(x):\n    return x\nf = h",
        "build: uses 'g', which is not what the decorators in its source make: leave them out",
    ),
    "main": (
        "import __main__\ndef f(x):\n    return __main__",
        "build: uses '__main__', which is __main__, which no other process can import",
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_written_is_refused(text: str, message: str) -> None:
    assert refused(cell(text).f) == message


def test_circular_value_is_refused() -> None:
    f = cell("v = []\nv.append(v)\ndef f(x):\n    return v").f
    assert refused(f) == "build: uses 'v', which is nested too deeply"


@pytest.mark.parametrize("edited", ["def f(x):\n    return 2", "def f(x:\n"])
def test_edited_source_is_refused(edited: str) -> None:
    f = cell("def f(x):\n    return 1").f
    file = f.__code__.co_filename
    linecache.cache[file] = len(edited), None, edited.splitlines(keepends=True), file
    assert refused(f) == "build: is of a file that was edited since; run it again"


@pytest.mark.parametrize(
    "text",
    [
        "import own_pkg.sub\ndef f(x):\n    return own_pkg.sub.g(x)",
        "import own_pkg.sub, own_pkg as p\ndef f(x):\n    return p.sub.g(x)",
        "def f(x):\n    from own_pkg.sub import g\n    return g(x)",
        "def f(x):\n    import own_pkg.sub as s\n    return s.g(x)",
        "from own_pkg import sub\ndef f(x):\n    return sub.g(x)",
    ],
)
def test_modules_of_the_user_are_noted(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_pkg").mkdir()
    (tmp_path / "own_pkg/__init__.py").write_text("")
    (tmp_path / "own_pkg/sub.py").write_text("from own_pkg import other\ng = other.g\n")
    (tmp_path / "own_pkg/other.py").write_text("def g(x):\n    return x + 1\n")
    (tmp_path / "own_pkg/unused.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    f = cell(text).f
    code = WrittenCode("build")
    code.add("f", f)
    copies = module_copies(code.modules)
    assert copies.keys() == {f"own_pkg/{name}.py" for name in ("__init__", "sub", "other")}
    with only_from(tmp_path, {"own_pkg"}):  # nothing is imported yet
        assert again(f)(1) == 2
    for name in [name for name in sys.modules if name.startswith("own_pkg")]:
        del sys.modules[name]


def test_functions_of_modules_are_imported() -> None:
    assert importable(Path) == "pathlib:Path"
    assert importable(len) == "builtins:len"
    assert importable(cell("def f(x):\n    return 1").f) is None
    assert importable(lambda: 1) is None
    assert importable(Path.joinpath) is None


def test_modules_of_the_user_are_those_that_are_not_installed() -> None:
    assert is_users_module(__name__)
    for name in ("pytest", "json", "sys", "tasearch.config.study", "xml"):
        assert not is_users_module(name)
