"""Texts: CSV and parquet files, tokenizers, and the token ids that texts become."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.data import Dataset, load_data, load_test
from tasearch.data.ids import Ids, Tokens
from tasearch.data.shared import SharedDataset, read_shared
from tasearch.data.teacher_tokenizer import check_tokenizer
from tasearch.data.tokenizer import text_tokenizer, trained_tokenizer
from tasearch.errors import DataError, StudyError

WORDS = ("good", "fine", "dull", "bad")


def rows(count: int = 40) -> list[tuple[str, str]]:
    """Texts of one to seven words, and whether the last word is praise."""
    return [
        (" ".join(WORDS[(i + j) % 4] for j in range(1 + i % 7)), "yn"[i % 2]) for i in range(count)
    ]


def csv_file(path: Path, lines: list[tuple[str, ...]], head: str = "text,label") -> Path:
    path.write_text(head + "\n" + "".join(",".join(line) + "\n" for line in lines), "utf-8")
    return path


def study_of(path: Path, **keys: Any) -> Study:
    section = {"source": "text", "path": str(path), "validation": 0.25, "test": 0.25, **keys}
    return parse_study({"data": {"length": 16, "vocabulary": 300, **section}})


def loaded(path: Path, **keys: Any) -> tuple[Dataset, list[str]]:
    notices: list[str] = []
    return load_data(study_of(path, **keys), warn=notices.append), notices


def word_file(path: Path, *, pad: bool = True, special: bool = True) -> Path:
    """A tokenizer of whole words, as a user may have one."""
    names = ["[UNK]", *WORDS, *(["<pad>"] if pad else []), *(["<s>", "</s>"] if special else [])]
    made = Tokenizer(models.WordLevel({n: i for i, n in enumerate(names)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if special:
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>",
            pair="<s> $A </s> $B </s>",
            special_tokens=[(n, names.index(n)) for n in ("<s>", "</s>")],
        )
    made.save(str(path))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return csv_file(tmp_path / "texts.csv", rows())


def test_texts_become_ids_with_padding_behind_them(file: Path) -> None:
    data, _ = loaded(file)
    assert data.class_names == ("n", "y")
    assert data.train.x.shape == (20, 16)
    assert data.train.x.dtype == np.int32
    assert data.text is not None and data.tokens is not None
    assert (data.tokens.pad, data.tokens.cls, data.tokens.sep) == (0, 2, 3)
    assert data.ids == Ids(
        low=0, high=data.tokens.vocabulary - 1, dtype="int32", tokens=data.tokens
    )
    assert (data.mean == 0).all() and (data.std == 1).all()
    seen = set()
    for part in (data.train, data.validation, load_test(study_of(file))):
        for ids, y in zip(part.x, part.y, strict=True):
            length = int((ids != 0).sum())
            assert ids[0] == 2 and ids[length - 1] == 3 and not ids[length:].any()
            text = Tokenizer.from_str(data.text.content).decode(ids.tolist()).strip()
            assert (text, data.class_names[y]) in rows()
            seen.add(text)
    assert seen == {text for text, _ in rows()}


def test_training_part_alone_trains_the_tokenizer(tmp_path: Path) -> None:
    def ids_of(word: str) -> np.ndarray:
        for part in ("validation", "test"):
            csv_file(tmp_path / f"{part}.csv", [(f"{word} {word}", "y"), (word, "n")])
        return load_data(study_of(tmp_path)).validation.x

    csv_file(tmp_path / "train.csv", [("merge merge", "y"), ("merge", "n")])
    known, unknown = ids_of("merge"), ids_of("zylon")
    assert (known != 0).sum() == 3 + 4
    assert (unknown != 0).sum() > (known != 0).sum(), "a word of the other parts is one token"


def test_same_texts_give_the_same_data_in_another_process(file: Path) -> None:
    code = (
        "from tests.data.test_text import loaded, Path\n"
        f"print(loaded(Path({str(file)!r}))[0].fingerprint)"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == loaded(file)[0].fingerprint


def test_parquet_of_the_same_texts_gives_the_same_data(file: Path, tmp_path: Path) -> None:
    texts, labels = zip(*rows(), strict=True)
    other = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"text": pa.array(texts).dictionary_encode(), "label": labels}), other)
    assert loaded(other)[0].fingerprint == loaded(file)[0].fingerprint


def test_classes_of_the_hub_keep_their_names(tmp_path: Path) -> None:
    texts, labels = zip(*rows(), strict=True)
    names = {"info": {"features": {"label": {"names": ["bad", "good"]}}}}
    table = pa.table({"text": texts, "label": ["ny".index(label) for label in labels]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(names)})
    pq.write_table(table, tmp_path / "train.parquet")
    assert loaded(tmp_path)[0].class_names == ("bad", "good")


def test_pairs_are_two_texts(tmp_path: Path) -> None:
    pairs = [(text, other, label) for (text, label), (other, _) in zip(rows(), rows(), strict=True)]
    file = csv_file(tmp_path / "pairs.csv", pairs, "one,two,label")
    data, _ = loaded(file, text=["one", "two"])
    assert ((data.train.x == 2).sum(axis=1) == 1).all()
    assert ((data.train.x == 3).sum(axis=1) == 2).all()


def test_words_for_gaps_and_special_tokens_in_texts_are_texts(tmp_path: Path) -> None:
    odd = [
        "NA",
        "null",
        "None",
        "[PAD]",
        "[CLS] [PAD] [SEP]",
        "\U0001f600 \u65e5\u672c",
        '"a, ""b"""',
    ]
    file = csv_file(tmp_path / "odd.csv", [(odd[i % 7], "yn"[i % 2]) for i in range(56)])
    data, _ = loaded(file, length=40)
    assert data.text is not None
    lengths = (data.train.x != 0).argmin(axis=1)
    assert ((data.train.x != 0).sum(axis=1) == lengths).all(), "padding is behind texts alone"
    assert ((data.train.x == 2).sum(axis=1) == 1).all()
    back = Tokenizer.from_str(data.text.content)
    both = np.concatenate([data.train.x, data.validation.x])
    found = {back.decode(ids.tolist()).strip() for ids in both}
    assert found <= {*odd[:6], 'a, "b"'}
    assert {"[PAD]", "NA", odd[5]} <= found


def test_longer_texts_are_cut_and_told_of(file: Path) -> None:
    whole = loaded(file, length=64)[0]
    longer = sum(int(((p.x != 0).sum(axis=1) > 5).sum()) for p in (whole.train, whole.validation))
    data, notices = loaded(file, length=5)
    assert (data.train.x[data.train.x[:, 4] != 0][:, 4] == 3).all(), "the last token is kept"
    assert notices == [f"{longer} of 30 texts are longer than 5 tokens and were cut (data.length)"]


def test_length_that_no_text_needs_is_told_of(file: Path) -> None:
    assert loaded(file, length=64)[1] == [
        "the longest of 30 texts has 9 tokens: data.length = 16 is enough, and sizes and latencies "
        "are those of 64"
    ]
    assert loaded(file, length=16)[1] == []


def test_tokenizer_of_a_file_is_used(file: Path, tmp_path: Path) -> None:
    given = word_file(tmp_path / "mine.json")
    data, notices = loaded(file, tokenizer=str(given), vocabulary=8_000)
    assert data.tokens == Tokens(vocabulary=8, pad=5, cls=6, sep=7, length=16)
    assert notices == []
    assert data.fingerprint != loaded(file)[0].fingerprint
    relative = study_of(file, tokenizer="mine.json", vocabulary=8_000)
    relative = relative.model_copy(update={"root": str(tmp_path)})
    assert load_data(relative).fingerprint == data.fingerprint


def test_tokenizer_without_padding_gets_an_id_for_it(file: Path, tmp_path: Path) -> None:
    given = word_file(tmp_path / "mine.json", pad=False, special=False)
    data, notices = loaded(file, tokenizer=str(given), vocabulary=8_000, length=7)
    assert data.tokens == Tokens(vocabulary=6, pad=5, cls=None, sep=None, length=7)
    assert notices == [
        f"data.tokenizer: {given}: has no token for padding, such as [PAD]: id 5, after its last, "
        f"is it"
    ]
    assert {*np.unique(data.train.x)} == {1, 2, 3, 4, 5}


def test_own_setting_of_padding_is_kept(file: Path, tmp_path: Path) -> None:
    given = word_file(tmp_path / "mine.json", pad=False)
    made = Tokenizer.from_file(str(given))
    made.enable_padding(pad_id=6, pad_token="</s>", direction="left", length=99)
    made.enable_truncation(3)
    made.save(str(given))
    data, notices = loaded(file, tokenizer=str(given), vocabulary=8_000)
    assert data.tokens == Tokens(vocabulary=7, pad=6, cls=5, sep=6, length=16)
    assert (data.train.x[:, 0] == 5).all(), "padding is behind texts"
    assert notices == [], "no text is cut to the length of the file"


def test_workers_know_the_tokens(file: Path) -> None:
    data, _ = loaded(file)
    shared = SharedDataset(data)
    try:
        other = read_shared(shared.path)
        assert (other.ids, other.text) == (data.ids, None)
        assert np.array_equal(other.train.x, data.train.x)
    finally:
        shared.close()


@pytest.mark.parametrize(
    ("lines", "head", "keys", "words"),
    [
        (rows(), "words,label", {}, r"data\.text: no column 'text'; known: label, words"),
        (rows(), "text,class", {}, r"data\.label: no column 'label'; .*class, text"),
        (rows(), "text,label", {"label": "text"}, r"data\.text: should not name the column of lab"),
        ([], "text,label", {}, r"texts\.csv: has no rows"),
        ([("a", "y"), ("b", "y"), ("c", "y")], "text,label", {}, r"at least two classes, found on"),
        (
            [("a", "y"), (" ", "n"), ("c", "y"), ("", "n")],
            "text,label",
            {},
            r"texts\.csv: column 'text': 2 of 4 texts are empty, the first in line 3; remove these",
        ),
        ([("a", "y"), ("b", ""), ("c", "y")], "text,label", {}, "has no label in line 3"),
        (
            rows(),
            "text,label",
            {"length": 2},
            r"data\.length: should be at least 3: the tokenizer adds 2 tokens to a text, found 2",
        ),
        (
            rows(),
            "text,label",
            {"tokenizer": "none.json", "vocabulary": 8_000},
            r"data\.tokenizer: none\.json: cannot be read: No such file",
        ),
    ],
)
def test_message_names_what_is_wrong(
    tmp_path: Path, lines: Any, head: str, keys: Any, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        loaded(csv_file(tmp_path / "texts.csv", lines, head), **keys)


def test_text_of_another_encoding_is_told_of(tmp_path: Path) -> None:
    file = tmp_path / "texts.csv"
    file.write_bytes("text,label\nol\u00e9,y\nno,n\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"texts\.csv: cannot be read: .*; save the file in UTF-8$"):
        loaded(file)


def test_length_has_room_for_both_texts_of_a_pair(tmp_path: Path) -> None:
    file = csv_file(tmp_path / "pairs.csv", [(t, t, y) for t, y in rows()], "one,two,label")
    words = r"data\.length: should be at least 5: the tokenizer adds 3 tokens to a pair of texts"
    with pytest.raises(DataError, match=words):
        loaded(file, text=["one", "two"], length=4)


@pytest.mark.parametrize("content", ["{}", "no json", '{"version": "1.0", "model": 3}', "\u00e9"])
def test_file_that_is_no_tokenizer_is_refused(file: Path, tmp_path: Path, content: str) -> None:
    given = tmp_path / "mine.json"
    given.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"data\.tokenizer: .*mine\.json: is no tokenizer\.json"):
        loaded(file, tokenizer=str(given), vocabulary=8_000)


def test_text_of_which_nothing_is_left_is_refused(file: Path, tmp_path: Path) -> None:
    Tokenizer(models.BPE({"g": 0}, [])).save(str(tmp_path / "mine.json"))
    words = r"data\.tokenizer makes no token of \d+ of \d+ texts, such as '(fine|dull|bad)"
    with pytest.raises(DataError, match=words):
        loaded(file, tokenizer=str(tmp_path / "mine.json"), vocabulary=8_000)


def test_tokenizer_that_cannot_encode_a_text_is_refused(file: Path, tmp_path: Path) -> None:
    Tokenizer(models.WordLevel({"good": 0})).save(str(tmp_path / "mine.json"))
    with pytest.raises(DataError, match=r"data\.tokenizer: cannot encode the texts: .*\[UNK\]"):
        loaded(file, tokenizer=str(tmp_path / "mine.json"), vocabulary=8_000)


def test_column_of_numbers_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [1, 2, 3], "label": [0, 1, 0]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"column 'text': should hold text, holds int64"):
        loaded(tmp_path / "t.parquet")


def test_folder_of_two_kinds_is_refused(tmp_path: Path) -> None:
    csv_file(tmp_path / "train.csv", rows())
    pq.write_table(pa.table({"text": ["a"], "label": ["y"]}), tmp_path / "test.parquet")
    with pytest.raises(DataError, match=r"should hold files of one kind, found \['\.csv', '\.par"):
        loaded(tmp_path)


def test_missing_package_is_named_with_its_extra(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    words = r"tokenizers, which is not installed: pip install 'tasearch\[text\]'"
    with pytest.raises(DataError, match=words):
        loaded(file)


def test_tokenizer_of_the_hub_is_downloaded_once(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = word_file(tmp_path / "mine.json")
    asked = []

    class Hub:
        @staticmethod
        def from_pretrained(name: str) -> Tokenizer:
            asked.append(name)
            if name == "no/such":
                raise OSError("no network")
            return Tokenizer.from_file(str(given))

        from_str = Tokenizer.from_str

    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tokenizers, "Tokenizer", Hub)
    found = [loaded(file, tokenizer="hf:own/words", vocabulary=8_000)[0] for _ in range(2)]
    assert asked == ["own/words"]
    own, _ = loaded(file, tokenizer=str(given), vocabulary=8_000)
    assert {data.fingerprint for data in found} == {own.fingerprint}
    words = r"data\.tokenizer: 'hf:no/such' cannot be had here: .*; run once where"
    with pytest.raises(DataError, match=words):
        loaded(file, tokenizer="hf:no/such", vocabulary=8_000)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"text": ["a", "b", "c"]}, "data.text: should be one column, or two for pairs, has 3"),
        ({"text": []}, "data.text: needs at least one value"),
        ({"length": 0}, "data.length"),
        ({"vocabulary": 100}, "data.vocabulary"),
        ({"tokenizer": "a.json"}, "data.vocabulary: goes without data.tokenizer, which has a"),
        ({"tokenizer": "hf:../etc", "vocabulary": 8_000}, 'data.tokenizer: should be "hf:NAME"'),
        ({"source": "csv", "vocabulary": 8_000}, 'data.length: goes with source = "text", found'),
    ],
)
def test_wrong_keys_are_refused(tmp_path: Path, keys: dict[str, Any], words: str) -> None:
    with pytest.raises(StudyError) as caught:
        study_of(tmp_path, **keys)
    assert words in str(caught.value)


def test_settings_of_the_kept_tokenizer_cut_and_pad(file: Path) -> None:
    """Who loads the file tokenizer.json elsewhere gets the ids of the training."""
    content = trained_tokenizer([text for text, _ in rows()], 300)
    made = text_tokenizer(content, ("text",), 5, "here")
    plain = Tokenizer.from_str(made.content)
    texts = ["good fine dull bad good", "bad"]
    assert [one.ids for one in plain.encode_batch(texts)] == made.encode(texts).ids.tolist()


def teacher_study(folder: Path, **teacher: Any) -> Study:
    """A study of the texts in a folder, whose teacher is loaded."""
    section = {"source": "text", "path": "texts.csv", "length": 16, "vocabulary": 300}
    content = {"data": section, "model": {"family": "transformer"}, "teacher": teacher}
    return parse_study(content).model_copy(update={"root": str(folder)})


def test_tokenizer_in_the_folder_of_a_teacher_should_be_that_of_the_data(file: Path) -> None:
    folder = file.parent / "bert"
    folder.mkdir()
    study = teacher_study(file.parent, factory="hf:bert", pretrained=True, width=1_000)
    text = load_data(study).text
    assert text is not None
    check_tokenizer(study, text)  # there is none
    (folder / "tokenizer.json").write_text("{}", "utf-8")
    check_tokenizer(study, text)  # that is none
    (folder / "tokenizer.json").write_text(text.content, "utf-8")
    check_tokenizer(study, text)
    word_file(folder / "tokenizer.json")
    words = (
        r"data\.tokenizer: \d+ of \d+ tokens have other ids than in bert/tokenizer\.json, which is "
        r"beside .*; set data\.tokenizer = 'bert/tokenizer\.json'"
    )
    with pytest.raises(DataError, match=words):
        check_tokenizer(study, text)
    check_tokenizer(study, None)


def test_tokenizer_beside_a_checkpoint_is_told_of(file: Path) -> None:
    (file.parent / "kept").mkdir()
    study = teacher_study(file.parent, checkpoint="kept/t.safetensors", width=1_000)
    text, notices = load_data(study).text, []
    word_file(file.parent / "kept" / "tokenizer.json")
    check_tokenizer(study, text, notices.append)
    (notice,) = notices
    assert notice.endswith(
        "set data.tokenizer = 'kept/tokenizer.json' if the teacher was trained with it"
    )
