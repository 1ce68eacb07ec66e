"""Latencies of texts at several lengths."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import tasearch
from tasearch.cli.front_command import front_csv, front_table
from tasearch.config.latency_section import LatencySection
from tasearch.config.study import Study
from tasearch.config.study_file import render
from tasearch.errors import StudyError
from tasearch.pareto.measurement import Measurement, latency_words
from tasearch.profiling.lengths import cut_samples, measure_lengths
from tasearch.report.numbers import flat_numbers
from tasearch.report.rows import row_of
from tests.helpers.commands import command
from tests.helpers.studies import tiny

SIZE = Measurement(
    width=4, params=10, bytes=40, flops=7, latency_ms=3.0, latency_p95_ms=4.0,
    by_length=((16, 1.0), (64, 2.0), (32, 3.0)),
)  # fmt: skip


class Longer(nn.Module):
    """A model that takes longer the longer texts are: it notes the lengths of its calls."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.words, self.lengths = nn.Embedding(50, width), set[int]()

    def forward(self, ids: Tensor) -> Tensor:
        self.lengths.add(ids.shape[1])
        x = self.words(ids)
        for _ in range(ids.shape[1]):
            x = x * 1.0001
        return x.mean(1)


@pytest.mark.slow
def test_each_length_is_timed_and_the_last_one_counts() -> None:
    nets = {width: Longer(width) for width in (64, 16)}
    samples = torch.arange(8 * 40).view(8, 40) % 50
    section = LatencySection(backend="torch", lengths=(40, 2, 20))
    cut = cut_samples(samples, section.lengths, texts=True)
    measured, _ = measure_lengths(
        nets, samples, cut, section=section, device=torch.device("cpu"), models=None,
        warn=lambda text: None,
    )  # fmt: skip
    for width, size in measured.items():
        assert nets[width].lengths == {2, 20, 40}
        assert [length for length, _ in size.by_length] == [40, 2, 20]
        times = dict(size.by_length)
        assert times[2] < times[20] < times[40]
        assert size.latency_ms == times[20]
        alone = section.model_copy(update={"lengths": ()})
        whole, _ = measure_lengths(
            {width: nets[width]}, samples, [samples], section=alone, device=torch.device("cpu"),
            models=None, warn=lambda text: None,
        )  # fmt: skip
        assert whole[width].by_length == ()
        assert size.flops == whole[width].flops


def test_samples_are_cut_to_lengths_of_texts_alone() -> None:
    samples = torch.arange(24).view(3, 8)
    assert [part.shape for part in cut_samples(samples, (2, 8, 5), texts=True)] == [
        (3, 2),
        (3, 8),
        (3, 5),
    ]
    assert cut_samples(samples, (), texts=False)[0] is samples
    with pytest.raises(StudyError, match=r"^latency\.lengths: goes with texts .*; found \[2, 4\]$"):
        cut_samples(samples, (2, 4), texts=False)
    rule = r"^latency\.lengths: should be at most data\.length = 8, found 9$"
    with pytest.raises(StudyError, match=rule):
        cut_samples(samples, (2, 9), texts=True)


@pytest.mark.parametrize("wrong", [[1], [0], [16, 16], ["16"], [2.5], 16])
def test_other_lengths_are_refused(wrong: Any) -> None:
    with pytest.raises(StudyError, match=r"latency\.lengths"):
        tiny(latency={"lengths": wrong})


def test_study_without_lengths_is_the_study_of_before() -> None:
    assert not any("lengths" in name for name in tiny().identity())
    own = tiny(latency={"lengths": [16, 64]})
    assert own.identity()["latency.lengths"] == [16, 64]
    assert "lengths = [16, 64]" in render(own)
    assert Study.model_validate_json(own.model_dump_json()) == own


def test_measurement_keeps_its_lengths_and_tells_them() -> None:
    stored = json.loads(json.dumps(SIZE.content()))
    assert Measurement.from_json(stored) == SIZE
    plain = replace(SIZE, by_length=())
    assert "by_length" not in plain.content()
    assert Measurement.from_json(plain.content()) == plain
    assert latency_words(4, {4: plain}) == "3 ms"
    assert latency_words(4, {4: SIZE}) == "3 ms with 32 tokens; 1 ms with 16, 2 ms with 64"
    tied = {4: SIZE, 8: replace(SIZE, width=8)}
    assert latency_words(4, tied) == (
        "3 ms with 32 tokens, tied with width 8; its own median is 3 ms; 1 ms with 16, 2 ms with 64"
    )


LINES = "\n".join(f"{'good' if i % 2 else 'bad'} thing {i % 7},{i % 2}" for i in range(120))


@pytest.mark.slow
def test_every_length_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "said.csv").write_text(f"text,label\n{LINES}\n")
    sizes = [{"name": "l", "width": 16, "layers": 2}, {"name": "s", "width": 8, "layers": 1}]
    study = tiny(
        data={"source": "text", "path": "said.csv", "length": 24, "vocabulary": 300},
        model={"family": "transformer", "sizes": sizes},
        teacher={"width": "l", "epochs": 1},
        assistants={"max": 0, "widths": []},
        student={"widths": ["s"], "epochs": 1},
        latency={"lengths": [8, 24, 16]},
        search={"trials": 1, "rungs": 1},
    ).model_copy(update={"root": str(tmp_path)})
    run = tasearch.run(study, runs_dir=tmp_path / "runs")
    (front,) = run.front.members
    (size,) = (run.manifest.measured[w] for w in study.student.widths)
    assert [length for length, _ in size.by_length] == [8, 24, 16]
    assert size.latency_ms == size.by_length[-1][1] == front.latency_ms
    again = tasearch.Run.open(run.path)
    assert again.manifest.measured == run.manifest.measured
    row = row_of(run, front.trial)
    numbers = flat_numbers(run, row)
    (line,) = csv.DictReader(io.StringIO(front_csv([numbers])))
    assert float(line["latency_ms_24"]) == size.by_length[1][1]
    heads = [str(column.header) for column in front_table([row]).columns]
    assert heads[5:8] == ["ms", "ms, 8 tokens", "ms, 24 tokens"]
    _, shown, _ = command(capsys, "front", run.path)
    assert "ms: of texts of 16 tokens, which count" in shown
    _, best, _ = command(capsys, "best", run.path)
    assert "with 16 tokens" in best and "ms with 8" in " ".join(best.split())
    page = run.report(tmp_path / "page.html").read_text()
    assert "The latency with 16 tokens is the one that counts." in page
    assert "ms with 24 tokens" in page
    tasearch.export(run, tmp_path / "winner")
    assert "ms with 24" in (tmp_path / "winner" / "README.md").read_text()
    metrics = json.loads((tmp_path / "winner" / "metrics.json").read_text())
    assert metrics["latency_by_length"] == {str(n): ms for n, ms in size.by_length}
