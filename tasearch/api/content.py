"""The content of a study, made of the arguments of `tasearch.search`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from tasearch.api.objects import Objects
from tasearch.config.data_section import HUB_PREFIX
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.config.teacher_section import MOST_OF_NAME
from tasearch.config.values import TEXTS
from tasearch.data.given import NAME
from tasearch.data.given_texts import FOLDER
from tasearch.errors import StudyError, quoted
from tasearch.pareto.budget import Budget

FUNCTIONS = {  # keys that name functions, and the arguments that set them
    "data.source": "data.source",
    "model.family": "build",
    "teacher.factory": "teacher",
    "assistants.loss": "loss",
    "student.loss": "loss",
    "search.sampler": "search.sampler",
    "training.augment": "training.augment",
    "objective.metric": "metric",
}
OWN = (NAME, FOLDER)  # paths in the folder of the inputs
PATHS = ("data.path", "data.unlabelled", "teacher.checkpoint")


class Content:
    """Sections of a study file, to which arguments are added one by one.

    Args:
        sections: The sections that are given; they may hold functions.
        name: The name of the study.
        seed: The seed; None for that of the sections.

    Attributes:
        objects: The functions and models of the study.

    Raises:
        StudyError: They are no sections.
    """

    def __init__(self, sections: Mapping[str, Any] | None, name: Any, seed: Any) -> None:
        if sections is not None and not isinstance(sections, Mapping):
            raise StudyError(f"study: should be a dict of sections, found {quoted(sections)}")
        self._values: dict[str, Any] = {}
        for section, value in (sections or {}).items():
            self._values[section] = {**value} if isinstance(value, Mapping) else value
        self.objects = Objects()
        if "root" in self._values:
            raise StudyError("study: root: leave it out: it is a folder of the run")
        self.put("name", name, "name")
        self.put("seed", seed, "seed")

    def put(self, path: str, value: Any, argument: str) -> None:
        """Set a key to the value of an argument; None leaves it as it is.

        Raises:
            StudyError: The key is set already.
        """
        if value is not None and self.has(path):
            raise StudyError(f"{argument}: is given twice, as {path} of study too; leave one out")
        self.default(path, value)

    def default(self, path: str, value: Any) -> None:
        """Set a key to a value if it is not set; None leaves it as it is."""
        *within, key = path.split(".")
        section = self._values.setdefault(within[0], {}) if within else self._values
        if value is not None and isinstance(section, dict):  # else `parse_study` refuses it
            section.setdefault(key, value)

    def put_data(self) -> None:
        """Let the study read the data that are given."""
        self.put("data.source", "npz", "x")
        self.put("data.path", NAME, "x")

    def put_texts(self, columns: tuple[str, ...]) -> None:
        """Let the study read the texts that are given, which are in columns of these names."""
        self.put("data.source", TEXTS[0], "x")
        self.put("data.path", FOLDER, "x")
        self.put("data.text", [*columns], "x")

    def put_models(self, build: Any, teacher: Any, widths: Any, student_widths: Any) -> None:
        """Set the family, the teacher, and the widths.

        Raises:
            StudyError: The teacher is a model that cannot be kept, or is to be trained; or the
                widths are no widths, or too few.
        """
        self.put("model.family", build, "build")
        if isinstance(teacher, list | tuple):
            members = [{"factory": self._kept(one)} for one in teacher]
            self.put("teacher.members", members, "teacher")
        elif isinstance(teacher, nn.Module):
            self.put("teacher.factory", self.objects.teacher(teacher), "teacher")
            self.put("teacher.epochs", 0, "teacher")
            self.default("teacher.name", type(teacher).__name__[:MOST_OF_NAME])
        else:
            self.put("teacher.factory", teacher, "teacher")
        self._put_widths(widths, student_widths)

    def _put_widths(self, widths: Any, student_widths: Any) -> None:
        """Set the widths of teacher, assistants and students.

        Raises:
            StudyError: They are no widths, or too few.
        """
        if isinstance(widths, Mapping):
            sizes = [{"name": name, **_arguments(own)} for name, own in widths.items()]
            self.put("model.sizes", sizes, "widths")
            self.put("student.widths", student_widths, "student_widths")
            return
        known = None if widths is None else _widths(widths, "widths")
        students = None if student_widths is None else _widths(student_widths, "student_widths")
        if known is not None:
            if self.has("teacher.factory") or self.has("teacher.members"):
                self.default("teacher.width", 2 * known[0])
            elif len(known) < 2:
                raise StudyError(
                    f"widths: should have the teacher's and one more, found {known}; or bring a "
                    f"teacher"
                )
            else:
                self.put("teacher.width", known.pop(0), "widths")
            students = students or known
            wider = [width for width in known if width > students[-1]]
            self.put("assistants.widths", wider or None, "widths")
            self.default("assistants.max", None if wider else 0)
        self.put(
            "student.widths", students, "widths" if student_widths is None else "student_widths"
        )

    def put_recipes(self, loss: Any, epochs: Any, metric: Any) -> None:
        """Set the metric, the loss of assistants and students, and the epochs of all models.

        Raises:
            StudyError: A section has one of them, too. A teacher that is not trained has 0 epochs.
        """
        self.put("objective.metric", metric, "metric")
        for section in ("assistants", "student"):
            self.put(f"{section}.loss", loss, "loss")
            self.put(f"{section}.epochs", epochs, "epochs")
        trained = self._values.get("teacher")
        if not isinstance(trained, dict) or trained.get("epochs") != 0:
            self.put("teacher.epochs", epochs, "epochs")

    def put_limits(self, trials: Any, budget: Any) -> None:
        """Set the number of trials and the budget."""
        self.put("search.trials", trials, "trials")
        limits = asdict(budget) if isinstance(budget, Budget) else budget
        if limits is not None and not isinstance(limits, Mapping):
            raise StudyError(f"budget: should be a dict or a Budget, found {quoted(budget)}")
        for name, limit in (limits or {}).items():
            self.put(f"budget.{name}", limit, "budget")

    def study(self) -> Study:
        """The study, with the names of its functions, and with absolute paths.

        Raises:
            StudyError: A key is wrong, or a function cannot be kept in the run.
        """
        for path, argument in FUNCTIONS.items():
            self._change(path, lambda value, where=argument: self._named(value, where))
        for path in PATHS:
            self._change(path, _absolute)
        self._change("data.tokenizer", lambda name: name if _is_of_hub(name) else _absolute(name))
        self._change("teacher.members", self._members)
        return parse_study(self._values, "search")

    def _kept(self, model: Any) -> Any:
        """The factory of a member of the teacher, which may be the model itself."""
        return self.objects.teacher(model) if isinstance(model, nn.Module) else model

    def _members(self, members: Any) -> Any:
        """The members of a teacher with the names of their functions, and with absolute paths."""
        if not isinstance(members, list | tuple):
            return members
        found = [{**one} if isinstance(one, Mapping) else one for one in members]
        for one in found:
            if isinstance(one, dict) and one.get("factory") is not None:
                one["factory"] = self._named(self._kept(one["factory"]), "teacher")
            if isinstance(one, dict) and one.get("checkpoint") is not None:
                one["checkpoint"] = _absolute(one["checkpoint"])
        return found

    def _named(self, value: Any, where: str) -> Any:
        if isinstance(value, list | tuple):
            return [self.objects.name(one, where) for one in value]
        return self.objects.name(value, where)

    def _change(self, path: str, change: Any) -> None:
        section, _, key = path.partition(".")
        values = self._values.get(section)
        if isinstance(values, dict) and values.get(key) is not None:
            values[key] = change(values[key])

    def has(self, path: str) -> bool:
        section, _, key = path.partition(".")
        values = self._values.get(section)
        return (isinstance(values, dict) and values.get(key) is not None) if key else bool(values)


def _widths(values: Any, name: str) -> list[int]:
    """Widths as a list."""
    try:
        found = [int(value) for value in values]
        falling = found and found == sorted(set(values), reverse=True) and found[-1] > 0
    except (TypeError, ValueError):
        falling = False
    if not falling:
        rule = "should be widths, strictly decreasing, such as [64, 32, 16]"
        raise StudyError(f"{name}: {rule}, found {quoted(values)}")
    return found


def _arguments(size: Any) -> Mapping[str, Any]:
    """The arguments of a size, by name."""
    if isinstance(size, Mapping):
        return size
    rule = 'should hold the arguments of each size, such as {"s": {"width": 8, "depth": 2}}'
    raise StudyError(f"widths: {rule}, found {quoted(size)}")


def _is_of_hub(name: Any) -> bool:
    return isinstance(name, str) and name.startswith(HUB_PREFIX)


def _absolute(path: Any) -> Any:
    """A path that holds in another folder, too; that of the given data is in the run's."""
    return str(Path(path).absolute()) if isinstance(path, str | Path) and path not in OWN else path
