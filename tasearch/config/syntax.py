"""The digest of Python source, and what it imports, from its syntax tree. Pure."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator
from typing import Any

BY_NAME = {"import_module", "__import__"}  # import the module that their first argument names
DYNAMIC = {  # may run a module whose name the source does not show
    *BY_NAME,
    *("spec_from_file_location", "SourceFileLoader", "run_path", "run_module", "exec"),
}
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)  # raised by `ast.parse`


def digest_of(source: bytes) -> str:
    """The digest of a source, 32 hexadecimal digits; comments and layout do not change it.

    It depends on the syntax tree, or on the bytes of a source that cannot be parsed.

    Example:
        >>> digest_of(b"x = 1  # one") == digest_of(b"x  =  1")
        True
    """
    digest = hashlib.sha256()
    try:
        for part in _walk(ast.parse(source)):
            digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    except UNREADABLE:
        digest = hashlib.sha256(source)
    return digest.hexdigest()[:32]


def _walk(value: Any) -> Iterator[str]:
    """A syntax tree as texts: types of nodes, non-empty fields and constants, but no positions."""
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
        yield "0.0"  # a process that flushes denormals reads such a number as zero
    else:
        yield repr(value)


def parents(name: str) -> set[str]:
    """A module's name and those of the packages that it is in: `a.b` gives `a` and `a.b`."""
    parts = name.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts))}


def imported_by(source: bytes, name: str, *, is_package: bool) -> set[str]:
    """Names of modules that a module may import.

    Args:
        source: The module's source. Import statements anywhere in it count, also in functions.
        name: The module's full name.
        is_package: Whether the source is that of a package's `__init__.py`.

    Returns:
        Names that may be modules, with the packages that they are in. In `from a import b`, both
        `a` and `a.b` may be.
    """
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
    found |= {text for _, text in _by_name(tree) if isinstance(text, str)}
    found |= {parent for other in found for parent in parents(other)}
    return {other for other in found if other and all(p.isidentifier() for p in other.split("."))}


def is_dynamic(source: bytes) -> bool:
    """Whether a module may import others whose names its source does not show."""
    try:
        tree = ast.parse(source)
    except UNREADABLE:
        return False
    constant = {id(function) for function, _ in _by_name(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            name = next((a.name for a in node.names if a.name in DYNAMIC and a.asname), "")
        else:
            name = getattr(node, "id", "") or getattr(node, "attr", "")
        if name in DYNAMIC and id(node) not in constant:
            return True
    return False


def _by_name(tree: ast.AST) -> Iterator[tuple[ast.expr, Any]]:
    """The calls that import a module by a constant name: the called function and that name."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and node.args):
            continue
        called, first = ast.unparse(node.func).rpartition(".")[2], node.args[0]
        if called in BY_NAME and isinstance(first, ast.Constant):
            yield node.func, first.value
