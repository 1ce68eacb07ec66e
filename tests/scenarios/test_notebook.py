"""The notebook of the tutorial, executed by a kernel of Jupyter."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import tasearch

FILE = Path(__file__).parents[2] / "studies/notebook/digits.ipynb"


def test_outputs_are_cleared() -> None:
    cells = [c for c in json.loads(FILE.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]
    assert len(cells) > 5
    for cell in cells:
        assert cell["outputs"] == [] and cell["execution_count"] is None


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The notebook with its outputs, and the folder that it ran in."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(FILE, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=resources).execute()
    return notebook, folder


def outputs(notebook: Any, source: str) -> list[Any]:
    """The outputs of the cell whose source begins with some text."""
    cells = (c for c in notebook.cells if c.source == source or c.source.startswith(f"{source}\n"))
    return [*next(cells).outputs]


@pytest.mark.slow
def test_search_has_one_line_of_progress_and_a_table(executed: tuple[Any, Path]) -> None:
    *lines, shown = outputs(executed[0], "run = tasearch.search(")
    drawn = [line for line in lines if line["output_type"] == "display_data"]
    words = [line["data"]["text/plain"] for line in drawn]
    assert all(word.startswith("notice: ") for word in words[:-1])
    assert re.match(r"digits-notebook: \d+ of 12 trials; best ", words[-1])
    assert "; finished: " in words[-1]
    page = shown["data"]["text/html"]
    assert re.match("<p>Run &#x27;digits-notebook&#x27;: finished, \\d+ trials, ", page)


@pytest.mark.slow
def test_front_figure_and_student_are_shown(executed: tuple[Any, Path]) -> None:
    notebook, _ = executed
    assert "<table>" in outputs(notebook, "run.front")[0]["data"]["text/html"]
    assert (
        "<table>" in outputs(notebook, "best = run.best(max_params=1_000)")[0]["data"]["text/html"]
    )
    assert "application/vnd.plotly.v1+json" in outputs(notebook, "run.plot()")[0]["data"]
    predicted, labels = outputs(notebook, "with torch.no_grad():")[0]["text"].strip().split("\n")
    assert len(json.loads(predicted)) == len(json.loads(labels)) == 10


@pytest.mark.slow
def test_run_of_the_notebook_is_whole_without_it(executed: tuple[Any, Path]) -> None:
    _, folder = executed
    run = tasearch.Run.open(folder / "runs/digits-notebook", trust=True)
    assert {f.name for f in (run.path / "inputs").iterdir()} == {
        *("data.npz", "own_build.py", "own_teacher.py", "own_teacher.safetensors", "study.toml")
    }
    best = run.best(max_params=1_000)
    assert best.params <= 1_000 and best.accuracy > 0.5
    assert best.model(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
