"""Trainings of chains for comparisons, each made once and stored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from benchmarks import common
from benchmarks.feature_losses import ATTENTION, PROJECTED
from benchmarks.stacked_hops import FROM_LABELS, Hops, Method, Trained
from tasearch.config.study import Study
from tasearch.config.study_file import load_study

REPORTED, CHOOSING = "reported", "choosing"  # sets of replicates
FIRST_CHOOSING = 1000  # number of the first replicate that chooses

Chain = tuple[int, ...]  # widths, the teacher's first


@dataclass(frozen=True, kw_only=True)
class Length:
    """A number of epochs of each hop.

    Args:
        epochs: The number.
        chosen_at: Number of epochs at which rates and weights are chosen.
        features: Feature losses that are tried.
        rates: Factors of the study's learning rate that are tried.
    """

    epochs: int
    chosen_at: int
    features: tuple[str, ...] = (ATTENTION, PROJECTED)
    rates: tuple[float, ...] = (1.0, 3.0, 10.0, 0.3)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A data set, with what is trained on it.

    Args:
        study: Name of the study file in benchmarks/tables.
        losses: Losses of the logits.
        assistants: Widths of the assistant, each tried.
        students: Widths of students.
        lengths: Numbers of epochs.
        replicates: Number of replicates that are reported, and of those that choose.
    """

    study: str
    losses: tuple[str, ...]
    assistants: tuple[int, ...]
    students: tuple[int, ...]
    lengths: tuple[Length, ...]
    replicates: tuple[int, int]

    def numbers(self, replicates: str) -> range:
        """Numbers of a set of replicates."""
        reported, choosing = self.replicates
        if replicates == REPORTED:
            return range(reported)
        return range(FIRST_CHOOSING, FIRST_CHOOSING + choosing)


def study_of(case: Case, data: Path) -> Study:
    """The study of a case; MNIST's files are in the folder `data`."""
    study = load_study(common.ROOT / f"benchmarks/tables/{case.study}.toml")
    if study.data.path is None:
        return study
    section = study.data.model_copy(update={"path": str(data.resolve())})
    return study.model_copy(update={"data": section})


class Runs:
    """The trainings of a case. Accuracies and teachers are stored, everything else made anew.

    Args:
        case: The case.
        study: Its study.
        file: File of the accuracies; weights of teachers lie beside it.
        provenance: Provenance of the first training.
    """

    def __init__(self, case: Case, study: Study, file: Path, provenance: dict[str, Any]) -> None:
        self.case, self.study, self._file = case, study, file
        self.content: dict[str, Any] = {"provenance": provenance, "accuracies": {}}
        if file.exists():
            self.content = json.loads(file.read_text(encoding="utf-8"))
        self._hops: dict[str, Hops] = {}
        self._kept: dict[str, tuple[str, Trained]] = {}  # the last teacher and assistant, by place

    def accuracies(self, replicates: str, chain: Chain, method: Method, epochs: int) -> list[float]:
        """Validation accuracies in percent of a chain's last model, by replicate."""
        name = f"{replicates} {'-'.join(map(str, chain))}, {method}, {epochs} epochs a hop"
        known: dict[str, list[float]] = self.content["accuracies"]
        if name not in known:
            found = self._trained(replicates, chain, method, epochs)
            known[name] = self.hops(replicates).accuracies(found)
            common.write_json(self._file, self.content)
            print(name, f"{fmean(known[name]):.2f}", flush=True)
        return known[name]

    def teachers(self, replicates: str) -> list[float]:
        """Validation accuracies of the teachers, in percent."""
        teacher = (self.study.teacher.width,)
        return self.accuracies(replicates, teacher, FROM_LABELS, self.study.teacher.epochs)

    def hops(self, replicates: str) -> Hops:
        """What trains a set of replicates."""
        if replicates not in self._hops:
            self._hops[replicates] = Hops(self.study, self.case.numbers(replicates))
        return self._hops[replicates]

    def _trained(self, replicates: str, chain: Chain, method: Method, epochs: int) -> Trained:
        *before, width = chain
        if not before:
            return self._teacher(replicates)
        name, place = f"{replicates} {chain} {method} {epochs}", f"{replicates} {len(chain)}"
        if self._kept.get(place, ("",))[0] != name:
            teacher = self._trained(replicates, tuple(before), method, epochs)
            found = self.hops(replicates).train(width, method, epochs, teacher)
            self._kept[place] = name, found
        return self._kept[place][1]

    def _teacher(self, replicates: str) -> Trained:
        place, file = f"{replicates} 1", self._file.with_suffix(f".{replicates}.pt")
        if place not in self._kept:
            hops, section = self.hops(replicates), self.study.teacher
            if file.exists():
                found = hops.restored(section.width, torch.load(file, weights_only=True))
            else:
                found = hops.train(section.width, FROM_LABELS, section.epochs)
                file.parent.mkdir(parents=True, exist_ok=True)
                torch.save([net.state_dict() for net in found.nets], file)
            self._kept[place] = "", found
        return self._kept[place][1]
