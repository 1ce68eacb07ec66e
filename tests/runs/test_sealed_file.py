"""Files of a run read as values: each damage is one message with a remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasearch.errors import RunError
from tasearch.runs import test_reads, verdict_file
from tasearch.runs.sealed_file import read_value
from tasearch.runs.seals import seal_json, unseal_json
from tasearch.runs.test_reads import log_read_of_test, reads_of_test
from tasearch.runs.verdict_file import read_confirmations


def total(blob: bytes) -> Any:
    return sum(unseal_json("numbers", blob)["numbers"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is no JSON: "),
        (b"{}", "bears no seal: "),
        (seal_json("others", {"numbers": [1]}), "does not match its checksum: "),
        (seal_json("numbers", {"digits": [1]}), "cannot be read: 'numbers'; "),
        (seal_json("numbers", {"numbers": 1}), "cannot be read: 'int' object is not iterable; "),
    ],
)
def test_damaged_file_is_named_with_the_remedy(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "numbers.json"
    file.write_bytes(content)
    with pytest.raises(RunError) as error:
        read_value(file, total, "do that")
    assert str(error.value).startswith(f"{file}: {words}")
    assert str(error.value).endswith("; do that")


def test_sound_file_becomes_its_value(tmp_path: Path) -> None:
    file = tmp_path / "numbers.json"
    file.write_bytes(seal_json("numbers", {"numbers": [1, 2]}))
    assert read_value(file, total, "do that") == 3


def test_missing_file_and_folder_differ(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_value(tmp_path / "none", total, "do that")
    with pytest.raises(RunError, match="cannot be read: is no regular file; do that"):
        read_value(tmp_path, total, "do that")


def test_reads_are_counted_and_damage_is_refused(tmp_path: Path) -> None:
    assert reads_of_test(tmp_path) == []
    assert [log_read_of_test(tmp_path, by, ["64 → 4"]) for by in ("confirm", "export")] == [1, 2]
    assert [read.by for read in reads_of_test(tmp_path)] == ["confirm", "export"]
    file = tmp_path / test_reads.FILE
    file.write_bytes(file.read_bytes().replace(b"export", b"others"))
    with pytest.raises(RunError) as error:
        log_read_of_test(tmp_path, "export", ["64 → 4"])
    assert str(error.value) == (
        f"{file}: does not match its checksum: it was edited, or is damaged; {test_reads.REMEDY}"
    )


@pytest.mark.parametrize("content", [[], {"confirmations": 3}, {"confirmations": [{}]}])
def test_verdicts_of_another_shape_are_refused(tmp_path: Path, content: Any) -> None:
    file = tmp_path / verdict_file.FILE
    file.parent.mkdir()
    sealed = seal_json("verdicts", content) if content else json.dumps(content).encode()
    file.write_bytes(sealed)
    with pytest.raises(RunError) as error:
        read_confirmations(tmp_path)
    assert str(error.value).startswith(f"{file}: ")
    assert str(error.value).endswith(verdict_file.REMEDY)
