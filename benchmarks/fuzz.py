"""Does anything that comes in end in a traceback, a hang or a figure that is not true?

Three parts, in turn, for so many seconds in all:

- **runs**: one file of a run is damaged (see `benchmarks.damage`), then every command is called.
  One run is finished, one was left in the middle of a hop.
- **studies**: study files, from `studies/`, `tasearch init` and a tiny one of our own, with
  bytes, lines and values changed, are read by `tasearch.load_study`, and one in ten goes to
  `tasearch run --trials 1`. Their data are replaced by a file that is missing, so that a file that
  is still valid costs no training; the tiny ones train.
- **arrays**: npz, parquet and checkpoint files, changed in bytes or content, go to the same run.

Each command has to end with 0, 1 or 2, in time, with one message, no traceback, and no control
characters; after damage to a run, with the figures of the undamaged one.

    python -m benchmarks.fuzz --seconds 600 --seed 0
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import random
import re
import shutil
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks import common
from benchmarks.damage import KINDS, RUNS, STUDY, Fault, Victim, cases, changed, form
from benchmarks.forks import LOAD, STOPPED, Ended, Forks, command

RESULT = common.RESULTS / "fuzz.json"
ANSWER = 60.0  # seconds until a study file has to be answered; a training may go on
STARTED = 8  # one case in so many is tried in an interpreter of its own
EXPORTED = 6  # one damaged run in so many is exported too
TRAINED = 4  # one study file in so many is the tiny one
READ = 0.9  # share of study files that are only read, which costs the least
STORED = 65_536  # bytes of a failing input that are stored

TINY = """name = "tiny"
[model]
family = "mlp"
[teacher]
width = 16
epochs = 2
[assistants]
max = 1
widths = [8, 6]
epochs = 2
[student]
widths = [6, 4]
epochs = 2
[training]
precision = "fp32"
[latency]
backend = "torch"
[search]
trials = 6
rungs = 2
n_startup_trials = 2
"""
SMALL = """name = "small"
[data]
source = {source}
path = "file"
[model]
family = "mlp"
[teacher]
width = 64
epochs = 1
{teacher}
[assistants]
max = 0
[student]
widths = [2]
epochs = 1
[training]
precision = "fp32"
[latency]
backend = "torch"
[search]
trials = 1
"""
OWN = """
from torch import nn

def make(*, in_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 99), nn.ReLU(), nn.Linear(99, num_classes))
"""
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


class Tally:
    """What was tried, and what failed."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self.cases: list[dict[str, Any]] = []

    def add(
        self,
        part: str,
        kind: str,
        ends: dict[str, Ended],
        faults: list[Fault],
        about: dict[str, Any],
    ) -> None:
        """Count one case, and keep it where it failed."""
        names = [part, f"{part}: {kind}", *(f"{part}: {name}" for name in ends)]
        self.tried.update(names)
        bad = [part, f"{part}: {kind}", *{f"{part}: {fault.command}" for fault in faults}]
        if faults:
            self.failed.update(bad)
            self.cases.append(
                {"part": part, "kind": kind, **about, "faults": [fault.row() for fault in faults]}
            )
        for name, ended in ends.items():
            self.codes[f"{part}: {name} ended with {ended.code}"] += 1

    def by(self) -> dict[str, dict[str, int]]:
        return {
            name: {"tried": count, "failed": self.failed[name]}
            for name, count in sorted(self.tried.items())
        }


def finished(home: Path, forks: Forks) -> Victim:
    """A finished run, with the report beside its files."""
    home.mkdir()
    (home / STUDY).write_text(TINY)
    run = ["run", STUDY, "--workers", "1"]
    for argv in (run, ["report", f"{RUNS}/tiny"]):
        ended = forks(argv, home, timeout=600.0, learn=True)
        assert ended.code == 0, ended
    return Victim(home=home, name="tiny", more=8, runner=forks)


def stopped(home: Path, whole: Victim, forks: Forks) -> Victim:
    """The same study, left in the middle of a hop; going on ends in the whole run's trials."""
    home.mkdir()
    (home / STUDY).write_text(TINY)
    latencies = whole.home / whole.run
    ended = forks([STOPPED, STUDY, RUNS, latencies, 3], home, timeout=600.0)
    assert ended.code == 0, ended
    return Victim(home=home, name="tiny", more=8, runner=forks)


def runs(folder: Path, forks: Forks, rng: random.Random, tally: Tally) -> Iterator[None]:
    """Damage to runs; a case each."""
    folder.mkdir()
    whole = finished(folder / "finished", forks)
    victims = [whole, stopped(folder / "stopped", whole, forks)]
    for victim in victims:
        victim.learn(folder)
    endless = [cases(victim, rng) for victim in victims]
    while True:
        for victim, chosen in zip(victims, endless, strict=True):
            file, kind, seed = next(chosen)
            exported = not rng.randrange(EXPORTED)
            what, ends, faults = victim.tried(folder, file, kind, seed, exported=exported)
            about = {"run": victim.home.name, "file": file, "what": what, "seed": seed}
            tally.add("runs", kind, ends, faults, about)
            yield


def studies(folder: Path, forks: Forks, rng: random.Random, tally: Tally) -> Iterator[None]:
    """Changed study files; a case each."""
    folder.mkdir()
    forks(["init", "new.toml"], folder)
    files = [*sorted((common.ROOT / "studies").glob("*.toml")), folder / "new.toml"]
    texts = {file.name: _without_data(file.read_text(encoding="utf-8")) for file in files}
    names = sorted(texts)
    texts["tiny"] = TINY
    for number in iter(lambda: rng.randrange(2**32), None):
        own = random.Random(number)
        name = "tiny" if not own.randrange(TRAINED) else own.choice(names)
        kind = own.choice([*MUTATIONS])
        content = MUTATIONS[kind](texts[name].encode(), own)
        work = folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        (work / STUDY).write_bytes(content)
        about = {"study": name, "seed": number, "file": content, "only_read": own.random() < READ}
        _run(work, forks, own, tally, "studies", kind, about)
        yield


def _without_data(text: str) -> str:
    """A study file whose data are a file that is not there."""
    return re.sub(r'(?m)^source = "digits".*$', 'source = "npz"\npath = "missing.npz"', text)


def _run(
    work: Path,
    forks: Forks,
    rng: random.Random,
    tally: Tally,
    part: str,
    kind: str,
    about: dict[str, Any],
) -> None:
    """Give a study to `tasearch run`, and count what comes."""
    argv = ["run", STUDY, "--trials", "1", "--workers", "1"]
    if about.get("study", "tiny") != "tiny":  # cut so short that it asks for digits, it ends here
        argv += ["--latency-from", "missing"]
    runner: Callable[..., Ended] = command if not rng.randrange(STARTED) else forks
    if about.pop("only_read", False):
        argv, runner = [LOAD, STUDY], forks
    ended = runner(argv, work, timeout=ANSWER)
    name = argv[0]
    wrong = form(ended, name)
    if wrong == "hangs" and "chains within the budget" in ended.out:
        wrong = None  # it is valid, and trains
    faults = [Fault(command=name, what=wrong, ended=ended)] if wrong else []
    about["started"] = runner is command
    content = about.pop("file")
    if faults:
        about["base64"] = base64.b64encode(content[:STORED]).decode()
    tally.add(part, kind, {name: ended}, faults, about)


def _value(content: bytes, rng: random.Random) -> bytes:
    """Another value for one key."""
    lines = content.decode().splitlines()
    keyed = [i for i, line in enumerate(lines) if re.match(r"#? ?\w+ =", line)]
    at = rng.choice(keyed)
    name = lines[at].removeprefix("# ").partition("=")[0].strip()
    lines[at] = f"{name} = {rng.choice(VALUES)}"
    return "\n".join(lines).encode()


def _values(content: bytes, rng: random.Random) -> bytes:
    for _ in range(3):
        content = _value(content, rng)
    return content


def _key(content: bytes, rng: random.Random) -> bytes:
    """One key that no section has, or that another has."""
    lines = content.decode().splitlines()
    keys = [line for line in lines if re.match(r"\w+ =|\[", line)]
    lines.insert(rng.randrange(len(lines) + 1), rng.choice([*keys, "x = 1", "[x]", "[[data]]"]))
    return "\n".join(lines).encode()


def _inserted(content: bytes, rng: random.Random) -> bytes:
    at = rng.choice([0, rng.randrange(len(content) + 1)])
    return content[:at] + rng.choice(INSERTED) + content[at:]


def _damaged(kind: str) -> Callable[[bytes, random.Random], bytes]:
    return lambda content, rng: changed(content, kind, rng)[0]


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    **{kind: _damaged(kind) for kind in KINDS[:6]},
    "another value": _value,
    "three other values": _values,
    "another key": _key,
    "bytes inserted": _inserted,
}


def arrays(folder: Path, forks: Forks, rng: random.Random, tally: Tally) -> Iterator[None]:
    """Changed data and checkpoint files; a case each."""
    folder.mkdir()
    makers = {"npz": npz, "parquet": parquet, "checkpoint": checkpoint}
    for number in iter(lambda: rng.randrange(2**32), None):
        own = random.Random(number)
        work = folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        name = own.choice([*makers])
        kind = makers[name](work, own)
        file = work / ("weights.pt" if name == "checkpoint" else "file")
        if (work / "weights.safetensors").exists():
            file = work / "weights.safetensors"
        if kind == "bytes":
            kind = own.choice(KINDS[:6])
            file.write_bytes(changed(file.read_bytes(), kind, own)[0])
        content = file.read_bytes()
        about = {"seed": number, "file": content}
        _run(work, forks, own, tally, "arrays", f"{name}: {kind}", about)
        yield


def _samples(rng: random.Random, count: int = 60) -> dict[str, Any]:
    random_ = np.random.default_rng(rng.randrange(2**32))
    x = random_.normal(size=(count, 8, 8)).astype(np.float32)
    return {"x_train": x, "y_train": np.arange(count) % 10}


def _study(work: Path, source: str, teacher: str = "") -> None:
    (work / STUDY).write_text(SMALL.format(source=json.dumps(source), teacher=teacher))
    (work / "own.py").write_text(OWN)


def _header(content: bytes, rng: random.Random) -> bytes:
    """An array's header that promises more than there is."""
    shape = rng.choice([b"(10**12, 8, 8)", b"(1000000000000,)", b"(-1, 8, 8)", b"(0, 8, 8)"])
    stream, out = io.BytesIO(content), io.BytesIO()
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            member = old.read(name)
            new.writestr(name, member.replace(b"(60, 8, 8)", shape))
    return out.getvalue()


def _zip_field(content: bytes, rng: random.Random) -> bytes:
    """A member that is encrypted, or compressed in a way that few know, as its headers say."""
    changed_ = bytearray(content)
    for signature, flags, method in ((b"PK\x03\x04", 6, 8), (b"PK\x01\x02", 8, 10)):
        at = content.find(signature)
        if rng.getrandbits(1):
            changed_[at + flags] |= 1
        else:
            changed_[at + method] = rng.choice([1, 6, 9, 12, 14, 93, 98])
    return bytes(changed_)


def npz(work: Path, rng: random.Random) -> str:
    """An npz file, of which one thing is not as it should be, and what that is."""
    _study(work, "npz")
    a = _samples(rng)
    x, y = a["x_train"], a["y_train"]
    odd = x.copy()
    odd[3] = rng.choice([np.nan, np.inf, -np.inf, 3e38])
    variants: dict[str, dict[str, Any]] = {
        "bytes": a,
        "header": a,
        "zip": a,
        "labels out of range": {**a, "y_train": y.astype(np.uint64) + 2**63},
        "labels below 0": {**a, "y_train": y - 2**62},
        "labels that are no whole numbers": {**a, "y_train": y + 0.5},
        "labels in words": {**a, "y_train": y.astype(str)},
        "labels in columns": {**a, "y_train": np.eye(10)[y]},
        "labels of one class": {**a, "y_train": y * 0},
        "objects": {**a, "y_train": y.astype(object)},
        "complex": {**a, "x_train": x.astype(np.complex64)},
        "half": {**a, "x_train": x.astype(np.float16)},
        "dates": {**a, "x_train": (x * 1000).astype("datetime64[s]")},
        "truths": {**a, "x_train": x > 0},
        "records": {**a, "x_train": np.zeros(60, dtype=[("a", "f4"), ("b", "i4")])},
        "not finite": {**a, "x_train": odd},
        "constant": {**a, "x_train": x * 0},
        "fewer labels": {**a, "y_train": y[:-1]},
        "no samples": {"x_train": x[:0], "y_train": y[:0]},
        "one sample": {"x_train": x[:1], "y_train": y[:1]},
        "no axes": {**a, "x_train": np.float32(1.0)},
        "one axis": {**a, "x_train": x[:, 0, 0]},
        "many axes": {**a, "x_train": x.reshape(60, 1, 2, 4, 2, 4)},
        "no features": {**a, "x_train": x.reshape(60, 64)[:, :0]},
        "other part": {**a, "x_val": x[:, :4], "y_val": y},
        "no labels": {"x_train": x},
        "other names": {"a": x, "b": y},
    }
    kind = rng.choice([*variants])
    np.savez(work / "file.npz", **variants[kind])
    content = (work / "file.npz").read_bytes()
    (work / "file.npz").unlink()
    tampered = {"header": _header, "zip": _zip_field}
    (work / "file").write_bytes(tampered[kind](content, rng) if kind in tampered else content)
    return kind


def _picture(rng: random.Random, mode: str = "L", size: tuple[int, int] = (8, 8)) -> bytes:
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = rng.randbytes(size[0] * size[1] * channels)
    out = io.BytesIO()
    Image.frombytes(mode, size, pixels).save(out, "PNG")
    return out.getvalue()


def parquet(work: Path, rng: random.Random) -> str:
    """A parquet file of images, of which one thing is not as it should be, and what that is."""
    _study(work, "parquet")
    labels: list[Any] = [i % 10 for i in range(60)]
    images: list[Any] = [{"bytes": _picture(rng), "path": None} for _ in labels]
    kind = rng.choice(
        [
            *("bytes", "no picture", "cut picture", "other size", "other mode", "null image"),
            *("null label", "labels in words", "labels out of range", "plain binary", "no label"),
            *("numbers for images", "no rows", "bit of a picture"),
        ]
    )
    at = rng.randrange(60)
    picture = images[at]["bytes"]
    place = rng.randrange(len(picture))
    flipped = picture[:place] + bytes([picture[place] ^ 16]) + picture[place + 1 :]
    one = {
        "no picture": b"no picture",
        "cut picture": picture[:place],
        "other size": _picture(rng, size=(9, 8)),
        "other mode": _picture(rng, rng.choice(["RGB", "RGBA", "LA", "1"][:3])),
        "bit of a picture": flipped,
    }
    if kind in one:
        images[at] = {"bytes": one[kind], "path": None}
    elif kind == "null image":
        images[at] = None
    elif kind == "null label":
        labels[at] = None
    elif kind == "labels in words":
        labels = [str(n) for n in labels]
    elif kind == "labels out of range":
        labels[at] = rng.choice([-(2**63), 2**63 - 1, 10**6])
    elif kind == "plain binary":
        images = [image["bytes"] for image in images]
    elif kind == "numbers for images":
        images = labels
    elif kind == "no rows":
        images, labels = images[:0], labels[:0]
    columns = {"image": images} | ({} if kind == "no label" else {"label": labels})
    pq.write_table(pa.table(columns), work / "file")
    return kind


def checkpoint(work: Path, rng: random.Random) -> str:
    """A loaded teacher's weights, of which one thing is not as it should be, and what that is."""
    safe = bool(rng.getrandbits(1))
    name = "weights.safetensors" if safe else "weights.pt"
    _study(work, "npz", f'factory = "own:make"\ncheckpoint = "{name}"')
    with (work / "file").open("wb") as stream:
        np.savez(stream, **_samples(rng))
    torch.manual_seed(rng.randrange(2**32))
    net = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 99), torch.nn.ReLU(), torch.nn.Linear(99, 10)
    )
    state: dict[str, Any] = dict(net.state_dict())
    weight = state["3.weight"]
    variants: dict[str, Callable[[], Any]] = {
        "bytes": lambda: weight,
        "not finite": lambda: weight * torch.nan,
        "huge": lambda: weight * 1e38,
        "other shape": lambda: weight[:, :98].clone(),
        "no axes": lambda: torch.tensor(1.0),
        "whole numbers": lambda: weight.to(torch.int64),
        "complex": lambda: weight.to(torch.complex64),
        "half": lambda: weight.to(torch.bfloat16),
        "missing": lambda: None,
    }
    if not safe:
        variants |= {
            "sparse": lambda: weight.to_sparse(),
            "meta": lambda: weight.to("meta"),
            "quantized": lambda: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
            "word": lambda: "weight",
            "nested": lambda: {"weight": weight},
            "TorchScript": lambda: weight,
            "whole module": lambda: weight,
        }
    kind = rng.choice([*variants])
    state["3.weight"] = variants[kind]()
    if kind == "missing":
        del state["3.weight"]
    if kind == "TorchScript":
        torch.jit.trace(net, torch.zeros(1, 8, 8)).save(work / name)
    elif kind == "whole module":
        torch.save(net, work / name)
    elif safe:
        save_file(state, work / name)
    else:
        torch.save(state, work / name)
    return kind


PARTS = {"runs": runs, "studies": studies, "arrays": arrays}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="of trying, beyond the start")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", nargs="+", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    before, tally, longest = common.provenance(args), Tally(), 0.0
    with tempfile.TemporaryDirectory() as root, Forks() as forks:
        spent = dict.fromkeys(args.parts, 0.0)
        going = {}
        for name in args.parts:
            going[name] = PARTS[name](
                Path(root) / name, forks, random.Random(f"{args.seed} {name}"), tally
            )
            next(going[name])  # its start is not part of the time
        while sum(spent.values()) < args.seconds:
            name = min(spent, key=lambda n: spent[n])  # each part as long as the others
            begun = time.monotonic()
            next(going[name])
            seconds = time.monotonic() - begun
            spent[name] += seconds
            longest = max(longest, seconds)
    tried = sum(tally.tried[name] for name in args.parts)
    result = {
        "question": (__doc__ or "").splitlines()[0],
        **before,
        "machine": common.machine(),
        "tried": tried,
        "failed": len(tally.cases),
        "seconds": {name: round(s, 1) for name, s in spent.items()},
        "longest_case_s": round(longest, 1),
        "by": tally.by(),
        "exit_codes": dict(sorted(tally.codes.items())),
        "failing": tally.cases,
    }
    common.write_json(args.out, result)
    print(f"{tried} tried, {len(tally.cases)} failed")
    sys.exit(bool(tally.cases))


if __name__ == "__main__":
    main()
