"""`tasearch plot`: each figure of the report as a file of its own."""

from __future__ import annotations

import importlib.util
import json
import re
import struct
from pathlib import Path
from xml.etree import ElementTree

import pytest

import tasearch
from tasearch.report.figure_files import WIDTH, figure_bytes
from tasearch.report.front_figure import HEIGHT, front_figure
from tasearch.report.front_view import TITLES
from tasearch.report.info import Info, report_info
from tasearch.report.plots import PLOTS, Look
from tasearch.report.style import DARK
from tests.helpers.browser import CHROMIUM, chromium, wait_until
from tests.helpers.commands import command
from tests.helpers.runs import only_prepared

needs_images = pytest.mark.skipif(
    CHROMIUM is None or importlib.util.find_spec("kaleido") is None,
    reason="no kaleido, or no chromium, on this machine",
)


@pytest.fixture(scope="module")
def info(finished: tasearch.Run) -> Info:
    return report_info(finished)


@pytest.mark.parametrize("name", [*PLOTS])
def test_json_is_the_figure_of_the_report(
    finished: tasearch.Run,
    info: Info,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    file = tmp_path / "figures" / "figure.json"
    assert command(capsys, "plot", finished.path, name, "--out", file) == (
        0,
        f"wrote {file}\n",
        "",
    )
    assert json.loads(file.read_text()) == json.loads(PLOTS[name].draw(info, Look()).to_json())


def test_options_choose_axes_and_colours(
    finished: tasearch.Run, info: Info, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "front.JSON"
    options = ("--x", "latency_ms", "--y", "accuracy", "--dark")
    assert command(capsys, "plot", finished.path, "front", "--out", file, *options)[0] == 0
    expected = front_figure(info.view, "latency_ms", "accuracy", DARK)
    found = json.loads(file.read_text())
    assert found == json.loads(expected.to_json())
    assert found["layout"]["xaxis"]["title"]["text"] == TITLES["latency_ms"]
    assert found["layout"]["paper_bgcolor"] == DARK.paper


def test_page_of_a_figure_loads_nothing_from_outside(info: Info) -> None:
    figure = front_figure(info.view)
    page = figure_bytes(figure, ".html", "</title><script>").decode()
    assert "</title><script>" not in page.partition("<script>")[0]
    assert "plotly.js (basic" in page
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=(?!\"data:)", page)


@pytest.mark.slow
def test_page_of_a_figure_draws_it_in_a_browser(info: Info, tmp_path: Path) -> None:
    file = tmp_path / "front.html"
    file.write_bytes(figure_bytes(front_figure(info.view), ".html", "front"))
    with chromium() as driver:
        driver.get(file.as_uri())
        marks = "svg .scatterlayer .trace"
        wait_until(driver, lambda d: d.find_elements("css selector", marks), "the marks")
        assert driver.get_log("browser") == []


@pytest.mark.slow
@needs_images
def test_images_have_their_size(
    finished: tasearch.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    png, svg = tmp_path / "front.png", tmp_path / "front.svg"
    for file in (png, svg):
        assert command(capsys, "plot", finished.path, "front", "--out", file)[0] == 0
    content = png.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (2 * WIDTH, 2 * HEIGHT)
    image = ElementTree.fromstring(svg.read_text())
    assert (image.get("width"), image.get("height")) == (str(WIDTH), str(HEIGHT))
    assert "error on the validation part" in svg.read_text()


@pytest.mark.parametrize(
    ("browser", "message"), [("/nonexistent", "there is none"), ("/bin/false", "does not start")]
)
@pytest.mark.slow
@needs_images
def test_image_without_a_browser_is_refused(
    info: Info, monkeypatch: pytest.MonkeyPatch, browser: str, message: str
) -> None:
    monkeypatch.setenv("BROWSER_PATH", browser)
    with pytest.raises(tasearch.TasearchError, match=message) as error:
        figure_bytes(PLOTS["cost"].draw(info, Look()), ".svg", "")
    assert "plotly_get_chrome" in str(error.value)


def test_image_without_kaleido_is_refused(
    finished: tasearch.Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = importlib.util.find_spec
    missing = lambda name: None if name == "kaleido" else found(name)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", missing)
    file = tmp_path / "cost.png"
    code, _, said = command(capsys, "plot", finished.path, "cost", "--out", file)
    assert (code, said) == (
        2,
        "error: .png needs kaleido, which is not installed: pip install 'tasearch[images]' "
        "installs it; .html and .json need nothing\n",
    )
    assert command(capsys, "plot", finished.path, "cost", "--out", tmp_path / "x.json")[0] == 0


def test_wrong_arguments_are_refused_in_words(
    finished: tasearch.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "x.json").mkdir()
    names = "front, assistants, curves, cost, progress or importance"
    fine = tmp_path / "a.json"
    for name, out, options, message in (
        ("fronts", fine, [], f"NAME: should be {names}, found 'fronts'"),
        ("front", fine, ["--x", "flops"], "--x: should be params, bytes or latency_ms"),
        ("front", fine, ["--y", "params"], "--y: should be error or accuracy, found 'params'"),
        ("cost", fine, ["--x", "params"], "--x: goes with the figure front only, found cost"),
        ("cost", fine, ["--y", "error"], "--y: goes with the figure front only, found cost"),
        ("cost", tmp_path / "a.pdf", [], "--out: should end in .png, .svg, .html or .json, found"),
        ("cost", tmp_path / "file/a.svg", [], f"--out: {tmp_path}/file: is no folder"),
        ("cost", tmp_path / "x.json", [], f"--out: {tmp_path}/x.json: is a folder, not a file"),
    ):
        code, _, said = command(capsys, "plot", finished.path, name, "--out", out, *options)
        assert code == 2
        assert said.startswith(f"error: {message}") and said.count("\n") == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "x.json"]


@pytest.mark.parametrize("name", [*PLOTS])
def test_figure_without_content_is_refused(
    finished: tasearch.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    run = only_prepared(finished, tmp_path)
    code, _, said = command(capsys, "plot", run, name, "--out", tmp_path / "a.json")
    assert (code, said) == (
        1,
        f"error: {run}: has nothing to show as {name!r} yet; it needs {PLOTS[name].needs}\n",
    )
    assert not (tmp_path / "a.json").exists()
