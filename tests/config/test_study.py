from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tasearch.config.study import Study
from tasearch.config.study_file import RENAMED, load_study, parse_study, render
from tasearch.errors import StudyError
from tests.helpers.studies import TINY, tiny

STUDIES = Path(__file__).parents[2] / "studies"

MISTAKES = {
    "[student]\nwidhts = [3]": "student.widhts: unknown key; did you mean 'widths'?",
    "[studnet]\n": "studnet: unknown key; did you mean 'student'?",
    "zzz = 1": (
        "zzz: unknown key; known: assistants, budget, confirm, data, expects, latency, model, "
        "name, objective, resources, root, search, seed, student, teacher, training"
    ),
    '[student]\nwidths = [3, "a"]': (
        'student.widths[1]: should be an integer, or a name in model.sizes, found "a"'
    ),
    "[student]\nwidths = [3, 4]": "student.widths: should be strictly decreasing, found [3, 4]",
    "[student]\nwidths = [3, 3]": "student.widths: should be strictly decreasing, found [3, 3]",
    "[student]\nwidths = [3, 0]": (
        "student.widths[1]: should be greater than or equal to 1, found 0"
    ),
    "[student]\nwidths = 3": "student.widths: should be a list, found 3",
    "[student]\nwidths = []": "student.widths: needs at least one value, found []",
    "[student]\nwidths = [64]": (
        "student.widths[0]: should be below the teacher's width 64, found 64"
    ),
    "[assistants]\nwidths = [70]": (
        "assistants.widths[0]: should be below the teacher's width 64, found 70"
    ),
    "[assistants]\nmin = 4": "assistants.min: should not exceed assistants.max 3, found 4",
    '[assistants]\nmin = 1\n[student]\nloss = "ce"': (
        "student.loss: 'ce' learns from no assistant, so assistants.min cannot be 1"
    ),
    "student = 3": "student: should be a table, found 3",
    "[training]\nmodes = 3": "training.modes: should be a table, found 3",
    '[training]\nmodes = { 12 = "fp8" }': (
        'training.modes.12: should be such as "fp32", "bf16 x5" or "fp32 x4+", found "fp8"'
    ),
    '[training]\nmodes = { 5 = "fp32" }': "training.modes.5: is no width of this study",
    'seed = "x"': 'seed: should be a valid integer, found "x"',
    "seed = true": "seed: should be a valid integer, found true",
    'name = "a/b"': (
        "name: should have letters of A to Z, digits, '.', '_' and '-' alone, found \"a/b\""
    ),
    '[student]\ntemperature = [1, "b"]': (
        'student.temperature[1]: should be a valid number, found "b"'
    ),
    "[student]\ntemperature = [2.0, 2.0]": (
        "student.temperature: should have no value twice, found [2.0, 2.0]"
    ),
    "[student]\nalpha = 1.5": "student.alpha: should be less than or equal to 1, found 1.5",
    "[student]\nalpha = 0": "student.alpha: should be greater than 0, found 0",
    "[data]\nsplit_seed = -1": ("data.split_seed: should be greater than or equal to 0, found -1"),
    "[student]\nloss = 3": "student.loss: should be a valid string, found 3",
    "[budget]\nmax_params = 0": (
        "budget.max_params: should be greater than or equal to 1, found 0"
    ),
    "[training]\nbatch_size = 1.5": ("training.batch_size: should be a valid integer, found 1.5"),
    "[teacher]\nlearning_rate = nan": (
        "teacher.learning_rate: should be a finite number, found NaN"
    ),
    "[search]\nmax_hours = 0": "search.max_hours: should be greater than 0, found 0",
    '[search]\nmax_flops = "x"': 'search.max_flops: should be a valid number, found "x"',
    "[search]\nmin_improvement = -0.1": (
        "search.min_improvement: should be greater than 0, found -0.1"
    ),
    '[search]\npruner = "a"': "search.pruner: should be 'skyline' or 'none', found \"a\"",
    '[data]\nsource = "npz"': 'data.path: is required with source = "npz"',
    "[model]\nmultiplier = 0.5": ("model.multiplier: goes with family = \"resnet\", found 'cnn'"),
    '[model]\nfamily = "resnet"\nmultiplier = 0.0': (
        "model.multiplier: should be greater than 0, found 0.0"
    ),
    '[data]\npath = "a.npz"': (
        'data.path: goes with source = "npz", "parquet", "imagefolder", "csv" or "text", '
        'found "digits"'
    ),
    '[data]\nsource = "imagefolder"': 'data.path: is required with source = "imagefolder"',
    '[data]\nsource = "imagefolder"\npath = "a"\nlabel = "b"': (
        'data.label: goes with source = "parquet", "csv" or "text", found "imagefolder"'
    ),
    "[data]\nsize = 32": (
        'data.size: goes with source = "parquet" or "imagefolder", found "digits"'
    ),
    '[data]\nchannels = "rgb"\nunreadable = "skip"': (
        'data.channels: goes with source = "parquet" or "imagefolder", found "digits"\n'
        '{file}: data.unreadable: goes with source = "parquet" or "imagefolder", found "digits"'
    ),
    **{
        f'[data]\nsource = "parquet"\npath = "a"\nsize = {size}': (
            f"data.size: should be an integer of 1 to 65,535, or [height, width], found {size}"
        )
        for size in ("0", "65536", "true", '"32"', "[32]", "[32, 0]", "[1, 2, 3]", "1.5", "[]")
    },
    "[data]\nvalidation = 0.7\ntest = 0.3": (
        "data.validation: and data.test should sum to less than 1, found 0.7 and 0.3"
    ),
    '[data]\nimage = "img"': 'data.image: goes with source = "parquet", found "digits"',
    '[data]\nlabel = "y"': (
        'data.label: goes with source = "parquet", "csv" or "text", found "digits"'
    ),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_message_has_path_rule_and_value(tmp_path: Path, text: str) -> None:
    file = tmp_path / "s.toml"
    file.write_text(text)
    with pytest.raises(StudyError) as error:
        load_study(file)
    assert str(error.value) == f"{file}: {MISTAKES[text].format(file=file)}"


@pytest.mark.parametrize("section", RENAMED)
def test_renamed_key_message_names_the_new_key(section: str) -> None:
    for old, new in RENAMED[section].items():
        with pytest.raises(StudyError) as error:
            parse_study({section: {old: 1}}, "s")
        assert str(error.value) == f"s: {section}.{old}: is called {new!r} now"
        assert new in Study.model_fields[section].annotation.model_fields  # type: ignore[union-attr]


def test_message_lists_all_mistakes() -> None:
    with pytest.raises(StudyError) as error:
        parse_study({"seed": -1, "student": {"alpha": 2}}, "s")
    assert str(error.value).splitlines() == [
        "s: seed: should be greater than or equal to 0, found -1",
        "s: student.alpha: should be less than or equal to 1, found 2",
    ]


def test_study_refuses_widths_that_family_does_not_have() -> None:
    with pytest.raises(StudyError) as error:
        parse_study({"model": {"family": "plain"}, "student": {"widths": [4, 3, 2]}}, "s")
    ladder = "of family 'plain' should be among 2, 4, 6, 8, 10, found"
    assert str(error.value).splitlines() == [
        f"s: teacher.width: {ladder} 64",
        f"s: assistants.widths: {ladder} 48, 32, 24, 16, 12",
        f"s: student.widths: {ladder} 3",
    ]


def test_load_study_refuses_missing_and_broken_file(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    with pytest.raises(StudyError) as error:
        load_study(missing)
    assert str(error.value) == (
        f"{missing}: no such study file; `tasearch init {missing}` writes one"
    )
    broken = tmp_path / "broken.toml"
    broken.write_text("seed = = 1")
    with pytest.raises(StudyError) as error:
        load_study(broken)
    assert str(error.value) == f"{broken}: is not valid TOML: Invalid value (at line 1, column 8)"


@pytest.mark.parametrize(
    "content",
    [
        {},
        TINY,
        {
            "name": "a-1.b",
            "student": {"temperature": [1, 2.5], "loss": ["kd", "ce"], "widths": [8]},
            "teacher": {"width": 56},
            "assistants": {"widths": [], "max": 0},
            "model": {"family": "resnet", "multiplier": 0.1},
            "budget": {"max_params": 12_345, "max_latency_ms": 0.5},
            "data": {"source": "npz", "path": 'odd "name"\\ü.npz'},
        },
    ],
)
def test_rendered_study_reads_as_same_study(content: dict[str, Any]) -> None:
    study = parse_study(content)
    assert parse_study(tomllib.loads(render(study))) == study


def test_render_writes_meaning_above_every_key() -> None:
    lines = render(Study()).splitlines()
    for section in (Study, *(f.annotation for f in Study.model_fields.values())):
        for name, field in getattr(section, "model_fields", {}).items():
            if field.description:
                places = [i for i, line in enumerate(lines) if line == f"# {field.description}"]
                assert any(name in lines[i + 1] for i in places), name


def test_root_is_relative_to_study_file(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    file = tmp_path / "deep" / "s.toml"
    file.write_text('root = ".."')
    assert load_study(file).root == str(tmp_path)


def test_study_has_every_width_once() -> None:
    study = parse_study({"assistants": {"widths": [8, 4]}, "student": {"widths": [6, 4]}})
    assert study.widths == (64, 8, 6, 4)
    alone = parse_study({"assistants": {"max": 0}, "student": {"widths": [6]}})
    assert alone.widths == (64, 6)


def test_study_ignores_widths_of_unused_assistants() -> None:
    study = parse_study({"teacher": {"width": 16}, "assistants": {"max": 0}})
    assert study.widths == (16, 12, 8, 6, 4, 3, 2)


def test_load_study_refuses_root_that_is_not_a_path(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('root = "\\u0000"')
    with pytest.raises(StudyError) as error:
        load_study(file)
    assert str(error.value) == f'{file}: root: should have no NUL, found "\\u0000"'


def test_identity_ignores_limits_and_root() -> None:
    limits = {"trials": 4, "max_hours": 2.5, "max_flops": 1e15, "min_improvement": 0.01}
    a = parse_study({"search": {"trials": 3}, "root": "/a"})
    b = parse_study({"search": limits, "root": "/b"})
    assert a.identity() == b.identity()
    assert a.identity() != parse_study({"seed": 1}).identity()
    ladder = {"teacher": {"width": 56}, "assistants": {"max": 0}, "student": {"widths": [8]}}
    full, half = (
        parse_study({**ladder, "model": {"family": "resnet", "multiplier": m}}) for m in (1, 0.5)
    )
    assert full.identity() != half.identity()


@pytest.mark.parametrize("file", sorted(STUDIES.glob("**/*.toml")), ids=lambda p: p.name)
def test_shipped_studies_load(file: Path) -> None:
    assert load_study(file).name == (file.parent.name if file.name == "study.toml" else file.stem)


def test_identity_leaves_later_keys_out_at_their_defaults() -> None:
    """Runs of before there were these keys are the same studies."""
    data = {"source": "parquet", "path": "d"}
    plain = tiny(data=data).identity()
    assert not {"data.size", "data.channels", "data.unreadable"} & plain.keys()
    assert tiny(data={**data, "unreadable": "skip"}).identity() == plain
    assert tiny(data={**data, "size": 32}).identity() == plain | {"data.size": [32, 32]}
    assert tiny(data={**data, "channels": "grey"}).identity() == plain | {"data.channels": "grey"}


def test_size_is_one_number_or_two() -> None:
    data = {"source": "parquet", "path": "d"}
    one, two = (tiny(data={**data, "size": size}) for size in (32, [32, 32]))
    assert one == two
    assert one.data.size == (32, 32)
    assert "size = [32, 32]" in render(one)
    assert parse_study(tomllib.loads(render(one))) == one
    assert Study.model_validate_json(one.model_dump_json()) == one
