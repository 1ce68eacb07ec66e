"""What lines without a seal may do in a journal that others write to as well.

Optuna's own backend and optuna-dashboard write no seals. Their lines are accepted where no result
can depend on them: a trial that waits or belongs to others, an attribute under a name that tasearch
does not use, other studies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from optuna.trial import TrialState

from tasearch.runs.optuna_adapter import JournalOperation
from tasearch.runs.records import TrialRecord
from tasearch.runs.trial_attributes import MARKS

OWN_ATTRIBUTES = {field.name for field in fields(TrialRecord)}  # of trials
INVALID_LINE = (  # what is raised for a line of JSON that Optuna would not have written
    *(ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError),
    RecursionError,
)
ATTRIBUTE_KEYS = {
    JournalOperation.SET_STUDY_USER_ATTR: "user_attr",
    JournalOperation.SET_STUDY_SYSTEM_ATTR: "system_attr",
    JournalOperation.SET_TRIAL_USER_ATTR: "user_attr",
    JournalOperation.SET_TRIAL_SYSTEM_ATTR: "system_attr",
}


class UnsealedLines:
    """The rules for lines without a seal; all lines of a journal are passed through it in order.

    Args:
        study: Name of the run's own study.
    """

    def __init__(self, study: str) -> None:
        self._name = study
        self._studies: dict[int, str] = {}  # names by id, without deleted ones
        self._created = 0  # studies, including deleted ones
        self._trials: list[bool] = []  # by id, whether each belongs to the run's own study
        self._protected: set[int] = set()  # ids of trials that a search has started or refused
        self._sealed_names: set[str] = set()  # names of attributes that sealed lines have set

    def fault(self, content: Mapping[str, Any], sealed: bool) -> str:
        """Take in the next line, and say why it is not accepted.

        Args:
            content: The line as Optuna wrote it.
            sealed: Whether it has a valid seal; then it is always accepted.

        Returns:
            The reason; empty if the line is accepted.

        Raises:
            Exception: One of `INVALID_LINE`, where the line is none of Optuna's.
        """
        operation = JournalOperation(content["op_code"])
        fault = "" if sealed else self._fault(operation, content)
        if sealed:
            if {*MARKS} & {*content.get("user_attr", ())} and "trial_id" in content:
                self._protected.add(int(content["trial_id"]))
            for kind in ("user_attr", "system_attr", "user_attrs", "system_attrs"):
                self._sealed_names |= {*content.get(kind, ())}
        if operation == JournalOperation.CREATE_STUDY:
            if content["study_name"] not in self._studies.values():
                self._studies[self._created] = content["study_name"]
                self._created += 1
        elif operation == JournalOperation.DELETE_STUDY:
            self._studies.pop(content["study_id"], None)
        elif operation == JournalOperation.CREATE_TRIAL and content["study_id"] in self._studies:
            if sealed and content.get("state") != TrialState.WAITING:
                self._protected.add(len(self._trials))
            self._trials.append(self._is_own(content))
        return fault

    def _fault(self, operation: JournalOperation, content: Mapping[str, Any]) -> str:
        if "before" in content:
            return "is one of tasearch's: its seal was edited, or is damaged"
        if operation == JournalOperation.CREATE_STUDY:
            first = content["study_name"] == self._name and not self._created
            return "makes this run's study: an older version of tasearch wrote it" if first else ""
        if operation in (JournalOperation.DELETE_STUDY, JournalOperation.DISCARD_TRIALS):
            return ""  # opening the study by its name then fails with a message of its own
        if not self._is_own(content):
            return ""
        if operation == JournalOperation.CREATE_TRIAL:
            return self._new_trial_fault(content)
        if operation in ATTRIBUTE_KEYS:
            return self._attribute_fault(operation, content)
        return self._change_fault(operation, content)

    def _new_trial_fault(self, content: Mapping[str, Any]) -> str:
        """Why a new trial of the run's study is not accepted: it claims to be the search's own.

        Any other new trial is harmless: it is read as one that waits, or as one of others.
        """
        number = sum(self._trials)
        names = [name for name in MARKS if (content.get("user_attrs") or {}).get(name) == number]
        return f"gives a trial the attribute {names[0]!r}, which is tasearch's" if names else ""

    def _attribute_fault(self, operation: JournalOperation, content: Mapping[str, Any]) -> str:
        """Why an attribute of the run's study, or of a trial of it, is not accepted."""
        (name,) = content[ATTRIBUTE_KEYS[operation]]
        of_trial = operation == JournalOperation.SET_TRIAL_USER_ATTR
        own = self._sealed_names | (OWN_ATTRIBUTES if of_trial else set())
        optunas = operation == JournalOperation.SET_TRIAL_SYSTEM_ATTR and ":" not in name
        if name in own or (optunas and not self._is_unprotected(content)):
            return f"sets the attribute {name!r}, which is tasearch's"
        return ""

    def _change_fault(self, operation: JournalOperation, content: Mapping[str, Any]) -> str:
        """Why another change to a trial of the run's study is not accepted."""
        starts = False
        if operation == JournalOperation.SET_TRIAL_STATE_VALUES:
            # another worker may start a queued trial, which does not decide its result
            starts = content["state"] == TrialState.RUNNING and content.get("values") is None
        if starts or self._is_unprotected(content):
            return ""
        return f"changes trial {content['trial_id']} of this run's study"

    def _is_unprotected(self, content: Mapping[str, Any]) -> bool:
        """Whether a line is about a trial that no search has started or refused."""
        return "trial_id" in content and content["trial_id"] not in self._protected

    def _is_own(self, content: Mapping[str, Any]) -> bool:
        """Whether a line is about the run's own study, or about a trial of it."""
        if "trial_id" in content:
            number = int(content["trial_id"])
            return number < len(self._trials) and self._trials[number]
        study = content["study_id"]  # the first study is the run's; a later one of its name is not
        return study == 0 and self._studies.get(study) == self._name
