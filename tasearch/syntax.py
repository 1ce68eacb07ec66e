"""Python source as syntax trees: its digest, its imports, and what of it a module holds. Pure."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)  # of a source, by Python


def digest_of(source: bytes) -> str:
    """32 hex digits that depend on a source's syntax tree; on its bytes where it has none."""
    digest = hashlib.sha256()
    try:
        for part in _walk(ast.parse(source)):
            digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    except UNREADABLE:
        digest = hashlib.sha256(source)
    return digest.hexdigest()[:32]


def differs(module: ModuleType, source: bytes) -> bool:
    """Whether functions, defaults or constants of a module are not those of a source."""
    try:
        tree = ast.parse(source)
        code = compile(source, str(module.__file__), "exec", dont_inherit=True)
    except UNREADABLE:
        return True
    wanted: dict[str, list[Any]] = {}
    for inner in _nested(code):
        wanted.setdefault(inner.co_qualname, []).append(_shape(inner))
    own = [f for f in _functions(module) if f.__code__.co_filename == module.__file__]
    if any(_shape(f.__code__) not in wanted.get(f.__code__.co_qualname, []) for f in own):
        return True
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            with contextlib.suppress(ValueError, TypeError, SyntaxError):
                value = ast.literal_eval(node.value)
                hash(value)  # not of a list or a dict, which a module fills while it goes on
                names = {target.id for target in targets if isinstance(target, ast.Name)}
                known = {name: repr(held) for name, held in vars(module).items() if name in names}
                if any(held != repr(value) for held in known.values()):
                    return True
    return False


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    """The functions and methods of a module, also behind decorators that keep them."""
    ahead: list[Any] = list(vars(module).values())
    seen: set[int] = set()
    while ahead:
        value = ahead.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, FunctionType):
            yield value
        elif isinstance(value, type) and value.__module__ == module.__name__:
            ahead += vars(value).values()
        elif isinstance(value, staticmethod | classmethod | property):
            ahead.append(value.fget if isinstance(value, property) else value.__func__)
        with contextlib.suppress(Exception):  # a user's object may do anything when asked
            ahead.append(value.__wrapped__)


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)


def _shape(code: CodeType) -> tuple[Any, ...]:
    """What a function does, without the lines where it stands."""
    constants = tuple(_shape(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts)
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars, counts


def _walk(value: Any) -> Iterator[str]:
    """A syntax tree as texts: kinds of nodes, their filled fields, constants; no places."""
    if isinstance(value, ast.AST):
        yield f"({type(value).__name__}"
        for name, inner in ast.iter_fields(value):
            if inner is not None and inner != [] and name not in ("kind", "type_comment"):
                yield name
                yield from _walk(inner)
        yield ")"
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner)
        yield "]"
    elif isinstance(value, float | complex) and abs(value) < sys.float_info.min:
        yield "0.0"  # smaller ones are read as zero where the processor flushes denormals
    else:
        yield repr(value)


def parents(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts))}


def imported_by(source: bytes, name: str, *, is_package: bool) -> set[str]:
    """Names that a module's import statements, in functions too, may stand for."""
    try:
        tree = ast.parse(source)
    except UNREADABLE:
        return set()
    package = name if is_package else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func).rpartition(".")[2]
            first = node.args[0]
            text = first.value if isinstance(first, ast.Constant) else None
            if called in ("import_module", "__import__") and isinstance(text, str):
                found.add(text)
    found |= {parent for other in found for parent in parents(other)}
    return {other for other in found if other and all(p.isidentifier() for p in other.split("."))}
