"""Draws of replicates: which replicates of a table a search sees, and which ones value its front.

There are two views of a table of R replicates:

- **own**: a search sees R replicates, drawn with replacement, and the true front is that of what it
  sees. Searches see means, so the order of a draw does not matter: there are C(2R - 1, R) distinct
  draws, 10 of three replicates. Each is searched, by several seeds, and weighs as much as a random
  draw is likely to be it. So figures are those of random draws, and their number is not taken for
  the number of seeds. Where a draw is one replicate several times, a search that estimates noise
  from replicates finds none.
- **held-out**: a search sees one replicate, as the default study does, and its front is worth what
  the mean of the others says. There are R such draws. This is the simplest design in which no
  model is chosen and valued by the same noise. One replicate is seen rather than R - 1, since the
  noise of the values is then the least.

Distinct draws share replicates, so they are not independent either: intervals over draws say how
much a figure depends on the draw, and are too narrow for another training of the table.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TypeVar

T = TypeVar("T")

MOST_DRAWS = 40  # distinct draws up to which all of them are searched
VIEWS = ("own", "held-out")


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Numbers of the replicates that a search sees, ascending, and of those that value its front.

    Args:
        seen: Replicates that the search sees; one may occur several times.
        valuing: Replicates whose mean the front is worth; empty for those that are seen.
    """

    seen: tuple[int, ...]
    valuing: tuple[int, ...] = ()

    def __str__(self) -> str:
        """A text for names of files, such as "0.0.2", or "0-on-1.2"."""
        parts = (".".join(map(str, part)) for part in (self.seen, self.valuing) if part)
        return "-on-".join(parts)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The searches of one method on one table in one view.

    Args:
        draws: Distinct draws, each with its weight; the weights sum to 1.
        seeds: Number of search seeds of each draw.
    """

    draws: dict[Draw, float]
    seeds: int

    @property
    def searches(self) -> list[tuple[Draw, int]]:
        """Draw and seed of each search; those of a draw stand beside each other.

        No two searches have the same seed: otherwise one random order would be tried on all draws.
        """
        draws = [draw for draw in self.draws for _ in range(self.seeds)]
        return [(draw, seed) for seed, draw in enumerate(draws)]

    @property
    def weights(self) -> list[float]:
        """Weight of each search."""
        return [weight / self.seeds for weight in self.draws.values() for _ in range(self.seeds)]

    def by_draw(self, values: Sequence[T]) -> list[Sequence[T]]:
        """Values of the searches, divided by draw."""
        return [values[i : i + self.seeds] for i in range(0, len(values), self.seeds)]


def make_plan(view: str, replicates: int, seeds: int, most: int = MOST_DRAWS) -> Plan:
    """All searches of one method on one table.

    Args:
        view: Name in `VIEWS`.
        replicates: Number of replicates of the table.
        seeds: Number of search seeds of each draw.
        most: Number of distinct draws up to which all are searched; of more, this many random
            draws are.
    """
    draws = (
        own_draws(replicates, most) if view == "own" else dict.fromkeys(held_out(replicates), 1.0)
    )
    total = sum(draws.values())
    return Plan(draws={draw: weight / total for draw, weight in draws.items()}, seeds=seeds)


def own_draws(replicates: int, most: int) -> dict[Draw, float]:
    """Distinct draws with replacement, and how likely each is; up to a common factor.

    Args:
        replicates: Number of replicates, and of what is drawn.
        most: See `make_plan`.
    """
    if math.comb(2 * replicates - 1, replicates) > most:
        return dict(Counter(random_draw(replicates, seed) for seed in range(most)))
    return {
        Draw(seen=seen): math.factorial(replicates)
        / math.prod(math.factorial(times) for times in Counter(seen).values())
        for seen in combinations_with_replacement(range(replicates), replicates)
    }


def random_draw(replicates: int, seed: int) -> Draw:
    """As many replicates as there are, drawn with replacement (a bootstrap sample)."""
    rng = random.Random(seed)
    return Draw(seen=tuple(sorted(rng.randrange(replicates) for _ in range(replicates))))


def held_out(replicates: int) -> list[Draw]:
    """Each replicate seen alone, valued by the others; none where there are no others."""
    every = range(replicates) if replicates > 1 else ()
    return [Draw(seen=(i,), valuing=tuple(j for j in every if j != i)) for i in every]
