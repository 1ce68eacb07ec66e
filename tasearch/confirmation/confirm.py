"""A confirmation, from its plan to its verdicts."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tasearch.confirmation.fresh import Block
from tasearch.confirmation.statistics import assess
from tasearch.data import load_test
from tasearch.pareto.metric import Metric
from tasearch.runs.events import ConfirmationFinished, Event, LookDone
from tasearch.runs.manifest import Manifest
from tasearch.runs.quality import Quality, mean_quality
from tasearch.runs.test_reads import log_read_of_test
from tasearch.runs.verdict_file import read_confirmations, write_confirmations
from tasearch.runs.verdicts import Arm, Comparison, Confirmation, LookPlan
from tasearch.search.prepare import Prepared
from tasearch.search.trained_hops import shared_pool


def confirm(
    prepared: Prepared, comparisons: Sequence[Comparison], plan: LookPlan
) -> Iterator[Event]:
    """Compare chains on fresh seeds, look by look, until all comparisons are settled.

    The plan is written before the first seed is trained. The iterator may be closed between any two
    events; the same call goes on, for every trained hop is stored. A confirmation that is finished
    is not made again.

    Args:
        prepared: The run, prepared.
        comparisons: What to compare, as `planned_comparisons` returns it.
        plan: The looks.

    Raises:
        RunError: Another driver holds the run, or its teacher is not trained.
        StoreError: A file cannot be written.
    """
    run = prepared.run
    with contextlib.closing(prepared), run.locked(), shared_pool(prepared) as pool:
        others = read_confirmations(run.path)
        asked = Confirmation(plan=plan, comparisons=tuple(comparisons))
        known = next((c for c in others if c.same_plan(asked) and c.finished), None)
        if known is not None:
            write_confirmations(run.path, [*(c for c in others if c is not known), known])
            yield ConfirmationFinished(confirmation=known)
            return
        others = [c for c in others if not c.same_plan(asked)]
        write_confirmations(run.path, [*others, asked])
        run.publish()
        blocks: list[Block] = []
        found = asked
        for number, pairs in enumerate(plan.blocks):
            if all(c.verdict.settled for c in found.comparisons):
                break
            block = Block(prepared=prepared, number=number, pairs=pairs, plan=plan, pool=pool)
            blocks.append(block)
            open_ones = [c for c in found.comparisons if not c.verdict.settled]
            yield from block.train([arm for c in open_ones for arm in (c.first, c.second)])
            found = _after_look(found, block, least_step=_least_step(prepared.manifest))
            write_confirmations(run.path, [*others, found])
            run.publish()
            yield LookDone(confirmation=found)
        labels = [arm.label for c in found.comparisons for arm in (c.first, c.second)]
        log_read_of_test(run.path, "confirm", [*dict.fromkeys(labels)])
        found = _tested(found, blocks)
        write_confirmations(run.path, [*others, found])
        yield ConfirmationFinished(confirmation=found)


def _after_look(found: Confirmation, block: Block, *, least_step: float) -> Confirmation:
    """The confirmation with the results of a block."""
    grown = [c if c.verdict.settled else _grown(c, block) for c in found.comparisons]
    assessed = assess([c.differences for c in grown], found.plan, least_step=least_step)
    own = (replace(c, verdict=j) for c, j in zip(grown, assessed, strict=True))
    return replace(found, comparisons=tuple(own))


def _grown(found: Comparison, block: Block) -> Comparison:
    """A comparison with the pairs of a block."""
    faults = (*found.faults, *block.faults(found.first), *block.faults(found.second))
    return replace(
        found,
        first=block.result(found.first),
        second=block.result(found.second),
        faults=tuple(dict.fromkeys(faults)),
    )


def _tested(found: Confirmation, blocks: Sequence[Block]) -> Confirmation:
    """The finished confirmation, with the quality on the test set, which is read here and once."""
    manifest = blocks[0].prepared.manifest
    test, metric = load_test(manifest.study), manifest.metric
    teacher = blocks[0].teacher_logits(test)  # all blocks have the same teacher

    def tested(arm: Arm) -> Arm:
        own = (b for b in blocks if len(arm.accuracies) >= found.plan.pairs[b.number])
        seeds = [*itertools.chain(*(block.qualities(arm, test, teacher) for block in own))]
        scores = tuple(None if seed is None else _score(seed, metric) for seed in seeds)
        return replace(arm, test=scores, quality=mean_quality(seeds))

    own = (replace(c, first=tested(c.first), second=tested(c.second)) for c in found.comparisons)
    return replace(found, comparisons=tuple(own), finished=True)


def _score(quality: Quality, metric: Metric) -> float | None:
    return quality.accuracy if metric.is_accuracy else quality.score


def _least_step(manifest: Manifest) -> float:
    """The least standard deviation of a score that is believed: what one sample is worth."""
    metric = manifest.metric
    return (1.0 if metric.share else metric.best - metric.guess) / manifest.validation
