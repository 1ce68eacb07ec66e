"""Tables: CSV and parquet files of numbers and categories, and the features that rows become."""

from __future__ import annotations

import contextlib
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasearch.config.study_file import parse_study
from tasearch.data import load_data, load_test
from tasearch.data.features import MOST_VALUES, Column, Features
from tasearch.data.recognized import recognize
from tasearch.errors import DataError, StudyError

HEAD = "age,town,member,label\n"


def lines(count: int = 40, seed: int = 0) -> list[list[str]]:
    """Rows of age, town, member and label; some ages and towns are missing."""
    random = np.random.default_rng(seed)
    towns = ["Ulm", "Bonn", " Graz ", "", "?"]
    return [
        [
            "" if i % 7 == 3 else str(random.integers(1, 90)),
            towns[random.integers(len(towns))],
            ("true", "false")[i % 2],
            ("yes", "no")[i // 2 % 2],
        ]
        for i in range(count)
    ]


def csv_text(rows: list[list[str]], head: str = HEAD, separator: str = ",") -> str:
    return (head + "".join(",".join(row) + "\n" for row in rows)).replace(",", separator)


def data_of(path: Path, **section: Any) -> Any:
    source = section.pop("source", "csv")
    keys = {"validation": 0.25, "test": 0.25, **section}
    return parse_study({"data": {"source": source, "path": str(path), **keys}})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text(csv_text(lines()))
    return path


def test_columns_become_features(file: Path) -> None:
    found = load_data(data_of(file))
    assert found.table is not None
    assert found.table.features.names == [
        *("age", "age missing"),
        *("town=Bonn", "town=Graz", "town=Ulm", "town missing"),
        "member",
    ]
    assert found.class_names == ("no", "yes")
    assert found.train.x.shape == (20, 7)
    assert found.train.x.dtype == np.float32
    x = np.concatenate([found.train.x, found.validation.x])
    assert (x[:, 2:6].sum(axis=1) == 1).all(), "each town is one feature"
    assert {*x[:, 6]} == {0, 1}


def test_gap_has_the_median_of_the_training_part_and_a_feature(file: Path) -> None:
    found = load_data(data_of(file))
    age, missing = found.train.x[:, 0], found.train.x[:, 1] == 1
    assert missing.any()
    assert {*age[missing]} == {np.median(age[~missing])}
    assert {*found.validation.x[found.validation.x[:, 1] == 1, 0]} <= {np.median(age[~missing])}


def test_training_part_alone_decides_features(tmp_path: Path) -> None:
    """Towns and ages of the other parts are new to it; their values are no features."""
    (tmp_path / "train.csv").write_text(
        HEAD + "10,Ulm,true,yes\n30,Bonn,false,no\n20,Ulm,true,no\n"
    )
    (tmp_path / "valid.csv").write_text(HEAD + ",Wien,true,yes\n1000,,false,no\n")
    (tmp_path / "test.csv").write_text(HEAD + "500,Ulm,true,yes\n500,Linz,false,no\n")
    study = data_of(tmp_path)
    found = load_data(study)
    assert found.table is not None
    assert found.table.features.names == ["age", "town=Bonn", "town=Ulm", "member"]
    assert found.validation.x.tolist() == [[20, 0, 0, 1], [1000, 0, 0, 0]]
    assert load_test(study).x.tolist() == [[500, 0, 1, 1], [500, 0, 0, 0]]


def test_parts_and_labels_stay_together(file: Path) -> None:
    """Every row is in one part, with its label."""
    rows = lines()
    keyed = [[str(i), *row] for i, row in enumerate(rows)]
    file.write_text(csv_text(keyed, "row," + HEAD))
    study = data_of(file)
    found, test = load_data(study), load_test(study)
    seen = []
    for part in (found.train, found.validation, test):
        for x, y in zip(part.x, part.y, strict=True):
            seen.append(int(x[0]))
            assert found.class_names[y] == rows[int(x[0])][-1]
    assert sorted(seen) == [*range(len(rows))]


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_separator_is_found(file: Path, separator: str) -> None:
    expected = load_data(data_of(file)).fingerprint
    file.write_text(csv_text(lines(), separator=separator))
    assert load_data(data_of(file)).fingerprint == expected


def test_parquet_of_the_same_table_gives_the_same(file: Path, tmp_path: Path) -> None:
    age, town, member, label = zip(*lines(), strict=True)
    columns = {
        "age": pa.array([int(a) if a else None for a in age]),
        "town": pa.array(town).dictionary_encode(),
        "member": pa.array([m == "true" for m in member]),
        "label": pa.array(label),
    }
    other = tmp_path / "people.parquet"
    pq.write_table(pa.table(columns), other)
    found = load_data(data_of(other, source="parquet"))
    assert found.fingerprint == load_data(data_of(file)).fingerprint


def test_columns_are_dropped_and_integers_made_categories(file: Path) -> None:
    file.write_text("id,code,label\n" + "".join(f"{i},{i % 3},{i % 2}\n" for i in range(24)))
    found = load_data(data_of(file, drop="id", categories=["code"]))
    assert found.table is not None
    assert found.table.features.names == ["code=0", "code=1", "code=2"]
    assert found.class_names == ("0", "1")


def test_own_words_for_what_is_missing(file: Path) -> None:
    file.write_text("a,label\n" + "".join(f"{('-', i)[i % 2]},{i % 2}\n" for i in range(24)))
    as_text = load_data(data_of(file))
    found = load_data(data_of(file, missing=["-"]))
    assert as_text.table is not None and found.table is not None
    assert "a=-" in as_text.table.features.names
    assert found.table.features.names == ["a", "a missing"]


WRONG = {
    "no label": ("a,b\n1,2\n", {}, "data.label: no column 'label'; known: a, b"),
    "near label": ("a,lable\n1,2\n", {}, "no column 'label'; did you mean 'lable'?"),
    "no features": ("label\n1\n0\n", {}, "has no column besides 'label'"),
    "no rows": ("a,label\n", {}, "has no rows"),
    "two alike": ("a,a,label\n1,2,0\n", {}, "column 'a' is there more than once"),
    "no name": ("a,,label\n1,2,0\n", {}, "column 2 has no name in the first line"),
    "index of pandas": (",a,label\n0,1,0\n", {}, "without its index, index=False in pandas"),
    "short row": ("a,label\n1,0\n2\n", {}, "cannot be read: CSV parse error"),
    "no drop": ("a,label\n1,0\n", {"drop": "id"}, "data.drop: no column 'id'"),
    "no category": ("a,label\n1,0\n", {"categories": "c"}, "data.categories: no column 'c'"),
    "gap in label": ("a,label\n1,yes\n2,\n", {}, "column 'label': has no label in line 3"),
    "gap far below": (
        'a,b,label\n"1\n2",x,yes\n\n"3\n",x,no\n4,x,\n',
        {},
        "has no label in line 7",  # texts have line breaks, and an empty line is no row
    ),
    "regression": (
        "a,label\n1,0.5\n2,0.7\n",
        {},
        "column 'label': labels should be classes, found numbers such as 0.5, 0.7; regression is "
        "not there",
    ),
    "float classes": (
        "a,label\n1,1.0\n2,0.0\n",
        {},
        "column 'label': labels should be classes, found numbers such as 0.0, 1.0; write 0, 1 if",
    ),
    "whole numbers": (
        "a,label\n" + "".join(f"1,{i}\n" for i in range(17, 60)),
        {},
        "parts of your own; if the 43 classes are numbers to predict, regression is not there",
    ),
    "one class": (
        "a,label\n1,x\n2,x\n",
        {},
        "column 'label', train: should have at least two classes, found only class 'x'",
    ),
    "dates": ("a,label\n2020-01-01,0\n", {}, "column 'a': should hold numbers or text, holds date"),
    "empty column": ("a,b,label\n,1,0\n,2,1\n", {}, "column 'a': has no value"),
    "infinite": ("a,label\n" + "inf,0\n1,1\n" * 12, {}, "should be a float32, found inf"),
    "empty file": ("", {}, "cannot be read"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_table_is_refused_in_words(file: Path, name: str) -> None:
    text, section, message = WRONG[name]
    file.write_text(text)
    with pytest.raises(DataError) as error:
        load_data(data_of(file, **section))
    assert str(file) in str(error.value)
    assert message in str(error.value)


def test_other_parts_must_have_the_columns_of_the_training_part(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("a,b,label\n" + "1,x,0\n2,y,1\n" * 4)
    other = tmp_path / "test.csv"
    for text, message in (
        ("a,label\n1,0\n", "lacks 'b'"),
        ("a,b,c,label\n1,x,2,0\n", "has also 'c'"),
        (
            "a,b,label\n1,x,0\nmany,x,1\n",
            "should hold numbers as in the training part, holds text: 'many' in line 3",
        ),
        ("a,b,label\n1,x,0\n1,x,2\n", "class '2' is not in the training part"),
    ):
        other.write_text(text)
        with pytest.raises(DataError) as error:
            load_data(data_of(tmp_path))
        assert message in str(error.value)
    other.write_text("b,a,label\n7,1,0\n")  # another order, and texts that look like numbers
    assert load_test(data_of(tmp_path)).x.tolist() == [[1, 0, 0]]


def test_category_that_looks_like_names_is_refused(file: Path) -> None:
    count = 3 * MOST_VALUES
    file.write_text("who,label\n" + "".join(f"n{i},{i % 2}\n" for i in range(count)))
    with pytest.raises(DataError, match=r"column 'who': a category may have 1,000 values.*drop"):
        load_data(data_of(file))


def test_table_has_no_outputs_of_a_teacher(file: Path) -> None:
    section = {"source": "csv", "path": str(file)}
    study = parse_study({"data": section, "teacher": {"outputs": "logits"}})
    with pytest.raises(DataError, match="a table has no array 'teacher_train'"):
        load_data(study)


def test_keys_go_with_tables() -> None:
    with pytest.raises(StudyError, match=r"data\.drop: goes with source"):
        parse_study({"data": {"source": "digits", "drop": "a"}})
    with pytest.raises(StudyError, match=r"data\.path: is required"):
        parse_study({"data": {"source": "csv"}})
    with pytest.raises(StudyError, match="no value twice"):
        parse_study({"data": {"source": "csv", "path": "a.csv", "drop": ["a", "a"]}})


COLUMNS = (
    Column(name="age", kind="number", gap=True, fill=40.0),
    Column(name="town", kind="category", gap=True, values=("Bonn", "Ulm")),
)


def test_rows_of_a_user_become_features() -> None:
    features = Features(columns=COLUMNS)
    rows = [{"age": 3, "town": "Ulm"}, {"age": None, "town": " Bonn"}]
    rows.append({"age": math.nan, "town": None})
    expected = [[3, 0, 0, 1, 0], [40, 1, 1, 0, 0], [40, 1, 0, 0, 1]]
    assert features.transform(features.table(rows)).tolist() == expected
    columns = {"age": np.array([3, np.nan, np.nan]), "town": ["Ulm", "Bonn", ""], "more": [1, 2, 3]}
    assert features.transform(features.table(columns)).tolist() == expected
    assert features.table({"age": 3, "town": "Ulm", "more": 1}).num_rows == 1
    with pytest.raises(DataError, match="rows: column 'town' is missing"):
        features.table({"age": [1]})
    with pytest.raises(DataError, match="rows: row 1 lacks column 'town'"):
        features.table([{"age": 1, "town": "Ulm"}, {"age": 1}])
    with pytest.raises(DataError, match=r"columns should have one length, found .*1.*2"):
        features.table({"age": [1], "town": ["Ulm", "Bonn"]})
    with pytest.raises(DataError, match="column 'age' should hold numbers, found 'old' in row 0"):
        features.table([{"age": "old", "town": "Ulm"}])


def test_whole_numbers_are_categories_also_as_floats(tmp_path: Path) -> None:
    """pandas makes floats of integers as soon as one is missing."""
    code = pa.array([None, *(float(i % 3) for i in range(39))])
    table = pa.table({"code": code, "label": [i % 2 for i in range(40)]})
    pq.write_table(table, tmp_path / "a.parquet")
    section = {"source": "parquet", "path": str(tmp_path / "a.parquet"), "categories": "code"}
    found = load_data(parse_study({"data": section}))
    assert found.table is not None
    names = found.table.features.names
    assert [n for n in names if "missing" not in n] == ["code=0", "code=1", "code=2"]
    rows = found.table.features.table({"code": [2.0, 2, "2"]})
    assert (found.table.features.transform(rows)[:, 2] == 1).all()
    pq.write_table(table.set_column(0, "code", pa.array([0.5] * 40)), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"data\.categories: should hold whole numbers or text"):
        load_data(parse_study({"data": section}))


NOTICES = {
    "text among numbers": (["old", *map(str, range(30))], "1 of its 31 values.* such as 'old'"),
    "decimal commas": (
        [f"{i},5" for i in range(30)],
        "30 of its 30 values.* such as '0,5'; mend them",
    ),
    "thousands apart": (
        [f"{i},516" for i in range(1, 10)] * 3 + ["80"] * 20,
        "27 of its 47 values.* such as '1,516'; write them without thousands separators, name",
    ),
    "thousands apart by spaces": (
        [f"{i} 516.5" for i in range(1, 10)] * 3,
        "27 of its 27 values.* such as '1 516.5'; write them without thousands separators, name",
    ),
    "identifiers": ([f"u{i}" for i in range(60)], "has .* values in .* rows.*data.drop"),
    "numbers": ([*map(str, range(60))], None),
    "words": (["a", "b", "c"] * 20, None),
}


@pytest.mark.parametrize("name", NOTICES)
def test_columns_that_may_not_be_what_they_seem_are_told(file: Path, name: str) -> None:
    values, notice = NOTICES[name]
    rows = "".join(f'"{value}",{i % 2}\n' for i, value in enumerate(values))
    file.write_text("a,label\n" + rows)
    told: list[str] = []
    load_data(data_of(file), warn=told.append)
    if notice is None:
        assert not told
    else:
        assert len(told) == 1
        assert re.search(f"column 'a'.*{notice}", told[0])


def test_names_that_are_not_utf8_are_refused(file: Path) -> None:
    file.write_bytes("Größe,label\n1,0\n2,1\n".encode("latin-1"))
    for read in (recognize, lambda path: load_data(data_of(path))):
        with pytest.raises(DataError, match=r"people\.csv: the names of its columns are not UTF-8"):
            read(file)


def test_columns_of_the_same_name_are_refused_before_a_study_is_made(file: Path) -> None:
    file.write_text("a,a,label\n1,2,0\n")
    parquet = file.with_suffix(".parquet")
    pq.write_table(pa.Table.from_arrays([[1], [2], [0]], names=["a", "a", "label"]), parquet)
    for path in (file, parquet):
        with pytest.raises(DataError, match="column 'a' is there more than once"):
            recognize(path)
    pixels = pa.array([b"none"], pa.binary())
    images = pa.Table.from_arrays([pixels, [1], [2], [0]], names=["image", "a", "a", "label"])
    pq.write_table(images, parquet)
    assert recognize(parquet)["source"] == "parquet", "columns beside images are not read"


def test_file_that_is_not_utf8_is_refused(file: Path) -> None:
    file.write_bytes("town,label\nKöln,0\nUlm,1\n".encode("latin-1"))
    with pytest.raises(DataError, match="column 'town': holds text that is not UTF-8"):
        load_data(data_of(file))


def test_features_survive_json() -> None:
    features = Features(columns=COLUMNS)
    assert Features.from_content(json.loads(json.dumps(features.content()))) == features


@given(st.binary(max_size=400))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "any.csv"
    file.write_bytes(b"a,label\n" + content)
    with contextlib.suppress(DataError):
        load_data(data_of(file))


@pytest.mark.parametrize("source", ["csv", "parquet"])
def test_rows_without_labels_become_features_as_the_training_part_decides(
    tmp_path: Path, source: str
) -> None:
    """New towns are no values of the category, and gaps have the training part's median."""
    more = [["1000", "Ulm", "true"], ["", "Rome", "false"], ["7", "", "true"]]
    texts = {"people": csv_text(lines()), "more": csv_text(more, "age,town,member\n")}
    for name, text in texts.items():
        place = tmp_path / f"{name}.{source}"
        if source == "csv":
            place.write_text(text)
        else:
            pq.write_table(pa.csv.read_csv(io.BytesIO(text.encode())), place)
    keys = {"source": source, "missing": ["?"]}
    plain = load_data(data_of(tmp_path / f"people.{source}", **keys))
    keys["unlabelled"] = str(tmp_path / f"more.{source}")
    data = load_data(data_of(tmp_path / f"people.{source}", **keys))
    assert data.fingerprint == plain.fingerprint
    assert data.table is not None and data.unlabelled is not None
    assert data.unlabelled.dtype == np.float32
    rows = [dict(zip(("age", "town", "member"), row, strict=True)) for row in more]
    found = {n: data.unlabelled[:, i] for i, n in enumerate(data.table.features.names)}
    age = next(column for column in data.table.features.columns if column.name == "age")
    assert found["age"].tolist() == [1000.0, age.fill, 7.0]
    assert found["age missing"].tolist() == [0.0, 1.0, 0.0]
    assert found["town=Ulm"].tolist() == [float(row["town"] == "Ulm") for row in rows]
    assert "town=Rome" not in found


def test_folder_of_rows_without_labels_may_have_a_column_of_labels(file: Path) -> None:
    more = file.parent / "more"
    more.mkdir()
    (more / "b.csv").write_text(csv_text([["3", "Ulm", "true", ""]]))
    (more / "a.csv").write_text(csv_text([["1", "Ulm", "true"]], "age,town,member\n"))
    data = load_data(data_of(file, unlabelled=str(more)))
    assert data.unlabelled is not None
    assert data.unlabelled[:, 0].tolist() == [1.0, 3.0]


def test_rows_without_labels_have_their_rules(file: Path) -> None:
    more = file.parent / "more.csv"

    def said(text: str | None) -> str:
        more.unlink(missing_ok=True)
        if text is not None:
            more.write_text(text)
        with pytest.raises(DataError) as error:
            load_data(data_of(file, unlabelled=str(more)))
        return str(error.value)

    assert said(None) == f"{more}: no such data file or folder (data.unlabelled = '{more}')"
    assert said("age,town\n1,Ulm\n") == (
        f"{more}: should have the columns of the training part, lacks 'member'"
    )
    assert said("age,town,member\n") == f"{more}: has no rows"
    assert "column 'age': should hold numbers as in the training part, holds text: 'old'" in said(
        "age,town,member\nold,Ulm,true\n"
    )
    more.unlink()
    more.mkdir()
    with pytest.raises(DataError, match=r"more\.csv: should hold \*\.csv, found none"):
        load_data(data_of(file, unlabelled=str(more)))


def test_rows_that_equal_held_out_ones_are_told(file: Path) -> None:
    said: list[str] = []
    load_data(data_of(file, unlabelled=str(file)), warn=said.append)
    (notice,) = said
    assert re.match(
        r"data\.unlabelled: \d+ of 40 rows equal held-out ones \(val and test\)", notice
    )


def test_names_of_columns_need_the_beginning_of_a_csv_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "t.csv"
    file.write_text('"far; away";kind\n' + "1;a\n" * 200_000)

    def whole(*args: Any, **options: Any) -> None:
        raise AssertionError("the whole file is read")

    monkeypatch.setattr("pyarrow.csv.read_csv", whole)
    assert recognize(file) == {"source": "csv", "path": str(file), "label": "kind"}
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match=r"empty\.csv: "):
        recognize(tmp_path / "empty.csv")
