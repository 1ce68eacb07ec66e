"""Paths and URLs of runs are told apart, and what can be neither is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasearch.config.places import Url, absolute, check_place
from tasearch.config.run_options import RunOptions
from tasearch.errors import RunError


@pytest.mark.parametrize("text", ["s3://bucket/runs", "s3://bucket/runs/", "s3://bucket/runs//"])
def test_url_is_a_place(text: str) -> None:
    place = check_place(text, "runs_dir")
    assert place == Url("s3://bucket/runs")
    assert str(place / "digits") == "s3://bucket/runs/digits"
    assert (place / "digits").parent == absolute(place) == check_place(place, "runs_dir")
    assert (place.name, (place / "digits").name) == ("runs", "digits")


@pytest.mark.parametrize("text", ["runs", "/a/runs", "s3:/bucket", "a b://c", "S3://bucket/runs"])
def test_other_text_is_a_path(text: str) -> None:
    assert check_place(text, "runs_dir") == Path(text)
    assert absolute(Path(text)) == Path(text).absolute()


def test_bucket_has_no_parent() -> None:
    assert not Url("s3://bucket").has_parent
    assert Url("s3://bucket/run").has_parent
    assert not Url("file:///runs").has_parent
    assert Url("file:///runs/a").has_parent


@pytest.mark.parametrize("text", ["s3://", "s3:///", "zip://a.zip::s3://bucket/a", "s3://a\nb"])
def test_url_of_no_place_is_refused(text: str) -> None:
    with pytest.raises(RunError, match=r"^runs_dir: should be a URL such as s3://bucket/runs, fou"):
        RunOptions(runs_dir=text)


def test_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(RunError) as error:
        RunOptions(runs_dir="sftp://me:secret@host/runs", from_shell=True)
    assert str(error.value).startswith("--runs-dir: should have no password in it; give it to sftp")
    assert "secret" not in str(error.value)
    assert check_place("sftp://me@host/runs", "runs_dir") == Url("sftp://me@host/runs")
