"""A front as a table, for notebooks and for pandas."""

from __future__ import annotations

import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given

from tasearch.errors import TasearchError
from tasearch.pareto.candidate import Candidate
from tasearch.pareto.front import Front
from tasearch.pareto.front_table import FIELDS, html_table
from tasearch.pareto.metric import metric_of
from tests.helpers.candidates import candidate, candidate_lists


class Texts(HTMLParser):
    """The texts of a table, row by row, and its tags with attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.styled: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag == "script" or attributes:
            self.styled.append(tag)

    def handle_data(self, text: str) -> None:
        self.rows[-1].append(text)


@given(candidate_lists)
def test_table_has_a_row_for_each_member_and_no_colours(found: list[Candidate]) -> None:
    front = Front(found)
    table = Texts(front._repr_html_())
    assert table.styled == []
    assert table.rows[0] == ["trial", "chain", "accuracy", "params", "bytes", "latency"]
    shown = [(row[0], row[2], row[3]) for row in table.rows[1:]]
    assert shown == [(str(c.trial), f"{c.accuracy:.1%}", str(c.params)) for c in front.members]


def test_front_tells_its_size_and_its_best() -> None:
    front = Front([candidate(0.8, 2000, 2.0), candidate(0.5, 3000, 3.0, trial=1)])
    assert repr(front) == "<Front: 1 of 2 finished students, best 99 → 1: 80.0%, 2,000 params>"
    assert repr(Front([])) == "<Front: 0 of 0 finished students>"


def test_data_frame_has_the_fields_of_each_member() -> None:
    pytest.importorskip("pandas")
    front = Front([candidate(0.8, 2000, 2.0), candidate(0.5, 1000, 1.0, trial=1)])
    table = front.to_pandas()
    assert [*table["label"]] == [c.label for c in front.members]
    for name in Candidate.__dataclass_fields__.keys() - {"metric", "recipe"}:
        assert [*table[name]] == [getattr(c, name) for c in front.members]
    assert [*Front([]).to_pandas().columns] == [*table.columns]
    assert {*table.columns} == {"label", *FIELDS}


def test_data_frame_has_a_column_for_each_value_of_a_recipe() -> None:
    pytest.importorskip("pandas")
    student, helped = {"loss": "kd", "temperature": 4.0}, {"loss": "dist"}
    one = replace(candidate(0.8, 2000, 2.0), recipe={"assistants": helped, "student": student})
    other = {**student, "temperature": 8.0}
    alone = replace(candidate(0.7, 900, 1.0), recipe={"assistants": None, "student": other})
    table = Front([one, alone]).to_pandas().set_index("params")
    assert table.loc[2000, "temperature"] == 4.0 and table.loc[900, "temperature"] == 8.0
    assert "loss" not in table  # the same for both
    assert Front([one]).to_pandas()["loss"][0] == "kd"
    assert table.loc[2000, "assistants_loss"] == "dist"
    assert table["assistants_loss"].isna()[900]
    assert "recipe" not in table


def test_printed_data_frame_shows_accuracy_and_size() -> None:
    pandas = pytest.importorskip("pandas")
    recipe = {f"a_long_name_of_a_value_{i}": i for i in range(40)}
    own = metric_of("a_module_of_mine:a_long_name_of_a_metric", 10)
    students = [
        replace(candidate(0.8, 2000, 2.0), recipe={"assistants": None, "student": recipe}),
        replace(candidate(0.7, 900, 1.0), recipe={"assistants": None, "student": {"loss": "kd"}}),
    ]
    for found in (students[:1], students, [replace(one, metric=own) for one in students]):
        with pandas.option_context("display.width", 80):
            head = str(Front(found).to_pandas()).splitlines()[0].split()
        assert head == ["label", "accuracy", "params", "...", "latency_ms", "trial", "bytes"]


def test_data_frame_names_another_metric_than_accuracy() -> None:
    pytest.importorskip("pandas")
    one = replace(candidate(-0.3, 2000, 2.0), metric=metric_of("nll", 10))
    table = Front([one]).to_pandas()
    assert [*table["metric"]] == ["nll"]
    assert [*table["accuracy"]] == [-0.3]
    text = html_table([one])
    assert "<th>negative log-likelihood</th>" in text and "<td>0.3</td>" in text


def test_missing_pandas_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(TasearchError) as error:
        Front([]).to_pandas()
    assert str(error.value) == "to_pandas() needs pandas: pip install pandas"
