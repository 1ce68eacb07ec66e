"""Write a table of made-up customers, some of whom leave: numbers, categories, and gaps."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "customers.csv"
PLANS, TOWNS = ("basic", "plus", "family"), ("Aachen", "Bern", "Graz", "Linz", "Ulm")
HEAD = ("customer", "age", "months", "plan", "town", "calls", "price", "left")


def main(rows: int = 4_000, seed: int = 0) -> None:
    """Write the file.

    Args:
        rows: Number of customers.
        seed: Seed of everything about them.
    """
    random = np.random.default_rng(seed)
    age = random.integers(18, 90, rows)
    months = random.geometric(0.03, rows)
    plan, town = random.integers(len(PLANS), size=rows), random.integers(len(TOWNS), size=rows)
    calls = random.poisson(2 + 3 * (plan == 0), rows)
    price = np.round(9.9 + 8 * plan + random.normal(0, 2, rows), 2)
    # who calls often early on leaves, and so does who pays much for little; some towns differ
    score = 0.5 * calls - 0.05 * months + 0.15 * (price - 12) * (plan != 2) + 0.8 * (town == 2)
    score += 1.5 * ((age < 30) & (plan == 0)) - 1.5 * ((age > 60) & (months > 24))
    left = score + random.logistic(0, 0.6, rows) > 1.5
    with FILE.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEAD)
        for i in range(rows):
            own_age = "" if random.random() < 0.1 else int(age[i])
            own_town = "" if random.random() < 0.05 else TOWNS[town[i]]
            words = "yes" if left[i] else "no"
            customer = f"C{i:05}"
            row = (customer, own_age, int(months[i]), PLANS[plan[i]], own_town)
            writer.writerow((*row, int(calls[i]), float(price[i]), words))
    print(f"wrote {FILE.name}: {rows:,} customers, {left.mean():.0%} of them left")


if __name__ == "__main__":
    main()
