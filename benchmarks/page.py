"""How large is the report page, how soon can it be used, and does anything move while it loads?

    python -m benchmarks.page runs/digits

The page of a finished run, as it is, and with its trials repeated until there are 1,000. A headless
Chromium opens each several times, in a fresh process, from a local file.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import tasearch
from benchmarks import common
from tasearch.report.info import Info, report_info
from tasearch.report.page import render_page
from tests.helpers.browser import chromium, screen, show

MANY = 1_000  # trials
REPEATS = 5
TIMES = """
const done = arguments[0]; let moved = 0;
new PerformanceObserver(list => { for (const e of list.getEntries()) moved += e.value; })
  .observe({type: "layout-shift", buffered: true});
const first = performance.getEntriesByName("first-contentful-paint")[0];
setTimeout(() => done({
  first_paint_ms: first ? first.startTime : null,
  usable_ms: Number(document.body.dataset.usableAt),
  figures_drawn_ms: Number(document.body.dataset.readyAt),
  layout_shift: moved,
}), 300);
"""


def repeated(info: Info, count: int) -> Info:
    """An info with as many rows as asked for, each with a number of its own."""
    rows = tuple(
        replace(row, trial=number, front=row.front and number == row.trial)
        for number, row in zip(range(count), itertools.cycle(info.rows), strict=False)
    )
    return replace(info, rows=rows, view=replace(info.view, rows=rows))


def measured(info: Info) -> dict[str, Any]:
    """Size of a page, and its times in a browser."""
    begun = time.perf_counter()
    text = render_page(info)
    seconds = time.perf_counter() - begun
    found: list[Mapping[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.html"
        file.write_text(text, encoding="utf-8")
        for width in (1280, 390):
            for _ in range(REPEATS):
                with chromium() as driver, screen(driver, width=width):
                    show(driver, file)
                    found.append(driver.execute_async_script(TIMES))
    return {
        "trials": len(info.rows),
        "bytes": len(text.encode()),
        "render_seconds": round(seconds, 3),
        **{
            name: common.spread([values[name] for values in found])
            for name in ("first_paint_ms", "usable_ms", "figures_drawn_ms")
        },
        "layout_shift_at_most": max(values["layout_shift"] for values in found),
    }


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("run", type=Path, help="a finished run")
    common.add_out_option(parser, "page.json")
    args = parser.parse_args()
    run = tasearch.Run.open(args.run)
    begun = time.perf_counter()
    info = report_info(run)
    seconds = time.perf_counter() - begun
    pages = [measured(info), measured(repeated(info, MANY))]
    result = {**common.provenance(args), "info_seconds": round(seconds, 3), "pages": pages}
    common.write_json(args.out, result)
    for page in pages:
        print(page)


if __name__ == "__main__":
    main()
