from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tasearch.files import check_regular, not_regular, open_regular


def test_a_regular_file_is_read_through_links_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("file", "link"):
        assert not_regular(tmp_path / name) is None
        check_regular(tmp_path / name)
        with open_regular(tmp_path / name) as stream:
            assert stream.read() == b"content"


def test_what_is_no_file_is_named_and_never_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    Path("folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    for path, words in (
        ("fifo", "is a FIFO, not a file"),
        ("folder", "is a folder, not a file"),
        ("socket", "is a socket, not a file"),
        ("/dev/zero", "is a device, not a file"),
        ("nul\0", "has a NUL in its name"),
        ("half\ud800", "has a name that no file can have"),
    ):
        assert not_regular(Path(path)) == words
        for refuse in (check_regular, open_regular):
            with pytest.raises(OSError) as error:  # noqa: PT011
                refuse(Path(path))
            assert error.value.strerror == words


def test_the_system_says_why_nothing_is_there(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "none", "No such file or directory"),
        (tmp_path / ("n" * 300), "File name too long"),
    ):
        assert not_regular(path) is None
        for refuse in (check_regular, open_regular):
            with pytest.raises(OSError) as error:  # noqa: PT011
                refuse(path)
            assert error.value.strerror == words


def test_a_fifo_that_takes_a_files_place_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "fifo")
    monkeypatch.setattr("tasearch.files.check_regular", lambda path: None)  # it was a file then
    with pytest.raises(OSError, match="is a FIFO, not a file"):
        open_regular(tmp_path / "fifo")
