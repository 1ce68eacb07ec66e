from __future__ import annotations

from tasearch.config.syntax import digest_of, imported_by, is_dynamic
from tasearch.models.numerics import cpu_threads


def test_digest_ignores_comments_and_layout() -> None:
    plain = b"def f(x):\n    return [x, 1, 'a']\n"
    assert digest_of(plain) == digest_of(b'# why\n\ndef f( x ):\n  return [x,\n  1, "a"]  # it\n')
    for other in (b"def f(x):\n    return [x, 1.0, 'a']\n", b"def f(y):\n    return [y, 1, 'a']\n"):
        assert digest_of(other) != digest_of(plain)
    with cpu_threads(1, flush_denormals=True):  # as in a worker, where 5e-324 is read as zero
        inside = [
            digest_of(b"x = 5e-324, 3e-320j, -1e-9\n"),
            digest_of(b"x = 5e-324, 3e-320j, 0\n"),
        ]
    assert inside[0] != inside[1]
    assert inside == [
        digest_of(b"x = 5e-324, 3e-320j, -1e-9\n"),
        digest_of(b"x = 5e-324, 3e-320j, 0\n"),
    ]
    assert digest_of(b"def f(:") == digest_of(b"def f(:") != digest_of(b"def f(: ")
    assert digest_of(b"# -*- coding: latin-1 -*-\nx = '\xe4'\n") == digest_of("x = 'ä'".encode())


def test_parser_finds_imports_with_their_packages() -> None:
    source = b"import a.b as c, d\nfrom .near import x\nfrom .. import up\n__import__('e')\n"
    found = imported_by(source, "pkg.sub.mod", is_package=False)
    assert found == {"a", "a.b", "d", "e", "pkg", "pkg.sub", "pkg.sub.near"} | {
        "pkg.sub.near.x",
        "pkg.up",
    }


def test_dynamic_imports_have_no_constant_name() -> None:
    for source in ("import_module('a')", "importlib.import_module('a', 'b')", "net.eval()"):
        assert not is_dynamic(source.encode()), source
    for source in (
        "import_module(name)",
        "get = importlib.import_module",
        "from importlib import import_module as get",
        "__import__('a' + b)",
        "exec(text)",
    ):
        assert is_dynamic(source.encode()), source
    assert not is_dynamic(b"def f(:")
