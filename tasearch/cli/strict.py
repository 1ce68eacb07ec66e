"""Rules of all commands: an option is given once, and no argument is empty.

The parser is typer's own copy of click; its private parts are used only here.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from tasearch.errors import quoted

UsageError: Any = typer.BadParameter.__mro__[1]


class PlainGroup(TyperGroup):
    """The whole command line; its help names no types of Python."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _hide_types(self.get_params(ctx))
        super().format_help(ctx, formatter)


class StrictCommand(TyperCommand):
    """A command that refuses an option given twice; click would silently take the last one."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _hide_types(self.get_params(ctx))
        super().format_help(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        values, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for parameter, count in Counter(order).items():
            if count > 1 and parameter.param_type_name == "option":
                raise UsageError(f"{_name(parameter)}: is given {count} times", ctx=ctx)
        for parameter in self.get_params(ctx):
            if values.get(parameter.name or "") == "":
                raise UsageError(f"{_name(parameter)}: should not be empty", ctx=ctx)
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            found = values.get(getattr(error.param, "name", None) or "")
            if found is None:
                raise  # a missing argument
            rule = error.message.removeprefix("Input ").partition(", unable")[0].rstrip(".")
            message = f"{_name(error.param)}: {rule}, found {quoted(found)}"
            raise UsageError(message, ctx=ctx) from None


def examples(*commands: str) -> str:
    """The end of a command's help: some commands to copy."""
    return "\n".join(["Examples:", *(f"  tasearch {command}" for command in commands)])


def _hide_types(parameters: Iterable[Any]) -> None:
    """Leave out of a help what says nothing: types of arguments and flags, and ranges."""
    for parameter in parameters:
        parameter._get_number_range_help_str = lambda: None
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = lambda ctx: None
        elif parameter.is_flag:
            parameter.metavar = ""


def _name(parameter: Any) -> str:
    """`--trials` for an option, `STUDY.toml` for an argument."""
    if parameter.param_type_name == "option":
        return str(max(parameter.opts, key=len))
    return str(parameter.metavar or parameter.name.upper())


class App(typer.Typer):
    """A command line whose commands are strict."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"cls": PlainGroup, **options})

    def command(self, name: str | None = None, **options: Any) -> Callable[..., Any]:
        def added(function: Callable[..., Any]) -> Callable[..., Any]:
            paragraphs = (inspect.getdoc(function) or "").split("\n\n")
            text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
            add = super(App, self).command(name, **{"cls": StrictCommand, "help": text, **options})
            return add(function)

        return added


def invoke(app: typer.Typer, arguments: list[str]) -> int:
    """Run a command line; exceptions are raised, not printed.

    Args:
        app: The command line.
        arguments: What follows the program's name.

    Returns:
        The exit code that a command asked for.

    Raises:
        UsageError: An argument is wrong; `format_message()` says how.
    """
    command = get_command(app)
    try:
        with command.make_context("tasearch", list(arguments)) as context:
            command.invoke(context)
    except typer.Exit as end:
        return int(end.exit_code)
    return 0
