"""The README's commands are those of CI, its links lead somewhere, its examples are valid."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tasearch.config.study import Study
from tasearch.errors import TasearchError
from tasearch.errors import __doc__ as tree

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language."""
    return [b.strip() for b in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)]


def test_ci_runs_both_commands_of_readme_in_new_environment() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    run, test = blocks("sh")[:2]
    assert run.endswith("tasearch run studies/digits.toml")
    assert test.endswith("pytest")
    assert lines.index("rm -rf .venv") < lines.index(run) < lines.index(test)


def test_local_links_name_existing_files() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    local = [link for link in links if not link.startswith("http")]
    assert local
    for link in local:
        assert (ROOT / link).exists(), link


def test_python_examples_use_exported_names() -> None:
    import tasearch

    for block in blocks("python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "tasearch":
                assert node.attr in tasearch.__all__


def test_toml_examples_are_valid_studies() -> None:
    import tomllib

    from tasearch.config.study_file import parse_study

    assert blocks("toml")
    for block in blocks("toml"):
        assert isinstance(parse_study(tomllib.loads(block)), Study)


def test_docstring_of_errors_names_every_error() -> None:
    assert tree is not None
    for error in TasearchError.__subclasses__():
        assert f"─ {error.__name__} " in tree
