"""Every source, teacher, family and metric, each at least once from data to an export that runs.

A case goes all the way: search, front, export, and the exported ONNX in ONNX Runtime alone, which
must agree with the exported module.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

import tasearch
from tasearch.config.study import Study
from tasearch.config.study_file import parse_study
from tasearch.config.values import FAMILIES, HUBS, PACKAGES, SOURCES
from tasearch.exports.loaded import LoadedStudent
from tasearch.models.families import FAMILIES as BUILDS
from tasearch.pareto.metric import METRICS
from tests.helpers import folders, parquet
from tests.helpers.packages import package
from tests.helpers.sets import write_mnist

pytestmark = pytest.mark.slow

NAMES = ("ash", "beech", "oak")
SIDE, SAMPLES, WIDE = 16, 90, (16, 12, 8)
CODE = """
import numpy as np
import torch
from torch import nn

from helping import images, labels


def pairs():
    return images(), labels()


class Items(torch.utils.data.Dataset):
    def __len__(self):
        return len(labels())

    def __getitem__(self, i):
        return images()[i], int(labels()[i])


def items():
    return Items()


def make(*, in_shape, num_classes):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(in_shape)), 300), nn.ReLU(),
                         nn.Linear(300, num_classes))


def tokens():
    y = labels()
    x = np.random.default_rng(0).integers(0, 20, size=(len(y), 6))
    x[:, 0] = 20 + y
    return x, y


class Words(nn.Module):
    def __init__(self, width, num_classes):
        super().__init__()
        self.words = nn.EmbeddingBag(23, width, mode="sum")
        self.last = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.last(self.words(x))


def build(width, *, in_shape, num_classes):
    return Words(width, num_classes)


class Bag(nn.Module):
    def __init__(self, width, num_classes):
        super().__init__()
        self.words = nn.Embedding(300, width, padding_idx=0)
        self.last = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.last(self.words(x).sum(dim=1))


def texts(width, *, in_shape, num_classes):
    return Bag(width, num_classes)


def flipped(x):
    return x.flip(-1) if torch.rand(()) < 0.5 else x


def right(logits, labels):
    return float((logits.argmax(dim=1) == labels).float().mean())
"""
HELPING = f"""
import numpy as np

def labels():
    return np.arange({SAMPLES}) % 3

def images(last=False):
    y = labels()
    x = np.random.default_rng(1).integers(0, 60, size=(len(y), 3, {SIDE}, {SIDE}), dtype=np.uint8)
    x[np.arange(len(y)), y] += 120
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if last else x
"""

Y = np.arange(SAMPLES) % 3
X = np.random.default_rng(1).integers(0, 60, size=(SAMPLES, 3, SIDE, SIDE), dtype=np.uint8)
X[np.arange(SAMPLES), Y] += 120
LAST = np.ascontiguousarray(X.transpose(0, 2, 3, 1))
Content = dict[str, Any]


def npz(place: Path) -> Content:
    np.savez(place / "data.npz", x_train=X, y_train=np.array(NAMES)[Y])
    return {"data": {"source": "npz", "path": "data.npz"}}


def npz_with_channels_last(place: Path) -> Content:
    np.savez(place / "data.npz", x_train=LAST, y_train=Y)
    return {"data": {"source": "npz", "path": "data.npz"}}


def npz_with_outputs(place: Path) -> Content:
    outputs = 4.0 * np.eye(3)[Y]
    np.savez(place / "data.npz", x_train=X, y_train=Y, teacher_train=outputs)
    return {
        "data": {"source": "npz", "path": "data.npz"},
        "teacher": {"outputs": "logits", "width": 64},
    }


def npz_without_some_labels(place: Path) -> Content:
    np.savez(place / "data.npz", x_train=X, y_train=Y, x_unlabelled=255 - X)
    return {"data": {"source": "npz", "path": "data.npz"}}


def images_in_parquet(place: Path) -> Content:
    parquet.write(place / "train.parquet", [parquet.encoded(image) for image in LAST], Y.tolist())
    return {"data": {"source": "parquet", "path": "train.parquet"}}


def images_in_folders(place: Path) -> Content:
    folders.write(place / "images", {name: LAST[i == Y] for i, name in enumerate(NAMES)})
    return {"data": {"source": "imagefolder", "path": "images"}}


def rows() -> dict[str, list[Any]]:
    random = np.random.default_rng(2)
    far = (Y + 0.1 * random.normal(size=SAMPLES)).round(3)
    return {
        "far": far.tolist(),
        "colour": [("red", "blue", "")[i % 3 if i % 7 else 2] for i in Y],
        "kind": [NAMES[i] for i in Y],
    }


def table_in_csv(place: Path) -> Content:
    found = rows()
    with (place / "data.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([[*found], *zip(*found.values(), strict=True)])
    return {"data": {"source": "csv", "path": "data.csv", "label": "kind"}}


def table_in_parquet(place: Path) -> Content:
    pq.write_table(pa.table(rows()), place / "data.parquet")
    return {"data": {"source": "parquet", "path": "data.parquet", "label": "kind"}}


def digits(place: Path) -> Content:
    return {"data": {"source": "digits", "limit": 200}}


def own(name: str) -> Callable[[Path], Content]:
    return lambda place: {"data": {"source": f"mine:{name}"}}


def token_ids(place: Path) -> Content:
    return {"data": {"source": "mine:tokens", "standardize": False}}


def texts_in_csv(place: Path) -> Content:
    near = np.random.default_rng(3).integers(0, 9, SAMPLES)
    lines = [f"{NAMES[y]} with {near[i]},{NAMES[y]}" for i, y in enumerate(Y)]
    (place / "data.csv").write_text("\n".join(["words,kind", *lines]))
    keys = {"text": "words", "label": "kind", "length": 16, "vocabulary": 300}
    return {"data": {"source": "text", "path": "data.csv", **keys}}


def checkpoint(place: Path) -> Content:
    """A file of the weights of a model that the family has at its width."""
    torch.manual_seed(0)
    net = BUILDS["cnn"](16, in_shape=(3, SIDE, SIDE), num_classes=3)
    save_file(net.state_dict(), place / "teacher.safetensors")
    return {"teacher": {"width": 16, "checkpoint": "teacher.safetensors", "inputs": "raw"}}


def set_of_torchvision(place: Path) -> Content:
    package("torchvision")
    y = np.arange(90) % 3
    x = np.random.default_rng(4).integers(0, 60, (90, 28, 28), dtype=np.uint8)
    x[np.arange(90), 9 * y] = 250
    parts = {"train": (x[:75], y[:75]), "t10k": (x[75:], y[75:])}
    write_mnist(place / "sets/torchvision/files", parts)
    return {"data": {"source": "torchvision:MNIST", "path": "sets"}}


def several_teachers(place: Path) -> Content:
    members = [{"factory": "mine:make"}, {"factory": "mine:make", "inputs": "standardized"}]
    return {"teacher": {"members": members, "width": 64, "epochs": 0}}


def teacher_of_torchvision(place: Path) -> Content:
    """As Lightning saves it; it takes larger images than its students."""
    net = package("torchvision").models.shufflenet_v2_x0_5(num_classes=3)
    state = {f"model.{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 1}, place / "teacher.ckpt")
    own = {"size": 32, "mean": [0.5] * 3, "std": [0.2] * 3, "checkpoint": "teacher.ckpt"}
    return {"teacher": {"factory": "torchvision:shufflenet_v2_x0_5", "width": 64, **own}}


def teacher_of_timm(place: Path) -> Content:
    net = package("timm").create_model("test_resnet", num_classes=3)
    save_file(net.state_dict(), place / "teacher.safetensors")
    own = {"width": 64, "checkpoint": "teacher.safetensors"}
    return {"teacher": {"factory": "timm:test_resnet", **own}}


def encoder(place: Path) -> Content:
    """The folder of a model of transformers, and sizes of its kind."""
    transformers = package("transformers")
    config = transformers.BertConfig(
        vocab_size=23, hidden_size=16, num_attention_heads=2, num_hidden_layers=2, num_labels=3,
        intermediate_size=16, max_position_embeddings=8,
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(place / "encoder")
    sizes = [{"num_hidden_layers": 2, "hidden_size": 8}, {"num_hidden_layers": 1, "hidden_size": 8}]
    return {
        "model": {"sizes": [{"name": name, **size} for name, size in zip("ms", sizes, strict=True)]}
    }


def teacher_of_transformers(place: Path) -> Content:
    own = {"factory": "hf:encoder", "pretrained": True, "width": 9}
    return {**encoder(place), "teacher": own}


FAMILIES_OF_PACKAGES: dict[str, list[dict[str, Any]]] = {
    "timm": [{"embed_dim": width, "patch_size": 4, "depth": 1, "num_heads": 2} for width in WIDE],
    "torchvision": [{"width_mult": width / 80} for width in WIDE],
}


def sizes_of(name: str) -> Callable[[Path], Content]:
    def sizes(place: Path) -> Content:
        package(name)
        own = FAMILIES_OF_PACKAGES[name]
        return {
            "model": {"sizes": [{"name": n, **s} for n, s in zip("lms", own, strict=True)]},
            "latency": {"backend": "onnx"},
        }

    return sizes


FACTORY: Content = {"teacher": {"factory": "mine:make", "epochs": 0, "width": 64}}
LADDER: Content = {
    "teacher": {"width": 16},
    "assistants": {"widths": [8], "max": 1},
    "student": {"widths": [4, 3]},
}
SIZES: Content = {
    "model": {
        "family": "cnn",
        "sizes": [
            {"name": "l", "width": 16},
            {"name": "m", "width": 8},
            {"name": "s", "width": 8, "resolution": 8},
        ],
    },
}
CASES: dict[str, tuple[Callable[[Path], Content], str, str, Any]] = {
    # source, family, metric, and more of the study
    "digits": (digits, "cnn", "accuracy", {}),
    "npz": (npz, "cnn", "balanced-accuracy", {"training": {"class_weights": "balanced"}}),
    "channels last": (npz_with_channels_last, "mobile", "macro-f1", FACTORY),
    "outputs": (npz_with_outputs, "mlp", "nll", {}),
    "unlabelled": (npz_without_some_labels, "cnn", "accuracy", {}),
    "parquet": (images_in_parquet, "cnn", "auc", checkpoint),
    "imagefolder": (
        images_in_folders,
        "resnet",
        "top-2",
        {
            "teacher": {"width": 20},
            "assistants": {"widths": [14], "max": 1},
            "student": {"widths": [8]},
            "training": {"augment": "crop4+flip"},
        },
    ),
    "csv": (table_in_csv, "mlp", "mine:right", {}),
    "table in parquet": (table_in_parquet, "mlp", "accuracy", {}),
    "function": (own("pairs"), "vit", "accuracy", {"training": {"mixup": 0.2, "views": 3}}),
    "dataset": (
        own("items"),
        "plain",
        "accuracy",
        {
            "teacher": {"width": 6},
            "assistants": {"widths": [4], "max": 1},
            "student": {"widths": [2]},
            "training": {"augment": "mine:flipped", "views": 2},
        },
    ),
    "text": (texts_in_csv, "mine:texts", "accuracy", {}),
    "token ids": (token_ids, "mine:build", "accuracy", {}),
    "transformers": (token_ids, "transformer", "accuracy", {}),
    "named sizes": (npz, "cnn", "accuracy", SIZES),
    "several teachers": (npz, "cnn", "accuracy", several_teachers),
}
OF_PACKAGES: dict[str, tuple[Callable[[Path], Content], str, str, Any]] = {
    "set of torchvision": (set_of_torchvision, "cnn", "accuracy", {}),
    "teacher of torchvision": (npz, "mobile", "accuracy", teacher_of_torchvision),
    "teacher of timm": (images_in_folders, "cnn", "accuracy", teacher_of_timm),
    "teacher of transformers": (token_ids, "hf:encoder", "accuracy", teacher_of_transformers),
    "torchvision": (npz, "torchvision:mobilenet_v2", "accuracy", sizes_of("torchvision")),
    "timm": (npz, "timm:vit_tiny_patch16_224", "accuracy", sizes_of("timm")),
    "hf": (token_ids, "hf:encoder", "accuracy", encoder),
}
ALL = CASES | OF_PACKAGES


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "helping.py").write_text(HELPING)
    monkeypatch.setenv("TASEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def study_of(place: Path, case: str) -> Study:
    source, family, metric, more = ALL[case]
    parts = [source(place), more(place) if callable(more) else more]
    content: Content = {
        "name": "kind",
        "model": {"family": family},
        "objective": {"metric": metric},
        "training": {"precision": "fp32", "batch_size": 16},
        "search": {"trials": 3, "rungs": 2},
    }
    for section in ("teacher", "assistants", "student"):
        content[section] = {"epochs": 4}
    named = any("model" in part for part in parts)
    for part in [{} if named else LADDER, *parts]:
        for section, keys in part.items():
            content[section] = {**content.get(section, {}), **keys}
    return parse_study(content).model_copy(update={"root": str(place)})


@pytest.mark.parametrize(
    "case", [*CASES, *(pytest.param(case, marks=pytest.mark.packages) for case in OF_PACKAGES)]
)
def test_from_data_to_an_export_that_runs(case: str, place: Path) -> None:
    study = study_of(place, case)
    run = tasearch.run(study, runs_dir=place / "runs", workers=1)
    assert run.front.members
    assert run.front.members[0].accuracy == run.best(trial=run.front.members[0].trial).accuracy
    tasearch.export(run, place / "winner", trust=True)
    student = tasearch.load(place / "winner", trust=True)
    session = onnxruntime.InferenceSession(place / "winner" / "student.onnx")
    names = [each.name for each in session.get_inputs()]
    if student.features is None:
        samples: Any = _samples(student)
        feed = {names[0]: samples.numpy()}
    else:
        samples = {name: values[:5] for name, values in rows().items() if name in names}
        feed = {"far": np.array(samples["far"], np.float32)[:, None]}
        feed["colour"] = np.array(samples["colour"], object)[:, None]
    logits = torch.from_numpy(session.run(None, feed)[0])
    found = student.predict(samples)
    assert torch.allclose(logits.softmax(dim=1), found.probabilities, atol=1e-3)
    assert [student.class_names[i] for i in logits.argmax(dim=1)] == [*found.labels]


def _samples(student: LoadedStudent) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    if student.ids is not None:
        kind = getattr(torch, student.ids.dtype)
        return torch.randint(0, 20, (5, *student.in_shape), generator=random).to(kind)
    return 255 * torch.rand((5, *student.in_shape), generator=random)


def test_no_kind_is_missing() -> None:
    families = {family for _, family, _, _ in ALL.values()}
    metrics = {metric for _, _, metric, _ in ALL.values()}
    assert {*FAMILIES, "mine:build"} <= families
    assert {*PACKAGES} <= {family.partition(":")[0] for family in families}
    assert {*METRICS, "mine:right"} <= metrics
    teachers = {teacher_of_torchvision: "torchvision", teacher_of_timm: "timm"}
    teachers |= {teacher_of_transformers: "hf", checkpoint: "", several_teachers: ""}
    assert {*PACKAGES} <= {*teachers.values()}
    assert {*teachers} <= {more for *_, more in ALL.values() if callable(more)}
    assert HUBS == ("torchvision", "hf", "openml")  # the last two are read in tests/data/test_hubs
    known = {
        "digits": digits,
        "npz": npz,
        "parquet": images_in_parquet,
        "imagefolder": images_in_folders,
        "csv": table_in_csv,
        "text": texts_in_csv,
    }
    assert {*SOURCES} <= {*known}
