"""The details at the end of the page, closed at first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasearch.pareto.metric import Metric
from tasearch.report.glossary import GLOSSARY
from tasearch.report.html import escape, figure, list_of, table
from tasearch.report.info import Info
from tasearch.report.search_cost import HopNode
from tasearch.report.text import flops_text, percent


def details_html(info: Info, heights: Mapping[str, int]) -> str:
    """All details, each in an element that opens.

    Args:
        info: Contents of the report.
        heights: Height of each figure of the page, in pixels.
    """
    parts = [
        ("Learning curves", _curves(heights, info.metric.words)),
        ("What the search cost", _cost(info, heights)),
        ("The tree of hops", _tree(info)),
        ("Recall of each class", _recalls(info)),
        ("Calibration and classes", _quality(info)),
        ("Which choices mattered", _importance(heights)),
        ("Latency", _latency(info)),
        ("Reads of the test part", _reads(info)),
        ("Study file, digests", _study(info)),
        ("Glossary", _glossary()),
    ]
    return "".join(
        f"<details><summary><h3>{escape(name)}</h3></summary>{inner}</details>"
        for name, inner in parts
        if inner
    )


def _curves(heights: Mapping[str, int], words: str) -> str:
    return _place("curves", heights, f"Validation {words} over epochs, by kind of student")


def _place(name: str, heights: Mapping[str, int], words: str) -> str:
    """The place of a figure; empty where the run has nothing to show in it."""
    return figure(name, heights[name], words) if name in heights else ""


def _cost(info: Info, heights: Mapping[str, int]) -> str:
    costs, beyond, audit = info.costs, info.beyond, info.audit
    if not costs.paid:
        return ""
    shared = beyond.unshared / beyond.paid if beyond.paid else 1.0
    saved = 1 - costs.paid / costs.unpruned if costs.unpruned else 0.0
    lines = [
        f"{flops_text(costs.paid)} in all: {costs.hops} hops trained, {costs.uses - costs.hops} "
        f"times reused.",
        f"Sharing hops made it {shared:.1f} times cheaper. The teacher is not counted: any search "
        f"trains it once.",
        f"Stopping students early saved {saved:.1%}. Some that would have been stopped were "
        f"trained on to check the rule: {audit.words}.",
    ]
    bar = _place("cost", heights, "Training cost by kind of model")
    words = "Hypervolume of the front against training cost"
    return bar + list_of(lines) + _place("progress", heights, words)


def _tree(info: Info) -> str:
    if not info.tree:
        return ""
    inner = "".join(_node(node, info.metric) for node in info.tree)
    return (
        "<p>Each model learns from the one above it; how many trials needed it stands beside it. "
        f'</p><ul class="tree">{inner}</ul>'
    )


def _node(node: HopNode, metric: Metric) -> str:
    accuracy = "stopped" if node.accuracy is None else metric.text(node.accuracy)
    used = f", used {node.uses} times" if node.uses > 1 else ""
    below = "".join(_node(under, metric) for under in node.below)
    return (
        f"<li><b>{node.width}</b> {accuracy}{used}"
        + (f"<ul>{below}</ul>" if below else "")
        + "</li>"
    )


def _quality(info: Info) -> str:
    """Calibration, likelihood, agreement and classes of the students that were confirmed."""
    found = [(row, row.confirmed.quality) for row in info.rows if row.confirmed]
    known = [(row, quality) for row, quality in found if quality is not None]
    if not known:
        return (
            "<p>Measured on the test part when students are confirmed (<code>tasearch confirm"
            "</code>), and for the student that is exported.</p>"
        )
    head = [("trial", "n"), ("chain", "chain"), ("calibration error", "n"), ("nll", "n")]
    head += [
        ("agrees with the teacher", "n"),
        *((f"class {name}", "n") for name in info.class_names),
    ]
    rows = [
        (
            row.trial,
            row.label,
            percent(quality.ece),
            "unknown" if quality.nll is None else f"{quality.nll:.3f}",
            percent(quality.agreement),
            *("" if a is None else f"{a:.0%}" for a in quality.class_accuracies),
        )
        for row, quality in known
    ]
    return (
        f"<p>On the {known[0][1].samples:,} samples of the test part, mean over the fresh seeds: "
        "the expected calibration error in 15 bins, the negative log-likelihood in nats, and the "
        "accuracy on each class.</p>" + table(head, rows, "Calibration and classes")
    )


def _recalls(info: Info) -> str:
    """The recall of each class of the front's students on the validation part."""
    rows = [row for row in info.rows if (row.front or row.shipped) and row.recalls]
    if not rows:
        return ""
    head = [("trial", "n"), ("chain", "chain"), (info.metric.words, "n")]
    head += [(f"class {name}", "n") for name in info.class_names]
    cells = [
        (
            row.trial,
            row.label,
            info.metric.text(row.accuracy),
            *("" if recall is None else f"{recall:.1%}" for recall in row.recalls),
        )
        for row in rows
    ]
    return (
        "<p>The share of the validation samples of each class that the students of the front get "
        "right, mean over replicates. In the search, which chooses by the validation part.</p>"
        + table(head, cells, "Recall of each class")
    )


def _importance(heights: Mapping[str, int]) -> str:
    if "importance" not in heights:
        return "<p>Too few finished trials, or no difference between them, to tell.</p>"
    words = "How much each parameter sets the best students apart"
    return (
        "<p>How much each parameter sets the best quarter of the students of a width apart from "
        "the others (PED-ANOVA). With one seed a chain, much of that is noise.</p>"
        + _place("importance", heights, words)
    )


def _latency(info: Info) -> str:
    head = (
        ("width", "n"),
        ("parameters", "n"),
        ("bytes", "n"),
        ("latency that counts, ms", "n"),
        ("own median", "n"),
        ("95th percentile", "n"),
        ("rounds from", "n"),
        ("to", "n"),
        *((f"ms with {length} tokens", "n") for length, _ in info.measured[0].by_length),
        ("trains in", ""),
    )
    rows = [
        (
            size.width,
            f"{size.params:,}",
            f"{size.bytes:,}",
            f"{size.latency_ms:.4g}",
            f"{size.median_ms:.4g}",
            f"{size.latency_p95_ms:.4g}",
            f"{min(size.rounds.medians_ms, default=size.latency_ms):.4g}",
            f"{max(size.rounds.medians_ms, default=size.latency_ms):.4g}",
            *(f"{ms:.4g}" for _, ms in size.by_length),
            info.modes.get(size.width, "not trained here"),
        )
        for size in info.measured
    ]
    return (
        "<p>Measured before anything was trained, in rounds in turn. Widths whose timings cannot "
        "be told apart are tied: they count with the mean of their medians. "
        f"{_counted_length(info)}{escape(info.ties)}</p>"
        + table(head, rows, "Latency of each width")
    )


def _counted_length(info: Info) -> str:
    """Which length counts, if latencies were measured at several; else empty."""
    lengths = [length for length, _ in info.measured[0].by_length]
    return f"The latency with {lengths[-1]} tokens is the one that counts. " if lengths else ""


def _reads(info: Info) -> str:
    if not info.reads:
        return "<p>The held-out test set was not read yet.</p>"
    return list_of(f"{read.when}, {read.by}: {', '.join(read.chains)}" for read in info.reads)


def _study(info: Info) -> str:
    rows = sorted(info.digests.items())
    digests = table((("what", ""), ("value", "")), rows, "What the results depend on")
    return f'<pre tabindex="0">{escape(info.study)}</pre>{digests}'


def _glossary() -> str:
    def items() -> Iterator[str]:
        for word, meaning in GLOSSARY.items():
            yield f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>"

    return f"<dl>{''.join(items())}</dl>"
