"""The page: what is in it, and what a browser makes of it."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tasearch
from tasearch.chains.hop import arrows
from tasearch.cli.commands import app
from tasearch.errors import NothingFits
from tasearch.report.glossary import GLOSSARY
from tasearch.report.head import head_of
from tasearch.report.info import Info, report_info
from tasearch.report.page import render_page
from tasearch.runs.verdict_file import write_confirmations
from tasearch.runs.verdicts import Arm, Comparison, Confirmation, LookPlan
from tests.helpers.browser import chromium, screen, show, wait_until
from tests.helpers.runs import events_of
from tests.helpers.studies import tiny

ROOT = Path(__file__).resolve().parents[2]
LIMITS = ("max_params", "max_bytes", "max_latency_ms")


@pytest.fixture(scope="module")
def info(budgeted: tasearch.Run) -> Info:
    return report_info(budgeted)


@pytest.fixture(scope="module")
def page(info: Info, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(info, tmp_path_factory.mktemp("page"))


def written(info: Info, folder: Path) -> Path:
    """The page of an info, in a folder."""
    file = folder / "report.html"
    file.write_text(render_page(info), encoding="utf-8")
    return file


def test_page_loads_nothing_from_outside(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    own = re.sub(r'<script id="plotly".*?</script>', "", text, flags=re.DOTALL)
    assert "http://" not in own.replace("http://www.w3.org", "")
    assert "https://" not in own
    assert " src=" not in own
    assert "url(" not in own


def test_page_answers_without_a_script(info: Info, page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    html = re.sub(r"<(script|style).*?</\1>", "", text, flags=re.DOTALL)
    assert info.answer is not None
    row = info.answer.row
    for words in ("Do assistants help?", "Does distillation help?", info.answer.command):
        assert words in html
    assert f"{row.accuracy:.1%} of" in html
    assert html.count("<tr data-trial=") == len(info.rows)
    for row in info.rows:
        assert not row.reason or row.reason.replace("'", "&#x27;") in html


def test_page_escapes_what_strangers_wrote(info: Info) -> None:
    evil = '</script><script>alert("x")</script>'
    rows = tuple(replace(row, reason=evil, label=evil, recipe=evil) for row in info.rows)
    text = render_page(
        replace(
            info,
            rows=rows,
            head=replace(info.head, name=evil, warnings=(evil,)),
            view=replace(info.view, rows=rows),
            study=evil,
        )
    )
    assert evil not in text
    assert text.count("</script>") == 4


def test_page_accepts_an_unfinished_run(tmp_path: Path, finished: tasearch.Run) -> None:
    events = events_of(tiny(), runs_dir=tmp_path, latency_from=finished.path)
    for _ in range(3):
        next(events)
    events.close()
    text = render_page(report_info(tasearch.Run.open(tmp_path / "tiny")))
    assert "0; 18 chains are within the budget" in text
    assert "No student is trained to its end yet." in text
    assert "The run is not over" in text


def test_head_counts_trials_of_assistants_apart(finished: tasearch.Run) -> None:
    """A chain may be trained as part of a longer one, so these two count it as tried once."""
    asked = sum(not trial.free for trial in finished.trials)
    extra = sum(trial.free for trial in finished.trials)
    assert asked
    assert extra
    facts = dict(head_of(finished).facts)
    assert facts["trials"] == (
        f"{asked}, and {extra} more for their assistants; 18 chains are within the budget"
    )


def test_glossary_is_that_of_the_documentation() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \*\*(\w+)\*\* \| (.*) \|$", text, flags=re.MULTILINE)
    assert {word: meaning.replace("`", "") for word, meaning in listed} == GLOSSARY


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driver:
        yield driver


@pytest.fixture
def shown(browser: Any, page: Path) -> Any:
    """The browser with the page as it is at first."""
    show(browser, page)
    return browser


@pytest.mark.slow
def test_page_draws_its_figures_without_a_console_error(shown: Any) -> None:
    for name in ("front", "assistants"):
        plot = shown.find_element("id", name)
        assert plot.find_elements("css selector", "svg .scatterlayer .trace"), name
    for details in shown.find_elements("css selector", "details"):
        details.find_element("css selector", "summary").click()
    for name in ("curves", "cost", "progress", "importance"):
        plot = shown.find_element("id", name)
        wait_until(shown, lambda _, p=plot: p.find_elements("css selector", "svg.main-svg"), name)
    assert shown.get_log("browser") == []


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


def ask(driver: Any, budget: dict[str, float]) -> None:
    """Fill a budget into the page's fields, as a person does."""
    unit = "bytes" if "max_bytes" in budget else "params"
    driver.find_element("css selector", f"#unit option[value={unit}]").click()
    for key in LIMITS:
        field = driver.find_element("id", key.replace("_", "-"))
        if field.is_displayed():
            field.clear()
            if key in budget:
                field.send_keys(repr(budget[key]))


@pytest.mark.slow
def test_page_picks_what_the_command_picks(shown: Any, budgeted: tasearch.Run) -> None:
    picked = set()
    for budget in budgets(budgeted):
        ask(shown, budget)
        options = [f"--{k.replace('_', '-')}={v!r}" for k, v in budget.items()]
        command = CliRunner().invoke(app, ["best", str(budgeted.path), "--json", *options])
        said = json.loads(command.stdout)
        box = shown.find_element("id", "pick")
        expected = "" if "error" in said else str(said["trial"])
        wait_until(shown, lambda _, b=box, e=expected: b.get_attribute("data-trial") == e, budget)
        if "error" in said:
            assert "Nothing fits." in box.text
            assert f"(trial {said['nearest']['trial']})" in box.text
        elif said["recipe"]["student"]["loss"] != "ce":
            assert arrows(tuple(said["chain"])) in box.text
        picked.add(expected)
    assert len(picked) > 2
    assert shown.get_log("browser") == []


@pytest.mark.slow
def test_page_prefers_tested_students_as_the_command_does(
    browser: Any, budgeted: tasearch.Run, tmp_path: Path
) -> None:
    """Two of three widths are confirmed, the second of them as the better one."""
    path = tmp_path / budgeted.path.name
    shutil.copytree(budgeted.path, path)
    first, second, *_ = budgeted.choices
    found = []
    for candidate, accuracy in ((first, 0.25), (second, 0.5)):
        arm = Arm(chain=candidate.chain, recipe=candidate.recipe, accuracies=(accuracy,) * 8)
        own = Comparison(question="assistants", first=arm, second=arm)
        found.append(Confirmation(plan=LookPlan(), comparisons=(own,), finished=True))
    write_confirmations(path, found)
    run = tasearch.Run.open(path)
    assert run.best().trial == second.trial
    show(browser, written(report_info(run), tmp_path))
    assert box_trial(browser) == second.trial
    for budget in budgets(run)[:-1]:
        try:
            expected = run.best(**budget).trial  # type: ignore[arg-type]
        except NothingFits:
            continue
        ask(browser, budget)
        wait_until(browser, lambda d, e=expected: box_trial(d) == e, budget)


@pytest.mark.slow
@pytest.mark.parametrize("value", ["0", "-5"])
def test_page_finds_nothing_within_a_budget_of_nothing(shown: Any, value: str) -> None:
    shown.find_element("id", "max-params").send_keys(value)
    box = shown.find_element("id", "pick")
    wait_until(shown, lambda _: "Nothing fits." in box.text, value)
    assert box.get_attribute("data-trial") == ""


@pytest.mark.slow
def test_budget_and_choice_stay_in_the_address(browser: Any, page: Path, info: Info) -> None:
    sizes = {row.params: row for row in info.rows if row.front}
    limit = min(sizes)
    show(browser, page, f"#params={limit}")
    assert browser.find_element("id", "max-params").get_attribute("value") == str(limit)
    box = browser.find_element("id", "pick")
    assert f"{limit:,} parameters" in box.text
    other = next(row for row in info.rows if row.finished and not row.front)
    show(browser, page, f"#trial={other.trial}")
    assert box_trial(browser) == other.trial
    ask(browser, {"max_bytes": max(row.bytes for row in sizes.values())})
    wait_until(browser, lambda d: address_of(d).startswith("#bytes="), "the address")


@pytest.mark.slow
def test_a_moved_slider_writes_the_address_once(browser: Any, page: Path) -> None:
    """Browsers hold back pages that write it more than some 200 times in 10 seconds."""
    show(browser, page)
    browser.get_log("browser")
    browser.execute_script(
        "const s = document.getElementById('size-slider');"
        "for (let i = 0; i < 600; i++) {"
        "  s.value = i % 1000; s.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    last = browser.find_element("id", "max-params").get_attribute("value")
    wait_until(browser, lambda d: address_of(d) == f"#params={last}", "the address")
    assert browser.get_log("browser") == []


def address_of(driver: Any) -> str:
    return str(driver.execute_script("return location.hash"))


def box_trial(driver: Any) -> int:
    return int(driver.find_element("id", "pick").get_attribute("data-trial"))


@pytest.mark.slow
def test_slider_at_a_mark_is_the_size_of_a_student(shown: Any, info: Info) -> None:
    trials = {row.trial: row for row in info.rows}
    places = shown.execute_script(
        "return [...document.querySelectorAll('#sizes option')].map(o => o.value)"
    )
    sizes = sorted({trials[trial].params for trial in info.choices})
    assert len(places) == len(sizes)
    for place, size in zip(sorted(map(int, places)), sizes, strict=True):
        shown.execute_script(
            "const s = document.getElementById('size-slider'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('input', {bubbles: true}))",
            place,
        )
        value = shown.find_element("id", "max-params").get_attribute("value")
        assert value == ("" if place == 1000 else str(size))


# The marks of the front, as plotly has drawn them


def centres(driver: Any) -> dict[int, tuple[float, float]]:
    """Where the members of the front are in the window, by trial."""
    found = driver.execute_script(
        """
        const plot = document.getElementById("front"), box = plot.getBoundingClientRect();
        const {xaxis, yaxis} = plot._fullLayout, found = [];
        for (const trace of plot.data)
          if (trace.error_y && trace.error_y.array)
            for (let i = 0; i < trace.x.length; i++)
              found.push([trace.customdata[i], box.x + xaxis._offset + xaxis.c2p(trace.x[i]),
                          box.y + yaxis._offset + yaxis.c2p(trace.y[i])]);
        return found;
        """
    )
    return {trial: (x, y) for trial, x, y in found}


def mouse(driver: Any, kind: str, at: tuple[float, float]) -> None:
    """Send an event of the mouse at a place of the window."""
    options = {"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1}
    if kind == "mouseMoved":
        options |= {"button": "none", "clickCount": 0}
    driver.execute_cdp_cmd("Input.dispatchMouseEvent", options)


@pytest.mark.slow
@pytest.mark.parametrize(("x", "y"), [("params", "error"), ("latency_ms", "accuracy")])
def test_hover_and_click_at_a_member_give_that_member(
    shown: Any, info: Info, x: str, y: str
) -> None:
    shown.find_element("css selector", f"#axis-x option[value={x}]").click()
    shown.find_element("css selector", f"#axis-y option[value={y}]").click()
    shown.execute_script("document.getElementById('front').scrollIntoView({block: 'center'})")
    members = {row.trial: row for row in info.rows if row.front}
    assert centres(shown).keys() == members.keys()
    for trial, row in members.items():
        at = centres(shown)[trial]
        mouse(shown, "mouseMoved", (at[0] - 40, at[1] - 40))
        mouse(shown, "mouseMoved", at)
        words = f"{row.label} (trial {trial})"
        hovered = "return document.querySelector('#front .hoverlayer')?.textContent ?? ''"
        wait_until(shown, lambda d, w=words, s=hovered: w in d.execute_script(s), words)
        mouse(shown, "mousePressed", at)
        mouse(shown, "mouseReleased", at)
        wait_until(shown, lambda d, t=trial: box_trial(d) == t, words)
        marked = shown.find_elements("css selector", "#trials tr.chosen")
        assert [m.get_attribute("data-trial") for m in marked] == [str(trial)]


@pytest.mark.slow
@pytest.mark.parametrize("x", ["params", "bytes", "latency_ms"])
@pytest.mark.parametrize("y", ["error", "accuracy"])
def test_line_of_the_teacher_has_its_label(shown: Any, info: Info, x: str, y: str) -> None:
    """A point that lies beyond the axis by rounding would have none."""
    shown.find_element("css selector", f"#axis-x option[value={x}]").click()
    shown.find_element("css selector", f"#axis-y option[value={y}]").click()
    texts = "return [...document.querySelectorAll('#front .textpoint')].map(e => e.textContent)"
    label = f"{info.view.teacher}: {info.view.teacher_accuracy:.1%}"
    wait_until(shown, lambda d: any(label in t for t in d.execute_script(texts)), label)
    inside = """
        const {data, layout} = document.getElementById('front');
        const at = data.find(trace => trace.name === 'teacher').x;
        const [from, to] = layout.xaxis.range, log = layout.xaxis.type === 'log';
        return at.map(x => log ? Math.log10(x) : x).every(x => from < x && x < to);
    """
    assert shown.execute_script(inside)


# The table


@pytest.mark.slow
def test_table_sorts_and_filters(shown: Any, info: Info) -> None:
    def trials() -> list[int]:
        script = (
            "return [...document.querySelectorAll('#trials tbody tr')].filter(r => !r.hidden)"
            ".map(r => Number(r.dataset.trial))"
        )
        return [int(t) for t in shown.execute_script(script)]

    assert trials() == [row.trial for row in info.rows]
    head = shown.find_element("xpath", "//th[button[text()='accuracy']]")
    by_trial = {row.trial: row.accuracy or -1 for row in info.rows}
    for falling in (False, True):
        head.find_element("css selector", "button").send_keys("\n")  # by keyboard
        values = [by_trial[t] for t in trials()]
        assert values == sorted(values, reverse=falling)
        assert head.get_attribute("aria-sort") == ("descending" if falling else "ascending")
    shown.find_element("css selector", "#of-state option:nth-child(2)").click()
    state = shown.find_element("id", "of-state").get_attribute("value")
    expected = {row.trial for row in info.rows if row.state == state}
    wait_until(shown, lambda _: set(trials()) == expected, state)
    shown.find_element("id", "find").send_keys("→ 2")
    fewer = {r.trial for r in info.rows if r.state == state and "→ 2" in r.label}
    wait_until(shown, lambda _: set(trials()) == fewer, "→ 2")
    assert shown.find_element("id", "count").text == f"{len(fewer)} of {len(info.rows)}"


@pytest.mark.slow
def test_trial_is_chosen_from_the_table_by_keyboard(shown: Any, info: Info) -> None:
    row = [row for row in info.rows if row.finished and not row.front][-1]
    shown.find_element("css selector", f".choose[data-trial='{row.trial}']").send_keys("\n")
    box = shown.find_element("id", "pick")
    assert box_trial(shown) == row.trial
    assert f"--trial {row.trial} " in box.text
    assert row.interval is not None
    assert f"{100 * row.interval[0]:.1f} to {100 * row.interval[1]:.1f}" in box.text


@pytest.mark.slow
def test_replicates_are_shown(browser: Any, info: Info, tmp_path: Path) -> None:
    values = (0.5, 0.625)
    rows = tuple(replace(r, replicates=values) if r.finished else r for r in info.rows)
    show(browser, written(replace(info, rows=rows), tmp_path))
    assert "50.0%, 62.5%" in browser.find_element("id", "pick").text


@pytest.mark.slow
def test_verdict_is_shown(browser: Any, confirmed: tasearch.Run, tmp_path: Path) -> None:
    show(browser, written(report_info(confirmed), tmp_path))
    assert "helps" in browser.find_element("id", "assistants").text
    assert "Assistants help: +9.3 points" in browser.page_source or (
        "assistants help: +9.3 points" in browser.page_source
    )
    assert browser.get_log("browser") == []


# Every kind of screen


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 820, 1400])
def test_page_fits_its_window(browser: Any, page: Path, width: int) -> None:
    """Neither the page nor a figure is wider than the room that it has, on a phone too."""
    with screen(browser, width=width):
        show(browser, page)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        for name in ("front", "assistants"):
            plot = browser.find_element("id", name)
            drawing = plot.find_element("css selector", "svg.main-svg")
            assert drawing.size["width"] <= plot.size["width"] + 1, name
        if width == 390:
            answer = browser.find_element("css selector", ".ship")
            assert answer.location["y"] < 844  # in the first screen of a phone


@pytest.mark.slow
def test_long_recipe_makes_no_row_tall_on_a_phone(browser: Any, page: Path) -> None:
    """It is beyond the edge, so that a tall row would look empty."""
    script = """
        const row = document.querySelector("#trials tbody tr"), cells = [...row.cells];
        const names = [...document.querySelectorAll("#trials th")].map(th => th.innerText);
        cells[names.findIndex(name => name.startsWith("searched"))].innerText = arguments[0];
        return row.getBoundingClientRect().height;
    """
    words = "start from the teacher, loss kd, assistants' start from the teacher"
    with screen(browser, width=390):
        show(browser, page)
        assert browser.execute_script(script, words) < 60  # two lines and padding


@pytest.mark.slow
def test_nothing_moves_while_the_page_loads(browser: Any, page: Path) -> None:
    with screen(browser, width=390):
        show(browser, page)
        shift = browser.execute_async_script(
            """
            const done = arguments[0]; let sum = 0;
            new PerformanceObserver(list => {
              for (const entry of list.getEntries()) sum += entry.value;
            }).observe({type: "layout-shift", buffered: true});
            setTimeout(() => done(sum), 500);
            """
        )
    assert shift < 0.1


@pytest.mark.slow
def test_dark_page_is_dark_and_so_are_its_figures(browser: Any, page: Path) -> None:
    script = """
        const body = getComputedStyle(document.body).backgroundColor;
        const figure = document.querySelector("#front .main-svg").style.background;
        return [body, figure];
    """
    found = []
    for dark in (False, True):
        with screen(browser, width=1200, dark=dark):
            show(browser, page)
            found.append([lightness(colour) for colour in browser.execute_script(script)])
    light, dark_ones = found
    assert min(light) > 200
    assert max(dark_ones) < 60


def lightness(colour: str) -> float:
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_page_has_no_fault_of_accessibility(browser: Any, page: Path, dark: bool) -> None:
    axe = pytest.importorskip("axe_core_python")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    with screen(browser, width=1200, dark=dark):
        show(browser, page)
        browser.execute_script(
            "for (const d of document.querySelectorAll('details')) d.open = true"
        )
        browser.execute_script(script)
        found = browser.execute_async_script(
            "const done = arguments[0]; axe.run(document).then(r => done(r.violations))"
        )
    assert [(v["id"], [n["html"][:200] for n in v["nodes"][:3]]) for v in found] == []


@pytest.mark.slow
def test_print_has_every_part_and_cuts_nothing(browser: Any, page: Path, tmp_path: Path) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext on this machine")
    with screen(browser, width=1200, dark=True):
        show(browser, page)
        options = {"printBackground": True, "paperWidth": 8.27, "paperHeight": 11.69}
        printed = browser.execute_cdp_cmd("Page.printToPDF", options)["data"]
        wide = browser.execute_script(
            "return [...document.querySelectorAll('details[open]')].length"
        )
    assert wide == 0  # all are closed again
    file = tmp_path / "page.pdf"
    file.write_bytes(base64.b64decode(printed))
    text = subprocess.run(
        ["pdftotext", "-layout", file, "-"], capture_output=True, text=True, check=True
    ).stdout
    for words in ("The answer", "Does an assistant help?", "All trials", "Learning curves"):
        assert words in text
    for words in ("gain over direct distillation, points", "not confirmed", "epoch", "Glossary"):
        assert words in text  # texts of figures, and of details that were closed


@pytest.mark.slow
def test_broken_plotly_leaves_the_page_readable(browser: Any, page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("DecompressionStream", "NoSuchThing")
    file = tmp_path / "old.html"
    file.write_text(text, encoding="utf-8")
    browser.get(file.as_uri())
    ready = "return document.body.dataset.ready"
    wait_until(browser, lambda d: d.execute_script(ready) == "no figures", "the message")
    assert "This browser cannot draw the figures" in browser.find_element("id", "front").text
    assert browser.find_element("id", "pick").get_attribute("data-trial") != ""
