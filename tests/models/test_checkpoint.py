"""A teacher's weights: what fits is loaded, all else is one message; no code of a file is run."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn

from tasearch.data.ids import Tokens
from tasearch.errors import ModelError
from tasearch.models.checkpoint import file_digest, load_checkpoint
from tasearch.models.families import FAMILIES

WANTED = "save the model's state_dict() with torch.save or as safetensors"
OTHER = f"is no readable checkpoint: it is damaged or of another format; {WANTED}"
MISFIT = "does not match the teacher's model; "


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)


def said(path: Path, net: nn.Module | None = None, digest: str | None = None) -> str:
    with pytest.raises(ModelError) as error:
        load_checkpoint(net or Net(), path, digest)
    start = f"teacher.checkpoint: {path}: "
    assert str(error.value).startswith(start)
    return str(error.value).removeprefix(start)


def test_checkpoint_of_another_tokenizer_or_length_tells_what_to_set(tmp_path: Path) -> None:
    tokens = Tokens(vocabulary=30, pad=0, cls=2, sep=3, length=8)
    shapes = {"in_shape": (8,), "num_classes": 3}
    net = FAMILIES["transformer"](16, tokens=tokens, **shapes)
    for name, number, words in (
        ("vocabulary", 29, "its vocabulary has 29 tokens, that of the data 30: set data.tokenizer"),
        ("length", 6, "it was trained on up to 6 tokens, the data have up to 8: set data.length"),
    ):
        other = replace(tokens, **{name: number})
        shapes["in_shape"] = (other.length,)
        file = saved(tmp_path, FAMILIES["transformer"](16, tokens=other, **shapes).state_dict())
        with pytest.raises(ModelError, match=f"mis-shaped: .*; {words}"):
            load_checkpoint(net, file, tokens=tokens)
        with pytest.raises(ModelError, match=r"should be \(\d+, 16\)$"):
            load_checkpoint(net, file)  # of numbers that are no texts


def saved(folder: Path, content: Any, **options: Any) -> Path:
    torch.save(content, folder / "t.pt", **options)
    return folder / "t.pt"


def state(**changed: Any) -> dict[str, Any]:
    return Net().state_dict() | changed


def equal(a: nn.Module, b: nn.Module) -> bool:
    mine, theirs = a.state_dict(), b.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


@pytest.mark.parametrize("form", ["safetensors", "torch", "torch before 1.6", "without checksums"])
@pytest.mark.parametrize("name", ["t.safetensors", "t.pt", "t"])
def test_content_decides_format_of_checkpoint(tmp_path: Path, form: str, name: str) -> None:
    net, other, file = Net(), Net(), tmp_path / name
    assert not equal(net, other)
    if form == "safetensors":
        save_file(net.state_dict(), file)
    else:
        torch.serialization.set_crc32_options(form != "without checksums")
        torch.save(net.state_dict(), file, _use_new_zipfile_serialization="before" not in form)
        torch.serialization.set_crc32_options(True)
    load_checkpoint(other, file, file_digest(file))
    assert equal(net, other)


NO_VALUES: dict[str, tuple[Callable[[], Tensor], str]] = {
    "sparse": (lambda: torch.zeros(4, 3).to_sparse(), "sparse; save value.to_dense()"),
    "sparse rows": (lambda: torch.eye(4, 3).to_sparse_csr(), "sparse; save value.to_dense()"),
    "meta": (lambda: torch.empty(4, 3, device="meta"), "without values (device meta)"),
    "quantized": (
        lambda: torch.quantize_per_tensor(torch.zeros(4, 3), 0.1, 0, torch.qint8),
        "quantized; save value.dequantize()",
    ),
    "nested": (lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "nested"),
    "complex": (lambda: torch.zeros(4, 3, dtype=torch.complex64), "complex64, should be float32"),
    "integer": (lambda: torch.zeros(4, 3, dtype=torch.int64), "int64, should be float32"),
    "bool": (lambda: torch.zeros(4, 3, dtype=torch.bool), "bool, should be float32"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", NO_VALUES)
def test_checkpoint_refuses_tensors_of_another_kind(tmp_path: Path, case: str) -> None:
    value, words = NO_VALUES[case]
    file = saved(tmp_path, state(**{"a.weight": value()}))
    assert said(file) == f"{MISFIT}of another kind: a.weight is {words}"


@pytest.mark.parametrize(("classes", "hidden"), [(12, 5), (12, 6), (4, 6)])
def test_checkpoint_of_other_classes_is_told(tmp_path: Path, classes: int, hidden: int) -> None:
    """Only where the last layer alone has other rows."""

    def net(classes: int, hidden: int) -> nn.Module:
        return nn.Sequential(nn.Linear(3, hidden), nn.ReLU(), nn.Linear(hidden, classes))

    file = saved(tmp_path, net(classes, hidden).state_dict())
    with pytest.raises(ModelError) as error:
        load_checkpoint(net(4, 5), file)
    told = "; it seems to be of 12 classes against 4 of the data" in str(error.value)
    assert told == ((classes, hidden) == (12, 5))
    odd = net(4, 5).state_dict() | {"2.bias": torch.tensor(1.0)}
    with pytest.raises(ModelError, match=r"mis-shaped: 2\.bias is \(\), should be \(4,\)$"):
        load_checkpoint(net(4, 5), saved(tmp_path, odd))


def test_checkpoint_refuses_tensors_of_another_shape_or_name(tmp_path: Path) -> None:
    file = saved(tmp_path, state(**{"a.bias": torch.tensor(1.0)}))
    assert said(file) == f"{MISFIT}mis-shaped: a.bias is (), should be (4,)"
    counter = state(**{"norm.num_batches_tracked": torch.tensor(3.0)})
    assert said(saved(tmp_path, counter)) == (
        f"{MISFIT}of another kind: norm.num_batches_tracked is float32, should be int64"
    )
    assert said(saved(tmp_path, {})) == (f"{MISFIT}missing: a.bias, a.weight, norm.bias, ...")
    given = {k: v for k, v in state().items() if k != "a.bias"} | {"a\x1b[31m": torch.zeros(1)}
    assert said(saved(tmp_path, given)) == f"{MISFIT}missing: a.bias; unknown: a\\x1b[31m"


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_checkpoint_converts_floats_to_type_of_model(tmp_path: Path, kind: torch.dtype) -> None:
    net, other = Net(), Net()
    content = {
        k: v.to(kind) if v.is_floating_point() else v.int() for k, v in net.state_dict().items()
    }
    load_checkpoint(other, saved(tmp_path, content))
    for name, value in other.state_dict().items():
        assert value.dtype == net.state_dict()[name].dtype
        assert torch.equal(value, content[name].to(value.dtype))


def test_checkpoint_refuses_values_beyond_type_of_model(tmp_path: Path) -> None:
    huge = torch.full((4, 3), 1e300, dtype=torch.float64)
    large = "has weights that are too large for the model's "
    assert said(saved(tmp_path, state(**{"a.weight": huge}))) == f"{large}float32: a.weight"
    for value in (torch.nan, torch.inf, -torch.inf):
        odd = torch.full((4,), value)
        for name in ("a.bias", "norm.running_var"):
            assert said(saved(tmp_path, state(**{name: odd}))) == (
                f"has weights that are not finite: {name}"
            )

    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("few", torch.zeros(2, dtype=torch.int8))
            self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

    many = Counts().state_dict() | {"few": torch.tensor([300, 1])}
    assert said(saved(tmp_path, many), Counts()) == f"{large}int8: few"
    net = Counts()
    load_checkpoint(net, saved(tmp_path, Counts().state_dict()))  # its own infinities are its own
    other = Counts().state_dict() | {"mask": torch.tensor([-torch.inf, 0.0])}
    assert said(saved(tmp_path, other), Counts()) == "has weights that are not finite: mask"


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 3, bias=False)
        self.head = nn.Linear(3, 3, bias=False)
        self.head.weight = self.embed.weight


def test_checkpoint_may_hold_tied_weights_once(tmp_path: Path) -> None:
    net, other = Tied(), Tied()
    save_model(net, str(tmp_path / "t.safetensors"))  # which leaves one of them out
    load_checkpoint(other, tmp_path / "t.safetensors")
    assert equal(net, other)
    assert other.head.weight is other.embed.weight
    once = {"head.weight": torch.eye(3)}
    load_checkpoint(other, saved(tmp_path, once))
    assert torch.equal(other.embed.weight, torch.eye(3))
    unlike = once | {"embed.weight": torch.zeros(3, 3)}
    assert said(saved(tmp_path, unlike), Tied()) == (
        f"{MISFIT}embed.weight and head.weight differ, which are one tensor in the model"
    )


def under(*prefixes: str, **more: Any) -> dict[str, Any]:
    """The state dict of one net below each prefix."""
    return {p + name: value for p in prefixes for name, value in STATE.items()} | more


STATE = Net().state_dict()
COMPILED = {name.replace(".", "._orig_mod.", 1): value for name, value in STATE.items()}
KEPT = {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": []}}
ACCEPTED: dict[str, tuple[dict[str, Any], str]] = {
    "plain": (under(""), ""),
    "data parallel": (under("module."), "names without 'module.'"),
    "compiled": (under("_orig_mod."), "names without '_orig_mod.'"),
    "compiled in data parallel": (
        under("module._orig_mod."),
        "names without '_orig_mod.' and 'module.'",
    ),
    "compiled inside": (COMPILED, "names without '_orig_mod.'"),
    "any prefix": (under("ema.backbone."), "names without 'ema.backbone.'"),
    "averaged": (
        under("module.", n_averaged=torch.tensor(3)),
        "names without 'module.', 1 other tensor left out",
    ),
    "state_dict": ({**KEPT, "state_dict": under("")}, "the file's state_dict"),
    "model": ({**KEPT, "model": under(""), "model_ema": under("")}, "the file's model"),
    "net": ({"net": under(""), "acc": 91.2, "model": "resnet"}, "the file's net"),
    "nested": ({"model": {"state_dict": under("")}}, "the file's model.state_dict"),
    "settings as model": (
        {"model": {"depth": 3}, "model_state_dict": under("")},
        "the file's model_state_dict",
    ),
    "lightning": (
        {
            "pytorch-lightning_version": "2.5.0",
            "global_step": 10,
            "loops": {"fit_loop": {"state_dict": {}}},
            "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": None}},
            "hyper_parameters": {"lr": 0.1, "widths": [1, 2]},
            "state_dict": under("model.", **{"loss.weight": torch.ones(4)}),
        },
        "the file's state_dict, names without 'model.', 1 other tensor left out",
    ),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_checkpoint_of_a_training_is_taken_as_it_comes(tmp_path: Path, case: str) -> None:
    content, words = ACCEPTED[case]
    net = Net()
    assert load_checkpoint(net, saved(tmp_path, content)) == words
    assert all(torch.equal(value, STATE[name]) for name, value in net.state_dict().items())


def test_safetensors_file_may_have_a_prefix(tmp_path: Path) -> None:
    net = Net()
    save_file(under("module."), tmp_path / "t.safetensors")
    assert load_checkpoint(net, tmp_path / "t.safetensors") == "names without 'module.'"
    assert all(torch.equal(value, STATE[name]) for name, value in net.state_dict().items())


def test_checkpoint_of_old_batch_norms_has_no_counters(tmp_path: Path) -> None:
    net = Net()
    content = {n: value for n, value in under("module.").items() if "num_batches" not in n}
    assert load_checkpoint(net, saved(tmp_path, content)) == "names without 'module.'"
    assert torch.equal(net.a.weight, STATE["a.weight"])


def test_checkpoint_refuses_to_choose_among_models(tmp_path: Path) -> None:
    assert said(saved(tmp_path, under("student.", "ema."))) == (
        "holds several models that match, below 'ema.' and 'student.'; save the state_dict() of one"
    )
    assert said(saved(tmp_path, {"net": under(""), "model": under("")})) == (
        "holds several state dicts, 'model' and 'net'; save one of them alone"
    )
    both = said(saved(tmp_path, under("", "ema.")))  # the model's own names are there
    assert both == f"{MISFIT}unknown: ema.a.bias, ema.a.weight, ema.norm.bias, ..."


def test_message_has_remedy_for_names_that_do_not_match(tmp_path: Path) -> None:
    file = saved(tmp_path, Net().state_dict())
    assert said(file, nn.ModuleDict({"net": Net()})).endswith(
        "; all names in the model begin with 'net.': add it to them"
    )
    renamed = {name.replace("norm", "bn"): value for name, value in under("module.").items()}
    assert said(saved(tmp_path, renamed)) == (
        f"{MISFIT}missing: norm.bias, norm.running_mean, norm.running_var, ...; unknown: bn.bias, "
        "bn.num_batches_tracked, bn.running_mean, ...; the nearest in the file to norm.bias is "
        "bn.bias; names are those of the file without 'module.'"
    )


@pytest.mark.parametrize("lacking", ["a.weight", "a.bias", "norm.running_var"])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.encoder."])
def test_message_names_the_one_tensor_that_is_missing(
    tmp_path: Path, prefix: str, lacking: str
) -> None:
    content = under(prefix)
    del content[prefix + lacking]
    assert said(saved(tmp_path, content)) == (
        f"{MISFIT}missing: {lacking}; names are those of the file without {prefix!r}"
    )
    more = under(prefix) | {f"{prefix}head": torch.zeros(1), "epoch": torch.zeros(1)}
    found = said(saved(tmp_path, more))
    assert f"{MISFIT}unknown: " in found and "head" in found
    assert "missing" not in found and f"{prefix}a" not in found


OTHERS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is no readable checkpoint: it is empty"),
    "keras": (
        b"\x89HDF\r\n\x1a\n" + b"\0" * 99,
        f"is no readable checkpoint: it is an HDF5 file, as Keras writes it; {WANTED}",
    ),
    "gguf": (
        b"GGUF\3\0\0\0" + b"\0" * 9,
        f"is no readable checkpoint: it is a GGUF file; {WANTED}",
    ),
    "onnx": (
        b"\x08\x08\x12\x07pytorch",
        f"is no readable checkpoint: it is an ONNX file; {WANTED}",
    ),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "is no readable checkpoint: it is a pointer of Git LFS; fetch the file with `git lfs "
        f"pull`; {WANTED}",
    ),
    "page": (
        b"<!DOCTYPE html><title>Not found",
        f"is no readable checkpoint: it is a web page; {WANTED}",
    ),
    "a pickle": (pickle.dumps({"a": 1}), OTHER),
    "text": (b"nothing of the kind", OTHER),
    "one byte": (b"\x80", OTHER),
}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("case", OTHERS)
def test_checkpoint_refuses_other_files(tmp_path: Path, case: str, suffix: str) -> None:
    content, words = OTHERS[case]
    (tmp_path / f"t{suffix}").write_bytes(content)
    found = said(tmp_path / f"t{suffix}")
    if case in ("a pickle", "text", "one byte") and suffix == ".safetensors":
        words = (
            f"is no readable checkpoint: as safetensors its header would be of "
            f"{int.from_bytes(content[:8], 'little'):,} bytes, of {len(content):,} in all"
        )
    assert found == words


def test_checkpoint_compares_safetensors_header_with_file(tmp_path: Path) -> None:
    file = tmp_path / "t.safetensors"
    save_file(Net().state_dict(), file)
    sound = file.read_bytes()
    file.write_bytes(struct.pack("<Q", 2**62) + sound[8:])
    assert said(file) == (
        f"is no readable checkpoint: as safetensors its header would be of {2**62:,} bytes, of "
        f"{len(sound):,} in all"
    )
    for content in (sound[:-1], sound + b"\0", b"\2" + b"\0" * 7 + b"{}x"):
        file.write_bytes(content)
        assert said(file).startswith("is no readable checkpoint: ")


@pytest.mark.filterwarnings("ignore")
def test_message_names_kind_of_other_archive(tmp_path: Path) -> None:
    file = tmp_path / "t.pt"
    with torch.jit.optimized_execution(False):
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), str(file))
    assert said(file) == f"is a TorchScript archive, whose code is never run; {WANTED}"
    np.savez(tmp_path / "t.npz", a=np.zeros(3))
    assert said(tmp_path / "t.npz") == (f"is no readable checkpoint: it is an .npz file; {WANTED}")
    for name, kind in (("model.weights.h5", "a Keras file"), ("a.txt", "a zip archive")):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(name, b"")
        assert said(file) == f"is no readable checkpoint: it is {kind}; {WANTED}"


def test_checkpoint_detects_flipped_byte_in_archive(tmp_path: Path) -> None:
    """Torch itself loads it."""
    weight = torch.arange(12.0).reshape(4, 3)
    file = saved(tmp_path, state(**{"a.weight": weight}))
    content = bytearray(file.read_bytes())
    content[bytes(content).index(weight.numpy().tobytes()) + 4] ^= 1
    changed = torch.load(io.BytesIO(bytes(content)), weights_only=True)["a.weight"]
    assert not torch.equal(changed, weight)
    file.write_bytes(content)
    found = said(file)
    assert found.startswith("is no readable checkpoint: its archive is damaged or cut off, at 't/")
    file.write_bytes(content[: len(content) // 2])
    assert said(file) == "is no readable checkpoint: its archive is damaged or cut off"


def test_folder_bit_of_tensor_changes_no_weight(tmp_path: Path) -> None:
    """Torch itself then gives weights that were never initialized."""
    net, other = Net(), Net()
    file = saved(tmp_path, net.state_dict())
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        (place,) = (i for i, name in enumerate(archive.namelist()) if name.endswith("/data/0"))
    at = content.index(b"PK\x01\x02")
    for _ in range(place):
        at = content.index(b"PK\x01\x02", at + 1)
    content[at + 38] |= 0x10  # of the attributes
    file.write_bytes(content)
    load_checkpoint(other, file)
    assert equal(net, other)


ran: list[str] = []


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return ran.append, ("this must never run",)


@pytest.mark.parametrize("form", ["torch", "torch before 1.6", "pickle"])
def test_checkpoint_runs_no_code_of_file(tmp_path: Path, form: str) -> None:
    more = "holds more than tensors (builtins.getattr)"  # by which Evil finds its function
    for content, words in (
        ({"a.weight": Evil()}, more),
        (Net(), "is a whole pickled model, whose code is never run"),
        (Evil(), more),
    ):
        if form == "pickle":
            (tmp_path / "t.pt").write_bytes(pickle.dumps(content))
        else:
            saved(tmp_path, content, _use_new_zipfile_serialization=form == "torch")
        found = said(tmp_path / "t.pt")
        assert found == (f"{words}; {WANTED}" if form == "torch" else OTHER)
        assert "weights_only" not in found
    assert not ran


def test_checkpoint_refuses_content_without_state_dict(tmp_path: Path) -> None:
    wrong = "should hold a state dict of tensors, holds "
    for content, words in (
        (torch.zeros(3), "one tensor"),
        ([torch.zeros(3)], "list"),
        ({1: torch.zeros(3)}, "a name that is no text (int)"),
        ({"epoch": 3, "weights": {}}, "'epoch', which is int"),
        ({"state_dict": {"a": None}}, "'a', which is NoneType"),
    ):
        assert said(saved(tmp_path, content)) == f"{wrong}{words}; {WANTED}"


def test_checkpoint_never_waits_for_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for name, words in (
        ("fifo", "is a FIFO, not a file"),
        ("folder", "is a folder, not a file"),
        ("n" * 300, "File name too long"),
    ):
        assert said(tmp_path / name) == f"cannot be read: {words}"
        with pytest.raises(ModelError) as error:
            file_digest(tmp_path / name)
        assert str(error.value) == f"teacher.checkpoint: {tmp_path / name}: {words}"
    assert said(tmp_path / "gone") == "no such file"
    for act in (file_digest, lambda path: load_checkpoint(Net(), path)):
        with pytest.raises(ModelError, match=r"^teacher\.checkpoint: .*/a\\x00b: .*a NUL in its n"):
            act(tmp_path / "a\0b")


def test_checkpoint_refuses_file_changed_after_its_digest(tmp_path: Path) -> None:
    file = saved(tmp_path, state())
    digest = file_digest(file)
    saved(tmp_path, state())
    assert said(file, digest=digest) == "changed since it was first read; start again"


def test_message_names_failure_of_own_load_state_dict(tmp_path: Path) -> None:
    class Own(Net):
        def load_state_dict(self, given: dict[str, Tensor], *args: Any, **options: Any) -> Any:
            raise ZeroDivisionError("of the user's")

    assert said(saved(tmp_path, state()), Own()) == (
        "the teacher's model does not take it: ZeroDivisionError: of the user's"
    )


def test_model_may_rename_tensors_itself(tmp_path: Path) -> None:
    class Own(Net):
        def load_state_dict(self, given: Any, *args: Any, **options: Any) -> Any:
            named = {name.replace("old_", ""): value for name, value in given.items()}
            return super().load_state_dict(named, *args, **options)

    class Hooked(Net):
        def __init__(self) -> None:
            super().__init__()
            self.register_load_state_dict_pre_hook(rename)

    def rename(module: nn.Module, given: dict[str, Tensor], *args: Any) -> None:
        for name in [*given]:
            given[name.replace("old_", "")] = given.pop(name)

    class Deaf(Net):
        def load_state_dict(self, *args: Any, **options: Any) -> Any:
            return None

    file = saved(tmp_path, under("old_"))
    for net in (Own(), Hooked()):
        assert load_checkpoint(net, file) == "by the model's own load_state_dict"
        assert all(torch.equal(value, STATE[name]) for name, value in net.state_dict().items())
    assert said(file, Deaf()) == "the teacher's model took no weights from it"
    assert said(file).startswith(f"{MISFIT}missing: ")
