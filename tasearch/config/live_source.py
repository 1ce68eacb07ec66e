"""The source of functions and classes of a running program, as of a cell of a notebook.

A function's code is compared with what its source compiles to: a source that was edited since is
never taken for it.
"""

from __future__ import annotations
import __future__

import ast
import functools
import inspect
import linecache
import symtable
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any, TypeAlias

AT_ONCE = ("listcomp", "setcomp", "dictcomp", "genexpr")  # blocks that run where they stand
FUTURES = functools.reduce(
    int.__or__, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)
Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda


class NoSource(Exception):
    """The source of an object cannot be told; in the message REMEDY stands for another way."""


@dataclass(frozen=True, kw_only=True)
class LiveSource:
    """The source of a function or class, and what its names stand for.

    Args:
        text: The definition, or the expression of a lambda; without comments.
        names: The values of the names around it: global ones, and those that it closes over.
        postponed: Whether its annotations are not evaluated.
        decorated: Whether its definition has decorators.
    """

    text: str
    names: Mapping[str, Any]
    postponed: bool
    decorated: bool

    def needs(self) -> tuple[list[str], list[str]]:
        """Names that its definition needs, and names that are only needed when it is called."""
        future = "from __future__ import annotations\n" if self.postponed else ""
        at_once, later = set[str](), set[str]()
        top = symtable.symtable(future + self.text, "<source>", "exec")
        for name, now in _needed(top, now=True):
            (at_once if now else later).add(name)
        return sorted(at_once), sorted(later - at_once)

    def dotted(self) -> set[tuple[str, ...]]:
        """Names with the attributes that are read of them: ("pkg", "sub") of `pkg.sub`."""
        found = set()
        for node in ast.walk(ast.parse(self.text)):
            attributes: list[str] = []
            while isinstance(node, ast.Attribute):
                attributes.insert(0, node.attr)
                node = node.value
            if attributes and isinstance(node, ast.Name):
                found.add((node.id, *attributes))
        return found


def live_source(value: FunctionType | type) -> LiveSource:
    """Find the source of a function or class.

    Args:
        value: A function, without wrappers around it, or a class.

    Raises:
        NoSource: Its source is not known, is another one by now, or does not make it again.
    """
    functions = [value] if isinstance(value, FunctionType) else [*_methods(value)]
    if not functions:
        raise NoSource("is a class without methods of its own, so its source is not found: REMEDY")
    names: dict[str, Any] = dict(functions[0].__globals__)
    for function in functions:
        names |= _closed_over(function)
    tree, flags = _parsed(functions[0])
    nodes = [_node_of(function, tree, flags) for function in functions]
    node = nodes[0] if isinstance(value, FunctionType) else _class_around(value, tree, nodes)
    if isinstance(value, FunctionType):
        _check_defaults(value, nodes[0], names)
    postponed = bool(flags & __future__.annotations.compiler_flag)
    decorated = not isinstance(node, ast.Lambda) and bool(node.decorator_list)
    text = ast.unparse(node)
    return LiveSource(text=text, names=names, postponed=postponed, decorated=decorated)


def _methods(kind: type) -> Iterator[FunctionType]:
    """The functions in the body of a class; those that decorators have made are left out."""
    for entry in vars(kind).values():
        held = (entry, getattr(entry, "__func__", None), getattr(entry, "fget", None))
        for function in held:
            found = inspect.unwrap(function) if callable(function) else None
            if isinstance(found, FunctionType) and not _is_made(found.__code__):
                yield found


def _is_made(code: CodeType) -> bool:
    """Whether a method has no definition of its own, but was made by Python or a decorator."""
    return code.co_filename == "<string>" or code.co_name.startswith("__annotate")


def _closed_over(function: FunctionType) -> dict[str, Any]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    found = {}
    for name, cell in cells:
        try:
            found[name] = cell.cell_contents
        except ValueError:
            raise NoSource(f"needs {name!r}, which has no value yet") from None
    found.pop("__class__", None)
    return found


def _parsed(function: FunctionType) -> tuple[ast.Module, int]:
    """The syntax tree of the file or cell of a function, and the compiler's flags for it."""
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)
    if not lines:
        raise NoSource("was typed at a prompt or made by exec, so its source is not known: REMEDY")
    flags = code.co_flags & FUTURES
    try:
        tree = compile("".join(lines), code.co_filename, "exec", flags | ast.PyCF_ONLY_AST, True)
    except SyntaxError:
        raise NoSource("is of a file that was edited since; run it again") from None
    assert isinstance(tree, ast.Module)
    return tree, flags


def _node_of(function: FunctionType, tree: ast.Module, flags: int) -> Definition:
    """The definition of a function in a syntax tree."""
    code = function.__code__
    whole = compile(tree, code.co_filename, "exec", flags, True)
    if not any(inner == code for inner in _codes(whole)):
        raise NoSource("is of a file that was edited since; run it again")
    spans = set(code.co_positions())
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        and _first_line(node) == code.co_firstlineno
        and (
            _span(node.body) in spans if isinstance(node, ast.Lambda) else node.name == code.co_name
        )
    ]
    if len(found) != 1:
        raise NoSource("is one of several lambdas in its line; write it with def")
    return found[0]


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A code object and all those in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _first_line(node: Definition) -> int:
    decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _span(node: ast.expr) -> tuple[int | None, ...]:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


def _class_around(kind: type, tree: ast.Module, methods: list[Definition]) -> ast.ClassDef:
    """The definition of a class, in whose body all of its methods are."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
            inside = {id(inner) for inner in ast.walk(node)}
            if all(id(method) in inside for method in methods):
                return node
    raise NoSource("has a method that was not defined in it: REMEDY")


def _check_defaults(function: FunctionType, node: Definition, names: Mapping[str, Any]) -> None:
    """Refuse a function with a default that is a name, and stands for another value by now."""
    assert not isinstance(node, ast.ClassDef)
    given, keywords = function.__defaults__ or (), function.__kwdefaults__ or {}
    positional = [*node.args.posonlyargs, *node.args.args][-len(given) :] if given else []
    pairs = [*zip(positional, node.args.defaults, given, strict=True)]
    for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if default is not None:
            pairs.append((argument, default, keywords[argument.arg]))
    for argument, default, value in pairs:
        if isinstance(default, ast.Name) and default.id in names:
            now = names[default.id]
            if now is not value and not _equal(now, value):
                raise NoSource(
                    f"was defined when {default.id!r}, the default of {argument.arg!r}, had "
                    f"another value; run its definition again"
                )


def _equal(one: object, other: object) -> bool:
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # such as of arrays
        return False


def _needed(table: symtable.SymbolTable, *, now: bool) -> Iterator[tuple[str, bool]]:
    """The names from outside that a block refers to, and whether its definition needs them."""
    top = table.get_type() == "module"
    for symbol in table.get_symbols():
        outside = not (symbol.is_assigned() or symbol.is_imported()) if top else symbol.is_global()
        if symbol.is_referenced() and outside:
            yield symbol.get_name(), now
    for child in table.get_children():
        runs = child.get_type() == "class" or child.get_name() in AT_ONCE
        yield from _needed(child, now=now and runs)
