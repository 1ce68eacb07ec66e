"""The candidate pool: the chains that the acquisition function ranks, and what they cost."""

from __future__ import annotations

import random
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

MAX_CHAINS = 20_000  # chains in the pool; of a larger space as many are drawn at random
NO_HOP = 0  # number of a hop that costs nothing; it fills the arrays of shorter chains

Array = np.ndarray[Any, Any]


class HopCosts:
    """Hops by number, and what they cost. Number 0 is `NO_HOP`.

    Args:
        manifest: The run's manifest.
        teacher: The teacher of all chains.

    Attributes:
        costs: Training FLOPs of each hop.
        paid: Training FLOPs of each hop that have been spent.
        teacher: Number of the teacher's hop.
    """

    def __init__(self, manifest: Manifest, teacher: ModelSpec) -> None:
        self._samples, self._measured = manifest.trained_samples, manifest.measured
        self._numbers: dict[tuple[ModelSpec, ...], int] = {}  # by all that decides a hop's weights
        self.costs, self.paid = [0.0], [0.0]
        self.teacher = self.number(Hop(lineage=(teacher,)))

    def number(self, hop: Hop) -> int:
        """The number of a hop; a new hop receives the next number."""
        number = self._numbers.setdefault(hop.canonical_lineage, len(self.costs))
        if number == len(self.costs):
            recipe, width = hop.model.recipe, hop.model.width
            epochs = recipe.epochs if recipe else 0
            self.costs.append(training_flops(width, epochs, self._samples, self._measured))
            self.paid.append(0.0)
        return number

    def pay(self, number: int, share: float) -> None:
        """Note that a hop has been trained.

        Args:
            number: Number of the hop.
            share: Share of its epochs that have been trained, 0..1.
        """
        self.paid[number] = max(self.paid[number], share * self.costs[number])


@dataclass(frozen=True, kw_only=True)
class CandidatePool:
    """The chains of the space, or a random sample of them; n is their number.

    Args:
        choices: Canonical choices of each chain.
        index: Index of a chain by the canonical JSON of its choices.
        features: Features of the chains, float, shape (n, features).
        widths: Widths of the students, int, shape (n,).
        hops: Numbers of the hops without the teacher's, the student's last, filled up with
            `NO_HOP`, int, shape (n, max_assistants + 1).
    """

    choices: list[Choices]
    index: dict[str, int]
    features: Array
    widths: Array
    hops: Array


def make_candidate_pool(
    space: Space, hop_costs: HopCosts, features: ChainEncoder, seed: int
) -> CandidatePool:
    """The candidate pool of a space; at most `MAX_CHAINS` chains.

    Args:
        space: The chains of the study.
        hop_costs: The hops, to which those of the pool are added.
        features: The encoder of chains.
        seed: Seed of the random sample of a larger space.
    """
    chains = [*space] if space.size <= MAX_CHAINS else _sample(space, seed)
    choices = [space.choices(chain) for chain in chains]
    index = {canonical_json(c): i for i, c in enumerate(choices)}
    hops = np.full((len(chains), space.max_assistants + 1), NO_HOP)
    for i, chain in enumerate(chains):
        numbers = [hop_costs.number(hop) for hop in chain.hops()]
        own = numbers[int(numbers[0] == hop_costs.teacher) :]
        hops[i, : len(own)] = own
    return CandidatePool(
        choices=choices,
        index=index,
        features=np.array([features.encode(chain) for chain in chains]),
        widths=np.array([chain.student.width for chain in chains]),
        hops=hops,
    )


def _sample(space: Space, seed: int) -> list[Chain]:
    """`MAX_CHAINS` random chains of a larger space, the baselines among them."""
    rng = random.Random(derived_seed("catalogue", seed))
    found = {canonical_json(space.choices(c)): c for c in space.baselines()}
    domains = space.domains
    while len(found) < MAX_CHAINS:
        raw = {name: rng.choice(values) for name, values in domains.items()}
        chain = space.chain(raw)
        if chain is not None:
            found[canonical_json(space.choices(chain))] = chain
    return [*found.values()]
