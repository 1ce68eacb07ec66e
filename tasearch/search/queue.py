"""The queue of a search: chains that a person has named, and failed trials that are repeated.

Any program may queue a trial in Optuna's study (`tasearch enqueue`, `study.enqueue_trial`,
optuna-dashboard). Its parameters are completed and made canonical; if that is impossible, the trial
is refused with a reason.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tasearch.chains.keys import canonical_json
from tasearch.chains.recipes import Choice, Choices
from tasearch.chains.sizes import Size
from tasearch.chains.space import Space
from tasearch.errors import option
from tasearch.runs.trial_attributes import MACHINE, chain_of, is_free, is_retry, retry_of
from tasearch.search.trials import FIXED, Trials

COMPLETIONS = 20_000  # ways to complete parameters that are looked at before the first is taken
BATCH = "retry_failed"  # study attribute: number of trials when failed ones were queued again
LONGEST = 80  # characters of a value in a message


class Queue:
    """The queued trials of a search.

    Args:
        trials: The trials of the search.
        space: The chains of the study.

    Attributes:
        tried: Number of the last trial that was started with some choices, by the canonical JSON of
            these choices.
        failed: Numbers of the trials that failed.
    """

    def __init__(self, trials: Trials, space: Space) -> None:
        self._trials, self._space = trials, space
        self._decisions: dict[int, tuple[int, Choices | str]] = {}  # by number, with their version
        self.tried: dict[str, int] = {}
        self.failed: set[int] = set()

    def next(self, *, retry: bool) -> tuple[FrozenTrial, Choices] | None:
        """The first waiting trial that can be tried, with its canonical choices.

        Args:
            retry: Whether to look for a trial that repeats a failed one; otherwise for one that a
                person has named.
        """
        return next(self._ready(retry=retry), None)

    def _ready(self, *, retry: bool) -> Iterator[tuple[FrozenTrial, Choices]]:
        for trial in self._trials.waiting():
            found = self._decision(trial)
            if not isinstance(found, str) and self._is_retry(trial, found) == retry:
                yield trial, found

    def refuse(self) -> Iterator[str]:
        """Fail the waiting trials that cannot be tried, and yield a message for each."""
        for trial in self._trials.waiting():
            found = self._decision(trial)
            if isinstance(found, str):
                self._trials.refuse(trial, found)
                yield f"queued trial {trial.number} is not tried: {found}"

    def _is_retry(self, trial: FrozenTrial, choices: Choices) -> bool:
        """Whether a trial repeats a failed one, and has not only copied the attributes of one."""
        number, since = retry_of(trial), trial.user_attrs.get("retry_since")
        failed = number in self.failed and type(since) is int
        return failed and self.tried.get(canonical_json(choices)) == number

    def _decision(self, trial: FrozenTrial) -> Choices | str:
        """The choices of a waiting trial, or why it cannot be tried.

        It is kept as long as the version is the same: no trial has started or failed since.
        """
        version = len(self._trials.order) + len(self.failed)
        known, found = self._decisions.get(trial.number, (-1, ""))
        if known != version:
            found = self._decide(trial)
            self._decisions[trial.number] = version, found
        return found

    def _decide(self, trial: FrozenTrial) -> Choices | str:
        given = trial.system_attrs.get(FIXED, trial.params)
        found = complete_choices(self._space, given, self.tried)
        if isinstance(found, str):
            return found
        number = self.tried.get(canonical_json(found))
        if number is None or self._is_retry(trial, found):
            return found
        again = f", which failed; a run with {option('retry_failed')} tries it again"
        again = again if number in self.failed else ""
        return f"tried already as trial {number}{again}"

    def retry(self, *, failed: bool) -> None:
        """Queue the failed trials that are to be repeated.

        A batch that a kill has interrupted is completed; the next batch begins after its end.

        Args:
            failed: Whether to repeat all failed trials; otherwise only those that failed because
                of the machine.
        """
        before = self._trials.study_attribute(BATCH) if failed else None
        since = self._trials.count()
        if failed and before is None:
            before = since
            self._trials.set_study_attribute(BATCH, before)
        trials = self._trials.all()
        repeated = {*map(retry_of, self._trials.waiting()), *map(retry_of, trials)}
        for trial in trials:
            over = trial.state == TrialState.FAIL and not is_free(trial)
            if not over or trial.number in repeated or not self._is_last(trial):
                continue
            if before is not None and trial.number < before:
                self._repeat(trial, before)
            elif trial.user_attrs.get("cause") == MACHINE:
                self._repeat(trial, since)

    def end_batch(self) -> None:
        """Note that all trials of the batch have been repeated."""
        if self._trials.study_attribute(BATCH) is not None:
            self._trials.set_study_attribute(BATCH, None)

    def _repeat(self, trial: FrozenTrial, since: int) -> None:
        choices = self._space.member(chain_of(trial.user_attrs, self._space.teacher))
        if choices is not None:
            attrs = {"retry_of": trial.number, "retry_since": since}
            self._trials.queue(choices, attrs)

    def _is_last(self, trial: FrozenTrial) -> bool:
        """Whether no later trial has the same chain."""
        choices = self._space.member(chain_of(trial.user_attrs, self._space.teacher))
        return choices is not None and self.tried[canonical_json(choices)] == trial.number

    def pending(self) -> list[FrozenTrial]:
        """Running and waiting trials that repeat failed ones."""
        running = [t for t in self._trials.all() if t.state == TrialState.RUNNING and is_retry(t)]
        waiting = [(trial, self._decision(trial)) for trial in self._trials.waiting()]
        retries = [
            t for t, found in waiting if not isinstance(found, str) and self._is_retry(t, found)
        ]
        return [*running, *retries]


def complete_choices(space: Space, given: Any, tried: Mapping[str, int]) -> Choices | str:
    """The canonical choices of the chain that some parameters describe.

    Missing parameters receive the first values that make a chain which keeps all given values and
    has not been tried; if all such chains have been tried, the first chain is returned.

    Args:
        space: The chains of the study.
        given: Values by name of the parameter, as another program wrote them.
        tried: Canonical JSON of the choices that have been tried.

    Returns:
        The choices; or, as a string, why there are none.
    """
    known = _known_choices(space, given)
    if isinstance(known, str):
        return known
    first: Choices | None = None
    for raw in itertools.islice(_completions(space, known), COMPLETIONS):
        chain = space.chain(raw)
        if chain is None:
            continue
        choices = space.choices(chain)
        new = canonical_json(choices) not in tried
        if new and all(choices[name] == value for name, value in known.items()):
            return choices
        first = first or choices
    if first is None:
        rule = f"a chain has {space.min_assistants} assistants or more, wider than its student"
        return f"{shown(dict(known))} is no chain of this study: {rule}"
    return first


def _known_choices(space: Space, given: Any) -> Choices | str:
    """The given parameters with values of the space; or why they do not belong to the space."""
    if not isinstance(given, Mapping):
        return f"should name parameters, found {shown(given)}"
    known: Choices = {}
    for name, value in given.items():
        domain = space.domains.get(name)
        if domain is None:
            names = ", ".join(space.domains)
            return f"{shown(name)} is no parameter of this study, which has {names}"
        found = matching(value, domain)
        if found is None:
            return f"{name} should be one of {listed(domain)}, found {shown(value)}"
        known[name] = found
    return known


def _completions(space: Space, known: Choices) -> Iterator[Choices]:
    names = [name for name in space.domains if name not in known]
    for values in itertools.product(*(space.domains[name] for name in names)):
        yield known | dict(zip(names, values, strict=True))


def matching(value: Any, domain: tuple[Choice, ...]) -> Choice | None:
    """The value of a domain that equals a given value: 2.0 equals 2, "2" and True do not."""
    for known in domain:
        if isinstance(known, Size) and isinstance(value, str):
            same = value == known.name
        elif isinstance(value, str) or isinstance(known, str):
            same = type(value) is type(known) and value == known
        else:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            same = number and value == known
        if same:
            return known
    return None


def listed(domain: tuple[Choice, ...]) -> str:
    """The values of a domain for a message: `6, 4, 2`."""
    return ", ".join(str(v) if isinstance(v, Size) else json.dumps(v) for v in domain)


def shown(value: Any) -> str:
    """A value for a message: as JSON on one line, cut off after `LONGEST` characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
