"""The part of `benchmarks.fuzz` that changes study files."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import common
from benchmarks.damage import CONTENT_KINDS, damaged_content
from benchmarks.damaged_run import STUDY
from benchmarks.forks import ForkServer
from benchmarks.fuzz_tally import Tally, run_study
from benchmarks.small_studies import study_text

TRAINED = 4  # one study file in so many is the tiny one
READ = 0.9  # share of study files that are only read, which costs the least

VALUES = (
    *("0", "-1", "1", "2", "3", "1.5", "-0.0", "1e-300", "1e308", "inf", "nan", "true"),
    *("9223372036854775807", "9223372036854775808", "1180591620717411303424", "1_000_000_000_000"),
    *("9" * 5000, "0x10", "1979-05-27", "07:32:00"),
    *(
        '""',
        '"\\u0000"',
        '"\\u001b[2J"',
        '"."',
        '"/"',
        '"/dev/null"',
        '"../.."',
        '"~"',
        '"os:fork"',
    ),
    *('"json:loads"', '":"', '"a:b:c"', '"nosuch:thing"', '"' + "n" * 300 + '"', '"\\U0001F600"'),
    *("[]", "{}", "[[]]", "[1]", "[1, 1]", "[8, 4]", "[4, 8]", '["kd"]', "[2.0, 4.0]", '["kd", 1]'),
    *("[" * 3000 + "]" * 3000, '{ "16" = "fp32" }', '{ "16" = "fp32 x999999999" }', "{ a = {} }"),
    *(
        '"""\nlong\n"""',
        "",
        "'",
        '"kd"',
        '"ce"',
        '"auto"',
        '"torch"',
        '"npz"',
        '"parquet"',
        '"cuda"',
    ),
)
INSERTED = (
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\r",
    b"\x1b[31m",
    "\u2028".encode(),
    b"=",
    b"]",
    b'"',
)


def studies(folder: Path, forks: ForkServer, rng: random.Random, tally: Tally) -> Iterator[None]:
    """Change study files, without an end; one case at each step, after a step of preparation.

    Args:
        folder: Folder for everything.
        forks: Server that runs commands.
        rng: Source of the changes.
        tally: Receives the cases.
    """
    folder.mkdir()
    forks(["init", "new.toml"], folder)
    files = [*sorted((common.ROOT / "studies").glob("*.toml")), folder / "new.toml"]
    texts = {file.name: _without_data(file.read_text(encoding="utf-8")) for file in files}
    names = sorted(texts)
    texts["tiny"] = study_text("tiny")
    yield
    while True:
        seed = rng.randrange(2**32)
        case = random.Random(seed)
        name = "tiny" if not case.randrange(TRAINED) else case.choice(names)
        kind = case.choice([*MUTATIONS])
        content = MUTATIONS[kind](texts[name].encode(), case)
        work = folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        (work / STUDY).write_bytes(content)
        about = {"study": name, "seed": seed, "file": content, "only_read": case.random() < READ}
        run_study(work, forks, case, tally, "studies", kind, about)
        yield


def _without_data(text: str) -> str:
    """A study file with the path of a missing file in place of its data."""
    return re.sub(r'(?m)^source = "digits".*$', 'source = "npz"\npath = "missing.npz"', text)


def _value(content: bytes, rng: random.Random) -> bytes:
    """A study file with another value for one key."""
    lines = content.decode().splitlines()
    keyed = [i for i, line in enumerate(lines) if re.match(r"#? ?\w+ =", line)]
    at = rng.choice(keyed)
    name = lines[at].removeprefix("# ").partition("=")[0].strip()
    lines[at] = f"{name} = {rng.choice(VALUES)}"
    return "\n".join(lines).encode()


def _values(content: bytes, rng: random.Random) -> bytes:
    """A study file with other values for up to three keys."""
    for _ in range(3):
        content = _value(content, rng)
    return content


def _key(content: bytes, rng: random.Random) -> bytes:
    """A study file with a key or section that does not belong where it is."""
    lines = content.decode().splitlines()
    keys = [line for line in lines if re.match(r"\w+ =|\[", line)]
    lines.insert(rng.randrange(len(lines) + 1), rng.choice([*keys, "x = 1", "[x]", "[[data]]"]))
    return "\n".join(lines).encode()


def _inserted(content: bytes, rng: random.Random) -> bytes:
    """A study file with odd bytes in one place."""
    at = rng.choice([0, rng.randrange(len(content) + 1)])
    return content[:at] + rng.choice(INSERTED) + content[at:]


def _damaged(kind: str) -> Callable[[bytes, random.Random], bytes]:
    return lambda content, rng: damaged_content(content, kind, rng)[0]


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    **{kind: _damaged(kind) for kind in CONTENT_KINDS},
    "another value": _value,
    "three other values": _values,
    "another key": _key,
    "bytes inserted": _inserted,
}
