"""Chains that somebody has named to be tried next: what queued trials mean, and those to retry.

Anybody may queue a trial in Optuna's study (`tasearch enqueue`, `study.enqueue_trial`,
optuna-dashboard). What it names is completed and made canonical, or refused in words.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tasearch.chains.keys import canonical_json
from tasearch.chains.recipes import Choice, Choices
from tasearch.chains.space import Space
from tasearch.runs.trial_attributes import MACHINE, is_free, is_retry, retry_of
from tasearch.search.trials import FIXED, Trials, chain_of

FILLINGS = 20_000  # of missing parameters, at most: then the first is taken
BATCH = "retry_failed"  # attribute of a study: trials there were when failed ones began again
LONGEST = 80  # characters of a value in a message


class Queue:
    """The queued trials of a search.

    Args:
        trials: of the search.
        space: of the chains.

    Attributes:
        tried: by canonical choices, the number of the last trial that was taken up with them.
        failed: numbers of trials that failed.
    """

    def __init__(self, trials: Trials, space: Space) -> None:
        self._trials, self._space = trials, space
        self._found: dict[int, tuple[int, Choices | str]] = {}  # by number, and when
        self.tried: dict[str, int] = {}
        self.failed: set[int] = set()

    def next(self, *, retry: bool) -> tuple[FrozenTrial, Choices] | None:
        """The first trial that waits and can be tried, with its choices.

        Args:
            retry: Whether it tries again what failed; else one that a person named.
        """
        return next(self._ready(retry=retry), None)

    def _ready(self, *, retry: bool) -> Iterator[tuple[FrozenTrial, Choices]]:
        for trial in self._trials.waiting():
            found = self._read(trial)
            if not isinstance(found, str) and self._is_retry(trial, found) == retry:
                yield trial, found

    def refuse(self) -> Iterator[str]:
        """Fail the trials that cannot be tried, and say why."""
        for trial in self._trials.waiting():
            found = self._read(trial)
            if isinstance(found, str):
                self._trials.refuse(trial, found)
                yield f"queued trial {trial.number} is not tried: {found}"

    def _is_retry(self, trial: FrozenTrial, choices: Choices) -> bool:
        """Whether a trial tries a failed one again; others may bear a copy of its attributes."""
        number, since = retry_of(trial), trial.user_attrs.get("retry_since")
        failed = number in self.failed and type(since) is int
        return failed and self.tried.get(canonical_json(choices)) == number

    def _read(self, trial: FrozenTrial) -> Choices | str:
        """The choices of a trial that waits, or why it is not to be tried."""
        known, found = self._found.get(trial.number, (-1, ""))
        if known != len(self._trials.order) + len(self.failed):
            found = self._judge(trial)
            self._found[trial.number] = len(self._trials.order) + len(self.failed), found
        return found

    def _judge(self, trial: FrozenTrial) -> Choices | str:
        found = meant(self._space, trial.system_attrs.get(FIXED, trial.params), self.tried)
        if isinstance(found, str):
            return found
        number = self.tried.get(canonical_json(found))
        if number is None or self._is_retry(trial, found):
            return found
        again = ", which failed; --retry-failed tries it again" if number in self.failed else ""
        return f"tried already as trial {number}{again}"

    def retry(self, *, failed: bool) -> None:
        """Queue the failed trials that are to be tried again.

        A batch that a kill has cut short is completed; another begins when it is done.

        Args:
            failed: All of them; else those whose cause was the machine's.
        """
        before = self._trials.study_note(BATCH) if failed else None
        since = self._trials.count()
        if failed and before is None:
            before = since
            self._trials.note_study(BATCH, before)
        trials = self._trials.all()
        again = {*map(retry_of, self._trials.waiting()), *map(retry_of, trials)}
        for trial in trials:
            over = trial.state == TrialState.FAIL and not is_free(trial)
            if not over or trial.number in again or not self._is_last(trial):
                continue
            if before is not None and trial.number < before:
                self._again(trial, before)
            elif trial.user_attrs.get("cause") == MACHINE:
                self._again(trial, since)

    def end_batch(self) -> None:
        """All that was to be tried again was."""
        if self._trials.study_note(BATCH) is not None:
            self._trials.note_study(BATCH, None)

    def _again(self, trial: FrozenTrial, since: int) -> None:
        choices = self._space.member(chain_of(trial.user_attrs, self._space.teacher))
        if choices is not None:
            attrs = {"retry_of": trial.number, "retry_since": since}
            self._trials.queue(choices, attrs)

    def _is_last(self, trial: FrozenTrial) -> bool:
        """Whether no later trial is of the same chain."""
        choices = self._space.member(chain_of(trial.user_attrs, self._space.teacher))
        return choices is not None and self.tried[canonical_json(choices)] == trial.number

    def pending(self) -> list[FrozenTrial]:
        """Trials that try failed ones again and are not over."""
        running = [t for t in self._trials.all() if t.state == TrialState.RUNNING and is_retry(t)]
        waiting = [(trial, self._read(trial)) for trial in self._trials.waiting()]
        again = [
            t for t, found in waiting if not isinstance(found, str) and self._is_retry(t, found)
        ]
        return [*running, *again]


def meant(space: Space, given: Any, tried: Mapping[str, int]) -> Choices | str:
    """The canonical choices that some parameters name, or why they name none.

    What is missing is filled with the first values that make a chain which has just what was given
    and was not tried.

    Args:
        space: The chains of the study.
        given: Parameters by name, as others wrote them.
        tried: Canonical choices that were tried.
    """
    if not isinstance(given, Mapping):
        return f"should name parameters, found {shown(given)}"
    known: Choices = {}
    for name, value in given.items():
        domain = space.domains.get(name)
        if domain is None:
            names = ", ".join(space.domains)
            return f"{shown(name)} is no parameter of this study, which has {names}"
        found = one_of(value, domain)
        if found is None:
            return f"{name} should be one of {listed(domain)}, found {shown(value)}"
        known[name] = found
    first: Choices | None = None
    for raw in itertools.islice(_filled(space, known), FILLINGS):
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


def _filled(space: Space, known: Choices) -> Iterator[Choices]:
    names = [name for name in space.domains if name not in known]
    for values in itertools.product(*(space.domains[name] for name in names)):
        yield known | dict(zip(names, values, strict=True))


def one_of(value: Any, domain: tuple[Choice, ...]) -> Choice | None:
    """The value of a domain that is meant: 2.0 is 2, and neither "2" nor True is."""
    for known in domain:
        if isinstance(value, str) or isinstance(known, str):
            same = type(value) is type(known) and value == known
        else:
            number = isinstance(value, int | float) and not isinstance(value, bool)
            same = number and value == known
        if same:
            return known
    return None


def listed(domain: tuple[Choice, ...]) -> str:
    """`6, 4, 2`."""
    return ", ".join(json.dumps(value) for value in domain)


def shown(value: Any) -> str:
    """A value in a message, on one line and of no great length."""
    text = json.dumps(value, default=str)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
