"""A study file written for somebody's data and teacher."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasearch.cli.console import err, out, print_line
from tasearch.config.files import write_atomic
from tasearch.config.study import Study
from tasearch.config.study_file import render
from tasearch.config.values import name_from
from tasearch.errors import StudyError

KEYS = (  # of a study of digits
    "name",
    "data.source",
    "model.family",
    "teacher.width",
    "assistants.max",
    "assistants.widths",
    "student.widths",
    "student.loss",
    "budget.max_params",
    "search.trials",
)


def write_study(file: Path, data: Path | None, given: Mapping[str, Any], *, full: bool) -> None:
    """Write a study file, and tell what was found.

    Args:
        file: The file, which does not exist yet.
        data: File or folder of the data; None for scikit-learn's digits.
        given: What else is given: `label`, `teacher`, `checkpoint`.
        full: Whether to write every key.

    Raises:
        TasearchError: The data or the teacher cannot be used.
    """
    name = name_from(file.stem)
    if data is None:
        for option, value in given.items():
            if value is not None:
                raise StudyError(f"--{option}: goes with --data")
        study, keys = Study(name=name), list(KEYS)
    else:
        study, keys = _found(name, file, data, given)
    title = "A study: `tasearch run` reads it. docs/study-file.md has the other keys."
    write_atomic(file, render(study, title, None if full else keys).encode())
    quoted = shlex.quote(str(file))
    out.print(f"wrote {file}; run it with: tasearch run {quoted}", soft_wrap=True)
    out.print(f"what that would do: tasearch check {quoted}", soft_wrap=True)


def _found(name: str, file: Path, data: Path, given: Mapping[str, Any]) -> tuple[Study, list[str]]:
    """The study for some data and a teacher, and its keys that matter."""
    with err.status(f"looking at {data}") as status:
        from tasearch.search.first_given import Given
        from tasearch.search.first_study import first_study

        def decoded(done: int, total: int) -> None:
            status.update(f"looking at {data}: decoded {done:,} of {total:,} images")

        def say(line: str) -> None:
            status.stop()  # it is on another stream, and may be in the middle of a line
            print_line(line)
            status.start()

        asked = Given.of(name=name, folder=file.parent, data=data, **given)
        made = first_study(asked, say, decoded)
    return made.study().model_copy(update={"root": "."}), made.keys()
