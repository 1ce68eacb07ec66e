"""Name a chain that a run is to try next."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from tasearch.chains.chain import Chain, label
from tasearch.chains.hop import ModelSpec, arrows
from tasearch.chains.keys import canonical_json
from tasearch.chains.recipes import SEARCHED, Choice, Choices, Recipes
from tasearch.chains.space import Space
from tasearch.errors import RunError, StudyError, short
from tasearch.runs.directory import Manifest, RunDirectory
from tasearch.runs.journal import mend, read_study
from tasearch.runs.run import Run
from tasearch.runs.trial_attributes import is_ours
from tasearch.search.queue import listed, meant, one_of, shown
from tasearch.search.trials import FIXED, chain_of, describe_recipes

SEPARATORS = re.compile(r"\s*(?:->|→|-|,|\s)\s*")
Field = Mapping[str, Choice | None]


@dataclass(frozen=True, kw_only=True)
class Queued:
    """A chain that waits for its turn.

    Args:
        number: The number of its trial in Optuna.
        label: The chain in short.
        recipe: What is searched of its recipes, in words; empty where nothing is.
    """

    number: int
    label: str
    recipe: str


def enqueue(
    run: Run | str | Path,
    chain: str | Sequence[int],
    *,
    student: Field | None = None,
    assistants: Field | None = None,
    runs_dir: str | Path = "runs",
) -> Queued:
    """Name a chain that a run tries next, before what its sampler proposes.

    It may be called while the run goes on. The trial counts: where all trials that were asked for
    are done, it waits until the study is run with more.

    Args:
        run: A run, its folder, or its name under `runs_dir`; it must have been begun.
        chain: Widths, the student's last; with or without the teacher's as the first.
        student: Fields of the student's recipe that are searched; the first value of others.
        assistants: Fields of the recipe that all assistants share.
        runs_dir: The folder of all runs.

    Returns:
        The trial that waits.

    Raises:
        StudyError: Where the study has no such chain.
        RunError: Where there is no such run, or the chain was tried or queued already.
    """
    directory = run.directory if isinstance(run, Run) else RunDirectory.open(run, runs_dir)
    manifest = directory.read()
    space = _space(manifest)
    choices = _choices(space, manifest, _widths(chain), student or {}, assistants or {})
    named = space.chain(choices)
    assert named is not None
    name = manifest.study.name
    with _appending(directory):
        study = read_study(directory, name)
        if study is None:
            raise RunError(f"{directory.path}: has tried nothing yet; run its study first")
        _check_new(study, directory, space, choices)
        trial = create_trial(
            state=TrialState.WAITING,
            system_attrs={FIXED: choices},
            user_attrs={"label": _label(named)},
        )
        made = study._storage.create_new_trial(study._study_id, trial)
        number = study._storage.get_trial(made).number
    fields = [name for name in choices if name.removeprefix("assistant_") in SEARCHED]
    fields += [name for name in choices if name.removeprefix("student_") in SEARCHED]
    words = ", ".join(f"{name} {choices[name]}" for name in fields if _counts(name, named))
    return Queued(number=number, label=_label(named), recipe=words)


def _space(manifest: Manifest) -> Space:
    from tasearch.search.chain_space import make_space

    study = manifest.study
    teacher = ModelSpec(width=study.teacher.width, recipe=study.teacher_recipe())
    return make_space(study, teacher, manifest.measured)


def _label(chain: Chain) -> str:
    return label(chain.widths, describe_recipes(chain))


def _counts(name: str, chain: Chain) -> bool:
    """Whether a field means something to a chain."""
    return bool(chain.assistants) or not name.startswith("assistant_")


@contextlib.contextmanager
def _appending(directory: RunDirectory) -> Iterator[None]:
    """Hold the run, and mend its journal, if no search holds it; else the journal's own lock will
    do, for its last line is whole."""
    if directory.busy:
        yield
        return
    with directory.locked():
        mend(directory.journal)
        yield


def _widths(chain: str | Sequence[int]) -> list[int]:
    words: list[object] = []
    if isinstance(chain, Sequence):
        words = [*(SEPARATORS.split(chain.strip()) if isinstance(chain, str) else chain)]
    whole = all(
        type(word) is int or (isinstance(word, str) and re.fullmatch("[0-9]{1,9}", word))
        for word in words
    )
    if not words or not whole:
        rule = 'should be widths joined by "-", such as 16-8-4'
        raise StudyError(f"chain: {rule}, found {shown(chain)}")
    widths = [int(str(word)) for word in words]
    if any(a <= b for a, b in itertools.pairwise(widths)):
        found = short(arrows(tuple(widths)))
        raise StudyError(f"chain: widths should fall strictly, found {found}")
    return widths


def _choices(
    space: Space, manifest: Manifest, widths: list[int], student: Field, assistants: Field
) -> Choices:
    """The canonical choices of a chain that is named by its widths and fields."""
    if widths[0] == space.teacher.width:
        del widths[0]
    if not widths:
        raise StudyError(f"chain: should end in a student, one of {listed(space.student_widths)}")
    *between, last = widths
    if last not in space.student_widths:
        over = last in manifest.study.student.widths
        words = f"{last}, which is over the budget" if over else f"{last}"
        rule = f"should be one of {listed(space.student_widths)}"
        raise StudyError(f"chain: the student {rule}, found {words}")
    low, high = space.min_assistants, space.max_assistants
    if not low <= len(between) <= high:
        many = f"{low} to {high}" if low < high else f"{low}"
        raise StudyError(f"chain: should have {many} assistants, found {len(between)}")
    for width in between:
        if width not in space.assistant_widths:
            rule = f"should be one of {listed(space.assistant_widths)}"
            raise StudyError(f"chain: an assistant {rule}, found {width}")
    raw: Choices = {"assistants": len(between), "student": last}
    places = range(1, high + 1)
    raw |= {f"assistant_{place}": (between[place - 1 : place] or [0])[0] for place in places}
    raw |= _fields(space.student_recipes, student, "student", "student_")
    if high:
        raw |= _fields(space.assistant_recipes, assistants, "assistants", "assistant_")
    found = meant(space, raw, {})
    named = None if isinstance(found, str) else space.chain(found)
    if named is None or named.widths[1:] != tuple(widths):
        alone = arrows((*between, last))
        raise StudyError(
            f"chain: with these losses {alone} depends on fewer assistants; "
            f"name those that its student learns from"
        )
    assert not isinstance(found, str)
    for prefix, section, given in (
        ("student_", "student", student),
        ("assistant_", "assistants", assistants),
    ):
        for field, value in given.items():
            name = prefix + field
            if value is not None and found.get(name) != raw.get(name):
                rule = "means nothing to this chain"
                raise StudyError(f"{section}.{field}: {rule}, found {shown(value)}")
        if section == "assistants" and not between and any(v is not None for v in given.values()):
            raise StudyError(f"{section}: the chain has none, found {shown(dict(given))}")
    return found


def _fields(recipes: Recipes, given: Field, section: str, prefix: str) -> Choices:
    """The searched fields of one role, all of them."""
    found: Choices = {}
    for name, value in given.items():
        if name not in SEARCHED:
            raise StudyError(f"{section}.{name}: should be one of {', '.join(SEARCHED)}")
        if value is None:
            continue
        options = recipes.options[name]
        known = one_of(_number(value) if not isinstance(options[0], str) else value, options)
        if known is None:
            rule = f"should be one of {listed(options)}" if len(options) > 1 else "is not searched"
            rule += "" if len(options) > 1 else f" and always {listed(options)}"
            raise StudyError(f"{section}.{name}: {rule}, found {shown(value)}")
        found[name] = known
    return {prefix + name: found.get(name, recipes.options[name][0]) for name in recipes.searched}


def _number(value: Choice) -> Choice:
    """A number from the command line."""
    with contextlib.suppress(ValueError):
        return float(value) if isinstance(value, str) else value
    return value


def _check_new(
    study: optuna.Study, directory: RunDirectory, space: Space, choices: Choices
) -> None:
    wanted = canonical_json(choices)
    for trial in study.get_trials(deepcopy=False):
        if _of(trial, space) != wanted:
            continue
        if not is_ours(trial):
            raise RunError(
                f"{directory.path}: this chain is queued already as trial {trial.number}"
            )
        state = "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()
        again = "; `tasearch run STUDY.toml --retry-failed` tries it again"
        raise RunError(
            f"{directory.path}: this chain was tried already as trial {trial.number} ({state})"
            f"{again if state == 'failed' else ''}"
        )


def _of(trial: FrozenTrial, space: Space) -> str | None:
    """The canonical choices of a trial that was tried or that waits."""
    if is_ours(trial):
        choices = space.member(chain_of(trial.user_attrs, space.teacher))
        return canonical_json(choices) if choices else None
    if trial.state != TrialState.WAITING:
        return None
    found = meant(space, trial.system_attrs.get(FIXED), {})
    return None if isinstance(found, str) else canonical_json(found)
