"""What a command of tasearch may do, whatever its input is.

It ends with 0, 1 or 2, in time, with one message, without a traceback, and without control
characters. Where it ends with 0, its figures are true.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.forks import CommandResult

EXPORTED_FILES = ("metrics.json", "student.safetensors")
CODES = (0, 1, 2)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # characters that change a terminal


@dataclass(kw_only=True)
class Fault:
    """Something that a command should not have done.

    Args:
        command: Name of the command.
        what: What it did, in words.
        result: How it ended.
    """

    command: str
    what: str
    result: CommandResult

    def to_json(self) -> dict[str, Any]:
        """What is stored: of its output, only the end."""
        texts = {"out": self.result.out[-600:], "err": self.result.err[-1500:]}
        return {"command": self.command, "fault": self.what, "code": self.result.code, **texts}


def wrong_ending(result: CommandResult, name: str) -> str | None:
    """What is wrong with the way in which a command ended; None if nothing is.

    Args:
        result: How the command ended.
        name: Name of the command.
    """
    if result.code is None:
        return "hangs"
    text = result.out + result.err
    if "Traceback" in text:
        return f"traceback: {result.err.strip().splitlines()[-1][:300] if result.err else ''}"
    if result.code not in CODES:
        return f"ended with {result.code}"
    control = CONTROL.search(text)
    if control:
        return f"prints the control character {control[0]!r}"
    messages = sum(line.startswith("error: ") for line in result.err.splitlines())
    if name.startswith("best") and result.code == 1 and '"error": ' in result.out:
        messages += 1
    if result.code and messages != 1:
        return f"ended with {result.code} and {messages} messages"
    return None


def stated_figures(name: str, result: CommandResult, work: Path) -> Any:
    """The figures that a command states about a run; None where it states none.

    Args:
        name: Name of the command.
        result: How it ended.
        work: Folder in which it ran.
    """
    if name.startswith("best") and result.out.strip():
        return json.loads(result.out)
    if result.code != 0:
        return None
    if name == "python":
        return json.loads(result.out)
    if name == "status":
        return [line for line in result.out.splitlines() if not line.startswith("time")]
    if name == "report":
        return (work / "page.html").stat().st_size > 0
    if name == "export":
        metrics, weights = ((work / "winner" / file).read_bytes() for file in EXPORTED_FILES)
        figures = {k: v for k, v in json.loads(metrics).items() if k != "test_reads"}
        return figures, weights.hex()
    return None


def difference(found: dict[str, Any], expected: dict[str, Any]) -> str | None:
    """The first difference between the contents of two runs, in words; None if they are equal."""
    for part in ("trials", "candidates", "members"):
        if len(found[part]) != len(expected[part]):
            return f"{len(found[part])} {part}, not {len(expected[part])}"
        for one, other in zip(found[part], expected[part], strict=True):
            names = [n for n in other if one.get(n) != other[n]]
            if names:
                name = names[0]
                values = f"{shortened(one.get(name))}, not {shortened(other[name])}"
                return f"{part}: {name} changed: {values}"
    return None


def shortened(value: Any) -> str:
    """A value as JSON, cut off after 200 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:197] + "..."
