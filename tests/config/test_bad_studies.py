"""Wrong study files: each has one message, with rule, value and path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tasearch.config import values
from tasearch.config.study_file import LARGEST_FILE, load_study, parse_study
from tasearch.config.values import name_from
from tasearch.data import SOURCES
from tasearch.errors import StudyError
from tasearch.models import FAMILIES
from tasearch.search.sampler import SAMPLERS
from tasearch.train.losses import LOSSES

LONG = "a" * 300
A76 = "a" * 76

FILES: dict[str, tuple[bytes, str]] = {  # content, and what is said behind the file's name
    "a seed of 5,000 digits": (
        b"seed = " + b"7" * 5_000,
        "is not valid TOML: Exceeds the limit (4300 digits) for integer string conversion: "
        "value has 5000 digits",
    ),
    "a seed of 5,000 hexadecimal digits": (
        b"seed = 0x" + b"7" * 5_000,
        "seed: should be less than or equal to 4294967295, found one of type int",
    ),
    "a seed that numpy does not carry": (
        b"seed = 4294967296",
        "seed: should be less than or equal to 4294967295, found 4294967296",
    ),
    "3,000 nested brackets": (
        b"seed = " + b"[" * 3_000 + b"]" * 3_000,
        "is not valid TOML: nested too deeply",
    ),
    "3,000 nested tables": (
        b"a." * 3_000 + b"a = 1",
        "a: unknown key; known: assistants, budget, confirm, data, expects, latency, model, name, "
        "objective, resources, root, search, seed, student, teacher, training",
    ),
    "a table 3,000 deep where a number should be": (
        b"seed." + b"a." * 3_000 + b"a = 1",
        "seed: should be a valid integer, found one of type dict",
    ),
    "a key twice": (
        b"seed = 1\nseed = 2",
        "is not valid TOML: Cannot overwrite a value (at end of document)",
    ),
    "a section twice": (
        b"[data]\n[data]",
        "is not valid TOML: Cannot declare ('data',) twice (at line 2, column 6)",
    ),
    "a section as a list": (b"[[student]]", "student: should be a table, found [{}]"),
    "a section as a value": (b"student = 3", "student: should be a table, found 3"),
    "a value as a section": (b"[seed]", "seed: should be a valid integer, found {}"),
    "an inline table": (
        b"[student]\nwidths = [{ a = 1 }]",
        'student.widths[0]: should be a valid integer, found {"a": 1}',
    ),
    "a date": (b"seed = 2020-01-01", 'seed: should be a valid integer, found "2020-01-01"'),
    "a date that is none": (
        b"seed = 2020-02-30",
        "is not valid TOML: Invalid date or datetime (at line 1, column 8)",
    ),
    "an absurd exponent": (
        b"[search]\nmax_flops = 1e999999999",
        "search.max_flops: should be a finite number, found Infinity",
    ),
    "a float as a number of samples": (
        b"[training]\nbatch_size = 1e3",
        "training.batch_size: should be a valid integer, found 1000.0",
    ),
    "UTF-16": ("\ufeffseed = 1".encode("utf-16-le"), "is UTF-16 text; save it as UTF-8"),
    "UTF-16 of the other kind": (
        "\ufeffseed = 1".encode("utf-16-be"),
        "is UTF-16 text; save it as UTF-8",
    ),
    "Latin-1": (b"seed = 1\nname = '\xfc'", "is no UTF-8 text: line 2; save it as UTF-8"),
    "a key of 10,000 letters": (
        b"a" * 10_000 + b" = 1",
        f"{'a' * 77}...: unknown key; known: assistants, budget, confirm, data, expects, latency, "
        "model, name, objective, resources, root, search, seed, student, teacher, training",
    ),
    "a text of a million letters": (
        b"name = '" + b"a" * LARGEST_FILE + b"'",
        "is no study file: has more than 1,000,000 bytes",
    ),
}

KEYS = {  # TOML, and what is said behind the file's name
    "name = 'con'": 'name: should be none that Windows reserves for devices, found "con"',
    "name = 'NUL.x'": 'name: should be none that Windows reserves for devices, found "NUL.x"',
    "name = 'a.'": 'name: should not end with a dot, for it names a folder, found "a."',
    f"name = '{LONG}'": f'name: should have at most 200 characters, found "{A76}...',
    'name = "a\\u001b[31m"': (
        "name: should have letters of A to Z, digits, '.', '_' and '-' alone, "
        'found "a\\u001b[31m"'
    ),
    'root = "a\\u0000"': 'root: should have no NUL, found "a\\u0000"',
    "root = ''": 'root: should be a path, found ""',
    '[data]\nsource = "npz"\npath = "a\\u0000b"': (
        'data.path: should have no NUL, found "a\\u0000b"'
    ),
    '[data]\nsource = "npz"\npath = ""': 'data.path: should be a path, found ""',
    '[data]\nsource = "nzp"\npath = "a"': ("data.source: unknown name 'nzp'; did you mean 'npz'?"),
    '[data]\nsource = "web"\npath = "a"\nlabel = "b"': (
        "data.source: unknown name 'web'; known: csv, digits, imagefolder, npz, parquet, text"
    ),
    '[data]\nsource = "a b:c"': (
        "data.source: should be \"package.module:function\", found 'a b:c'"
    ),
    "[data]\nsplit_seed = 4294967296": (
        "data.split_seed: should be less than or equal to 4294967295, found 4294967296"
    ),
    '[model]\nfamily = "resnt"': "model.family: unknown name 'resnt'; did you mean 'resnet'?",
    '[model]\nfamily = "own:"': (
        "model.family: should be \"package.module:function\", found 'own:'"
    ),
    '[model]\nfamily = "resnet"\nmultiplier = 1e300': (
        "model.multiplier: should be less than or equal to 1000, found 1e+300"
    ),
    '[teacher]\nfactory = "make"': (
        "teacher.factory: should be \"package.module:function\", found 'make'"
    ),
    '[teacher]\ncheckpoint = "\\u0000"': (
        'teacher.checkpoint: should have no NUL, found "\\u0000"'
    ),
    f"[teacher]\nwidth = {2**70}": (
        "teacher.width: should be less than or equal to 2147483647, found 1180591620717411303424"
    ),
    "[teacher]\nepochs = 1_000_000_000": (
        "teacher.epochs: should be less than or equal to 1000000, found 1000000000"
    ),
    "[student]\nlearning_rate = 1e300": (
        "student.learning_rate: should be less than or equal to 1000000000000000000000000000000, "
        "found 1e+300"
    ),
    '[student]\nloss = ["kd", "dst"]': ("student.loss: unknown name 'dst'; did you mean 'dist'?"),
    '[assistants]\nloss = "zzz"': (
        "assistants.loss: unknown name 'zzz'; known: ce, dist, dkd, kd, kd-std"
    ),
    '[search]\nsampler = "TPE2"': "search.sampler: unknown name 'TPE2'; did you mean 'tpe'?",
    "[training]\nbatch_size = 1_000_000_000_000": (
        "training.batch_size: should be less than or equal to 1000000, found 1000000000000"
    ),
    "[training]\nthreads = 1_000_000_000": (
        "training.threads: should be less than or equal to 256, found 1000000000"
    ),
    "[latency]\nthreads = 1_000_000_000": (
        "latency.threads: should be less than or equal to 256, found 1000000000"
    ),
    '[training]\nmodes = { 12 = "fp32 x999999999" }': (
        'training.modes.12: should train at most 1024 as one wide model, found "fp32 x999999999"'
    ),
    "[training]\nweight_decay = 1e300": (
        "training.weight_decay: should be less than or equal to 1000000000000000000000000000000, "
        "found 1e+300"
    ),
    "[search]\ntrials = 1_000_000_000_000": (
        "search.trials: should be less than or equal to 1000000, found 1000000000000"
    ),
    "[search]\nreplicates = 1_000_000_000": (
        "search.replicates: should be less than or equal to 1000, found 1000000000"
    ),
    "[search]\nmax_concurrent = 1_000_000_000": (
        "search.max_concurrent: should be less than or equal to 10000, found 1000000000"
    ),
    "[search]\nrungs = 1_000_000_000": (
        "search.rungs: should be less than or equal to 10000, found 1000000000"
    ),
    "[assistants]\nmin = 3\nmax = 3\nwidths = [48, 4, 3]\n[student]\nwidths = [12, 3]": (
        "assistants.min: no student has 3 assistants wider than itself, the narrowest, 3, has 2"
    ),
    f"[budget]\nmax_params = {2**63}": (
        "budget.max_params: should be less than or equal to 9223372036854775807, "
        "found 9223372036854775808"
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_broken_file_has_one_message(tmp_path: Path, case: str) -> None:
    content, said = FILES[case]
    file = tmp_path / "s.toml"
    file.write_bytes(content)
    with pytest.raises(StudyError) as error:
        load_study(file)
    assert str(error.value) == f"{file}: {said}"


@pytest.mark.parametrize("text", KEYS)
def test_message_has_path_and_rule_of_wrong_value(tmp_path: Path, text: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(text)
    with pytest.raises(StudyError) as error:
        load_study(file)
    assert str(error.value) == f"{file}: {KEYS[text]}"


def test_study_file_may_begin_with_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_bytes(b"\xef\xbb\xbfseed = 3\r\n")
    assert load_study(file).seed == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_load_study_opens_only_regular_files(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, said in (
        (tmp_path, "is a folder, not a file"),
        (fifo, "is a FIFO, not a file"),
        (Path("/dev/zero"), "is a device, not a file"),
        (tmp_path / LONG, "cannot be read: File name too long"),
        (tmp_path / "x" / "s.toml", f"no such study file; `tasearch init {tmp_path}/x/s.toml` "),
    ):
        with pytest.raises(StudyError) as error:
            load_study(path)
        assert str(error.value).startswith(f"{path}: {said}")


def test_message_lists_first_of_many_mistakes() -> None:
    with pytest.raises(StudyError) as error:
        parse_study({"student": {"widths": ["a"] * 200}}, "s")
    lines = str(error.value).splitlines()
    assert (
        lines[19]
        == 's: student.widths[19]: should be an integer, or a name in model.sizes, found "a"'
    )
    assert lines[20:] == ["s: and 180 more mistakes"]


def test_study_limits_lengths_of_lists_and_number_of_recipes() -> None:
    with pytest.raises(StudyError) as error:
        parse_study({"assistants": {"widths": [*range(100_000, 0, -1)]}}, "s")
    assert str(error.value) == (
        "s: assistants.widths: should have at most 256 values, has 100000, found "
        "[100000, 99999, 99998, 99997, 99996, 99995, 99994, 99993, 99992, 99991, 99990..."
    )
    many = [1.0 + i / 200 for i in range(200)]
    shares = [i / 201 for i in range(1, 201)]
    with pytest.raises(StudyError) as error:
        parse_study({"student": {"temperature": many, "alpha": shares}}, "s")
    assert str(error.value) == (
        "s: student: its lists should make at most 10,000 recipes, make 40,000"
    )


@pytest.mark.parametrize(
    ("known", "registry"),
    [
        (values.FAMILIES, FAMILIES),
        (values.LOSSES, LOSSES),
        (values.SAMPLERS, SAMPLERS),
        (values.SOURCES, SOURCES),
    ],
)
def test_known_names_equal_those_of_registries(known: tuple[str, ...], registry: Any) -> None:
    assert sorted(known) == sorted(registry)


class Odd:
    """An object that cannot be printed."""

    def __repr__(self) -> str:
        raise RuntimeError


NOT_STUDIES: list[tuple[Any, str]] = [
    (3, "should be a dict of keys and sections, found 3; `load_study` reads a file"),
    (None, "should be a dict of keys and sections, found None; `load_study` reads a file"),
    ("a.toml", "should be a dict of keys and sections, found 'a.toml'; `load_study` reads a file"),
    ({1: 2}, "keys should be strings, found 1"),
    ({"student": {3: 4}}, "student: keys should be strings, found 3"),
    ({"training": {"modes": {3: "fp32"}}}, "training.modes: should be a valid string, found 3"),
    ({"seed": Odd()}, "seed: should be a valid integer, found one of type Odd"),
    (
        {"seed": 10**6_000},
        "seed: should be less than or equal to 4294967295, found one of type int",
    ),
    ({"data": None}, "data: should be a table, found null"),
    ({"name": b"x"}, "name: should be a valid string, found \"b'x'\""),
    (
        {"name": "\ud800"},
        "name: should be a valid string, unable to parse raw data as a unicode string, "
        'found "\\ud800"',
    ),
]


@pytest.mark.parametrize(("content", "said"), NOT_STUDIES)
def test_wrong_dict_has_one_message(content: Any, said: str) -> None:
    with pytest.raises(StudyError) as error:
        parse_study(content, "s")
    assert str(error.value) == f"s: {said}"


@pytest.mark.parametrize("stem", ["con", "com1.x", LONG, "...", "ü", "a.", "-", "com1." + LONG])
def test_any_file_name_gives_valid_study_name(stem: str) -> None:
    assert parse_study({"name": name_from(stem)}).name
