"""BoTorch's qLogNEHVI divided by training FLOPs, with hops shared as tasearch shares them.

A Gaussian process, `SingleTaskGP` with BoTorch's defaults, predicts accuracies from the features of
tasearch's own encoder. Size and latency are known before training. The acquisition function is
noisy expected hypervolume improvement (Daulton et al., NeurIPS 2021, arXiv 2105.08195), computed by
its logarithm (Ament et al., NeurIPS 2023, arXiv 2310.20708), of every hop that is not trained. A
chain is worth the sum over its hops within the budget, since assistants within it are candidates
for free, divided by the training FLOPs of its hops that are not trained. Nothing is pruned.

This module needs BoTorch, an optional dependency of the benchmarks.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.objective import GenericMCMultiOutputObjective
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms.input import FilterFeatures
from botorch.sampling import SobolQMCNormalSampler
from botorch.utils.sampling import manual_seed
from gpytorch.mlls import ExactMarginalLogLikelihood

from benchmarks.baselines import HopCosts
from benchmarks.strong_baselines import Known, Stage, cheapest_first, direct_once_a_loss
from benchmarks.table import Table
from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.runs.directory import Manifest
from tasearch.search.encoding import ChainEncoder

SAMPLES = 32  # of the posterior; each takes a box decomposition, which takes most of the time
MOST_OF_A_WIDTH = 5  # trained students of a width that may be the best of it: those of highest mean

GROWTH = 1.1  # growth of the number of trained hops after which the process is fitted again

Lineage = tuple[ModelSpec, ...]
Tensor = torch.Tensor
Array = np.ndarray[Any, Any]


def nehvi(
    table: Table, manifest: Manifest, seed: int, trials: int, *, start: Stage = direct_once_a_loss
) -> HopCosts:
    """Begin with some chains, the cheapest first; then follow the acquisition function.

    Args:
        table: Table with the results.
        manifest: Manifest with the budget.
        seed: Seed of the order of equally cheap chains at the beginning, and of the samples.
        trials: Largest number of chains.
        start: Gives the chains to begin with; their students have two accuracies at least.
    """
    costs, space = HopCosts(table, manifest, free=True), table.space(manifest)
    pool, gains = Pool([*space], costs), Gains(table, manifest, seed)
    known = Known(space=space, manifest=manifest, costs=costs)
    for chain in cheapest_first(costs, start(known), random.Random(seed)):
        costs.train(chain)
    with manual_seed(seed):  # a fit that fails is tried again from random values
        while len(costs.steps) < trials:
            best = pool.best(costs, gains(costs))
            if best is None:
                break
            costs.train(best)
    return costs


class Pool:
    """All chains, with the training FLOPs of their hops.

    Args:
        chains: All chains within the budget.
        costs: Costs, before anything is trained.
    """

    def __init__(self, chains: list[Chain], costs: HopCosts) -> None:
        self._chains, hops = chains, [costs.missing(chain) for chain in chains]
        flops = {lineage: value for of_chain in hops for lineage, value in of_chain.items()}
        self._lineages, self._flops = [*flops], np.array([*flops.values()])
        places = {lineage: place for place, lineage in enumerate(flops)}
        self._uses = np.zeros((len(chains), len(flops)))  # 1 where a chain has a hop
        for uses, of_chain in zip(self._uses, hops, strict=True):
            uses[[places[lineage] for lineage in of_chain]] = 1

    def best(self, costs: HopCosts, gains: Mapping[Lineage, float]) -> Chain | None:
        """The chain with the largest gain for each training FLOP; None if everything is trained.

        Args:
            costs: What was trained so far.
            gains: Expected gain of each hop within the budget that was not trained.
        """
        left = np.array([lineage not in costs.found for lineage in self._lineages])
        flops = self._uses @ (self._flops * left)
        if not flops.any():
            return None
        gain = self._uses @ [gains.get(lineage, 0.0) for lineage in self._lineages]
        rates = np.divide(gain, flops, out=np.full(len(gain), -1.0), where=flops > 0)
        return self._chains[int(np.argmax(rates))]


class Gains:
    """The acquisition function over all hops within the budget.

    Args:
        table: Table with the results.
        manifest: Manifest with the budget.
        seed: Seed of the samples.
    """

    def __init__(self, table: Table, manifest: Manifest, seed: int) -> None:
        self._box, self._seed = manifest.reference_box, seed
        self._hops = [hop for hop in table.hops(manifest) if hop.model.width in manifest.candidates]
        sizes = [manifest.measured[hop.model.width] for hop in self._hops]
        self._widths = np.array([size.width for size in sizes])
        room = 1 - np.array([self._box.corner(size) for size in sizes])
        x = np.column_stack([features(table, manifest, self._hops), room])
        self._x = torch.tensor(x, dtype=torch.double)  # (hops, features, then 2 of room)
        self._fitted, self._state = 0, dict[str, Tensor]()  # number of hops at the last fit

    def __call__(self, costs: HopCosts) -> dict[Lineage, float]:
        """Expected hypervolume improvement of each hop that was not trained, by its lineage.

        Args:
            costs: What was trained so far.
        """
        stored = np.array([hop.canonical_lineage in costs.found for hop in self._hops])
        trained, left = np.flatnonzero(stored), np.flatnonzero(~stored)
        if not left.size:
            return {}
        process = self._fit(trained, [costs.accuracy(self._hops[place]) for place in trained])
        acquisition = qLogNoisyExpectedHypervolumeImprovement(
            process,
            ref_point=[0.0, 0.0, 0.0],
            X_baseline=self._x[self._promising(process, trained)],
            sampler=SobolQMCNormalSampler(torch.Size([SAMPLES]), seed=self._seed),
            objective=GenericMCMultiOutputObjective(
                lambda found, X: self._objectives(found, X)  # noqa: N803 - BoTorch's name
            ),
        )
        with torch.no_grad():
            found = acquisition(self._x[left][:, None]).exp().tolist()
        hops = (self._hops[place].canonical_lineage for place in left)
        return dict(zip(hops, found, strict=True))

    def _fit(self, trained: Array, accuracies: list[float]) -> SingleTaskGP:
        """The process with all data, fitted from where the last fit ended if they have grown."""
        y = torch.tensor(accuracies, dtype=torch.double)[:, None]
        inputs = FilterFeatures(torch.arange(self._x.shape[1] - 2))  # all but the room
        process = SingleTaskGP(self._x[trained], y, input_transform=inputs)
        process.load_state_dict(self._state, strict=False)
        if len(trained) < GROWTH * self._fitted:
            return process.eval()
        self._fitted = len(trained)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(process.likelihood, process))
        self._state = {
            name: value
            for name, value in process.state_dict().items()
            if not name.startswith("outcome_transform")  # means and deviations of other data
        }
        return process

    def _promising(self, process: SingleTaskGP, trained: Array) -> list[int]:
        """The trained hops of each width whose predicted accuracies are the highest."""
        with torch.no_grad():
            means = process.posterior(self._x[trained]).mean[:, 0].tolist()
        ranked = [place for _, place in sorted(zip(means, trained.tolist(), strict=True))][::-1]
        return [
            place
            for width in np.unique(self._widths)
            for place in [p for p in ranked if self._widths[p] == width][:MOST_OF_A_WIDTH]
        ]

    def _objectives(self, accuracies: Tensor, x: Tensor) -> Tensor:
        """What is maximized, each 0..1 in the reference box: accuracy, room in size and latency.

        Args:
            accuracies: Shape (samples, ..., students, 1).
            x: Inputs of the process, shape (..., students, features).

        Returns:
            Shape (samples, ..., students, 3).
        """
        heights = (accuracies - self._box.accuracy) / (1 - self._box.accuracy)
        room = x[..., -2:].expand(*accuracies.shape[:-1], 2)
        return torch.cat([heights, room], dim=-1)


def features(table: Table, manifest: Manifest, hops: list[Hop]) -> Array:
    """Features of chains that end in these hops, each 0..1, shape (hops, features).

    Args:
        table: Table with the teacher.
        manifest: Manifest with the budget.
        hops: Hops whose models are within the budget.
    """
    encoder = ChainEncoder(table.space(manifest), manifest.measured, [*manifest.candidates])
    x = np.array([encoder.encode(Chain.ending_in(hop, table.teacher)) for hop in hops])
    least, spread = x.min(axis=0), np.ptp(x, axis=0)
    return np.asarray((x - least)[:, spread > 0] / spread[spread > 0])
