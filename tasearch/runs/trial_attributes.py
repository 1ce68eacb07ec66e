"""Attributes that tasearch gives to Optuna's trials, and what they say about a trial.

A trial that a search has started has two attributes: `proposal`, its place in the search's order,
and `trial`, its own number, by which a copy of the trial is recognized. Trials that others have
added have no influence on a search. A search's own trial that others have changed counts as damage
(see `tasearch.runs.unsealed_lines`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tasearch.chains.chain import Chain, label
from tasearch.chains.hop import ModelSpec
from tasearch.chains.recipe import Recipe
from tasearch.chains.sizes import size_names, with_names
from tasearch.pareto.skyline import PruningDecision
from tasearch.runs.records import HopUse, TrialRecord

OVER = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
MARKS = ("trial", "refused")  # attributes that hold the number of one of tasearch's own trials
CODE, MACHINE = "code", "machine"  # causes of a failure: only the first one would fail again


def mark(proposal: int, number: int) -> dict[str, Any]:
    """The attributes by which a search knows its own trials.

    Args:
        proposal: Place of the trial's proposal in the search's order, from 0.
        number: Number of the trial in Optuna.
    """
    return {"proposal": proposal, "trial": number}


def is_own(trial: FrozenTrial) -> bool:
    """Whether a search has started the trial."""
    attrs = trial.user_attrs
    return attrs.get("trial") == trial.number and type(attrs.get("proposal")) is int


def is_free(trial: FrozenTrial) -> bool:
    """Whether the trial is about an assistant of the chain proposed before it."""
    return bool(trial.user_attrs.get("free"))


def retry_of(trial: FrozenTrial) -> int | None:
    """Number of the failed trial that the trial repeats, if it says so."""
    number = trial.user_attrs.get("retry_of")
    return number if type(number) is int else None


def is_retry(trial: FrozenTrial) -> bool:
    """Whether the trial repeats a failed one; then it does not count as another trial."""
    return retry_of(trial) is not None


def is_queued(trial: FrozenTrial) -> bool:
    """Whether a person has named the chain of the trial."""
    return bool(trial.user_attrs.get("queued"))


def is_refused(trial: FrozenTrial) -> bool:
    """Whether the trial was queued, and a search has refused it with a reason."""
    return trial.user_attrs.get("refused") == trial.number


def place(trial: FrozenTrial) -> tuple[int, bool, int]:
    """Sort key of a search's own trials: the order in which the search started them."""
    return trial.user_attrs["proposal"], is_free(trial), trial.number


def describe_chain(chain: Chain) -> dict[str, Any]:
    """The attributes by which `chain_of` knows a chain, and its label for people."""
    recipe, names = describe_recipes(chain), size_names(chain.widths)
    words = label(chain.widths, recipe, chain.teacher)
    named: dict[str, Any] = {"teacher": chain.teacher} if chain.teacher else {}
    named |= {"sizes": names} if names else {}
    return {"chain": [*map(int, chain.widths)], "recipe": recipe, "label": words, **named}


def describe_recipes(chain: Chain) -> dict[str, Any]:
    """The recipes of a chain: `{"assistants": {...} or None, "student": {...}}`."""
    shared = chain.assistants[0].recipe if chain.assistants else None
    own = chain.student.recipe
    assert own is not None
    return {"assistants": shared.content() if shared else None, "student": own.content()}


def chain_of(attrs: Mapping[str, Any], teacher: ModelSpec) -> Chain:
    """The chain of a trial.

    Args:
        attrs: User attributes of one of the search's own trials.
        teacher: The teacher of all chains.
    """
    _, *widths, student = with_names(attrs["chain"], attrs.get("sizes", ()))
    recipe = attrs["recipe"]
    shared = Recipe(**recipe["assistants"]) if widths else None
    assistants = tuple(ModelSpec(width=width, recipe=shared) for width in widths)
    own = ModelSpec(width=student, recipe=Recipe(**recipe["student"]))
    return Chain(models=(teacher, *assistants, own))


def to_record(trial: FrozenTrial) -> TrialRecord:
    """A trial as a plain value; only the number and the state of a trial that others have added."""
    if not is_own(trial):
        return _foreign_record(trial)
    attrs = trial.user_attrs
    chain = with_names(attrs.get("chain") or (), attrs.get("sizes", ()))
    named = {width: width for width in chain}
    curve = tuple(attrs.get("curve") or ())
    state = "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()
    finished = trial.values[0] if trial.state == TrialState.COMPLETE else None
    audit = attrs.get("audit")
    return TrialRecord(
        number=trial.number,
        state=state,
        chain=chain,
        recipe=attrs.get("recipe"),
        accuracy=curve[-1] if finished is None and curve else finished,
        epochs=tuple(attrs.get("epochs") or ()),
        curve=curve,
        hops=tuple(
            HopUse(**{**use, "width": named.get(use["width"], use["width"])})
            for use in attrs.get("hops") or ()
        ),
        accuracies=tuple(attrs.get("accuracies") or ()),
        errors=tuple(attrs.get("errors") or ()),
        recalls=tuple(attrs.get("recalls") or ()),
        reason=attrs.get("reason"),
        audit=PruningDecision(**audit) if audit else None,
        free=bool(attrs.get("free")),
        cause=attrs.get("cause"),
        retry_of=attrs.get("retry_of"),
        teacher=attrs.get("teacher", ""),
    )


def _foreign_record(trial: FrozenTrial) -> TrialRecord:
    """A trial that waits, that was refused, or that others have added and ended."""
    if trial.state == TrialState.WAITING:
        return TrialRecord(number=trial.number, state="waiting")
    if is_refused(trial):
        reason = str(trial.user_attrs.get("reason"))
        return TrialRecord(number=trial.number, state="refused", reason=reason)
    return TrialRecord(number=trial.number, state="foreign")
