"""The chains that are looked at, and what their hops cost, as arrays."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.keys import canonical_json, derived_seed
from tasearch.chains.recipes import Choices
from tasearch.chains.space import Space
from tasearch.runs.directory import Manifest
from tasearch.runs.records import training_flops
from tasearch.search.encoding import ChainEncoder

CHAINS = 20_000  # looked at, at most; of a larger space, so many drawn at random
NO_ANCESTOR = 0  # the hop that costs nothing, where a chain has fewer hops than others

Array = np.ndarray[Any, Any]


class HopCosts:
    """Hops by number, the first of them nobody's.

    Args:
        manifest: of the run.
        teacher: of all chains.

    Attributes:
        widths: of each hop's model.
        costs: training FLOPs of each.
        paid: the same, as far as it was trained.
        teacher: the number of the teacher's hop.
    """

    def __init__(self, manifest: Manifest, teacher: ModelSpec) -> None:
        self._samples, self._measured = manifest.trained_samples, manifest.measured
        self._numbers: dict[tuple[ModelSpec, ...], int] = {}  # by what decides a hop's weights
        self.widths = [teacher.width]
        self.costs, self.paid = [0.0], [0.0]
        self.teacher = self.number(Hop(lineage=(teacher,)))

    def number(self, hop: Hop) -> int:
        """A hop's number, a new one where it is new."""
        number = self._numbers.setdefault(hop.canonical_lineage, len(self.costs))
        if number == len(self.costs):
            recipe, width = hop.model.recipe, hop.model.width
            epochs = recipe.epochs if recipe else 0
            self.widths.append(width)
            self.costs.append(training_flops(width, epochs, self._samples, self._measured))
            self.paid.append(0.0)
        return number

    def pay(self, number: int, share: float) -> None:
        """Note that a hop was trained as far as a share of its epochs."""
        self.paid[number] = max(self.paid[number], share * self.costs[number])

    def ancestor(self, hops: Sequence[int]) -> int:
        """The hop that a chain's student learns from; the teacher where from labels alone."""
        return hops[-2] if len(hops) > 1 else self.teacher


@dataclass(frozen=True, kw_only=True)
class CandidatePool:
    """The chains of the space, or many of them.

    Args:
        choices: of each, (n,)
        index: of canonical choices.
        features: (n, numbers)
        widths: of the students, (n,)
        ancestors: hop that the student learns from, (n,)
        hops: of each chain but the teacher's, the student's last, (n, hops)
        shorter: chains that its assistants are students of; n where there is none, (n, assistants)
    """

    choices: list[Choices]
    index: dict[str, int]
    features: Array
    widths: Array
    ancestors: Array
    hops: Array
    shorter: Array


def make_candidate_pool(
    space: Space, hop_costs: HopCosts, features: ChainEncoder, seed: int
) -> CandidatePool:
    """The chains of a space, or `CHAINS` of them, and their hops in a hop_costs."""
    chains = [*space] if space.size <= CHAINS else _some(space, seed)
    choices = [space.choices(chain) for chain in chains]
    index = {canonical_json(c): i for i, c in enumerate(choices)}
    hops = np.full((len(chains), space.max_assistants + 1), NO_ANCESTOR)
    shorter = np.full((len(chains), space.max_assistants), len(chains))

    def part(hop: Hop) -> int:
        """The chain that ends in an assistant."""
        chain = space.canonical(Chain.ending_in(hop, space.teacher))
        choices = space.member(chain)
        return index.get(canonical_json(choices) if choices else "", len(chains))

    parts: dict[int, int] = {}  # by hop
    ancestors = np.empty(len(chains), dtype=int)
    for i, chain in enumerate(chains):
        every = [*chain.hops()]
        numbers = [hop_costs.number(hop) for hop in every]
        ancestors[i] = hop_costs.ancestor(numbers)
        first = int(numbers[0] == hop_costs.teacher)
        own = numbers[first:]
        hops[i, : len(own)] = own
        for place, hop in enumerate(every[first:-1]):
            if own[place] not in parts:
                parts[own[place]] = part(hop)
            shorter[i, place] = parts[own[place]]
    return CandidatePool(
        choices=choices,
        index=index,
        features=np.array([features.encode(chain) for chain in chains]),
        widths=np.array([chain.student.width for chain in chains]),
        ancestors=ancestors,
        hops=hops,
        shorter=shorter,
    )


def _some(space: Space, seed: int) -> list[Chain]:
    """As many chains as are looked at of a space that is larger, the baselines among them."""
    rng = random.Random(derived_seed("catalogue", seed))
    found = {canonical_json(space.choices(c)): c for c in space.baselines()}
    domains = space.domains
    while len(found) < CHAINS:
        raw = {name: rng.choice(values) for name, values in domains.items()}
        chain = space.chain(raw)
        if chain is not None:
            found[canonical_json(space.choices(chain))] = chain
    return [*found.values()]
