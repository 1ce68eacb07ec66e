"""The parameters of a search, as Optuna's distributions."""

from __future__ import annotations

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from tasearch.chains.space import Space


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The distribution of each parameter of a space, by name."""
    made: dict[str, BaseDistribution] = {}
    for name, values in space.domains.items():
        if name == "assistants":
            made[name] = IntDistribution(int(values[0]), int(values[-1]))
        else:
            made[name] = CategoricalDistribution(values)
    return made
