"""`tasearch init`: what it finds out about data and a teacher, and the file that it writes."""

from __future__ import annotations

import csv
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tasearch.config.study import Study
from tasearch.config.study_file import load_study, parse_study
from tasearch.data import load_data
from tasearch.data.recognized import recognize
from tasearch.errors import ModelError
from tasearch.models import Models
from tasearch.models.families import FAMILIES
from tasearch.profiling.counts import parameters
from tasearch.search.first_given import Given
from tasearch.search.first_texts import text_ladder, tokenizer_of
from tests.helpers.commands import command

PER_CLASS = 12


@pytest.fixture
def numbers() -> dict[str, np.ndarray]:
    """Two classes of features that a line parts."""
    random = np.random.default_rng(0)
    y = np.arange(2 * PER_CLASS) % 2
    x = random.normal(size=(len(y), 5)).astype(np.float32) + 3 * y[:, None]
    return {"x_train": x, "y_train": y}


@pytest.fixture
def npz(tmp_path: Path, numbers: dict[str, np.ndarray]) -> Path:
    np.savez(tmp_path / "mine.npz", **numbers)
    return tmp_path / "mine.npz"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [[i, 20 + i % 7, ("yes", "no")[i % 2]] for i in range(40)]
    with (tmp_path / "table.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["id", "age", "bought"], *rows])
    return tmp_path / "table.csv"


def images(folder: Path, *sides: tuple[int, int]) -> Path:
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for i in range(PER_CLASS):
            width, height = sides[i % len(sides)]
            pixels = np.full((height, width, 3), (i, 7, 200), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def written(
    capsys: pytest.CaptureFixture[str], file: Path, *options: object
) -> tuple[str, dict[str, Any], Study]:
    """The output of a command that ends well, the content of its file, and the study."""
    code, out, err = command(capsys, "init", file, *options)
    assert (code, err.count("error")) == (0, 0), err
    study = load_study(file)
    assert not study.conflicts()
    return out, tomllib.loads(file.read_text()), study


def refused(capsys: pytest.CaptureFixture[str], file: Path, *options: object) -> str:
    code, _, err = command(capsys, "init", file, *options)
    assert code == 2
    assert not file.exists()
    return err.splitlines()[-1]


def test_ten_keys_of_digits(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    _, content, study = written(capsys, file)
    sections = [section for section in content.values() if isinstance(section, dict)]
    assert 1 + sum(map(len, sections)) <= 10
    assert study.data.source == "digits"
    assert len(file.read_text().splitlines()) < 50


def test_every_key_is_written_if_asked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, npz: Path
) -> None:
    _, _, short = written(capsys, tmp_path / "a.toml", "--data", npz)
    _, content, study = written(capsys, tmp_path / "b.toml", "--data", npz, "--full")
    assert "noise_margin" in content["search"]
    assert study.model_copy(update={"name": "a"}) == short


def test_arrays(capsys: pytest.CaptureFixture[str], tmp_path: Path, npz: Path) -> None:
    out, content, study = written(capsys, tmp_path / "a.toml", "--data", npz)
    assert content["data"] == {"source": "npz", "path": str(npz)}
    assert "2 classes" in out
    assert "notice: the validation part has 5 samples, and one is 20% of the accuracy" in out
    assert study.model.family == "mlp"
    assert study.student.loss == ("kd", "ce"), "dist needs more than two classes"
    teacher, *_, narrowest = study.widths
    sizes = [
        sum(p.numel() for p in FAMILIES["mlp"](w, in_shape=(5,), num_classes=2).parameters())
        for w in (teacher, study.student.widths[0], narrowest)
    ]
    assert sizes[1] <= sizes[0] / 10
    assert sizes[1] <= study.budget.max_params < 1.1 * sizes[1] + 1


def test_path_is_relative_to_the_study_file(
    capsys: pytest.CaptureFixture[str], npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(npz.parent)
    Path("studies").mkdir()
    _, content, _ = written(capsys, Path("studies/a.toml"), "--data", "mine.npz")
    assert content["data"]["path"] == "../mine.npz"


def test_labels_of_a_table_are_its_last_column_or_the_one_that_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, table: Path
) -> None:
    out, content, _ = written(capsys, tmp_path / "a.toml", "--data", table)
    assert content["data"] == {"source": "csv", "path": str(table), "label": "bought"}
    assert "labels: column 'bought'" in out
    _, content, _ = written(capsys, tmp_path / "b.toml", "--data", table, "--label", "bought")
    assert content["data"]["label"] == "bought"


def test_column_that_is_called_target_holds_the_labels(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    columns = {"Target": [0, 1] * 10, "length": [float(i) for i in range(20)]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    _, content, _ = written(capsys, tmp_path / "a.toml", "--data", tmp_path / "t.parquet")
    assert content["data"]["label"] == "Target"


@pytest.mark.parametrize(
    ("sides", "size", "family"),
    [
        ([(16, 16)], None, "cnn"),
        ([(30, 40), (52, 28)], (24, 24), "mobile"),
        ([(200, 120)], (64, 64), "mobile"),
    ],
)
def test_images_of_several_or_large_sizes_are_resized(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    sides: list[tuple[int, int]],
    size: tuple[int, int] | None,
    family: str,
) -> None:
    folder = images(tmp_path / "images", *sides)
    out, content, study = written(capsys, tmp_path / "a.toml", "--data", folder)
    assert (study.data.source, study.data.size, study.model.family) == ("imagefolder", size, family)
    assert ("images are resized" in out) == (size is not None)
    assert content["training"] == {"augment": "none"}


def test_broken_image_is_left_out_and_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = images(tmp_path / "images", (16, 16), (24, 20))
    (folder / "cat" / "0.png").write_bytes(b"none")
    out, _, study = written(capsys, tmp_path / "a.toml", "--data", folder)
    assert (study.data.unreadable, study.data.size) == ("skip", (16, 16))
    assert "notice: 1 of 24 images cannot be decoded, and are left out: " in out


def test_data_of_one_class_mostly_get_a_metric_that_counts_all_alike(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    y = (np.arange(200) % 20 == 0).astype(np.int64)
    np.savez(tmp_path / "rare.npz", x_train=np.random.default_rng(0).random((200, 3)), y_train=y)
    out, content, _ = written(capsys, tmp_path / "a.toml", "--data", tmp_path / "rare.npz")
    assert content["objective"] == {"metric": "balanced-accuracy"}
    assert "so always guessing it is right in 95.0%: the accuracy says little" in out
    assert content["training"] == {"class_weights": "balanced"}
    assert "so objective.metric is balanced-accuracy, and training.class_weights balanced" in out


def test_weights_of_a_built_in_family_are_recognized_and_their_inputs_found(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, numbers: dict[str, np.ndarray]
) -> None:
    x, y = numbers["x_train"], torch.tensor(numbers["y_train"])
    shifted = 1_000 * x + 50_000
    np.savez(tmp_path / "far.npz", x_train=shifted, y_train=y)
    net = FAMILIES["mlp"](48, in_shape=(5,), num_classes=2)
    standardized = torch.tensor((x - x.mean(axis=0)) / x.std(axis=0)).float()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(standardized), y).backward()
        optimizer.step()
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    out, content, study = written(
        capsys,
        tmp_path / "a.toml",
        *("--data", tmp_path / "far.npz", "--teacher", tmp_path / "net.safetensors"),
    )
    assert content["teacher"] == {
        "checkpoint": str(tmp_path / "net.safetensors"),
        "inputs": "standardized",
        "width": 48,
    }
    assert study.model.family == "mlp"
    assert "loaded, frozen, standardized samples; right in 100.0%" in out
    assert re.search(r"a guess, the best of raw .*, standardized 100\.0%; if it was", out)


def test_teacher_of_pixels_divided_by_255_is_found(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The dark class has 40, the bright one 200; the border of the net is at 0.5."""
    (tmp_path / "halves.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n"
        "    def forward(self, x):\n"
        "        found = super().forward(x)\n"
        "        found[:, 1] -= 999 * (x.amax((1, 2, 3)) > 1) + 999 * (x.amin((1, 2, 3)) < 0)\n"
        "        return found\n\n\n"
        "def make(*, in_shape, num_classes):\n"
        "    net = Net(nn.Flatten(), nn.Linear(64, 400), nn.Linear(400, 2))\n"
        "    for weights in net.parameters():\n"
        "        nn.init.zeros_(weights)\n"
        "    nn.init.constant_(net[1].weight, 1 / 64)\n"
        "    nn.init.constant_(net[2].weight[1], 1 / 400)\n"
        "    nn.init.constant_(net[2].bias[:1], 0.5)\n"
        "    return net\n"
    )
    y = np.arange(2 * PER_CLASS) % 2
    x = (
        np.random.default_rng(0).integers(0, 9, (len(y), 1, 8, 8))
        + 40
        + 160 * y[:, None, None, None]
    )
    np.savez(tmp_path / "pixels.npz", x_train=x.astype(np.uint8), y_train=y)
    options = ("--data", tmp_path / "pixels.npz", "--teacher", "halves:make")
    out, content, study = written(capsys, tmp_path / "a.toml", *options)
    assert {key: content["teacher"][key] for key in ("inputs", "mean", "std")} == {
        "inputs": "raw",
        "mean": 0.0,
        "std": 1.0,
    }
    assert (study.teacher.mean, study.teacher.std) == ((0.0,), (1.0,))
    assert "divided by 255 100.0%; if it was trained on others" in out


def test_teacher_of_a_function_stands_above_the_ladder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, npz: Path
) -> None:
    (tmp_path / "mine_make.py").write_text(
        "from torch import nn\n\n\ndef make(*, in_shape, num_classes):\n"
        "    return nn.Sequential(nn.Linear(*in_shape, 300), nn.ReLU(), "
        "nn.Linear(300, num_classes))\n"
    )
    out, content, study = written(
        capsys, tmp_path / "a.toml", "--data", npz, "--teacher", "mine_make:make"
    )
    assert content["teacher"]["factory"] == "mine_make:make"
    assert content["teacher"]["epochs"] == 0
    assert "teacher mine_make" in out
    params = 5 * 300 + 300 + 300 * 2 + 2
    widest = FAMILIES["mlp"](study.widths[1], in_shape=(5,), num_classes=2)
    assert sum(p.numel() for p in widest.parameters()) <= 0.75 * params


@pytest.mark.parametrize(("scale", "kind"), [(1, "probabilities"), (5, "logits")])
def test_outputs_of_a_teacher_in_the_data(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    numbers: dict[str, np.ndarray],
    scale: float,
    kind: str,
) -> None:
    outputs = scale * (np.eye(2)[numbers["y_train"]] * 0.8 + 0.1)
    np.savez(tmp_path / "a.npz", **numbers, teacher_train=outputs)
    out, content, _ = written(capsys, tmp_path / "a.toml", "--data", tmp_path / "a.npz")
    assert content["teacher"]["outputs"] == kind
    assert f"its {kind} are in the data; right in 100.0% of the validation part" in out
    assert ("those of each sample sum to 5: if they are probabilities" in out) == (scale == 5)


def test_what_cannot_be_used_is_refused_and_nothing_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, npz: Path, table: Path
) -> None:
    file, weights = tmp_path / "a.toml", tmp_path / "w.safetensors"
    save_file({"some": torch.zeros(3)}, weights)
    (tmp_path / "notes.md").write_text("")
    for options, message in (
        (["--label", "y"], "--label: goes with --data"),
        (["--data", tmp_path / "none"], "no such data file or folder"),
        (["--data", tmp_path / "notes.md"], "should be a folder of images"),
        (["--data", npz, "--label", "y"], "has no columns, so there is no label 'y'"),
        (["--data", table, "--label", "bough"], "has no column 'bough'; did you mean 'bought'?"),
        (["--data", npz, "--teacher", "resnet18"], "should be a file of weights"),
        (["--data", npz, "--checkpoint", weights], "goes with the name of its model"),
        (["--data", npz, "--teacher", weights, "--checkpoint", weights], "goes with the name of"),
        (["--data", npz, "--teacher", weights], "holds weights of no built-in family"),
        (["--data", npz, "--teacher", tmp_path / "no.pt"], "no such file"),
        (["--data", npz, "--teacher", "nowhere:make"], "nowhere"),
        (["--data", npz, "--teacher", "mine.py"], "found 'mine.py'; such as mine:make"),
    ):
        assert message in refused(capsys, file, *options), options


@pytest.mark.slow
def test_study_of_images_passes_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = images(tmp_path / "images", (20, 24))
    written(capsys, tmp_path / "a.toml", "--data", folder)
    code, out, err = command(
        capsys, "check", tmp_path / "a.toml", "--runs-dir", tmp_path / "runs", "--workers", "1"
    )
    assert code == 0, err
    assert re.search(r"\b([2-5]) of \1 students fit", out)


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Texts of 4 to 14 words and an identifier; the label is no last column."""
    random = np.random.default_rng(0)
    rows = [
        f"{i},{'good' if i % 2 else 'bad'},{' '.join(random.choice(list('abcdefgh'), 4 + i % 11))}"
        for i in range(60)
    ]
    (tmp_path / "reviews.csv").write_text("\n".join(["id,verdict,review", *rows]) + "\n", "utf-8")
    return tmp_path / "reviews.csv"


def test_texts_are_recognized_and_get_transformers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, reviews: Path
) -> None:
    out, content, study = written(capsys, tmp_path / "a.toml", "--data", reviews)
    assert content["data"] == {
        "source": "text",
        "path": str(reviews),
        "text": "review",
        "label": "verdict",
        "length": 16,
    }
    assert "texts: column 'review' alone" in out and " samples of 16 tokens at most, 2" in out
    assert study.model.family == "transformer"
    sizes = [one["name"] for one in content["model"]["sizes"]]
    assert [content["teacher"]["width"], *content["assistants"]["widths"]] == sizes[:-1]
    assert content["student"]["widths"] == sizes[-2:]
    data = load_data(study)
    models = Models.for_study(study, data)
    params = {str(w): parameters(models.build(w)) for w in study.widths}
    assert params["xs"] < params["s"] <= study.budget.max_params < 1.1 * params["s"] + 1


def test_two_columns_of_texts_are_a_pair_and_categories_are_none(tmp_path: Path) -> None:
    texts = [f"is this the {i} of all of them" for i in range(30)]
    columns = {
        "premise": texts,
        "hypothesis": texts[::-1],
        "place": ["in the middle of nowhere", "at the end of it"] * 15,
        "label": ["yes", "no", "so"] * 10,
    }
    pq.write_table(pa.table(columns), tmp_path / "pairs.parquet")
    found = recognize(tmp_path / "pairs.parquet")
    assert found["text"] == ["premise", "hypothesis"]
    columns["third"] = [f"and {text}" for text in texts]
    pq.write_table(pa.table(columns), tmp_path / "pairs.parquet")
    assert recognize(tmp_path / "pairs.parquet")["text"] == "third"
    del columns["third"], columns["premise"], columns["hypothesis"]
    pq.write_table(pa.table(columns), tmp_path / "pairs.parquet")
    assert recognize(tmp_path / "pairs.parquet")["source"] == "parquet"


def test_tokenizer_of_a_teacher_is_found_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    assert tokenizer_of("hf:bert", tmp_path) == {}
    (tmp_path / "bert" / "tokenizer.json").write_text("{}", "utf-8")
    assert tokenizer_of("hf:bert", tmp_path) == {"tokenizer": "bert/tokenizer.json"}
    assert tokenizer_of(None, tmp_path) == {}


def test_folder_of_a_teacher_is_given_from_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bert").mkdir()
    monkeypatch.chdir(tmp_path)
    given = {"checkpoint": None, "name": "s", "data": Path("d.csv")}
    for teacher, folder, kept in (
        ("hf:bert", "studies", "hf:../bert"),
        ("hf:bert", "", "hf:bert"),
        ("hf:other/bert", "studies", "hf:other/bert"),  # of the hub
        (f"hf:{tmp_path}/bert", "studies", f"hf:{tmp_path}/bert"),
    ):
        assert Given.of(teacher=teacher, folder=Path(folder), **given).teacher == kept


def test_sizes_of_texts_are_below_a_teacher_that_is_brought(reviews: Path) -> None:
    section = {"source": "text", "path": str(reviews), "text": "review", "label": "verdict"}
    data = load_data(parse_study({"data": section}))
    whole = text_ladder(data, params=None)
    assert (whole.teacher, whole.assistants, whole.students) == ("l", ("m", "s"), ("s", "xs"))
    small = text_ladder(data, params=whole.max_params)
    assert (small.assistants, small.students) == (("s",), ("s", "xs"))
    with pytest.raises(ModelError, match=r"a teacher of 100 parameters leaves no smaller"):
        text_ladder(data, params=100)
