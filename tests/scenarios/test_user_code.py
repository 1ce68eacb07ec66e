"""Whatever user code does, the search continues, or one message says why it cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tasearch
from tasearch import StudyError, TrainingError
from tasearch.config.guard import contained, limit_calls, timely
from tasearch.config.run_options import RunOptions
from tasearch.config.study import Study
from tasearch.config.study_file import render
from tasearch.runs.events import TrialStarted
from tasearch.search.prepare import prepare
from tasearch.train.workers import remote
from tasearch.train.workers.pool import Pool
from tasearch.train.workers.worker_process import CUT_OFF, Death
from tests.helpers.processes import TASEARCH, call, children, wait_for
from tests.helpers.runs import contents, facts
from tests.helpers.studies import tiny

NET = """
import ctypes, gc, itertools, os, resource, signal, sys, threading, time
import torch
from torch import nn
from torch.nn.functional import cross_entropy

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

class Odd(BaseException):
    pass

class Net(nn.Module):
    def __init__(self, width, classes):
        super().__init__()
        self.width = width
        self.one, self.two = nn.Linear(64, width), nn.Linear(width, classes)

    def forward(self, x):
        {forward}
        return self.two(torch.relu(self.one(x.flatten(1))))

def build(width, *, in_shape, num_classes):
    {build}
    return Net(width, num_classes)

def loss(logits, labels, targets, terms):
    {loss}
    return cross_entropy(logits, labels)

def data():
    {data}
    from sklearn.datasets import load_digits
    digits = load_digits()
    return {{"x_train": digits.images, "y_train": digits.target}}

def sampler(seed):
    {sampler}
    from optuna.samplers import RandomSampler
    class Own(RandomSampler):
        def sample_independent(self, *args):
            {proposal}
            return super().sample_independent(*args)
    return Own(seed=seed)

{module}
"""
PLACES = ("forward", "build", "loss", "data", "sampler", "proposal", "module")
EVERYWHERE: dict[str, Any] = {
    "model": {"family": "own:build"},
    "data": {"source": "own:data"},
    "search": {"sampler": "own:sampler"},
}


def own(folder: Path, sections: dict[str, Any], **code: str) -> Study:
    """A study with a module of its own, which executes given statements at some places."""
    (folder / "own.py").write_text(NET.format(**dict.fromkeys(PLACES, "pass") | code))
    student = {"widths": [6, 4, 2], **sections.get("student", {})}
    modes = dict.fromkeys(map(str, (16, *student["widths"])), "fp32")
    training = {"modes": modes, **sections.get("training", {})}
    rest = {"assistants": {"max": 0}} | sections
    study = tiny(**rest | {"student": student, "training": training})
    return study.model_copy(update={"root": str(folder)})


@pytest.fixture(autouse=True)
def no_process_is_left_over() -> Iterator[None]:
    before = children()
    yield
    assert children() == before


def runaways(folder: Path) -> list[str]:
    """Command lines of the processes that have a folder in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


# In training

PIPES = """
def own_pipes():
    from fcntl import F_GETFL, fcntl
    for name in os.listdir("/proc/self/fd"):
        try:
            kind = os.readlink(f"/proc/self/fd/{name}")
            if "pipe" in kind and int(name) > 2 and fcntl(int(name), F_GETFL) & os.O_WRONLY:
                yield int(name)
        except OSError:
            continue
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ("os._exit(0)", "its worker ended with code 0, 3 times"),
        ("ctypes.string_at(0)", "its worker was killed by signal 11 (segmentation fault), 3 times"),
        ("os.abort()", "its worker was killed by signal 6 (aborted), 3 times"),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "its worker was killed by signal 9 (killed), 3 times; out of memory?",
        ),
        ("os.closerange(0, 256)", "its worker closed the files by which it was heard, 3 times"),
        (
            "[os.write(file, b'x\\n') for file in own_pipes()]",
            "its worker wrote into what only its own answers belong in, 3 times",
        ),
    ],
)
def test_three_deaths_of_its_worker_fail_a_hop(tmp_path: Path, action: str, reason: str) -> None:
    code = f"if self.training and self.width == 4 and len(x) > 2: {action}"
    study = own(tmp_path, {"model": {"family": "own:build"}}, forward=code, module=PIPES)
    run = rerun_of(tmp_path, study, trials=3)
    states = {t.chain[-1]: (t.state, t.reason) for t in run.trials}
    assert states == {
        6: ("complete", None),
        4: ("failed", f"hop 16 → 4: {reason}"),
        2: ("complete", None),
    }
    recorded = [e["event"] for e in run.directory.events() if e["event"] == "failed"]
    assert recorded == ["failed"]


def rerun_of(folder: Path, study: Study, **options: Any) -> tasearch.Run:
    return tasearch.run(study, runs_dir=folder / "runs", **options)


@pytest.mark.slow
def test_exception_fails_the_hop_and_ends_no_worker(tmp_path: Path) -> None:
    """One worker trains all widths, each with another exception; it writes its number down."""
    actions = {
        12: ("sys.exit(3)", "SystemExit: 3"),
        10: ("sys.exit()", "SystemExit"),
        8: ("raise Odd('my own')", "Odd: my own"),
        6: ("raise GeneratorExit", "GeneratorExit"),
        4: ("raise KeyboardInterrupt('not a key')", "KeyboardInterrupt: not a key"),
    }
    code = "\n        ".join(
        f"if self.training and self.width == {width} and len(x) > 2: {action}"
        for width, (action, _) in actions.items()
    )
    mark = f"open(f'{tmp_path}/worker-{{os.getpid()}}', 'w').close()\n        "
    sections = {"model": {"family": "own:build"}, "student": {"widths": [*actions, 2]}}
    sections["training"] = {"modes": dict.fromkeys(map(str, (16, *actions, 2)), "fp32")}
    study = own(tmp_path, sections, forward="if len(x) > 2 and self.training: " + mark + code)
    run = rerun_of(tmp_path, study, trials=6)
    assert {t.chain[-1]: t.reason for t in run.trials} == {
        width: f"hop 16 → {width}: {reason}" for width, (_, reason) in actions.items()
    } | {2: None}
    assert len([*tmp_path.glob("worker-*")]) == 1


@pytest.mark.slow
def test_untrainable_teacher_ends_the_search(tmp_path: Path) -> None:
    study = own(
        tmp_path,
        {"model": {"family": "own:build"}},
        forward="if self.training and self.width == 16 and len(x) > 2: os._exit(0)",
    )
    (tmp_path / "s.toml").write_text(render(study))
    text = call("run", tmp_path / "s.toml", "--runs-dir", tmp_path / "runs", code=1)
    assert text.splitlines()[-1] == "error: hop 16: its worker ended with code 0, 3 times"
    with pytest.raises(TrainingError, match="hop 16: its worker ended with code 0, 3 times"):
        rerun_of(tmp_path, study)  # no trial records it


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_stacked_model_fails_only_the_hop_that_kills_its_worker(
    tmp_path: Path, workers: int
) -> None:
    """The others of its group are trained alone, also if it was not the first of the group."""
    student = {"widths": [4], "loss": ["kd", "own:loss", "ce", "dist"]}
    sections = {"student": student, "training": {"modes": {"4": "fp32 x8+"}}}
    study = own(tmp_path, sections, loss="if len(logits) > 2: os._exit(0)")
    run = rerun_of(tmp_path, study, trials=4, workers=workers)
    found = {t.recipe["student"]["loss"]: (t.state, t.reason) for t in run.trials if t.recipe}
    fine = dict.fromkeys(("kd", "ce", "dist"), ("complete", None))
    bad = ("failed", "hop 16 → 4: its worker ended with code 0, 3 times")
    assert found == fine | {"own:loss": bad}


@pytest.mark.slow
def test_replicate_that_kills_workers_fails_its_hop(tmp_path: Path) -> None:
    """Three replicates are divided among two workers."""
    code = "if self.training and self.width == 4 and len(x) > 2: os._exit(7)"
    sections = {"model": {"family": "own:build"}, "search": {"replicates": 3, "pruner": "none"}}
    study = own(tmp_path, sections, forward=code)
    run = rerun_of(tmp_path, study, trials=3, workers=2)
    assert {t.chain[-1]: (t.state, t.reason) for t in run.trials} == {
        6: ("complete", None),
        4: ("failed", "hop 16 → 4: its worker ended with code 7, 3 times"),
        2: ("complete", None),
    }


@pytest.mark.slow
def test_worker_deaths_that_stop_change_nothing(tmp_path: Path) -> None:
    """A module that dies twice for each hop gives the same bits as one that never does."""
    code = (
        f"mark = f'{tmp_path}/{{self.width}}-'\n"
        "        if self.training and len(x) > 2:\n"
        "            self.count = getattr(self, 'count', 0) + 1\n"
        "            for n in range(2):\n"
        "                if self.count > 30 + n and not os.path.exists(f'{mark}{n}'):\n"
        "                    open(f'{mark}{n}', 'w').close()\n"
        "                    os._exit(0)"
    )
    study = own(tmp_path, {"model": {"family": "own:build"}}, forward=code)
    mortal = rerun_of(tmp_path / "a", study, trials=3)
    assert len([*tmp_path.glob("*-[01]")]) == 8
    straight = rerun_of(tmp_path / "b", study, trials=3, latency_from=mortal.path)
    again = rerun_of(tmp_path / "c", study, trials=3, latency_from=mortal.path, workers=2)
    assert {t.state for t in mortal.trials} == {"complete"}
    assert facts(straight) == facts(again)
    assert contents(straight) == contents(mortal) == contents(again)


# Stuck


@pytest.mark.slow
@pytest.mark.parametrize(
    "hang",
    [
        "all(x is x for _ in itertools.repeat(0))",
        "threading.Lock().acquire() and threading.Event().wait()",
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "sum(itertools.repeat(0))",  # in C, without letting go of the interpreter
    ],
)
def test_stall_fails_its_hop(tmp_path: Path, hang: str) -> None:
    code = f"if self.training and self.width == 4 and len(x) > 2: {hang}"
    sections: dict[str, Any] = {"model": {"family": "own:build"}}
    sections["training"] = {"stall_minutes": 0.25}
    run = rerun_of(tmp_path, own(tmp_path, sections, forward=code), trials=3)
    words = "its worker made no progress for 0.25 minutes (training.stall_minutes)"
    assert {t.chain[-1]: (t.state, t.reason) for t in run.trials} == {
        6: ("complete", None),
        4: ("failed", f"hop 16 → 4: {words}"),
        2: ("complete", None),
    }


def test_stall_minutes_may_change_within_a_run() -> None:
    one, other = tiny(training={"stall_minutes": 1.0}), tiny(training={"stall_minutes": 2.5})
    assert one.identity() == other.identity()


# While preparing


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            {"module": "os._exit(0)"},
            "search.sampler: 'own:sampler', when imported: its process ended with code 0",
        ),
        pytest.param(
            {"module": "raise Odd('at import')"},
            "search.sampler: 'own:sampler': importing it raised Odd: at import",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"sampler": "ctypes.string_at(0)"},
            "search.sampler: 'own:sampler', when called: its process was killed by signal 11 "
            "(segmentation fault)",
            marks=pytest.mark.slow,
        ),
        (
            {"data": "os._exit(0)"},
            "data.source: 'own:data', when called: its process ended with code 0",
        ),
        pytest.param(
            {"build": "if width == 4: os._exit(1)"},
            "model.family: 'own:build' at width 4: its process ended with code 1",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"forward": "if not self.training: os.abort()"},
            "model.family: 'own:build' at width 16: its process was killed by signal 6 (aborted)",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"build": "width == 2 and threading.Event().wait()"},
            "model.family: 'own:build' at width 2: its process made no progress for 0.25 minutes "
            "(training.stall_minutes)",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"loss": "sys.exit()"},
            "student.loss: 'own:loss', when called: raised SystemExit",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"proposal": "ctypes.string_at(0)"},
            "search.sampler: 'own:sampler', when asked for a chain: its process was killed by "
            "signal 11 (segmentation fault)",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"proposal": "os._exit(0)"}, "search.sampler called os._exit(0)", marks=pytest.mark.slow
        ),
    ],
    ids=str,
)
def test_preparation_detects_code_that_ends_its_process(
    tmp_path: Path, code: dict[str, str], message: str
) -> None:
    sections = {**EVERYWHERE, "student": {"loss": ["kd", "own:loss"]}}
    sections["training"] = {"stall_minutes": 0.25}
    with pytest.raises(StudyError) as error:
        prepare(own(tmp_path, sections, **code), RunOptions(runs_dir=tmp_path))
    assert str(error.value) == message
    assert not (tmp_path / "tiny").exists()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["module", "build", "sampler"])
def test_command_reports_code_that_ends_its_process(tmp_path: Path, place: str) -> None:
    study = own(tmp_path, EVERYWHERE | {}, **{place: "os._exit(0)"})
    (tmp_path / "s.toml").write_text(render(study))
    text = call("run", tmp_path / "s.toml", "--runs-dir", tmp_path / "runs", code=2)
    where = {
        "module": "search.sampler: 'own:sampler', when imported",
        "build": "model.family: 'own:build' at width 16",
        "sampler": "search.sampler: 'own:sampler', when called",
    }
    assert text == f"error: {where[place]}: its process ended with code 0\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_preparation_repeats_a_call_whose_worker_was_killed_once(tmp_path: Path) -> None:
    mark = tmp_path / "killed"
    code = f"if not os.path.exists('{mark}'): open('{mark}', 'w'), os.kill(os.getpid(), 9)"
    prepared = prepare(own(tmp_path, EVERYWHERE | {}, build=code), RunOptions(runs_dir=tmp_path))
    prepared.close()
    assert mark.exists()


@pytest.mark.slow
def test_search_reports_a_sampler_that_ends_the_process_later(tmp_path: Path) -> None:
    """It runs in the process of the search, after a worker has tested it."""
    later = "sys.argv[0].endswith('worker.py') or args[1].number and os._exit(0)"
    sections: dict[str, Any] = {"search": {"sampler": "own:sampler", "max_concurrent": 1}}
    sections["assistants"] = {"max": 1, "widths": [12]}
    sections["training"] = {"modes": {}, "stack": "never"}
    study = own(tmp_path, sections, proposal=later)
    with pytest.raises(StudyError) as error:
        rerun_of(tmp_path, study, trials=12)
    assert str(error.value) == "search.sampler called os._exit(0)"


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: os._exit(0), "mine called os._exit(0)"),
        (lambda: sys.exit("so there"), "mine called sys.exit('so there')"),
        (lambda: (_ for _ in ()).throw(GeneratorExit), "mine raised GeneratorExit"),
    ],
)
def test_contained_reports_code_that_ends_this_process(action: Any, message: str) -> None:
    real = os._exit
    with pytest.raises(StudyError) as error, contained("mine"):
        next(iter(action())) if "Generator" in message else action()
    assert str(error.value) == message
    assert os._exit is real


def test_contained_lets_a_forked_process_end() -> None:
    with contained():
        child = os.fork()
        if not child:
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.parametrize(
    ("code", "words", "is_own"),
    [
        (0, "ended with code 0", True),
        (CUT_OFF, "closed the files by which it was heard", True),
        (-signal.SIGSEGV, "was killed by signal 11 (segmentation fault)", True),
        (-signal.SIGKILL, "was killed by signal 9 (killed)", False),
        (-signal.SIGTERM, "was killed by signal 15 (terminated)", False),
    ],
)
def test_message_describes_death_in_words(code: int, words: str, is_own: bool) -> None:
    assert Death.from_exit_code(code) == Death(words=words, own=is_own)


# Surroundings


@pytest.mark.slow
def test_worker_starts_with_the_surroundings_of_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replaced worker does so too, whatever the module did to folder, path and environment."""
    (tmp_path / "beside.txt").write_text("here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("relative")
    (tmp_path / "relative").mkdir()
    (tmp_path / "relative" / "helper.py").write_text("VALUE = 1\n")
    (tmp_path / "queue.py").write_text("raise ImportError('a namesake of the library')\n")
    (tmp_path / "elsewhere").mkdir()
    module = (
        "import helper\n"
        f"assert open('beside.txt').read() == 'here', os.getcwd()\n"
        f"os.chdir('{tmp_path}/elsewhere')\n"
        "sys.path[:] = [p for p in sys.path if not p.endswith('relative')]\n"
        "os.environ.pop('HOME', None); os.environ['PYTHONPATH'] = '/nowhere'\n"
    )
    dies = f"self.training and len(x) > 2 and not os.path.exists('{tmp_path}/died')"
    code = f"if {dies}: open('{tmp_path}/died', 'w').close(); os._exit(1)"
    study = own(tmp_path, {"model": {"family": "own:build"}}, forward=code, module=module)
    study = study.model_copy(update={"root": str(tmp_path / "code")})
    (tmp_path / "code").mkdir()
    (tmp_path / "own.py").rename(tmp_path / "code" / "own.py")
    run = tasearch.run(study, runs_dir=tmp_path / "runs", trials=1)
    assert [t.state for t in run.trials] == ["complete"]
    assert (tmp_path / "died").exists()


@pytest.mark.slow
def test_user_code_may_print_and_read(tmp_path: Path) -> None:
    module = (
        "os.write(1, b'[\"HopEnded\", {}]\\n'); print('x' * 100000)\n"
        "assert sys.stdin.read() == ''; sys.stdin.close(); os.close(0); os.close(1)\n"
        "assert os.fork() or os._exit(0) is None\n"
    )
    study = own(
        tmp_path,
        {"model": {"family": "own:build"}},
        module=f"if sys.argv[0].endswith('worker.py'):\n    exec({module!r})",
    )
    run = rerun_of(tmp_path, study, trials=2)
    assert [t.state for t in run.trials] == ["complete"] * 2


@pytest.mark.slow
def test_processes_of_user_code_end_with_its_worker(tmp_path: Path) -> None:
    """Such as a child of a worker, which holds all files that it could inherit."""
    code = (
        "if self.training and self.width == 4 and len(x) > 2:\n"
        "            child = os.fork() or time.sleep(600)\n"
        f"            open(f'{tmp_path}/child-{{child}}', 'w').close()\n"
        "            os._exit(0)"
    )
    study = own(tmp_path, {"model": {"family": "own:build"}}, forward=code)
    run = rerun_of(tmp_path, study, trials=2)
    assert {t.chain[-1]: t.reason for t in run.trials} == {
        2: None,
        4: "hop 16 → 4: its worker ended with code 0, 3 times",
    }
    left = [int(file.name.partition("-")[2]) for file in tmp_path.glob("child-*")]
    assert len(left) == 3
    wait_for(lambda: not any(map(is_alive, left)))


def is_alive(process: int) -> bool:
    """Whether a process runs; an ended one whose parent has not waited for it does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# The end


def start(folder: Path, study: Study) -> subprocess.Popen[str]:
    (folder / "s.toml").write_text(render(study))
    command = [*TASEARCH, "run", str(folder / "s.toml"), "--runs-dir", str(folder / "runs")]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, "MARK": str(folder)}, **pipes)


@pytest.mark.slow
def test_second_ctrl_c_ends_a_search_whose_worker_hangs(tmp_path: Path) -> None:
    mark = tmp_path / "stuck"
    hang = f"open('{mark}', 'w').close(); sum(itertools.repeat(0))"
    code = f"if self.training and self.width == 4 and len(x) > 2: {hang}"
    process = start(tmp_path, own(tmp_path, {"model": {"family": "own:build"}}, forward=code))
    wait_for(mark.exists)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert "once more to stop at once" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "This continues:" in out
    wait_for(lambda: not runaways(tmp_path))
    status = call("status", tmp_path / "runs" / "tiny")
    assert "interrupted" in status


SWALLOWS = """
if not sys.argv[0].endswith('worker.py'):
    open({mark!r}, 'w').close()
    while True:
        try:
            {wait}
        except BaseException:
            open({caught!r}, 'w').close()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wait", "codes"), [("time.sleep(0.1)", {130}), ("sum(itertools.repeat(0))", {-2})]
)
def test_ctrl_c_ends_preparation_that_catches_it(
    tmp_path: Path, wait: str, codes: set[int]
) -> None:
    """In the process of the search; if it hangs in C, the system itself ends it."""
    mark, caught = tmp_path / "stuck", tmp_path / "caught"
    module = SWALLOWS.format(mark=str(mark), caught=str(caught), wait=wait)
    process = start(tmp_path, own(tmp_path, {"model": {"family": "own:build"}}, module=module))
    wait_for(mark.exists)
    process.send_signal(signal.SIGINT)
    if 130 in codes:
        wait_for(caught.exists)
    else:
        time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode in codes, out + err
    wait_for(lambda: not runaways(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("hang", ["sum(itertools.repeat(0))", "os.kill(os.getpid(), 19)"])
def test_hanging_worker_ends_with_a_killed_search(tmp_path: Path, hang: str) -> None:
    mark = tmp_path / "stuck"
    code = f"if self.training and len(x) > 2: open('{mark}', 'w').close(); {hang}"
    process = start(tmp_path, own(tmp_path, {"model": {"family": "own:build"}}, forward=code))
    wait_for(mark.exists)
    assert len(runaways(tmp_path)) > 1
    process.kill()
    process.communicate(timeout=60)
    wait_for(lambda: not runaways(tmp_path))


# In this process


@pytest.mark.slow
@pytest.mark.parametrize("late", [0, 4])
def test_search_reports_a_sampler_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    """In the process of the search, after a worker has tested it."""
    code = f"SEEN.append(1); len(SEEN) > {late} and os.environ.get('HANG') and time.sleep(600)"
    sections = {"search": {"sampler": "own:sampler"}, "training": {"stall_minutes": 0.05}}
    sections["assistants"] = {"max": 1, "widths": [12, 8], "epochs": 1}
    study = own(tmp_path, sections, proposal=code, module="SEEN = []")

    def hang(event: object) -> None:
        if isinstance(event, TrialStarted):
            monkeypatch.setenv("HANG", "1")

    with pytest.raises(StudyError) as error:
        tasearch.run(study, runs_dir=tmp_path / "runs", trials=9, on_event=hang)
    assert str(error.value) == (
        "search.sampler: Own made no progress for 0.05 minutes (training.stall_minutes)"
    )


@pytest.mark.slow
def test_preparation_reports_a_module_that_waits_for_its_worker(tmp_path: Path) -> None:
    lock = "import fcntl; LOCK = open('own.lock', 'w'); fcntl.flock(LOCK, fcntl.LOCK_EX)"
    study = own(
        tmp_path,
        {"model": {"family": "own:build"}, "training": {"stall_minutes": 0.1}},
        module=lock.replace("own.lock", str(tmp_path / "own.lock")),
    )
    with pytest.raises(StudyError) as error:
        prepare(study, RunOptions(runs_dir=tmp_path / "runs"))
    assert str(error.value) == (
        "model.family: 'own:build': importing it made no progress for 0.1 minutes "
        "(training.stall_minutes)"
    )


@pytest.mark.slow
def test_time_limits_leave_no_timer_behind() -> None:
    limit_calls(0.01)
    try:
        for _ in range(2):
            with (
                pytest.raises(StudyError, match="mine made no progress"),
                timely("mine"),
                timely("inner"),
            ):
                time.sleep(30)
        with timely("mine"):
            pass
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    finally:
        limit_calls(None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "said",
    ["return self.nothing", "raise SystemExit(3)"],
)
def test_exception_without_words_fails_its_trial(tmp_path: Path, said: str) -> None:
    module = f"class Mute(Exception):\n    def __str__(self):\n        {said}\n"
    code = "if logits.requires_grad and len(logits) > 9: raise Mute()"
    sections = {"student": {"loss": ["kd", "own:loss"]}}
    run = rerun_of(tmp_path, own(tmp_path, sections, loss=code, module=module), trials=6)
    failed = [t for t in run.trials if t.state == "failed"]
    assert failed
    assert all(t.reason.endswith(": Mute") for t in failed), failed
    assert any(t.state == "complete" for t in run.trials)


@pytest.mark.slow
def test_pool_reports_a_worker_that_never_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "START_S", 1.0)
    study = tiny(training={"stall_minutes": 0.001})
    pool = Pool(["cpu"], study)
    try:
        first = pool._supervisor.workers[0].process
        os.kill(first._process.pid, signal.SIGSTOP)
        monkeypatch.setattr(remote, "START_S", 3.0)
        worker, kind, death = pool._supervisor.next()
        assert (worker.process, kind) == (first, "")
        assert death.words == "made no progress for 0.05 minutes"
        assert not worker.ready
    finally:
        pool.close()


@pytest.mark.slow
def test_dead_worker_leaves_no_open_file(tmp_path: Path) -> None:
    def files() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    pool, counts = Pool(["cpu"], tiny()), []
    try:
        for _ in range(4):
            workers = pool._supervisor.workers
            worker = workers[0]
            os.kill(worker.process._process.pid, signal.SIGKILL)
            while True:
                found, _, death = pool._supervisor.next()
                if isinstance(death, Death):
                    break
            workers[0] = pool._supervisor.start(found.device)
            time.sleep(0.2)
            counts.append(files())
    finally:
        pool.close()
    assert counts[-1] <= counts[0]
