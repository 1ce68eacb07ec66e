from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

import tasearch
from tasearch.chains.hop import ModelSpec
from tasearch.config.latency_section import LatencySection
from tasearch.config.study_file import load_study
from tasearch.data import load_data, load_test
from tasearch.errors import ExportError, ModelError, NothingFits, RunError, StoreError, StudyError
from tasearch.exports import export as exporting
from tasearch.exports import onnx_check
from tasearch.exports.chain_file import pinned_study
from tasearch.exports.export import FILES
from tasearch.models import Models
from tasearch.profiling.machine import describe_backend
from tasearch.report.evidence import evidence
from tasearch.report.intervals import accuracy_interval
from tasearch.report.text import interval_text
from tasearch.runs.store import replicate
from tasearch.runs.trial_attributes import chain_of
from tasearch.runs.verdict_file import write_confirmations
from tasearch.runs.verdicts import Arm, Comparison, Confirmation, LookPlan, Verdict
from tasearch.search import profiler
from tasearch.search.chain_space import make_space
from tasearch.train.quality import measure_quality
from tests.helpers.commands import command
from tests.helpers.runs import contents, proposed, with_notices
from tests.helpers.studies import tiny

pytestmark = pytest.mark.slow  # a run of convolutions, and exports to ONNX


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> tasearch.Run:
    """A run whose assistants have another recipe than its students."""
    study = tiny(
        name="cnn",
        model={"family": "cnn"},
        assistants={"min": 1, "temperature": 2.0},
        student={"temperature": [4.0, 8.0]},
        search={"trials": 8},
    )
    return tasearch.run(study, runs_dir=tmp_path_factory.mktemp("cnn"), workers=1)


@pytest.fixture(scope="module")
def folder(cnn: tasearch.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped") / "winner"
    tasearch.export(cnn, folder)
    return folder


def test_export_writes_every_file(cnn: tasearch.Run, folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
    metrics = json.loads((folder / "metrics.json").read_text())
    best = cnn.best()
    assert metrics["chain"] == list(best.chain)
    assert metrics["accuracy"] == best.accuracy
    assert metrics["recipe"] == best.recipe
    card = (folder / "README.md").read_text()
    assert best.label in card
    assert "$" not in card


def test_loaded_student_has_the_accuracy_in_metrics(cnn: tasearch.Run, folder: Path) -> None:
    module = tasearch.load(folder)
    assert not module.training
    metrics = json.loads((folder / "metrics.json").read_text())
    study = cnn.manifest.study
    for part, key in (
        (load_data(study).validation, "accuracy"),
        (load_test(study), "test_accuracy"),
    ):
        with torch.inference_mode():
            hits = module(torch.from_numpy(part.x)).argmax(1).numpy() == part.y
        assert hits.mean() == pytest.approx(metrics[key])


def test_metrics_have_the_quality_on_the_test_part(cnn: tasearch.Run, folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    found, test = metrics["test"], load_test(cnn.manifest.study)
    assert (found["accuracy"], found["samples"]) == (metrics["test_accuracy"], len(test))
    models = Models.for_study(cnn.manifest.study, load_data(cnn.manifest.study))
    key = next(t.hops[0].key for t in cnn.trials if t.hops[0].width == 16)
    saved = cnn.directory.store().load("hops", key)
    assert saved is not None
    teacher = models.build(16)
    teacher.load_state_dict(replicate(saved[0], 0))
    x = torch.tensor(test.x)
    with torch.inference_mode():
        logits = tasearch.load(folder)(x)
        theirs = teacher.eval()((x - models.mean) / models.std)
    known = measure_quality(logits, torch.tensor(test.y), theirs).as_json([*map(str, range(10))])
    assert found == {
        "of": {"part": "test", "seeds": "search", "seed": 0, "replicate": 0, "selected": False},
        **known,
    }
    card = (folder / "README.md").read_text()
    assert f"{found['agreement_with_teacher']:.1%} of the samples" in card
    worst = min(found["per_class"], key=lambda c: c["accuracy"])
    assert f"| {worst['class']} | {worst['accuracy']:.1%} | {worst['samples']} |" in card


def test_every_accuracy_says_what_it_is_of(cnn: tasearch.Run, folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["accuracy_of"] == {
        "part": "validation",
        "seeds": "search",
        "seed": cnn.manifest.study.seed,
        "replicates": 1,
        "selected": True,
    }
    assert metrics["confirmed"] is None
    card = (folder / "README.md").read_text()
    assert f"(test part: {metrics['test_samples']} samples that the search never saw; read" in card
    assert "of the search, which chooses by it, so it tends to be too high" in card
    assert "Both accuracies are of the search's seed, 0." in card


def test_accuracies_have_their_intervals(cnn: tasearch.Run, folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    card = (folder / "README.md").read_text()
    for part, samples, interval in (
        ("accuracy", cnn.manifest.validation, "interval"),
        ("test_accuracy", metrics["test_samples"], "test_interval"),
    ):
        accuracy = metrics[part]
        assert metrics[interval] == [*accuracy_interval([accuracy], samples)]
        assert f"| {accuracy:.1%}, {interval_text(metrics[interval])}, one seed (" in card


def test_card_says_that_the_machine_was_busy(cnn: tasearch.Run, tmp_path: Path) -> None:
    run = tasearch.Run(cnn.directory, trusted=True)
    run.manifest = with_notices(cnn, "the machine was busy")
    tasearch.export(run, tmp_path / "out")
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["latency_notices"] == ["the machine was busy"]
    card = (tmp_path / "out/README.md").read_text()
    assert f"({metrics['latency_of']}; the machine was busy) |" in card


def test_card_has_the_interval_of_the_mean_of_replicates(rerun: Any, tmp_path: Path) -> None:
    run = rerun(tiny(search={"replicates": 2}), trials=2)
    best = tasearch.export(run, tmp_path / "out")
    accuracies = run.trials[best.trial].accuracies
    interval = interval_text(accuracy_interval(accuracies, run.manifest.validation))
    words = f"{accuracies[0]:.1%}; mean of 2 replicates: {best.accuracy:.1%}, {interval} ("
    assert words in (tmp_path / "out/README.md").read_text()


def test_missing_teacher_leaves_agreement_out(rerun: Any, tmp_path: Path) -> None:
    run = rerun(tiny(), trials=3)
    key = next(t.hops[0].key for t in run.trials if t.hops[0].width == 16)
    (run.path / "hops" / f"{key}.safetensors").unlink()
    tasearch.export(run, tmp_path / "out")
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["test"]["agreement_with_teacher"] is None
    assert metrics["test"]["ece"] > 0
    assert "agreement is not known" in (tmp_path / "out/README.md").read_text()


def test_metrics_have_the_confirmation_that_best_prints(
    rerun: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = rerun(tiny(), trials=4)
    best, quality = run.front.candidates[0], measure_quality(torch.eye(10), torch.arange(10), None)
    first = Arm(
        chain=best.chain,
        recipe=best.recipe,
        accuracies=(1.0, None, 1.0),
        test=(0.5, None, 0.25),
        quality=quality,
    )
    other = Arm(chain=best.chain[:-1], recipe=best.recipe)
    helps = Verdict(answer="helps", settled=True, pairs=2)
    compared = Comparison(question="assistants", first=first, second=other, verdict=helps)
    done = Confirmation(plan=LookPlan(), comparisons=(compared,), finished=True)
    write_confirmations(run.path, [done])
    opened = tasearch.Run.open(run.path)
    tasearch.export(opened, tmp_path / "out", trial=best.trial)
    found = json.loads((tmp_path / "out/metrics.json").read_text())["confirmed"]
    source = {"seeds": "fresh", "replicates": 2, "selected": False}
    assert found == {
        "accuracy": 1.0,
        "interval": [*accuracy_interval([1.0, 1.0], run.manifest.validation)],
        "accuracies": [1.0, None, 1.0],
        "accuracy_of": {"part": "validation", **source},
        "test_accuracy": 0.375,
        "test_interval": [*accuracy_interval([0.5, 0.25], quality.samples)],
        "test_accuracies": [0.5, None, 0.25],
        "test": {"of": {"part": "test", **source}, **quality.as_json(run.manifest.class_names)},
        "seeds": 2,
        "verdicts": {
            "assistants": {
                "answer": "helps",
                "settled": True,
                "pairs": 2,
                "difference": None,
                "p": 1.0,
                "needed": None,
                "interval": None,
            }
        },
    }
    known = dict(evidence(opened, best))
    assert "quality" in known
    assert f"({interval_text(found['interval'])}), mean of 2 fresh seeds" in known["confirmed"]
    assert f"({interval_text(found['test_interval'])}; 10 samples)" in known["test"]
    printed = json.loads(command(capsys, "best", run.path, "--json")[1])
    assert printed["trial"] == best.trial
    assert printed["confirmed"] == found


def test_onnx_runtime_agrees_with_torch(cnn: tasearch.Run, folder: Path) -> None:
    session = onnxruntime.InferenceSession(folder / "student.onnx")
    x = load_data(cnn.manifest.study).validation.x
    with torch.inference_mode():
        expected = tasearch.load(folder)(torch.from_numpy(x)).numpy()
    for batch in (1, 3, len(x)):
        (logits,) = session.run(None, {"x": x[:batch]})
        assert np.abs(logits - expected[:batch]).max() < 1e-4


@pytest.mark.parametrize("width", [16, 4])
def test_chain_file_trains_the_same_weights(cnn: tasearch.Run, tmp_path: Path, width: int) -> None:
    """The best candidate is an assistant; the best small one is a student with assistants."""
    limit = cnn.manifest.measured[width].params
    found = tasearch.export(cnn, tmp_path / "out", max_params=limit)
    assert cnn.trials[found.trial].free == (width == 16)
    again = tasearch.run(load_study(tmp_path / "out" / "chain.toml"), runs_dir=tmp_path)
    (trial,) = proposed(again)
    assert trial.chain == found.chain
    assert trial.accuracy == found.accuracy
    mine, theirs = contents(again), contents(cnn)
    assert {name: theirs[name] for name in mine} == mine
    assert sum(name.startswith("hops/") for name in mine) == len(trial.chain)


def test_chain_file_of_any_trial_has_that_chain_alone(rerun: Any, tmp_path: Path) -> None:
    """Also if an assistant is exported, whose epochs and other options are not a student's."""
    options = {"loss": ["kd", "ce"], "guidance": ["dense", "serial"]}
    run = rerun(
        tiny(
            assistants={"temperature": 2.0, "teacher_dropout": 0.5, **options},
            student={"temperature": [4.0, 8.0], **options},
            search={"trials": 30},
        )
    )
    trials = [t for t in run.trials if t.state == "complete"]
    kinds = {(t.free, len(t.hops)) for t in trials}
    assert kinds >= {(False, 1), (False, 2), (False, 3), (True, 1), (True, 2)}
    teacher = ModelSpec(width=16, recipe=run.manifest.study.teacher_recipe())
    for trial in trials:
        built: Any = SimpleNamespace(run=run, trial=trial)
        (chain,) = make_space(pinned_study(built, tmp_path), teacher, run.manifest.measured)
        theirs = chain_of(vars(trial), teacher).hop().lineage
        mine = chain.hop().lineage
        assert [p.canonical(i) for i, p in enumerate(mine)] == [
            p.canonical(i) for i, p in enumerate(theirs)
        ], trial.label


def test_card_has_snippets_that_run(folder: Path) -> None:
    snippets = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len(snippets) == 2
    for snippet in snippets:
        done = subprocess.run(
            [sys.executable, "-c", snippet], cwd=folder, capture_output=True, text=True, check=True
        )
        assert re.match(r"[\[(]'\d'", done.stdout)


def test_budget_chooses_the_exported_student(finished: tasearch.Run, tmp_path: Path) -> None:
    limit = finished.manifest.measured[2].params
    chosen = tasearch.export(finished, tmp_path / "small", max_params=limit)
    assert chosen.params == limit
    with pytest.raises(NothingFits):
        tasearch.export(finished, tmp_path / "none", max_params=limit - 1)
    assert not (tmp_path / "none").exists()


def test_trial_chooses_the_exported_student(finished: tasearch.Run, tmp_path: Path) -> None:
    beaten = finished.front.candidates[-1]
    assert beaten != finished.best()
    assert tasearch.export(finished, tmp_path / "out", trial=beaten.trial) == beaten
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["trial"] == beaten.trial
    assert metrics["chain"] == list(beaten.chain)
    pinned = load_study(tmp_path / "out" / "chain.toml")
    assert pinned.student.widths == (beaten.chain[-1],)


def test_trial_is_refused_with_a_budget_or_if_unknown(
    finished: tasearch.Run, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=r"^trial: goes without a budget; leave one"):
        tasearch.export(finished, tmp_path / "out", trial=0, max_params=10)
    with pytest.raises(NothingFits, match="has no trial 10000; its trials are 0 to"):
        tasearch.export(finished, tmp_path / "out", trial=10_000)
    assert not (tmp_path / "out").exists()


def test_export_replaces_an_export_and_nothing_else(finished: tasearch.Run, tmp_path: Path) -> None:
    tasearch.export(finished, tmp_path / "out")
    tasearch.export(finished, tmp_path / "out")
    (tmp_path / "out" / "thesis.tex").write_text("")
    with pytest.raises(ExportError) as error:
        tasearch.export(finished, tmp_path / "out")
    assert (
        str(error.value) == f"{tmp_path / 'out'}: has other files (thesis.tex); name a new folder"
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("my own")
    with pytest.raises(ExportError, match=r"has other files \(README.md\); name a new folder"):
        tasearch.export(finished, tmp_path / "mine")
    assert (tmp_path / "mine" / "README.md").read_text() == "my own"
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="is no folder; name a new folder"):
        tasearch.export(finished, tmp_path / "file")


def test_export_refuses_onnx_that_differs_from_torch(
    finished: tasearch.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faithful = onnx_check.to_onnx

    def careless(module: torch.nn.Module, in_shape: tuple[int, ...], *more: Any) -> bytes:
        changed = copy.deepcopy(module)
        with torch.no_grad():
            next(changed.parameters()).add_(0.01)
        return faithful(changed, in_shape, *more)

    monkeypatch.setattr(onnx_check, "to_onnx", careless)
    with pytest.raises(ExportError, match=r"^ONNX Runtime and torch differ by .* nothing"):
        tasearch.export(finished, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_export_omits_onnx_only_if_the_study_timed_torch(
    finished: tasearch.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latencies of the finished run were measured in torch."""

    def unable(module: torch.nn.Module, in_shape: tuple[int, ...], *more: Any) -> bytes:
        raise ModelError("model: torch cannot export it")

    out = tmp_path / "out"
    tasearch.export(finished, out)
    assert (out / "student.onnx").exists()
    assert "onnxruntime" in (out / "README.md").read_text()
    assert "<!--" not in (out / "README.md").read_text()
    monkeypatch.setattr(onnx_check, "to_onnx", unable)
    tasearch.export(finished, out)
    assert {file.name for file in out.iterdir()} == {*FILES} - {"student.onnx"}
    card, metrics = (out / "README.md").read_text(), json.loads((out / "metrics.json").read_text())
    assert "onnx" not in card.lower()
    assert "<!--" not in card
    assert metrics["onnx_difference"] is None
    assert [*metrics["file_bytes"]] == ["student.safetensors"]
    assert tasearch.load(out)(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    wanted = replace(
        finished.manifest, device=describe_backend(LatencySection(), torch.device("cpu"))
    )
    monkeypatch.setattr(type(finished), "manifest", property(lambda run: wanted))
    with pytest.raises(ModelError, match="cannot export it"):
        tasearch.export(finished, tmp_path / "other")


def test_export_refuses_weights_of_another_accuracy(rerun: Any, tmp_path: Path) -> None:
    run = rerun(tiny(), trials=3)
    best = run.best()
    wrong = tasearch.Run(run.directory)
    wrong.trials[best.trial] = replace(wrong.trials[best.trial], accuracy=0.99)
    with pytest.raises(RunError) as error:
        tasearch.export(wrong, tmp_path / "out")
    assert str(error.value) == (
        f"{run.path}: trial {best.trial} has an accuracy of 99.00% in the "
        f"journal, but its weights have {best.accuracy:.2%} on the validation set now"
    )


def test_card_does_not_call_a_student_without_teacher_distilled(rerun: Any, tmp_path: Path) -> None:
    run = rerun(tiny(student={"loss": "ce"}), trials=3)
    tasearch.export(run, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "trained on the labels alone" in card
    assert "Distilled along" not in card
    assert "Not confirmed on fresh seeds; its chain has no assistants." in card
    again = tasearch.run(tmp_path / "out" / "chain.toml", runs_dir=tmp_path / "again")
    assert [t.accuracy for t in again.trials] == [run.best().accuracy]
    assert len(again.trials[0].hops) == len(list((again.path / "hops").iterdir())) == 1


def test_chain_file_keeps_the_training_modes_of_the_run(
    rerun: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights stay the same even if autotuning would choose another mode now."""
    modes = dict.fromkeys(("12", "8", "6", "4", "2"), "fp32 x8+")
    study = tiny(training={"modes": modes}, search={"trials": 6})
    run = rerun(study)
    found = tasearch.export(run, tmp_path / "out")
    pinned = load_study(tmp_path / "out" / "chain.toml")
    assert {*pinned.training.modes} == {*map(str, found.chain)}
    monkeypatch.setattr(profiler, "study_modes", lambda *a, **k: {})
    again = tasearch.run(tmp_path / "out" / "chain.toml", runs_dir=tmp_path / "again")
    key = run.trials[found.trial].hops[-1].key
    assert again.trials[0].hops[-1].key == key
    file = f"hops/{key}.safetensors"
    assert (again.path / file).read_bytes() == (run.path / file).read_bytes()


def test_export_names_damaged_weights(rerun: Any, tmp_path: Path) -> None:
    run = rerun(tiny(), trials=3)
    file = run.path / "hops" / f"{run.trials[run.best().trial].hops[-1].key}.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StoreError) as error:
        tasearch.export(run, tmp_path / "out")
    assert str(error.value).startswith(f"{file}: is damaged")
    assert str(error.value).endswith("`tasearch run` on the same study trains it again")


def test_export_and_load_accept_an_unchanged_user_family_only(rerun: Any, tmp_path: Path) -> None:
    source = tmp_path / "nets.py"
    source.write_text(
        "from torch import nn\n"
        "def build(width, *, in_shape, num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(),\n"
        "                         nn.Linear(width, num_classes))\n"
    )
    study = tiny(model={"family": "nets:build"}).model_copy(update={"root": str(tmp_path)})
    run = tasearch.run(study, runs_dir=tmp_path / "runs", trials=2)
    tasearch.export(run, tmp_path / "deep" / "er")
    module = tasearch.load(tmp_path / "deep" / "er", trust=True)
    assert module(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    text = source.read_text()
    source.write_text(text.replace("nn.ReLU()", "nn.Sigmoid()"))  # of the same shape
    with pytest.raises(RunError, match="the family or its code has changed: this is not what"):
        tasearch.export(run, tmp_path / "other")
    shipped = tmp_path / "deep" / "er"
    with pytest.raises(ExportError) as error:
        tasearch.load(shipped, trust=True)
    was = run.manifest.inputs["digest of family"]
    assert str(error.value).startswith(
        f"{shipped}: the student was trained with {was!r}, and the code is now 'nets:build#"
    )
    with pytest.raises(
        StudyError, match=r"expects\.family: the family or its code has changed since"
    ):
        tasearch.run(shipped / "chain.toml", runs_dir=tmp_path / "again")
    source.write_text("# a comment\n" + text)
    assert tasearch.load(shipped, trust=True)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    again = tasearch.run(shipped / "chain.toml", runs_dir=tmp_path / "again", device="cpu")
    assert again.trials[0].hops[-1].accuracy is not None


def test_load_refuses_a_folder_that_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(ExportError) as error:
        tasearch.load(tmp_path)
    file = tmp_path / "student.safetensors"
    assert str(error.value) == f"{file}: no such file; `tasearch export` writes one"
    file.write_bytes(b"nonsense")
    with pytest.raises(ExportError, match="is no exported student"):
        tasearch.load(tmp_path)
    save_file({"w": torch.zeros(1)}, file, metadata={"tasearch": "{}"})
    with pytest.raises(ExportError, match="is no exported student: 'in_shape'"):
        tasearch.load(tmp_path)


@pytest.mark.parametrize("files", range(len(FILES)))
def test_interrupted_export_leaves_no_mix_of_two(
    finished: tasearch.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    class Killed(KeyboardInterrupt):
        pass

    small, large = finished.front.members[0], finished.front.members[-1]
    assert small.params < large.params
    out = tmp_path / "out"
    tasearch.export(finished, out)
    write, count = exporting.write_atomic, iter(range(files))

    def cut(file: Path, content: bytes) -> None:
        if next(count, None) is None:
            raise Killed
        write(file, content)

    monkeypatch.setattr(exporting, "write_atomic", cut)
    with pytest.raises(Killed):
        tasearch.export(finished, out, max_params=small.params)
    with pytest.raises(ExportError):
        tasearch.load(out)
    monkeypatch.undo()
    tasearch.export(finished, out, max_params=small.params)
    loaded = tasearch.load(out)
    assert sum(p.numel() for p in loaded.parameters()) == small.params


def test_load_refuses_a_width_of_no_student(finished: tasearch.Run, tmp_path: Path) -> None:
    """A teacher's width would run its factory, which the caller has not been asked to trust."""
    out = tmp_path / "out"
    tasearch.export(finished, out)
    chain = out / "chain.toml"
    chain.write_text(re.sub(r"# factory =.*", 'factory = "evil:make"', chain.read_text()))
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    own = chain.read_text().replace(
        re.search(r"(?m)^root = .*", chain.read_text())[0], 'root = ".."'
    )  # type: ignore[index]
    chain.write_text(own)
    file = out / "student.safetensors"
    blob, width = file.read_bytes(), load_study(chain).student.widths[0]
    for forged in (b"16", b'"a"', b"[1]"):
        meta = rf"\"width\":{width}".encode()
        assert meta in blob
        changed = blob.replace(meta, rb"\"width\":" + forged.replace(b'"', rb"\""))
        head = len(changed) - len(blob)
        length = int.from_bytes(blob[:8], "little") + head
        file.write_bytes(length.to_bytes(8, "little") + changed[8:])
        with pytest.raises(ExportError, match="is no exported student"):
            tasearch.load(out)
