"""A table: every chain of a ladder, trained to its end, with every epoch of every hop.

A table is made by the real trainer, as a run that may be interrupted and continued:

    .venv/bin/tasearch run benchmarks/tables/digits.toml
    .venv/bin/python -m benchmarks.table runs/digits-table benchmarks/tables/digits.json.gz

Of each hop it keeps the lineage, the number of validation samples that each replicate classified
correctly after each epoch, and the seconds of its training. FLOPs follow from the measurements,
which are kept too. Runs of other seeds add replicates, also to a table that is there:

    .venv/bin/python -m benchmarks.table digits.json.gz runs-3/digits-table more.json.gz
"""

from __future__ import annotations

import copy
import gzip
import json
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, variance
from typing import Any

from benchmarks import common
from benchmarks.merged_tables import merged
from tasearch.chains.chain import Chain
from tasearch.chains.hop import Hop, ModelSpec
from tasearch.chains.keys import canonical_json
from tasearch.chains.mode import modes_as_text, modes_from_text
from tasearch.chains.recipe import Recipe
from tasearch.chains.space import Space
from tasearch.config.study import Study
from tasearch.errors import RunError
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.front import Front
from tasearch.pareto.hypervolume import hypervolume
from tasearch.pareto.measurement import Measurement
from tasearch.runs.accuracies import mean_accuracy
from tasearch.runs.directory import Manifest, RunDirectory
from tasearch.runs.opening import find_run
from tasearch.runs.records import training_flops
from tasearch.search.chain_space import make_space


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The result of one hop.

    Args:
        seconds: Wall-clock time of the training of all replicates.
        curves: Validation accuracy after each epoch, by replicate.
    """

    seconds: float
    curves: tuple[tuple[float, ...], ...]


class Table:
    """The results of all chains of a study.

    Args:
        content: What `build` returned.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.provenance = content["provenance"]
        measured = [Measurement.from_json(m) for m in content["measurements"]]
        self.manifest = Manifest(
            study=Study.model_validate_json(json.dumps(content["study"])),
            inputs=content["inputs"],
            samples=content["samples"],
            validation=content["validation"],
            space=0,
            measured={m.width: m for m in measured},
            setup=content["setup"],
            modes=modes_from_text(content["modes"]),
            device=content["device"],
        )
        self.recipes = [Recipe(**recipe) for recipe in content["recipes"]]
        right = self.manifest.validation
        self._entries = {
            (tuple(widths), tuple(recipes)): Entry(
                seconds=seconds,
                curves=tuple(tuple(count / right for count in curve) for curve in curves),
            )
            for widths, recipes, seconds, curves in content["hops"]
        }
        self._numbers = {recipe: i for i, recipe in enumerate(self.recipes)}
        self._known: dict[Hop, Entry] = {}

    @staticmethod
    def load(file: Path) -> Table:
        """Read a table from a compressed JSON file."""
        with gzip.open(file, "rt", encoding="utf-8") as stream:
            return Table(json.load(stream))

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, hop: Hop) -> Entry:
        """The result of a hop."""
        if hop not in self._known:
            recipes = tuple(
                self._numbers[m.recipe] for m in hop.canonical_lineage if m.recipe is not None
            )
            self._known[hop] = self._entries[tuple(model.width for model in hop.lineage), recipes]
        return self._known[hop]

    def seeing(self, replicates: Sequence[int]) -> Table:
        """The same chains with these replicates, of which one may occur several times."""
        share = len(replicates) / self.replicates
        other = copy.copy(self)
        other._known = {}
        other._entries = {
            key: Entry(
                seconds=entry.seconds * share, curves=tuple(entry.curves[i] for i in replicates)
            )
            for key, entry in self._entries.items()
        }
        study = self.manifest.study
        search = study.search.model_copy(update={"replicates": len(replicates)})
        other.manifest = replace(self.manifest, study=study.model_copy(update={"search": search}))
        return other

    def number(self, recipe: Recipe) -> int:
        """A recipe's place among the recipes of the table."""
        return self._numbers[recipe]

    @property
    def replicates(self) -> int:
        return self.manifest.study.search.replicates

    def entries(self) -> list[Entry]:
        return [*self._entries.values()]

    @property
    def teacher_hop(self) -> Hop:
        return Hop(lineage=(self.teacher,))

    def cost(self, hop: Hop, manifest: Manifest, epochs: int | None = None) -> float:
        """Training FLOPs of a hop.

        Args:
            hop: The hop.
            manifest: Manifest with the measurements.
            epochs: Number of its epochs; None for all.
        """
        recipe, width = hop.model.recipe, hop.model.width
        assert recipe is not None
        count = recipe.epochs if epochs is None else epochs
        return training_flops(width, count, manifest.trained_samples, manifest.measured)

    @cached_property
    def teacher(self) -> ModelSpec:
        study = self.manifest.study
        return ModelSpec(width=study.teacher.width, recipe=study.teacher_recipe())

    def space(self, manifest: Manifest) -> Space:
        """The chains within the budget of a manifest, which may differ from this table's."""
        return make_space(manifest.study, self.teacher, manifest.measured)

    def accuracy(self, chain: Chain) -> float:
        """A student's accuracy after its last epoch, the mean over the replicates."""
        *_, hop = chain.hops()
        return self.end(hop)

    def end(self, hop: Hop) -> float:
        """A model's accuracy after its last epoch, the mean over the replicates."""
        return mean_accuracy(curve[-1] for curve in self[hop].curves)

    def candidate(self, hop: Hop, manifest: Manifest) -> Candidate | None:
        """A hop's model as a student; None where it is over the budget."""
        size = manifest.measured[hop.model.width]
        if not manifest.study.limits().admits(size):
            return None
        return Candidate(
            trial=0,
            chain=Chain.ending_in(hop, self.teacher).widths,
            recipe={},
            accuracy=self.end(hop),
            params=size.params,
            bytes=size.bytes,
            latency_ms=size.latency_ms,
        )

    def best_volume(self, manifest: Manifest) -> float:
        """Hypervolume of the true front."""
        return hypervolume(self.front(manifest).members, manifest.reference_box)

    def front(self, manifest: Manifest) -> Front:
        """The front of every student within the budget; assistants within it are students too."""
        every = self.hops(manifest)
        return Front(filter(None, (self.candidate(hop, manifest) for hop in every)))

    def hops(self, manifest: Manifest) -> list[Hop]:
        """Every hop of the chains within the budget, once, without the teacher's."""
        every = (hop for chain in self.space(manifest) for hop in chain.hops())
        hops = {hop.canonical_lineage: hop for hop in every if hop != self.teacher_hop}
        return [*hops.values()]

    def noise(self, averaged: int | None = None) -> float:
        """Standard deviation of an accuracy that is a mean over replicates.

        Args:
            averaged: Number of replicates of the mean; None for all.
        """
        ends = ([curve[-1] for curve in entry.curves] for entry in self._entries.values())
        return math.sqrt(fmean(map(variance, ends)) / (averaged or self.replicates))


def build(run: RunDirectory, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a table.

    Args:
        run: A finished run of all chains.
        provenance: When, where and with what the run was made.

    Raises:
        RunError: A chain is missing.
    """
    manifest = run.read()
    recipes, hops = _results(run)
    content = {
        "provenance": dict(provenance),
        "study": manifest.study.model_copy(update={"root": "."}).model_dump(mode="json"),
        "seeds": [manifest.study.seed],
        "inputs": dict(manifest.inputs),
        "samples": manifest.samples,
        "validation": manifest.validation,
        "measurements": [asdict(m) for m in manifest.measured.values()],
        "setup": dict(manifest.setup),
        "modes": modes_as_text(manifest.modes),
        "device": manifest.device,
        "recipes": recipes,
        "hops": hops,
    }
    table = Table(content)
    for chain in table.space(table.manifest):
        try:
            table.accuracy(chain)
        except KeyError:
            raise RunError(f"{run.path}: did not train {chain.widths}; continue it") from None
    return content


def _results(run: RunDirectory) -> tuple[list[Any], list[Any]]:
    """The recipes of a run, and its hops.

    A hop is: the widths of its lineage; the places of their recipes, where they have one; seconds;
    correct validation samples by replicate and epoch.
    """
    manifest, store = run.read(), run.store()
    seconds: Counter[str] = Counter()
    for event in run.events():
        seconds[event.get("hop", "")] += event.get("seconds", 0.0)
    recipes: dict[str, int] = {}
    hops = []
    for key in store.finished():
        record = store.record("hops", key)
        assert record is not None, key
        models = [
            ModelSpec(width=width, recipe=Recipe(**recipe) if recipe else None)
            for width, recipe in zip(record.widths, record.recipes, strict=True)
        ]
        lineage = Hop(lineage=tuple(models)).canonical_lineage
        own = [canonical_json(m.recipe.content()) for m in lineage if m.recipe is not None]
        numbers = [recipes.setdefault(recipe, len(recipes)) for recipe in own]
        # an epoch that was no rung has the accuracy of the next rung
        places = [bisect_left(record.epochs, epoch + 1) for epoch in range(record.epoch)]
        places = places or [0]  # a loaded teacher has no epochs
        curves = [[round(c[i] * manifest.validation) for i in places] for c in record.curves]
        hops.append([list(record.widths), numbers, round(seconds[key], 2), curves])
    return [json.loads(recipe) for recipe in recipes], sorted(hops)


def content_of(source: Path, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a table that is there, or of one made of a run.

    Args:
        source: File of a table, or folder of a run.
        provenance: When, where and with what the run was made.

    Raises:
        RunError: A chain is missing.
    """
    if source.is_dir():
        return build(find_run(source, Path("runs")), provenance)
    content: dict[str, Any] = json.loads(gzip.decompress(source.read_bytes()))
    return {"seeds": [content["study"]["seed"]], **content}


def save(content: Mapping[str, Any], file: Path) -> None:
    """Write a table; the same content gives the same bytes."""
    blob = json.dumps(content, separators=(",", ":")).encode()
    file.write_bytes(gzip.compress(blob, mtime=0))


def main() -> None:
    parser = common.parser(__doc__)
    words = "finished run of every chain, or table; several of different seeds make one table"
    parser.add_argument("sources", type=Path, nargs="+", help=words)
    parser.add_argument("out", type=Path, help="file for the table, *.json.gz")
    args = parser.parse_args()
    provenance = common.provenance(args)
    save(merged([content_of(source, provenance) for source in args.sources]), args.out)
    table = Table.load(args.out)
    print(f"{len(table)} hops of {table.replicates} replicates, {args.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
