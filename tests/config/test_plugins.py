"""Code of the user's: which of it is part of a run, and when it is imported again."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasearch.config import module_files, module_import, plugins, user_modules
from tasearch.errors import RunError, StudyError

ROOT = Path(__file__).parents[2]
PAST = module_import._process_start() - 3600


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A study's folder; what is imported from it is removed afterwards."""
    for name in [*user_modules.executed]:  # of other tests
        sys.modules.pop(name, None)
        del user_modules.executed[name]
    before, paths = {*sys.modules}, [*sys.path]
    plugins.new_run()
    yield tmp_path
    for name in {*sys.modules} - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]
            user_modules.executed.pop(name, None)
    sys.path[:] = paths


def build(place: Path, name: str = "mine:build") -> object:
    return plugins.resolve(name, {}, path="model.family", root=str(place))()


def identity(place: Path, name: str = "mine:build") -> str:
    return plugins.identity(name, str(place))


def write(file: Path, text: str) -> None:
    """Write a file that is older than this process, as code that was imported before mostly is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    os.utime(file, (PAST, PAST))


def test_environment_below_study_is_not_user_code(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = place / ".venv/lib/site-packages"
    write(site / "packaged/__init__.py", "from packaged import part\nthing = part.thing\n")
    write(site / "packaged/part.py", "def thing(): ...\n")
    write(place / "beside.py", "def helper(): ...\n")
    text = "import packaged, tasearch\nfrom packaged import thing\nfrom beside import helper\n"
    write(place / "mine.py", text + "def build(): ...\n")
    monkeypatch.setattr(module_files, "INSTALLED", (site,))
    monkeypatch.syspath_prepend(site)
    build(place)
    assert [*user_modules.reachable("mine", place)] == ["beside", "mine"]
    assert not any(name.startswith("packaged") for name in user_modules.executed)


def test_tasearch_is_not_user_code() -> None:
    """If a study is in a clone of tasearch, the clone is below the study's root."""
    assert module_files.is_users(__name__, Path(__file__), [ROOT])
    assert not module_files.is_users(
        "tasearch.config.plugins", ROOT / "tasearch/plugins.py", [ROOT]
    )


WAYS = {  # to import another module
    "import": "import other\ndef build(): return other.N",
    "from": "from other import N\ndef build(): return N",
    "late": "def build():\n    import other\n    return other.N",
    "by name": "import importlib\ndef build(): return importlib.import_module('other').N",
    "package": "import pkg.deep\ndef build(): return pkg.deep.N",
    "relative": "import pkg.near\ndef build(): return pkg.near.N",
    "a link": "import linked\ndef build(): return linked.N",
    "a linked package": "from together import deep\ndef build(): return deep.N",
    "a computed name": "import importlib\nKIND = 'other'\n"
    "def build(): return importlib.import_module(f'{KIND}').N",
    "an alias": "from importlib import import_module as get\n"
    "def build(): return get('oth' + 'er').N",
    "a place": "import importlib.util as u\nfrom pathlib import Path\n"
    "def build():\n    s = u.spec_from_file_location('x', Path(__file__).parent / 'other.py')\n"
    "    m = u.module_from_spec(s)\n    s.loader.exec_module(m)\n    return m.N",
    "an object": "import functools, held\nbuild = functools.partial(held.number)",
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("who", ["tasearch", "the user"])
def test_identity_covers_every_module_reached(
    place: Path, way: str, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("other.py", "pkg/__init__.py", "pkg/deep.py", "pkg/base.py"):
        write(place / name, "N = 1\n")
    write(place / "held.py", "import other\ndef number(): return other.N\n")
    write(place / "pkg/near.py", "from .base import N\n")
    away = place.parent / f"{place.name}-away"
    write(away / "linked.py", "N = 1\n")
    write(away / "together/deep.py", "N = 1\n")
    (place / "linked.py").symlink_to(away / "linked.py")
    (place / "together").symlink_to(away / "together")
    write(place / "mine.py", WAYS[way] + "\n")
    if who == "the user":
        monkeypatch.syspath_prepend(place)
        importlib.import_module("mine").build()
    assert build(place) == 1
    before = identity(place)
    assert before.startswith("mine:build#")
    files = {"package": "pkg/deep.py", "relative": "pkg/base.py", "a link": "linked.py"}
    needed = {**files, "a linked package": "together/deep.py"}.get(way, "other.py")
    (place / needed).write_text("N = 2\n")
    plugins.new_run()
    assert build(place) == 2
    assert identity(place) != before
    write(place / needed, "N = 1  # as it was\n")
    plugins.new_run()
    assert (build(place), identity(place)) == (1, before)


EDITS = {
    "a class attribute": "class A:\n    n = 2\ndef build(): return A.n",
    "a list": "N = [2]\ndef build(): return N[0]",
    "a product": "N = 1 * 2\ndef build(): return N",
    "a lambda in a dict": "N = {'a': lambda: 2}\ndef build(): return N['a']()",
    "a partial": "from functools import partial\nbuild = partial(max, 0, 2)",
    "a base class": "class A:\n    pass\nclass B(A if 2 == 1 else int): ...\n"
    "def build(): return 2 if B.__mro__[1] is int else 1",
    "a function": "def build(): return 2",
    "a default": "def build(n=2): return n",
    "a constant": "N = 2\ndef build(): return N",
    "a method": "class A:\n    def f(self): return 2\ndef build(): return A().f()",
    "a function within": "def build():\n    def f(): return 2\n    return f()",
}


@pytest.mark.parametrize("edit", EDITS)
def test_resolve_imports_edited_module_again(
    place: Path, edit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the time of the file does not show it."""
    write(place / "mine.py", EDITS[edit].replace("2", "1") + "\n")
    monkeypatch.syspath_prepend(place)
    assert importlib.import_module("mine").build() == 1
    if edit == "a default":  # no function's code shows it
        (place / "mine.py").write_text(EDITS[edit])
    else:
        write(place / "mine.py", EDITS[edit])
    assert build(place) == 2


def test_resolve_keeps_module_that_was_not_edited(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import functools\n@functools.cache\ndef cached(): return 1\nNAMES = ('a', 'b')\n"
    write(
        place / "mine.py", text + "class A:\n    x = property(lambda self: 3)\ndef build(): ...\n"
    )
    monkeypatch.syspath_prepend(place)
    mine = importlib.import_module("mine")
    mine.build()
    monkeypatch.setattr(
        module_import, "_process_start", lambda: time.time() + 60
    )  # files are older than that
    build(place)
    assert sys.modules["mine"] is mine


def test_run_keeps_code_of_its_start(place: Path) -> None:
    write(place / "mine.py", "def build(): return 1\n")
    assert build(place) == 1
    before = identity(place)
    (place / "mine.py").write_text("def build(): return 2\n")
    assert (build(place), identity(place)) == (1, before)
    plugins.new_run()
    assert build(place) == 2


def test_resolve_sees_edit_within_same_second(place: Path) -> None:
    """Python would use its cached bytecode: the size and the second of the file are the same."""
    for n in (1, 2, 3):
        write(place / "mine.py", f"def build(): return {n}\n")
        plugins.new_run()
        assert build(place) == n


def test_check_refuses_change_during_run(place: Path) -> None:
    write(place / "mine.py", "import other\ndef build(): ...\n")
    write(place / "other.py", "N = 1\n")
    build(place)
    code = plugins.frozen(["mine:build", "kd"], str(place))
    code.check()
    (place / "other.py").write_text("# a comment\nN  =  1\n")
    code.check()
    (place / "other.py").write_text("N = 2\n")
    words = (
        f"{place}/other.py changed while the run was going: nothing was trained with the new "
        f"code; put the file back and run the same command again, or give the study another name"
    )
    with pytest.raises(RunError) as error:
        code.check()
    assert str(error.value) == words
    (place / "other.py").unlink()
    with pytest.raises(RunError) as error:
        code.check()
    assert str(error.value) == words
    write(place / "other.py", "N = 1\n")
    code.check()


def refused(place: Path, name: str) -> str:
    with pytest.raises(StudyError) as error:
        build(place, name)
    return str(error.value)


def test_message_says_what_import_did(place: Path) -> None:
    write(place / "leaves.py", "import sys\nsys.exit(0)\n")
    write(place / "raises.py", "raise BaseException('so')\n")
    write(place / "random.py", "def build(): ...\n")
    at = "model.family: "
    assert refused(place, "leaves:f") == f"{at}'leaves:f': importing it called sys.exit(0)"
    assert refused(place, "raises:f") == f"{at}'raises:f': importing it raised BaseException: so"
    assert refused(place, "__main__:f") == (
        f"{at}'__main__:f': workers cannot import __main__; name a module"
    )
    assert refused(place, "random:build").startswith(
        f"{at}'random:build': importing it raised ImportError: {place}/random.py has the name of "
        f"an installed module, "
    )


def test_user_code_may_change_search_path_and_folder(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    (place / "elsewhere").mkdir()
    write(place / "lib/deep.py", "def build(): return 7\n")
    write(
        place / "mine.py",
        "import os, sys\nos.chdir('elsewhere')\nsys.path.clear()\n"
        f"sys.path.append({str(place / 'lib')!r})\nfrom deep import build\n",
    )
    paths = [*sys.path]
    try:
        assert build(place) == 7
        assert [*user_modules.reachable("mine", place)] == ["deep", "mine"]
    finally:
        sys.path[:] = paths


def test_root_behind_link_is_same_root(place: Path) -> None:
    real, linked = place / "real", place / "linked"
    write(real / "mine.py", "import helper\ndef build(): return helper.N\n")
    write(place / "away.py", "N = 1\n")
    (real / "helper.py").symlink_to(place / "away.py")
    linked.symlink_to(real)
    assert build(linked) == 1
    assert identity(linked) == identity(real)
    code = plugins.frozen(["mine:build"], str(linked))
    assert {*code.digests} == {real / "mine.py", real / "helper.py"}
    (place / "away.py").write_text("N = 2\n")
    with pytest.raises(RunError, match=r"helper\.py changed while the run was going"):
        code.check()
