"""The parameters of a search, as Optuna's distributions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from tasearch.chains.space import Space

if TYPE_CHECKING:
    pass


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Optuna's view of the space."""
    made: dict[str, BaseDistribution] = {}
    for name, values in space.domains.items():
        if name == "assistants":
            made[name] = IntDistribution(int(values[0]), int(values[-1]))
        else:
            made[name] = CategoricalDistribution(values)
    return made
