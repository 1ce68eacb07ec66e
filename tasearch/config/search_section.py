"""The section `[search]` of a study file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasearch.config.section_base import Section, key
from tasearch.config.values import (
    MOST_CONCURRENT,
    MOST_HOURS,
    MOST_REPLICATES,
    MOST_RUNGS,
    MOST_TRIALS,
    Fraction,
    Positive,
)


class SearchSection(Section):
    """The search for the best chains, and when it ends."""

    trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] = key(
        40, "number of chains to try, including pruned and failed ones"
    )
    max_hours: Annotated[float, Field(gt=0, le=MOST_HOURS)] | None = key(
        None, "hours of searching after which no new trial starts; running trials are finished"
    )
    max_flops: Positive | None = key(
        None, "training FLOPs after which no new trial starts; running trials are finished"
    )
    min_improvement: Annotated[float, Field(gt=0, lt=1)] | None = key(
        None,
        "stop when spending as much training again should raise the hypervolume by less "
        "than this fraction",
    )
    sampler: str = key(
        "ehvi",
        '"ehvi" (expected hypervolume improvement per training cost), Optuna\'s "tpe", '
        '"nsga2", "gp", "random" or "brute", or "package.module:function"',
    )
    replicates: Annotated[int, Field(ge=1, le=MOST_REPLICATES)] = key(
        1,
        "trainings of each chain, with other initial weights and batch orders; the "
        "accuracy is their mean",
    )
    max_concurrent: Annotated[int, Field(ge=1, le=MOST_CONCURRENT)] = key(
        8,
        "most trials that run at the same time; for the same results with any number of "
        "workers, each trial is proposed and pruned from trials at least this many "
        "before it",
    )
    pruner: Literal["skyline", "none"] = key(
        "none",
        '"skyline" stops students that cannot reach the front any more; "none" stops none',
    )
    rungs: Annotated[int, Field(ge=1, le=MOST_RUNGS)] = key(
        8,
        "number of epochs, evenly spaced, at which a model is evaluated and saved and "
        "may be pruned",
    )
    gain_quantile: Fraction = key(
        1.0,
        "quantile of past accuracy gains, used as the optimistic bound on what a student "
        "may still gain; 1 is the largest gain so far",
    )
    noise_margin: Annotated[float, Field(ge=0, le=1e6)] = key(
        0.5,
        "standard deviations of noise that the pruner adds to the bound; noise is "
        "estimated from replicates or, with one replicate, from the last values of "
        "accuracy curves, which move less than accuracies do between seeds",
    )
    n_startup_trials: Annotated[int, Field(ge=1, le=MOST_TRIALS)] = key(
        6, "finished students before any is pruned"
    )
    audit_fraction: Fraction = key(
        0.1,
        "fraction of students to be pruned that are trained to the end all the same, to "
        "measure how often pruning is wrong",
    )

    @property
    def begins_with_baselines(self) -> bool:
        """Whether chains without assistants come first; "ehvi" chooses from the start."""
        return self.sampler != "ehvi"
