"""Methods whose packages are missing are skipped, and the result says so."""

from __future__ import annotations

import argparse
import sys

import pytest

from benchmarks.optional_methods import botorch_versions, check
from benchmarks.search import without_missing_packages
from benchmarks.search_methods import ARMS, METHODS


def test_missing_package_is_a_reason_and_no_error() -> None:
    def missing() -> dict[str, str]:
        raise ModuleNotFoundError("No module named 'x'")

    versions, skipped = check({"a": lambda: {"y": "1.0"}, "b": missing})
    assert versions == {"y": "1.0"}
    assert skipped.keys() == {"b"}
    assert "No module named 'x'" in skipped["b"]


def test_search_skips_what_is_missing_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "botorch", None)  # cannot be imported
    args = argparse.Namespace(methods=["cheapest", "nehvi", "oracle"], optunahub_registry=None)
    optional = without_missing_packages(args)
    assert args.methods == ["cheapest", "oracle"]
    assert optional["packages"] == {}
    assert optional["skipped"].keys() == {"nehvi"}
    assert capsys.readouterr().out.startswith("skipped nehvi: ")
    args.methods = ["nehvi"]
    with pytest.raises(SystemExit, match="no method is left"):
        without_missing_packages(args)


def test_other_methods_need_nothing() -> None:
    needy = {name for name, method in METHODS.items() if method.needs}
    assert needy == {"nehvi", "plain, pruned"}
    assert needy <= {method for _, method, _ in ARMS.values()}


def test_versions_are_those_of_the_installed_packages() -> None:
    botorch = pytest.importorskip("botorch", reason="BoTorch is not installed")
    assert botorch_versions()["botorch"] == botorch.__version__
