from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tasearch.config import plugins
from tasearch.config.study_file import parse_study
from tasearch.errors import ModelError
from tasearch.models import FAMILIES, Models
from tests.helpers.studies import IMAGES_ONLY, LADDERS

SHAPES = [(1, 8, 8), (3, 32, 32), (2, 1, 9), (1, 1, 1), (20,), (1,)]


def models(root: Path = Path(), in_shape: tuple[int, ...] = (1, 8, 8), **sections: Any) -> Models:
    study = parse_study(sections).model_copy(update={"root": str(root)})
    mean, std = torch.tensor(3.0), torch.tensor(2.0)
    return Models(study=study, in_shape=in_shape, num_classes=10, mean=mean, std=std)


@pytest.mark.slow
@pytest.mark.parametrize("family", LADDERS)
@pytest.mark.parametrize("in_shape", SHAPES, ids=str)
@pytest.mark.parametrize("num_classes", [2, 10])
def test_every_family_builds_its_widths_for_any_shape(
    family: str, in_shape: tuple[int, ...], num_classes: int
) -> None:
    sizes = []
    if family in IMAGES_ONLY and len(in_shape) == 1:
        with pytest.raises(ModelError, match=r"should be \(channels, height, width\), found \("):
            FAMILIES[family](LADDERS[family][0], in_shape=in_shape, num_classes=num_classes)
        return
    for width in LADDERS[family]:
        net = FAMILIES[family](width, in_shape=in_shape, num_classes=num_classes)
        logits = net(torch.randn(3, *in_shape))
        assert logits.shape == (3, num_classes)
        sizes.append(sum(p.numel() for p in net.parameters()))
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(LADDERS[family])


@pytest.mark.parametrize("family", LADDERS)
def test_weights_depend_on_seed_alone(family: str) -> None:
    teacher, *rest = LADDERS[family]
    ladder = {"teacher": {"width": teacher}, "student": {"widths": rest}}
    made = models(model={"family": family}, assistants={"max": 0}, **ladder)
    before = torch.random.get_rng_state()
    a, b, c = (made.build(rest[0], seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)


USERS = """
from torch import nn
def good(width, *, in_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, num_classes))
def no_shape(width):
    return nn.Identity()
def flat(width, *, in_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
def huge(width, *, in_shape, num_classes):
    return nn.Linear(10**15, 1)

def raises(width, *, in_shape, num_classes):
    raise KeyError("w")
def text(width, *, in_shape, num_classes):
    return "net"
def logits(width, *, in_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes + width))
def forward(width, *, in_shape, num_classes):
    return nn.Linear(3, width)
def lazy(width, *, in_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(width), nn.Linear(width, num_classes))
def frozen(width, *, in_shape, num_classes):
    return good(width, in_shape=in_shape, num_classes=num_classes).requires_grad_(False)
def teacher(*, in_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, num_classes))
"""
BROKEN = {
    "no_shape": "'users:no_shape' should take (width, *, in_shape, num_classes), takes (width): "
    "got an unexpected keyword argument 'in_shape'",
    "flat": "'users:flat': parameters should fall with the width, "
    "found 650 at width 8 and 650 at 4",
    "raises": "'users:raises' at width 8 raised KeyError: 'w'",
    "huge": "'users:huge' at width 8 raised RuntimeError: needs 4 PB of memory, more than there is",
    "lazy": "'users:lazy' at width 8 has lazy modules; give them their sizes",
    "text": "'users:text' at width 8 should return a torch.nn.Module, returned str",
}
UNFIT = {
    "logits": "the model of width 8 should give logits of shape (2, 10), gave (2, 18)",
    "frozen": "the model of width 8 should give floating-point logits with a gradient, "
    "gave torch.float32, requires_grad=False",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    plugins.new_run()
    (tmp_path / "users.py").write_text(USERS)
    return tmp_path


def test_check_accepts_user_family_along_ladder(root: Path) -> None:
    made = models(root, model={"family": "users:good"})
    made.check([8, 4, 2])
    assert made.family.startswith("users:good#")


@pytest.mark.parametrize("name", BROKEN)
def test_check_refuses_family_that_breaks_contract(root: Path, name: str) -> None:
    with pytest.raises(ModelError) as error:
        models(root, model={"family": f"users:{name}"}).check([8, 4])
    assert str(error.value) == f"model.family: {BROKEN[name]}"


@pytest.mark.parametrize("name", UNFIT)
def test_check_refuses_model_that_cannot_learn(root: Path, name: str) -> None:
    with pytest.raises(ModelError) as error:
        models(root, model={"family": f"users:{name}"}).check([8, 4])
    assert str(error.value) == UNFIT[name]


def test_check_refuses_model_that_fails_on_data(root: Path) -> None:
    with pytest.raises(
        ModelError,
        match=r"^the model of width 8 failed on a batch of shape \(2, 1, 8, 8\): RuntimeError: ",
    ):
        models(root, model={"family": "users:forward"}).check([8, 4])


def test_edit_of_code_changes_identity_of_family(root: Path) -> None:
    before = models(root, model={"family": "users:good"}).family
    (root / "users.py").write_text(USERS + "# edited\n")
    plugins.new_run()
    assert models(root, model={"family": "users:good"}).family == before
    (root / "users.py").write_text(USERS + "EDITED = 1\n")
    plugins.new_run()
    assert models(root, model={"family": "users:good"}).family != before


def test_identity_of_family_covers_helpers_and_late_imports(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(
        "from torch import nn\ndef last(w, c): return nn.Linear(w, c)\n"
    )
    (tmp_path / "late.py").write_text("from torch import nn\nACT = nn.ReLU\n")
    (tmp_path / "family.py").write_text(
        "from torch import nn\n"
        "from helper import last\n"
        "def build(width, *, in_shape, num_classes):\n"
        "    from late import ACT\n"
        "    return nn.Sequential(\n"
        "        nn.Flatten(), nn.Linear(64, width), ACT(), last(width, num_classes))\n"
    )
    made = models(tmp_path, model={"family": "family:build"})
    made.check([8, 4])
    before = made.family
    (tmp_path / "helper.py").write_text(
        "from torch import nn\ndef last(w, c): return nn.Linear(w, c, bias=False)\n"
    )
    plugins.new_run()
    again = models(tmp_path, model={"family": "family:build"})
    assert again.family != before
    assert again.build(8)[-1].bias is None  # the edited code is what is built


def test_family_may_be_callable_object(tmp_path: Path) -> None:
    (tmp_path / "partly.py").write_text(
        "import functools\nfrom tasearch.models import mlp\nbuild = functools.partial(mlp.build)\n"
    )
    made = models(tmp_path, model={"family": "partly:build"})
    made.check([8, 4])
    assert made.family.startswith("partly:build#")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".wrapped.pt"])
def test_build_makes_teacher_from_factory_and_checkpoint(root: Path, suffix: str) -> None:
    section = {"width": 64, "factory": "users:teacher", "checkpoint": f"t{suffix}"}
    made = models(root, model={"family": "users:good"}, teacher=section)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 10))
    state = net.state_dict()
    if suffix == ".safetensors":
        save_file(state, root / "t.safetensors")
    else:
        torch.save({"state_dict": state} if "wrapped" in suffix else state, root / f"t{suffix}")
    net.eval()
    built = made.build(64)
    x = torch.randn(4, 1, 8, 8)
    assert torch.allclose(built(x), net(x * 2 + 3), atol=1e-5)  # it takes raw samples
    plain = models(
        root, model={"family": "users:good"}, teacher={**section, "inputs": "standardized"}
    )
    assert torch.equal(plain.build(64)(x), net(x))
    assert plain.teacher() != made.teacher()
    model = made.teacher()
    assert model.recipe is None
    assert model.origin is not None
    assert "users:teacher#" in model.origin
    made.check([64, 8, 4])


def test_check_refuses_teacher_too_small(root: Path) -> None:
    section = {"width": 64, "factory": "users:teacher"}
    made = models(root, model={"family": "mlp"}, teacher=section)
    with pytest.raises(ModelError) as error:
        made.check([64, 500])
    assert str(error.value).startswith(
        "teacher.factory: 'users:teacher': the teacher should have more parameters than any other "
        "model, found 15,010 and "
    )


def test_messages_tell_apart_misfits_of_checkpoint(root: Path) -> None:
    own: dict[str, Any] = {"model": {"family": "users:good"}}
    teacher = {"width": 64, "checkpoint": "t.safetensors"}
    made = models(root, **own, teacher=teacher)
    file = root / "t.safetensors"
    where = f"teacher.checkpoint: {file}"
    with pytest.raises(ModelError) as error:
        made.teacher()
    assert str(error.value) == f"{where}: No such file or directory"
    good = models(root, **own).build(64).state_dict()
    misfits = {
        f"{where}: does not match the teacher's model; mis-shaped: "
        "1.weight is (3, 3), should be (64, 64)": good | {"1.weight": torch.zeros(3, 3)},
        f"{where}: does not match the teacher's model; missing: 1.weight; unknown: other": {
            **{k: v for k, v in good.items() if k != "1.weight"},
            "other": torch.zeros(1),
        },
        f"{where}: has weights that are not finite: 1.weight": good
        | {"1.weight": torch.full((64, 64), torch.nan)},
    }
    for message, state in misfits.items():
        save_file(state, file)
        with pytest.raises(ModelError) as error:
            models(root, **own, teacher=teacher).build(64)
        assert str(error.value) == message
    file.write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="is no readable checkpoint: "):
        models(root, **own, teacher=teacher).build(64)
    teacher["checkpoint"] = "t.pt"
    for content in (b"", b"\x80\x02."):
        (root / "t.pt").write_bytes(content)
        with pytest.raises(ModelError, match="is no readable checkpoint: "):
            models(root, **own, teacher=teacher).build(64)
    torch.save({1: torch.zeros(1)}, root / "t.pt")
    with pytest.raises(ModelError, match="should hold a state dict of tensors"):
        models(root, **own, teacher=teacher).build(64)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this must never run",))


def test_build_unpickles_no_object(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"1.weight": Evil()}, root / "t.pt")
    made = models(root, model={"family": "users:good"}, teacher={"width": 64, "checkpoint": "t.pt"})
    with pytest.raises(ModelError, match=r"holds more than tensors \(builtins.print\); save the"):
        made.build(64)
    assert "never" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["builtins:dict", "builtins:print"])
def test_build_refuses_builtin_as_family(name: str) -> None:
    with pytest.raises(ModelError) as error:
        models(model={"family": name}).build(8)
    assert str(error.value).startswith(
        f"model.family: {name!r} should take (width, *, in_shape, num_classes), takes "
    )


@pytest.mark.parametrize("family", LADDERS)
def test_check_builds_a_width_once_and_returns_it_as_built(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, calls = FAMILIES[family], []

    def counting(width: int, **options: Any) -> nn.Module:
        calls.append(width)
        return build(width, **options)

    teacher, *widths = LADDERS[family]
    sections = {"teacher": {"width": teacher}, "student": {"widths": widths}}
    made = models(model={"family": family}, assistants={"max": 0}, **sections)
    expected = {width: made.build(width) for width in widths}
    monkeypatch.setitem(FAMILIES, family, counting)
    checked = models(model={"family": family}, assistants={"max": 0}, **sections).check(widths)
    assert calls == [*checked] == widths
    for width, net in checked.items():
        state = expected[width].state_dict()
        assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
        assert not net.training
        assert all(parameter.grad is None for parameter in net.parameters())
