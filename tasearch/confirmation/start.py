"""A confirmation of a run, from its options to its events."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial

from tasearch.chains.sizes import sized
from tasearch.chains.space import Space
from tasearch.config.run_options import RunOptions
from tasearch.confirmation.confirm import confirm
from tasearch.confirmation.plan import planned_comparisons
from tasearch.confirmation.untried import try_arms, untried_arms
from tasearch.errors import NothingFits, RunError
from tasearch.exports.trust import check_trust
from tasearch.pareto.budget import Budget
from tasearch.runs.events import Event, Notice
from tasearch.runs.leads import no_assistants_words
from tasearch.runs.run import Run
from tasearch.runs.verdicts import Arm, Comparison, LookPlan
from tasearch.search.enqueue import space_of
from tasearch.search.prepare import prepare
from tasearch.search.steps import Step, no_step


def confirm_events(
    run: Run,
    options: RunOptions,
    budget: Budget | None,
    *,
    trust: bool = False,
    step: Step = no_step,
) -> Generator[Event, None, None]:
    """Confirm students of a run; its verdicts are in the last event.

    Chains to compare that the search has not tried become trials of the run first.

    Args:
        run: The run.
        options: The device and the workers.
        budget: The budget whose best student is confirmed; None for every student width of the
            front.
        trust: Whether user code that the run's study names may run.
        step: Called with the name of each step of the preparation when it begins.

    Raises:
        NothingFits: No student is within the budget, or there is nothing to compare.
        RunError: The run's folder was renamed, or its data or code have changed.
        ExportError: User code is not trusted.
    """
    study, wait = run.manifest.study, run.directory.tell_wait
    if run.path.resolve().name != study.name:
        raise RunError(
            f"{run.path}: should have the name of its study, {study.name!r}: rename the folder back"
        )
    names = dict(study.own_functions)
    check_trust(names, study, trust=trust or run.trusted, what=f"{run.path}: confirming it")
    space = space_of(run.manifest)
    comparisons = _planned(run, space, budget)
    before: list[Arm] = []
    while (arms := untried_arms(run, comparisons)) not in ([], before):
        yield from try_arms(
            run, space, arms, partial(prepare, study, options, step=step, wait=wait)
        )
        before, run = arms, Run.open(run.place)  # in which another student may be the best now
        comparisons = _planned(run, space, budget)
    prepared = prepare(study, options, step=step, wait=wait)
    plan = LookPlan(alpha=study.confirm.alpha, margin=study.confirm.margin / 100)
    yield from (Notice(message=notice) for notice in prepared.notices)
    yield from _not_compared(run, budget, comparisons)
    yield from confirm(prepared, comparisons, plan)


def _wanted(run: Run, budget: Budget | None) -> list[int]:
    """Widths of the students to confirm, each once: of the front, or the best within a budget."""
    chosen = run.front.members if budget is None else [run.front.best(budget)]
    return [*dict.fromkeys(candidate.chain[-1] for candidate in chosen)]


def _planned(run: Run, space: Space, budget: Budget | None) -> list[Comparison]:
    """The comparisons of a confirmation.

    If there is nothing to compare the best student within the budget with, as where it is the
    largest assistant, it is about the best one for which there is.

    Raises:
        NothingFits: No student is within the budget, or there is nothing to compare.
    """
    widths = _wanted(run, budget)
    found = planned_comparisons(run, space, widths, by_rule=budget is not None)
    if not found and budget is not None:
        fitting = dict.fromkeys(c.chain[-1] for c in run.front.candidates if budget.admits(c))
        plans = (planned_comparisons(run, space, [width], by_rule=True) for width in fitting)
        found = next(filter(None, plans), [])
    if not found:
        raise NothingFits(
            f"{run.path}: nothing to compare: {no_assistants_words(run, *widths)}; name another "
            f"budget, or confirm the whole front (--front, in Python front=True)"
        )
    return found


def _not_compared(
    run: Run, budget: Budget | None, comparisons: Sequence[Comparison]
) -> Iterator[Notice]:
    """Tell which of the wanted students are not compared, or not with assistants."""
    wanted, compared = _wanted(run, budget), {c.width for c in comparisons}
    with_assistants = {c.width for c in comparisons if c.question == "assistants"}
    without = [width for width in wanted if width not in with_assistants]
    if not without:
        return
    words = no_assistants_words(run, *without)
    if compared.isdisjoint(wanted):
        best = f"the best student with something to compare it with, of {sized(*compared)}"
        yield Notice(message=f"{words}: {best}, is confirmed")
    else:
        yield Notice(message=f"assistants are not compared: {words}")
