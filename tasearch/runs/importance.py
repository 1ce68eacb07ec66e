"""Which parameters of a search mattered, by PED-ANOVA (Watanabe et al., IJCAI 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from tasearch.chains.chain import teaching
from tasearch.chains.recipe import complete_recipe
from tasearch.runs.records import TrialRecord

LEAST = 10  # finished trials: with fewer, a share says nothing
BEST = 0.25  # the share of trials that the others are compared with
NONE = "none"  # the value of a parameter that a trial does not have


def importance_of(trials: Sequence[TrialRecord]) -> dict[str, float]:
    """How much each parameter sets the best quarter of the students of a width apart.

    Args:
        trials: The run's trials; the finished ones count.

    Returns:
        Shares of 0 to 1 that sum to 1; empty with too few trials, or if none differ.
    """
    finished = [t for t in trials if t.state == "complete" and t.accuracy is not None]
    gains = _beyond_width(finished)
    values = [_parameters(trial) for trial in finished]
    searched = [
        name for name in dict.fromkeys(n for v in values for n in v) if _varies(name, values)
    ]
    if len(finished) < LEAST or not searched or not any(gains):
        return {}
    import optuna

    options: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(
            tuple(dict.fromkeys(own.get(name, NONE) for own in values))
        )
        for name in searched
    }
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        optuna.create_trial(
            params={name: own.get(name, NONE) for name in searched},
            distributions=options,
            value=gain,
        )
        for own, gain in zip(values, gains, strict=True)
    )
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items()}


def _beyond_width(trials: Sequence[TrialRecord]) -> list[float]:
    """The accuracy of each student less the mean of all students of its width."""
    by_width: dict[int, list[float]] = {}
    for trial in trials:
        by_width.setdefault(trial.chain[-1], []).append(trial.accuracy or 0.0)
    means = {width: fmean(own) for width, own in by_width.items()}
    return [(trial.accuracy or 0.0) - means[trial.chain[-1]] for trial in trials]


def _varies(name: str, values: Sequence[Mapping[str, str]]) -> bool:
    """Whether a parameter has two values, besides that some trials do not have it."""
    return len({own[name] for own in values if name in own}) > 1


def _parameters(trial: TrialRecord) -> dict[str, str]:
    """What was chosen, as text by the name of the parameter."""
    chain, recipe = trial.chain, trial.recipe or {}
    found = {"number of assistants": str(len(chain) - 2)}
    if teaching(chain, recipe) != "no teacher":
        found["last teacher"] = str(chain[-2])
    for role in ("student", "assistants"):
        own = recipe.get(role)
        for name, value in complete_recipe(own).items() if own else ():
            found["assistants' " * (role == "assistants") + name] = str(value)
    return found
