"""Write made-up messages to a shop, and what each is about."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "messages.csv"
WORDS = {  # of each kind; some words belong to several
    "delivery": "parcel courier late tracking address doorstep arrived week shipped box",
    "refund": "refund money returned broken receipt bank charged wrong box week",
    "account": "password login account email address reset locked code phone receipt",
    "praise": "thank lovely perfect great friendly fast happy again best arrived",
}
FILLING = (
    "hello I write because of my last order",
    "I have been a customer for years",
    "please answer soon",
    "see the picture below",
    "best wishes",
    "my number is {number}",
)
SAID = (
    "about the {a} and the {b}",
    "the {a} is what matters",
    "it is the {a}, not the {b}",
    "{a}!",
)


def message(kind: str, random: np.random.Generator) -> str:
    """A message of one to six sentences, of which one or two tell what it is about."""

    def said(about: str) -> str:
        a, b = random.choice(WORDS[about].split(), 2, replace=False)
        return str(random.choice(SAID)).format(a=a, b=b)

    sentences = [said(kind) for _ in range(random.integers(1, 3))]
    number = random.integers(1_000, 9_999)
    filling = random.choice(FILLING, random.integers(0, 4), replace=False)
    sentences += [str(text).format(number=number) for text in filling]
    if random.random() < 0.2:
        sentences.append(said(str(random.choice([*WORDS]))))
    random.shuffle(sentences)
    return ". ".join(sentences)


def main(rows: int = 4_000, seed: int = 0) -> None:
    """Write the file.

    Args:
        rows: Number of messages.
        seed: Seed of everything about them.
    """
    random = np.random.default_rng(seed)
    kinds = random.choice([*WORDS], rows)
    with FILE.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("text", "about"))
        writer.writerows((message(str(kind), random), kind) for kind in kinds)
    print(f"wrote {FILE.name}: {rows:,} messages of {len(WORDS)} kinds")


if __name__ == "__main__":
    main()
