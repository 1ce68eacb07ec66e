"""Name a chain that a run tries next."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from tasearch.chains.chain import Chain, label
from tasearch.chains.hop import ModelSpec, arrows
from tasearch.chains.keys import canonical_json
from tasearch.chains.recipes import SEARCHED, Choice, Choices, Recipes
from tasearch.chains.space import Space
from tasearch.config.places import Place
from tasearch.errors import RunError, StudyError, option
from tasearch.runs.directory import Manifest, RunDirectory
from tasearch.runs.journal import read_study
from tasearch.runs.optuna_adapter import StudyStorage
from tasearch.runs.run import Run
from tasearch.runs.sealed_journal import clean_after_kill
from tasearch.runs.trial_attributes import chain_of, describe_recipes, is_own
from tasearch.search.queue import complete_choices, listed, matching, shown
from tasearch.search.trials import FIXED
from tasearch.search.written_chain import written_widths

Fields = Mapping[str, Choice | None]  # fields of a recipe by name; None if not given


@dataclass(frozen=True, kw_only=True)
class Queued:
    """A chain that waits to be tried.

    Args:
        number: Number of its trial in Optuna.
        label: The chain in words, such as `64 → 12 → 4`.
        recipe: The searched fields of its recipes, in words; empty if no field is searched.
    """

    number: int
    label: str
    recipe: str


def enqueue(
    run: Run | str | Place,
    chain: str | Sequence[int | str],
    *,
    student: Fields | None = None,
    assistants: Fields | None = None,
    runs_dir: str | Place = "runs",
) -> Queued:
    """Name a chain that a run tries next, before what its sampler proposes.

    It may be called while the run is being searched. The chain counts as a trial: if all trials
    that were asked for are done, it waits until the study is run with more.

    Args:
        run: A run, its folder, or its name under `runs_dir`; it must have tried a chain already.
        chain: Widths or names of sizes, the student's last; the teacher's may come first.
        student: Searched fields of the student's recipe; a field that is missing receives the first
            of its values.
        assistants: Searched fields of the recipe that all assistants share.
        runs_dir: The folder or the URL of all runs.

    Returns:
        The trial that waits.

    Raises:
        StudyError: The study has no such chain.
        RunError: There is no such run, or the chain has been tried or queued already.
    """
    directory = (run if isinstance(run, Run) else Run.open(run, runs_dir)).directory
    manifest = directory.read()
    space = space_of(manifest)
    choices = _choices(
        space, manifest, written_widths(chain, manifest.study), student or {}, assistants or {}
    )
    return enqueue_choices(directory, manifest, space, choices)


def enqueue_choices(
    directory: RunDirectory, manifest: Manifest, space: Space, choices: Choices
) -> Queued:
    """Queue the chain with some canonical choices.

    Args:
        directory: The run's directory.
        manifest: Its manifest.
        space: The chains of its study.
        choices: Canonical choices of one of them.

    Raises:
        RunError: The run has tried nothing yet, or the chain has been tried or queued already.
    """
    named = space.chain(choices)
    assert named is not None
    with _appending(directory):
        study = read_study(directory, manifest.study.name)
        if study is None:
            raise RunError(f"{directory.path}: has tried nothing yet; run its study first")
        _check_new(study, directory, space, choices)
        trial = create_trial(
            state=TrialState.WAITING,
            system_attrs={FIXED: choices},
            user_attrs={"label": _label(named)},
        )
        storage = StudyStorage(study)
        number = storage.get(storage.add(trial)).number
    return Queued(number=number, label=_label(named), recipe=_recipe_in_words(named, choices))


def space_of(manifest: Manifest) -> Space:
    """The chains within the budget of a run, without its models."""
    from tasearch.search.chain_space import make_space

    study = manifest.study
    section = study.teacher
    teacher = ModelSpec(width=section.width, recipe=study.teacher_recipe(), name=section.label)
    return make_space(study, teacher, manifest.measured)


def _label(chain: Chain) -> str:
    return label(chain.widths, describe_recipes(chain), chain.teacher)


def _recipe_in_words(chain: Chain, choices: Choices) -> str:
    """The searched fields of a chain's recipes: `student_loss kd, student_temperature 4.0`."""
    fields = [name for name in choices if name.removeprefix("assistant_") in SEARCHED]
    fields += [name for name in choices if name.removeprefix("student_") in SEARCHED]
    if not chain.assistants:
        fields = [name for name in fields if not name.startswith("assistant_")]
    return ", ".join(f"{name} {choices[name]}" for name in fields)


@contextlib.contextmanager
def _appending(directory: RunDirectory) -> Iterator[None]:
    """A context in which a line may be appended to the journal.

    While a search holds the run, the journal's own lock is enough, because its last line is whole.
    Otherwise the run is locked here, and what a kill may have left behind is removed.
    """
    if directory.busy_here:
        yield
        return
    with directory.locked():
        clean_after_kill(directory.journal)
        yield


def _choices(
    space: Space, manifest: Manifest, widths: list[int], student: Fields, assistants: Fields
) -> Choices:
    """The canonical choices of the chain with some widths and fields.

    Raises:
        StudyError: The study has no such chain.
    """
    *between, last = _checked_widths(space, manifest, widths)
    raw: Choices = {"assistants": len(between), "student": last}
    for place in range(1, space.max_assistants + 1):
        raw[f"assistant_{place}"] = between[place - 1] if place <= len(between) else 0
    raw |= _field_choices(space.student_recipes, student, "student", "student_")
    if space.max_assistants:
        raw |= _field_choices(space.assistant_recipes, assistants, "assistants", "assistant_")
    found = complete_choices(space, raw, {})
    named = None if isinstance(found, str) else space.chain(found)
    if isinstance(found, str) or named is None or named.widths[1:] != (*between, last):
        alone = arrows((*between, last))
        raise StudyError(
            f"chain: with these losses {alone} depends on fewer assistants; "
            f"name those that its student learns from"
        )
    _check_meaning(raw, found, student, "student", "student_")
    _check_meaning(raw, found, assistants, "assistants", "assistant_")
    if not between and any(value is not None for value in assistants.values()):
        raise StudyError(f"assistants: the chain has none, found {shown(dict(assistants))}")
    return found


def _checked_widths(space: Space, manifest: Manifest, widths: list[int]) -> list[int]:
    """The widths of a chain without the teacher's.

    Raises:
        StudyError: The study has no chain with these widths.
    """
    if widths[0] == space.teacher.width:
        widths = widths[1:]
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
        allowed = f"{low} to {high}" if low < high else f"{low}"
        raise StudyError(f"chain: should have {allowed} assistants, found {len(between)}")
    for width in between:
        if width not in space.assistant_widths:
            rule = f"should be one of {listed(space.assistant_widths)}"
            raise StudyError(f"chain: an assistant {rule}, found {width}")
    return widths


def _field_choices(recipes: Recipes, given: Fields, section: str, prefix: str) -> Choices:
    """The searched fields of one role's recipe, those that are not given with their first value.

    Raises:
        StudyError: A given field is not searched, or does not have the given value.
    """
    found: Choices = {}
    for name, value in given.items():
        if name not in SEARCHED:
            raise StudyError(f"{section}.{name}: should be one of {', '.join(SEARCHED)}")
        if value is None:
            continue
        options = recipes.options[name]
        names_alone = all(isinstance(option, str) for option in options)
        known = matching(value if names_alone else _number(value), options)
        if known is None:
            rule = f"should be one of {listed(options)}" if len(options) > 1 else "is not searched"
            rule += "" if len(options) > 1 else f" and always {listed(options)}"
            raise StudyError(f"{section}.{name}: {rule}, found {shown(value)}")
        found[name] = known
    return {prefix + name: found.get(name, recipes.options[name][0]) for name in recipes.searched}


def _check_meaning(
    raw: Choices, canonical: Choices, given: Fields, section: str, prefix: str
) -> None:
    """Refuse given fields that the canonical form of the chain has dropped.

    Raises:
        StudyError: A given field has no effect on this chain.
    """
    for field, value in given.items():
        name = prefix + field
        if value is not None and canonical.get(name) != raw.get(name):
            rule = "means nothing to this chain"
            raise StudyError(f"{section}.{field}: {rule}, found {shown(value)}")


def _number(value: Choice) -> Choice:
    """A number from the command line, where it is text."""
    with contextlib.suppress(ValueError):
        return float(value) if isinstance(value, str) else value
    return value


def _check_new(
    study: optuna.Study, directory: RunDirectory, space: Space, choices: Choices
) -> None:
    """Refuse a chain that has been tried or queued.

    Raises:
        RunError: It has.
    """
    wanted = canonical_json(choices)
    for trial in study.get_trials(deepcopy=False):
        if _canonical_choices(trial, space) != wanted:
            continue
        if not is_own(trial):
            raise RunError(
                f"{directory.path}: this chain is queued already as trial {trial.number}"
            )
        state = "failed" if trial.state == TrialState.FAIL else trial.state.name.lower()
        again = f"; a run with {option('retry_failed')} tries it again"
        raise RunError(
            f"{directory.path}: this chain was tried already as trial {trial.number} ({state})"
            f"{again if state == 'failed' else ''}"
        )


def _canonical_choices(trial: FrozenTrial, space: Space) -> str | None:
    """Canonical JSON of the choices of a trial that was started or waits; None for others."""
    if is_own(trial):
        choices = space.member(chain_of(trial.user_attrs, space.teacher))
        return canonical_json(choices) if choices else None
    if trial.state != TrialState.WAITING:
        return None
    found = complete_choices(space, trial.system_attrs.get(FIXED), {})
    return None if isinstance(found, str) else canonical_json(found)
