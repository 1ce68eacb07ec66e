"""How often is a verdict wrong, and how often does it find what is there?

Studies are simulated whose truth is known. In each, a search with one replicate tries all chains
with assistants of a student width, and picks the luckiest; this one is then compared with direct
distillation on fresh seeds, as `tasearch confirm` does. Noise is that of the stored tables: the
search's from the replicates of their chains, that of pairs on common seeds from the differences
between each chain and direct distillation with the same recipe, both drawn with replacement and
rounded to whole samples. The effect is the same for all chains, in standard deviations of one
accuracy.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.search_methods import BUDGETS, load
from benchmarks.table import Table
from tasearch.chains.chain import Chain
from tasearch.confirmation.statistics import assess
from tasearch.runs.verdicts import LookPlan, Verdict

EFFECTS = (0.0, 0.5, 1.0, 1.5)  # in standard deviations of one accuracy
ANSWERS = ("helps", "hurts", "no difference", "cannot tell")


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The noise of the students of one width.

    Args:
        chains: Number of chains with assistants that end in it.
        single: Deviations of one accuracy from its chain's mean.
        paired: Deviations of a difference between a chain and direct distillation from its mean.
    """

    chains: int
    single: np.ndarray[Any, Any]
    paired: np.ndarray[Any, Any]

    @property
    def sd(self) -> float:
        """Standard deviation of one accuracy."""
        return float(np.sqrt(np.mean(self.single**2)))

    @property
    def correlation(self) -> float:
        """Correlation of two accuracies on a common seed."""
        return float(1 - np.mean(self.paired**2) / (2 * np.mean(self.single**2)))


def noises(table: Table) -> dict[int, Noise]:
    """The noise of each student width of a table, without bias for its few replicates."""
    space, few = table.space(table.manifest), math.sqrt(table.replicates / (table.replicates - 1))
    single, paired = defaultdict[int, list[float]](list), defaultdict[int, list[float]](list)
    chains: Counter[int] = Counter()
    for chain in space:
        if not chain.assistants or not chain.student.distilled:
            continue
        direct = space.canonical(Chain(models=(chain.models[0], chain.student)))
        own, other = (
            np.array([c[-1] for c in table[each.hop()].curves]) for each in (chain, direct)
        )
        width = chain.student.width
        single[width] += [*(few * (own - own.mean()))]
        paired[width] += [*(few * (own - other - (own - other).mean()))]
        chains[width] += 1
    return {
        width: Noise(
            chains=chains[width], single=np.array(single[width]), paired=np.array(paired[width])
        )
        for width in chains
    }


def simulated(
    noise: Noise,
    effect: float,
    comparisons: int,
    plan: LookPlan,
    samples: int,
    rng: np.random.Generator,
) -> tuple[list[Verdict], float]:
    """The verdicts of one study, and the lead that its search announced.

    Args:
        noise: The noise of its students.
        effect: What assistants really add to the accuracy.
        comparisons: Number of comparisons in the command.
        plan: The looks.
        samples: Number of samples in the validation set.
        rng: Source of the noise.
    """

    def whole(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.round(values * samples) / samples

    tried = whole(effect + rng.choice(noise.single, noise.chains))
    lead = float(tried.max() - whole(rng.choice(noise.single, 1))[0])
    pairs = plan.pairs[-1]
    differences = [[*whole(effect + rng.choice(noise.paired, pairs))] for _ in range(comparisons)]
    return assess(differences, plan, least_step=1 / samples), lead


def case(
    noise: Noise, sds: float, comparisons: int, studies: int, samples: int, seed: int
) -> dict[str, Any]:
    """What becomes of many studies with the same truth."""
    rng, plan, effect = np.random.default_rng(seed), LookPlan(), sds * noise.sd
    found, leads, wrong_studies = list[Verdict](), list[float](), 0
    for _ in range(studies):
        verdicts, lead = simulated(noise, effect, comparisons, plan, samples, rng)
        found += verdicts
        leads.append(lead)
        claims = {j.answer for j in verdicts} & {"helps", "hurts"}
        wrong_studies += bool(claims - ({"helps"} if effect > 0 else set()))
    covered = [j.low <= effect <= j.high for j in found if j.low is not None and j.high is not None]
    return {
        "effect_sds": sds,
        "effect": effect,
        "comparisons": comparisons,
        **{answer: fmean(j.answer == answer for j in found) for answer in ANSWERS},
        "studies_with_a_false_claim": wrong_studies / studies,
        "search_announces_a_lead": fmean(lead > 0 for lead in leads),
        "covered": fmean(covered),
        "pairs": fmean(j.pairs for j in found),
    }


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--studies", type=int, default=1000, help="studies a case")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise")
    common.add_out_option(parser, "verdicts.json")
    args = parser.parse_args()
    provenance, rows = common.provenance(args), list[dict[str, Any]]()
    for name in BUDGETS:
        table = load(name)
        for width, noise in noises(table).items():
            for comparisons in (1, 4):
                for sds in EFFECTS:
                    samples = table.manifest.validation
                    found = case(noise, sds, comparisons, args.studies, samples, args.seed)
                    about = {
                        "sd": noise.sd,
                        "correlation": noise.correlation,
                        "chains": noise.chains,
                    }
                    rows.append({"table": name, "width": width, **about, **found})
    common.write_json(
        args.out,
        {"question": common.question(__doc__), "provenance": provenance, "cases": rows},
    )
    head = [
        "table",
        "width",
        "sd",
        "corr",
        "effect",
        "m",
        *ANSWERS,
        "lead seen",
        "covered",
        "pairs",
    ]
    print(
        common.table(
            head,
            [
                [
                    r["table"],
                    r["width"],
                    f"{r['sd']:.2%}",
                    f"{r['correlation']:.2f}",
                    r["effect_sds"],
                    r["comparisons"],
                    *(f"{r[answer]:.1%}" for answer in ANSWERS),
                    f"{r['search_announces_a_lead']:.0%}",
                    f"{r['covered']:.1%}",
                    f"{r['pairs']:.1f}",
                ]
                for r in rows
            ],
        )
    )


if __name__ == "__main__":
    main()
