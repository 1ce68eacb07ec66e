"""The search methods that `benchmarks.search` compares, each run on one table by one seed."""

from __future__ import annotations

import functools
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import optuna

from benchmarks import common
from benchmarks.baselines import HopCosts, mo_asha, oracle, plain_optuna
from benchmarks.draws import Draw
from benchmarks.optional_methods import (
    Versions,
    botorch_versions,
    nehvi,
    pruned_optuna,
    pruner_versions,
)
from benchmarks.regrets import regrets
from benchmarks.replay import manifest_for, replay
from benchmarks.strong_baselines import (
    Stage,
    assistants_alone,
    by_capacity_gap,
    by_half_way,
    by_midpoint,
    by_minidisc,
    chosen_by,
    direct,
    direct_once_a_loss,
    every,
    in_stages,
    small_assistants_alone,
)
from benchmarks.table import Table
from tasearch.runs.directory import Manifest
from tasearch.runs.records import TrialRecord
from tasearch.runs.trial_attributes import chain_of

TABLES = common.ROOT / "benchmarks/tables"
BUDGETS = {  # tables to search, each a file of `TABLES`: width of the largest student in the budget
    "digits": 12,
    "mnist": 8,
    "census": 8,
    "mnist-converged": 6,
    "parity": 12,
    "cifar10": 4,
    "trec": 3,  # the size t
}
WHOLE_SPACE = 10**6  # more trials than any table has chains
ROUNDING = 1e-9  # share of a hypervolume that comes from rounding alone
REGRET = 0.01  # share of the hypervolume that may be missing when costs are compared
TASEARCH = "f"  # the arm that all others are compared with
WORKERS, MAX_CONCURRENT = (1, 4, 16), 64  # of the searches that measure the speed-up


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to search.

    Args:
        trials: Largest number of trials; 0 for the whole space.
        search: Keys of the section [search]; None for a baseline.
        baseline: What searches instead of tasearch's driver; None for tasearch's own.
        needs: Versions of the optional packages that it needs; fails where they are not there.
    """

    trials: int
    search: Mapping[str, Any] | None = None
    baseline: Callable[[Table, Manifest, int, int], HopCosts] | None = None
    needs: Callable[[], Versions] | None = None


def in_order(*stages: Stage) -> Method:
    """A search of one stage after another, the cheapest chain first in each, without pruning."""
    return Method(trials=WHOLE_SPACE, baseline=functools.partial(in_stages, stages=stages))


PRUNED = {"pruner": "skyline"}
METHODS = {
    "plain": Method(trials=250, baseline=plain_optuna),
    "mo-asha": Method(trials=250, baseline=mo_asha),
    "random, unpruned": Method(trials=400, search={"sampler": "random", "pruner": "none"}),
    "tpe": Method(trials=80, search={"sampler": "tpe", **PRUNED}),
    "nsga2": Method(trials=200, search={"sampler": "nsga2", **PRUNED}),
    "gp": Method(trials=80, search={"sampler": "gp", **PRUNED}),
    "random": Method(trials=400, search={"sampler": "random", **PRUNED}),
    "brute": Method(trials=200, search={"sampler": "brute", **PRUNED}),
    "ehvi": Method(trials=250, search={}),  # the defaults
    "ehvi, pruned": Method(trials=250, search=PRUNED),
    "cheapest": in_order(every),
    "direct": in_order(direct),
    "direct, cheapest": in_order(direct, every),
    "direct once a loss, cheapest": in_order(direct_once_a_loss, every),
    "capacity-gap": in_order(direct, chosen_by(by_capacity_gap), every),
    "midpoint": in_order(direct, chosen_by(by_midpoint), every),
    "half-way": in_order(direct, assistants_alone, chosen_by(by_half_way), every),
    "minidisc": in_order(direct, small_assistants_alone, chosen_by(by_minidisc), every),
    "nehvi": Method(trials=100, baseline=nehvi, needs=botorch_versions),
    "plain, pruned": Method(trials=250, baseline=pruned_optuna, needs=pruner_versions),
}
ARMS = {  # by letter: what is compared, its method, whether its costs share hops
    "a": ("plain Optuna: no reuse, no pruning, no budget", "plain", False),
    "b": ("plain Optuna with reuse", "plain", True),
    "c": ("random with reuse", "random, unpruned", True),
    "d": ("MO-ASHA with true ranks, with reuse", "mo-asha", True),
    "e1": ("TPE with reuse and skyline", "tpe", True),
    "e2": ("NSGA-II with reuse and skyline", "nsga2", True),
    "e3": ("GP with reuse and skyline", "gp", True),
    "e4": ("random with reuse and skyline", "random", True),
    "e5": ("brute force with reuse and skyline", "brute", True),
    "f": ("tasearch: ehvi with reuse", "ehvi", True),
    "g1": ("ehvi with reuse and skyline", "ehvi, pruned", True),
    "g2": ("ehvi, no reuse", "ehvi", False),
    "g3": ("ehvi with skyline, no reuse", "ehvi, pruned", False),
    "h1": ("cheapest first", "cheapest", True),
    "h2": ("direct chains, all recipes", "direct", True),
    "h3": ("h2, then cheapest first", "direct, cheapest", True),
    "h4": ("direct, one recipe a loss, then cheapest", "direct once a loss, cheapest", True),
    "i1": ("h2, capacity-gap law, then cheapest", "capacity-gap", True),
    "i2": ("h2, midpoint in size, then cheapest", "midpoint", True),
    "i3": ("h2, half-way accuracy, then cheapest", "half-way", True),
    "i4": ("h2, MiniDisc, then cheapest", "minidisc", True),
    "j": ("qLogNEHVI for its cost, with reuse", "nehvi", True),
    "k": ("b, and OptunaHub's pruner", "plain, pruned", True),
}


@functools.cache
def load(name: str) -> Table:
    """A table by its name."""
    return Table.load(TABLES / f"{name}.json.gz")


def limits(table: Table, name: str) -> dict[str, Any]:
    """The budget of all searches on a table, as keys of the section [budget]."""
    return {"max_params": table.manifest.measured[BUDGETS[name]].params}


def run_method(
    name: str,
    method_name: str,
    draw: Draw,
    seed: int,
    search: Mapping[str, Any] | None = None,
    trials: int = 0,
) -> dict[str, Any]:
    """Run one seed of one method on one table.

    A search without pruning ends when it has found the whole front, if it sees what values it.

    Args:
        name: Name of the table.
        method_name: Key of `METHODS`.
        draw: Replicates that the search sees, and that its front is valued by.
        seed: Seed of proposals.
        search: Keys that replace those of the method's section [search].
        trials: Largest number of trials; 0 for the method's own.

    Returns:
        After each trial: training FLOPs with and without shared hops, simulated seconds, and
        regret; the floor of the regret (see `regrets`); and the wall-clock time of a trial.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")  # some samplers warn that they are experimental
    method, table = METHODS[method_name], load(name).seeing(draw.seen)
    keys = {**(method.search or {}), **(search or {})}
    manifest = manifest_for(table, keys, seed, limits(table, name))
    trials = trials or method.trials or table.space(manifest).size
    start = time.perf_counter()
    records: list[TrialRecord] = []
    given_s = 0.0  # seconds of the teacher's training, which baselines leave out
    if method.baseline is not None:
        steps = method.baseline(table, manifest, seed, trials).steps
    else:
        whole = table.best_volume(manifest) * (1 - ROUNDING)
        ends = not draw.valuing and manifest.study.search.pruner == "none"
        replayed = replay(table, manifest, trials=trials, enough=whole if ends else math.inf)
        steps, records = replayed.steps, replayed.trials
        given_s = table[table.teacher_hop].seconds
    wall = time.perf_counter() - start
    noise = load(name).noise(len(draw.seen))
    return {
        "paid": [step.paid for step in steps],
        "unshared": [step.unshared for step in steps],
        "seconds": [step.seconds - given_s for step in steps],
        **regrets(load(name), draw, manifest, steps),
        "wall_ms_a_trial": 1000 * wall / len(steps),
        **(front_found(table, manifest, records, noise) if records else {}),
    }


def front_found(
    table: Table, manifest: Manifest, records: Sequence[TrialRecord], noise: float
) -> dict[str, float]:
    """How much of the true front was trained to its end, and how much of it was pruned.

    A student is pruned beyond noise if it is more accurate than every finished student which is no
    larger and no slower, by more than a standard deviation of the noise.

    Args:
        table: Table that was searched.
        manifest: Manifest of the search.
        records: All trials of the search.
        noise: Standard deviation of an accuracy.
    """
    finished, pruned = set[tuple[int, float]](), set[tuple[int, float]]()
    for record in records:
        *_, hop = chain_of(asdict(record), table.teacher).hops()
        (finished if record.state == "complete" else pruned).add((hop.model.width, table.end(hop)))
    found = lost = beyond = 0
    front = table.front(manifest).members
    for member in front:
        student = member.chain[-1], member.accuracy
        if student in finished:
            found += 1
        elif student in pruned:
            lost += 1
            sizes = ((manifest.measured[width], accuracy) for width, accuracy in finished)
            rivals = [
                accuracy
                for size, accuracy in sizes
                if size.params <= member.params and size.latency_ms <= member.latency_ms
            ]
            beyond += member.accuracy - max(rivals, default=0.0) > noise
    return {
        "recall": found / len(front),
        "front_pruned": lost / len(front),
        "front_pruned_beyond_noise": beyond / len(front),
        "pruned": sum(record.state == "pruned" for record in records),
        "trials": len(records),
    }


def workers_seconds(name: str, draw: Draw, seed: int) -> dict[str, dict[str, float]]:
    """Simulated seconds of a search by number of workers, with and without the teacher's."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = load(name).seeing(draw.seen)
    manifest = manifest_for(table, {"max_concurrent": MAX_CONCURRENT}, seed, limits(table, name))
    trials = table.space(manifest).size
    given_s = table[table.teacher_hop].seconds
    found = {}
    for count in WORKERS:
        whole = replay(table, manifest, trials=trials, workers=count).steps[-1].seconds
        found[str(count)] = {"end": whole - given_s, "end_with_teacher": whole}
    return found


def oracle_cost(name: str, draw: Draw) -> float:
    """Training FLOPs that the oracle pays for the regret `REGRET`."""
    table = load(name).seeing(draw.seen)
    return oracle(table, manifest_for(table, {}, 0, limits(table, name)), REGRET)
