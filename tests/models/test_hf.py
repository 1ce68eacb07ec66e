"""Encoders of transformers, where that is installed: families and teachers from a folder."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tasearch
from tasearch.data.ids import Tokens
from tasearch.errors import ModelError, StudyError
from tasearch.models import Models
from tasearch.models.hf import hf_factory, hf_family, model_identity
from tasearch.models.start import start_from
from tasearch.models.tokens import mask_of, second_text
from tasearch.profiling.onnx import onnx_session
from tests.helpers.encoders import (
    IDS,
    KINDS,
    LAYERS,
    TOKENS,
    encoders,
    folder_of,
    texts,
)
from tests.helpers.packages import package
from tests.helpers.studies import tiny

_TORCH = re.escape(str(torch.__version__))
pytestmark = pytest.mark.packages


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@KINDS
def test_teacher_gives_the_logits_of_its_package(kind: str, tmp_path: Path) -> None:
    net, ids = folder_of(tmp_path, kind), texts()
    make = hf_factory("hf:encoder", str(tmp_path), pretrained=True)
    own = make(in_shape=(8,), num_classes=3, tokens=TOKENS).eval()
    given = {"input_ids": ids, "attention_mask": (ids != 0).long()}
    if kind != "distilbert":
        given["token_type_ids"] = torch.zeros_like(ids)
        given["token_type_ids"][2:, 4:7] = 1
    with torch.no_grad():
        torch.testing.assert_close(own(ids), net(**given).logits)
        torch.testing.assert_close(own(ids[1:2, :5]), own(ids[1:2]))


@KINDS
def test_family_has_the_sizes_of_its_arguments(kind: str, tmp_path: Path) -> None:
    folder_of(tmp_path, kind)
    build = hf_family("hf:encoder", str(tmp_path))
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 1}
    net: Any = build(in_shape=(8,), num_classes=5, tokens=TOKENS, **sizes, intermediate_size=12)
    shapes = {tuple(value.shape) for value in net.parameters()}
    assert {(8, 8), (12, 8), (8, 12), (5, 8)} <= shapes
    assert net.net.config.num_hidden_layers == 1
    assert net.eval()(texts()).shape == (4, 5)


def test_minilm_is_built_from_its_published_configuration(tmp_path: Path) -> None:
    """The values are those of MiniLM-L6-H384 (Wang et al., 2002.10957)."""
    shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12}
    config = {
        **shape,
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.02,
        "intermediate_size": 1536,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "type_vocab_size": 2,
        "vocab_size": 30522,
    }
    package("transformers")
    (tmp_path / "minilm").mkdir()
    (tmp_path / "minilm" / "config.json").write_text(json.dumps(config))
    build = hf_family("hf:minilm", str(tmp_path))
    net: Any = build(in_shape=(8,), num_classes=3, tokens=TOKENS)
    layers = net.net.bert.encoder.layer
    projections, hidden, norms = 4 * (384**2 + 384), 2 * 384 * 1536 + 1536 + 384, 4 * 384
    assert sum(p.numel() for p in layers.parameters()) == 6 * (projections + hidden + norms)
    assert net.net.bert.embeddings.word_embeddings.weight.shape == (30, 384)
    assert build(in_shape=(8,), num_classes=3, tokens=TOKENS, num_hidden_layers=3)(
        texts()
    ).shape == (4, 3)


def test_torchvision_of_another_torch_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **options: object) -> None:
        try:
            raise RuntimeError("operator torchvision::nms does not exist")
        except RuntimeError as error:
            raise ModuleNotFoundError("Could not import module 'BertModel'") from error

    folder_of(tmp_path)
    classes = package("transformers").AutoModelForSequenceClassification
    monkeypatch.setattr(classes, "from_config", broken)
    with pytest.raises(ModelError, match=f"install the build of torchvision for torch {_TORCH}"):
        hf_family("hf:encoder", str(tmp_path))(in_shape=(8,), num_classes=3, tokens=TOKENS)


def test_second_text_is_behind_the_first_separator() -> None:
    ids = torch.tensor([[2, 5, 3, 6, 7, 3, 0, 0], [2, 5, 6, 3, 0, 0, 0, 0]])
    found = second_text(ids, mask_of(ids, 0), 3)
    assert found.tolist() == [[0, 0, 0, 1, 1, 1, 0, 0], [0] * 8]


def test_weights_that_do_not_fit_the_data_are_refused(tmp_path: Path) -> None:
    folder_of(tmp_path)
    make = hf_factory("hf:encoder", str(tmp_path), pretrained=True)
    many = Tokens(vocabulary=31, pad=0, cls=2, sep=3, length=8)
    long = Tokens(vocabulary=30, pad=0, cls=2, sep=3, length=9)
    for classes, tokens, words in (
        (4, TOKENS, "its weights are for 3 classes, the data have 4"),
        (3, many, "its vocabulary has 30 tokens, that of the data 31"),
        (3, long, "at most 8 tokens, found texts of up to 9: set data.length to 8 or less$"),
        (3, None, "takes token ids: texts"),
    ):
        with pytest.raises(ModelError, match=words):
            make(in_shape=(8,), num_classes=classes, tokens=tokens)
    transformers = package("transformers")
    transformers.AutoModel.from_pretrained(tmp_path / "encoder").save_pretrained(tmp_path / "bare")
    bare = hf_factory("hf:bare", str(tmp_path), pretrained=True)
    with pytest.raises(ModelError, match="its weights, of BertModel, have no classifier: train it"):
        bare(in_shape=(8,), num_classes=3, tokens=TOKENS)
    config = tmp_path / "bare" / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "architectures": ["BertForSequenceClassification"]}))
    with pytest.raises(ModelError, match=r"its weights are for 2|its weights lack classifier.bias"):
        bare(in_shape=(8,), num_classes=3, tokens=TOKENS)


def test_weights_that_may_hold_code_are_refused_with_the_remedy(tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "encoder" / "model.safetensors").unlink()
    (tmp_path / "encoder" / "pytorch_model.bin").touch()
    make = hf_factory("hf:encoder", str(tmp_path), pretrained=True)
    with pytest.raises(
        ModelError, match=r"has pytorch_model\.bin, which may hold code, and no mod"
    ):
        make(in_shape=(8,), num_classes=3, tokens=TOKENS)


def test_folder_is_not_taken_from_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    shapes: dict[str, Any] = {"in_shape": (8,), "num_classes": 3, "tokens": TOKENS}
    for make in (
        lambda: hf_family("hf:encoder", "studies")(**shapes),
        lambda: hf_factory("hf:encoder", "studies", pretrained=True)(**shapes),
        lambda: model_identity("hf:encoder", "studies"),
    ):
        with pytest.raises(ModelError, match="relative to the root of the study"):
            make()


def test_unknown_argument_and_missing_folder_are_told(tmp_path: Path) -> None:
    folder_of(tmp_path)
    shapes = {"in_shape": (8,), "num_classes": 3, "tokens": TOKENS}
    with pytest.raises(ModelError, match=r"there is no layers in its config\.json, of bert"):
        hf_family("hf:encoder", str(tmp_path))(**shapes, layers=2)
    with pytest.raises(
        ModelError, match=r"there is no folder .*nothing/here, and the hub does not"
    ):
        hf_family("hf:nothing/here", str(tmp_path))(**shapes)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty has no config\.json"):
        hf_family("hf:empty", str(tmp_path))(**shapes)


def test_identity_of_a_family_is_that_of_its_configuration(tmp_path: Path) -> None:
    folder_of(tmp_path)
    first = model_identity("hf:encoder", str(tmp_path))
    assert first.startswith("hf:encoder ") and first == model_identity("hf:encoder", str(tmp_path))
    folder_of(tmp_path, hidden_act="relu")
    assert model_identity("hf:encoder", str(tmp_path)) != first
    assert model_identity("timm:resnet18", str(tmp_path)) == "timm:resnet18"


@pytest.mark.slow
@pytest.mark.parametrize("start", ["random", "teacher"])
def test_study_of_encoders_trains_exports_and_loads(start: str, tmp_path: Path) -> None:
    folder_of(tmp_path)
    study = encoders(tmp_path)
    if start == "teacher":
        sizes = [{"name": "m", "num_hidden_layers": 2}, {"name": "s", "num_hidden_layers": 1}]
        own = {"family": "hf:encoder", "sizes": sizes}
        study = encoders(tmp_path, model=own, student={"widths": ["s"], "start": start})
    run = tasearch.run(study, runs_dir=tmp_path / "runs")
    assert {trial.state for trial in run.trials} == {"complete"}
    tasearch.export(run, tmp_path / "winner")
    student, ids = tasearch.load(tmp_path / "winner"), torch.tensor([[5, 1, 7, 0, 0, 0, 0, 0]])
    session = onnx_session(tmp_path / "winner" / "student.onnx", threads=1)
    for x in (ids, ids[:, :3]):
        (logits,) = session.run(None, {"x": x.numpy()})
        np.testing.assert_allclose(logits, student(ids).detach().numpy(), atol=1e-4)


@KINDS
def test_encoder_starts_from_every_second_layer_of_its_teacher(kind: str, tmp_path: Path) -> None:
    folder_of(tmp_path, kind, **{LAYERS.get(kind, "num_hidden_layers"): 3})
    shapes: dict[str, Any] = {"in_shape": (8,), "num_classes": 3, "tokens": TOKENS}
    teacher = hf_factory("hf:encoder", str(tmp_path), pretrained=True)(**shapes)
    build = hf_family("hf:encoder", str(tmp_path))
    net, other = build(**shapes, num_hidden_layers=2), teacher.state_dict()
    start_from(net, teacher)
    for name, value in net.state_dict().items():
        assert torch.equal(value, other[name.replace("layer.1.", "layer.2.")]), name
    with pytest.raises(ModelError, match="no more layers than its teacher, found 4 and 3"):
        start_from(build(**shapes, num_hidden_layers=4), teacher)
    with pytest.raises(ModelError, match=r"as wide as its teacher, found net\..* of \(.*8"):
        start_from(build(**shapes, hidden_size=8, num_attention_heads=2), teacher)


def test_study_of_encoders_may_start_from_an_encoder(tmp_path: Path) -> None:
    start = {"widths": ["s"], "epochs": 1, "start": "teacher"}
    assert encoders(tmp_path, student=start).student.inherits
    with pytest.raises(StudyError, match=r'student\.start: should be "random" with a teacher that'):
        encoders(tmp_path, student=start, teacher={"factory": "own:make", "width": 9})


def test_teacher_has_the_name_of_its_folder() -> None:
    section = {"factory": "hf:models/my-bert", "pretrained": True, "width": 64}
    study = tiny(model={"family": "transformer"}, teacher=section)
    assert study.teacher.label == "my-bert"
    one = torch.ones(())
    made = Models(study=study, in_shape=(8,), num_classes=3, mean=one, std=one, ids=IDS)
    with pytest.raises(ModelError, match=r"teacher\.factory: 'hf:models/my-bert'"):
        made.build(64)
