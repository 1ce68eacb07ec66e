"""Which modules are a user's own, and so part of what a function is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasearch import plugins

ROOT = Path(__file__).parent.parent


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A study's folder with a module, what it needs, and an environment with a package."""
    site = tmp_path / ".venv/lib/site-packages"
    (site / "packaged").mkdir(parents=True)
    (site / "packaged/__init__.py").write_text("from packaged import part\nthing = part.thing\n")
    (site / "packaged/part.py").write_text("def thing(): ...\n")
    (tmp_path / "beside.py").write_text("def helper(): ...\n")
    (tmp_path / "mine.py").write_text(
        "import packaged, tasearch\nfrom packaged import thing\nfrom beside import helper\n"
        "def build(): ...\n"
    )
    monkeypatch.setattr(plugins, "INSTALLED", (site,))
    monkeypatch.syspath_prepend(site)
    yield tmp_path
    for name in ("mine", "beside", "packaged", "packaged.part"):
        del sys.modules[name]
        plugins._imported.pop(name, None)
    sys.path.remove(str(tmp_path))


def test_an_environment_below_a_study_is_none_of_the_users_code(place: Path) -> None:
    plugins.resolve("mine:build", {}, path="model.family", root=str(place))
    assert plugins._reachable("mine", place) == {"mine", "beside"}
    assert {"mine", "beside"} <= plugins._imported.keys()
    assert not any(name.startswith("packaged") for name in plugins._imported)


def test_neither_is_tasearch_itself() -> None:
    """Where a study lies in a clone, it is below the study's root."""
    assert plugins._below(__name__, ROOT)
    assert not plugins._below("tasearch.plugins", ROOT)
