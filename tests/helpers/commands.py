"""Commands of the command line, run in this process."""

from __future__ import annotations

import sys

import pytest

from tasearch.cli import commands


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["tasearch", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            commands.main()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err
