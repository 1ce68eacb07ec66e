from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tasearch
from tasearch.chains.hop import arrows
from tasearch.cli.commands import app
from tasearch.pareto.hypervolume import hypervolume
from tasearch.pareto.skyline import PruningDecision
from tasearch.report.audit import AuditCount, audit_count
from tasearch.report.figures import curves_figure, figures
from tasearch.report.info import Curve, report_info
from tasearch.report.page import render_page
from tasearch.report.status import status_lines
from tasearch.report.text import duration
from tasearch.runs.events import HopEnded
from tasearch.runs.records import HopUse, TrialRecord, costs
from tests.helpers.runs import events_of, proposed
from tests.helpers.studies import tiny

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FIGURES = ("front-params", "front-latency", "chains", "curves", "progress")  # ids in the page


@pytest.fixture(scope="module")
def budgeted(tmp_path_factory: pytest.TempPathFactory, finished: tasearch.Run) -> tasearch.Run:
    """A run with pruned students and with models over its budget."""
    limit = finished.manifest.measured[6].params
    study = tiny(
        budget={"max_params": limit},
        search={"gain_quantile": 0.0, "noise_margin": 0.0, "trials": 14},
    )
    folder = tmp_path_factory.mktemp("odd")
    return tasearch.run(study, runs_dir=folder, latency_from=finished.path, workers=1)


# Info


def test_info_gives_every_finished_student_a_point_of_its_kind(budgeted: tasearch.Run) -> None:
    info = report_info(budgeted)
    kinds = {p.trial: p.kind for p in info.points if p.trial is not None}
    members = {c.trial for c in budgeted.front.members}
    for trial in budgeted.trials:
        if trial.state == "pruned":
            assert kinds[trial.number] == "pruned"
        else:
            assert kinds[trial.number] == ("front" if trial.number in members else "dominated")
    assert "pruned" in kinds.values()
    limit = budgeted.manifest.study.budget.max_params
    for point in info.points:
        if point.kind == "teacher":
            assert point.label == arrows((16,))
        else:
            assert (point.kind == "over budget") == (point.params > limit)
    assert {"teacher", "over budget"} <= {p.kind for p in info.points}


@pytest.mark.parametrize("kind", ["front", "dominated", "pruned"])
@pytest.mark.parametrize("count", [1, 3])
def test_curves_figure_shows_every_curve(kind: str, count: int) -> None:
    """A line needs two points, so the curve of a single epoch is a marker."""
    points = tuple(range(1, count + 1)), (0.5,) * count
    curve = Curve(label="8", trial=0, kind=kind, epochs=points[0], accuracy=points[1])
    (line,) = curves_figure((curve,)).data
    marked = "markers" in line.mode and line.marker.size[-1] > 0
    assert marked == (count == 1 or kind == "pruned")
    assert marked or (line.mode == "lines" and count > 1)


def test_info_shortens_curves_of_pruned_students_only(budgeted: tasearch.Run) -> None:
    for curve in report_info(budgeted).curves:
        trial = budgeted.trials[curve.trial]
        assert (curve.epochs, curve.accuracy) == (trial.epochs, trial.curve)
        assert trial.recipe is not None
        whole = trial.recipe["student"]["epochs"]  # an assistant has fewer
        assert (curve.epochs[-1] < whole) == (curve.kind == "pruned")


def test_progress_rises_to_the_hypervolume_of_the_front(budgeted: tasearch.Run) -> None:
    info = report_info(budgeted)
    volumes = [step.hypervolume for step in info.progress]
    paid = [step.flops for step in info.progress]
    assert volumes == sorted(volumes)
    assert paid == sorted(paid)
    assert len(volumes) == len(budgeted.trials)
    free = [t.number for t in budgeted.trials if t.free]
    assert free
    assert all(paid[number] == paid[number - 1] for number in free)
    whole = hypervolume(budgeted.front.members, budgeted.manifest.reference_box)
    assert volumes[-1] == pytest.approx(whole)
    assert paid[-1] == info.costs.paid


def test_info_knows_the_accuracy_of_every_model_on_the_front(budgeted: tasearch.Run) -> None:
    info = report_info(budgeted)
    assert info.chains.keys() == {c.trial for c in info.front.members}
    for candidate in info.front.members:
        links = info.chains[candidate.trial]
        assert tuple(link.width for link in links) == candidate.chain
        assert all(link.accuracy is not None for link in links)
        assert links[-1].accuracy == candidate.accuracy


def use(key: str, width: int, trained: int, epochs: int = 10) -> HopUse:
    return HopUse(key=key, width=width, epochs=epochs, trained=trained, accuracy=0.5)


def test_costs_count_each_hop_once(finished: tasearch.Run) -> None:
    measured = finished.manifest.measured
    trials = [
        TrialRecord(number=0, state="complete", hops=(use("t", 16, 10), use("a", 4, 10))),
        TrialRecord(number=1, state="pruned", hops=(use("t", 16, 10), use("b", 4, 2))),
    ]
    found = costs(trials, 100, measured)
    big, small = 3 * 100 * measured[16].flops, 3 * 100 * measured[4].flops
    assert found.paid == 10 * big + 12 * small
    assert found.unshared == 20 * big + 12 * small
    assert found.unpruned == 10 * big + 20 * small
    assert (found.hops, found.uses) == (3, 4)


@pytest.mark.slow
def test_costs_count_every_replicate(rerun: Any) -> None:
    one, two = (rerun(tiny(search={"replicates": n}), f"{n}", trials=3) for n in (1, 2))
    assert two.costs.paid == 2 * one.costs.paid
    assert two.costs.hops == one.costs.hops


def test_loaded_teacher_costs_no_training(finished: tasearch.Run) -> None:
    hops = (use("t", 16, 0, epochs=0), use("a", 4, 10))
    found = costs(
        [TrialRecord(number=0, state="complete", hops=hops)], 100, finished.manifest.measured
    )
    assert (found.hops, found.uses) == (1, 1)


def test_audit_count_counts_students_that_reached_the_skyline() -> None:
    audit = PruningDecision(rung=0, reach=0.5, skyline=0.8)
    trials = [
        TrialRecord(number=0, state="complete", accuracy=0.9, audit=audit),
        TrialRecord(number=1, state="complete", accuracy=0.7, audit=audit),
        TrialRecord(number=2, state="complete", accuracy=0.9),
    ]
    found = audit_count(trials)
    assert (found.audited, found.wrong) == (2, 1)


@pytest.mark.parametrize(("wrong", "audited"), [(0, 10), (1, 12), (3, 3), (7, 40), (0, 0)])
def test_audit_gives_an_exact_interval(wrong: int, audited: int) -> None:
    """At each end of the interval, a result so far off has a probability of 1 in 40."""

    def chance(counts: range, rate: float) -> float:
        return sum(math.comb(audited, n) * rate**n * (1 - rate) ** (audited - n) for n in counts)

    low, high = AuditCount(audited=audited, wrong=wrong).interval
    if wrong:
        assert chance(range(wrong, audited + 1), low) == pytest.approx(0.025)
    if wrong < audited:
        assert chance(range(wrong + 1), high) == pytest.approx(0.025)
    assert (low == 0, high == 1) == (wrong == 0, wrong == audited)


def test_audit_tells_its_counts_in_words() -> None:
    assert AuditCount(audited=0, wrong=0).words == "none audited"
    words = "12 audited, 1 wrongly pruned: 8% (0% to 38%)"
    assert AuditCount(audited=12, wrong=1).words == words


def test_status_tells_what_was_done(finished: tasearch.Run) -> None:
    lines = dict(status_lines(finished))
    free = sum(t.free for t in finished.trials)
    states = Counter(t.state for t in proposed(finished))
    words = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    assert free > 0
    assert lines["trials"] == (
        f"10 of 10: {words}; besides, {free} of their assistants are students, for free"
    )
    saved = 1 - finished.costs.paid / finished.costs.unpruned
    words = audit_count(finished.trials).words
    assert lines["pruning"] == f"saved {saved:.1%}; {words}"
    assert lines["space"] == "18 chains within the budget"
    hops = finished.costs.hops
    assert lines["hops"] == f"{hops} trained, {finished.costs.uses - hops} times reused"
    assert lines["teacher"].startswith("accuracy ")
    assert lines["time"].endswith("finished: 10 trials are done")


def test_status_counts_hops_of_running_trials(tmp_path: Path) -> None:
    events = events_of(tiny(), runs_dir=tmp_path)
    ended = 0
    while ended < 2:
        ended += isinstance(next(events), HopEnded)
    events.close()
    lines = dict(status_lines(tasearch.Run.open(tmp_path / "tiny")))
    assert lines["trials"].startswith("0 of 10: 8 interrupted")
    assert lines["hops"] == "2 trained, 0 times reused"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59, "59 s"), (61, "1 min 01 s"), (3600 + 125, "1 h 02 min")],
)
def test_duration_chooses_its_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


# Figures


def test_figures_draw_the_info(budgeted: tasearch.Run) -> None:
    info = report_info(budgeted)
    drawn = figures(info)
    for name, cost in (("front-params", "params"), ("front-latency", "latency_ms")):
        marks = [t for t in drawn[name].data if t.mode == "markers" and t.name != "picked"]
        points = {(x, y) for t in marks for x, y in zip(t.x, t.y, strict=True)}
        assert points == {(getattr(p, cost), p.accuracy) for p in info.points}
        assert drawn[name].data[-1].name == "picked"
        hover = {row[0] for t in marks for row in t.customdata}
        assert hover == {p.label for p in info.points}
    assert len(drawn["curves"].data) == len(info.curves)
    assert len(drawn["chains"].data) == len(info.chains)
    assert list(drawn["progress"].data[0].y) == [s.hypervolume for s in info.progress]


def test_page_accepts_an_unfinished_run(tmp_path: Path, finished: tasearch.Run) -> None:
    events = events_of(tiny(), runs_dir=tmp_path, latency_from=finished.path)
    for _ in range(3):
        next(events)
    events.close()
    page = render_page(report_info(tasearch.Run.open(tmp_path / "tiny")))
    assert "0 of 18 chains" in page


# The page


@pytest.fixture(scope="module")
def page(budgeted: tasearch.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(render_page(report_info(budgeted)), encoding="utf-8")
    return file


def test_page_loads_nothing_from_outside(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    head = text[: text.index("<script>")] + text[text.index('<script id="plots"') :]
    assert "http://" not in head
    assert "https://" not in head
    assert "src=" not in head


@pytest.fixture(scope="module")
def browser(page: Path) -> Iterator[Any]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no chromium with chromedriver on this machine")
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = CHROMIUM
    for switch in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--window-size=1280,1600",
    ):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.get(page.as_uri())
        ready = "return document.body.dataset.ready"
        wait_until(driver, lambda d: d.execute_script(ready) == "yes", "the plots")
        yield driver
    finally:
        driver.quit()


def wait_until(driver: Any, condition: Callable[[Any], bool], what: object) -> None:
    """Wait for the page, which needs a moment to react.

    Args:
        driver: The browser.
        condition: Function of the driver that becomes true.
        what: Name of the condition in the message.
    """
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 30).until(condition, str(what))


@pytest.mark.slow
def test_page_draws_every_figure_without_a_console_error(
    browser: Any, budgeted: tasearch.Run
) -> None:
    assert browser.get_log("browser") == []
    for name in FIGURES:
        plot = browser.find_element("id", name)
        assert plot.find_elements("css selector", "svg .scatterlayer .trace"), name
        assert plot.size["height"] > 200
    rows = browser.find_elements("css selector", "tbody tr")
    assert len(rows) == len(budgeted.front)
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= browser.execute_script("return window.innerWidth")


def budgets(run: tasearch.Run) -> list[dict[str, float]]:
    sizes = [run.manifest.measured[w] for w in (6, 4, 2)]
    found: list[dict[str, float]] = [{}]
    for size in sizes:
        found += [
            {"max_params": size.params},
            {"max_bytes": size.bytes},
            {"max_latency_ms": size.latency_ms},
            {"max_params": size.params, "max_latency_ms": size.latency_ms * 1.01},
            {"max_params": size.params - 1},
        ]
    return [*found, {"max_params": 1}]


def check_pick(browser: Any, run: tasearch.Run, budget: dict[str, float]) -> str:
    """Compare the page's choice for a budget with the command's.

    Args:
        browser: Browser that shows the run's page.
        run: The run.
        budget: Limits by name of the option.

    Returns:
        The trial that the page picked; empty if nothing fits.
    """
    for key in ("max_params", "max_bytes", "max_latency_ms"):
        field = browser.find_element("id", key.replace("_", "-"))
        field.clear()
        if key in budget:
            field.send_keys(repr(budget[key]))
    options = [f"--{k.replace('_', '-')}={v!r}" for k, v in budget.items()]
    command = CliRunner().invoke(app, ["best", str(run.path), "--json", *options])
    said = json.loads(command.stdout)
    box = browser.find_element("id", "pick")
    expected = "" if "error" in said else str(said["trial"])
    wait_until(browser, lambda _: box.get_attribute("data-trial") == expected, budget)
    if "error" in said:
        assert f"(trial {said['nearest']['trial']})" in box.text
    else:
        assert arrows(tuple(said["chain"])) in box.text
    return expected


@pytest.mark.slow
def test_page_picks_what_the_command_picks(browser: Any, budgeted: tasearch.Run) -> None:
    small = budgeted.manifest.measured[4].params
    chosen: tuple[dict[str, float], ...] = ({}, {"max_params": small}, {"max_params": 1})
    picked = [check_pick(browser, budgeted, budget) for budget in chosen]
    assert len({*picked}) == 3
    assert browser.get_log("browser") == []


@pytest.mark.slow
def test_page_picks_what_the_command_picks_for_every_budget(
    browser: Any, budgeted: tasearch.Run
) -> None:
    picked = {check_pick(browser, budgeted, budget) for budget in budgets(budgeted)}
    assert len(picked) > 2
    assert browser.get_log("browser") == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1400])
def test_page_fits_its_window(browser: Any, page: Path, width: int) -> None:
    """Neither the page nor a figure is wider than the room that it has, on a phone too."""
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        browser.get(page.as_uri())
        ready = "return document.body.dataset.ready"
        wait_until(browser, lambda d: d.execute_script(ready) == "yes", "the plots")
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        for name in FIGURES:
            plot = browser.find_element("id", name)
            drawing = plot.find_element("css selector", "svg.main-svg")
            assert drawing.size["width"] <= plot.size["width"] + 1, name
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
