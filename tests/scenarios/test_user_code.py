"""Whatever a user's code does, the search lives, or says in one message why it cannot be."""

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
from tasearch.train.workers.processes import CUT_OFF, Death
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
    """A study whose module runs a statement at each of some places."""
    (folder / "own.py").write_text(NET.format(**dict.fromkeys(PLACES, "pass") | code))
    student = {"widths": [6, 4, 2], **sections.get("student", {})}
    modes = dict.fromkeys(map(str, (16, *student["widths"])), "fp32")
    training = {"modes": modes, **sections.get("training", {})}
    rest = {"assistants": {"max": 0}} | sections
    study = tiny(**rest | {"student": student, "training": training})
    return study.model_copy(update={"root": str(folder)})


@pytest.fixture(autouse=True)
def nobody_is_left_over() -> Iterator[None]:
    before = children()
    yield
    assert children() == before


def runaways(folder: Path) -> list[str]:
    """Processes that have a folder among their arguments, environment or open files."""
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


@pytest.mark.parametrize(
    ("deed", "reason"),
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
def test_a_hop_whose_worker_dies_fails_and_the_search_goes_on(
    tmp_path: Path, deed: str, reason: str
) -> None:
    body = f"if self.training and self.width == 4 and len(x) > 2: {deed}"
    study = own(tmp_path, {"model": {"family": "own:build"}}, forward=body, module=PIPES)
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


def test_what_is_raised_fails_the_hop_and_ends_no_worker(tmp_path: Path) -> None:
    """In one process, a deed for each width: it writes its number down."""
    deeds = {
        12: ("sys.exit(3)", "SystemExit: 3"),
        10: ("sys.exit()", "SystemExit"),
        8: ("raise Odd('my own')", "Odd: my own"),
        6: ("raise GeneratorExit", "GeneratorExit"),
        4: ("raise KeyboardInterrupt('not a key')", "KeyboardInterrupt: not a key"),
    }
    code = "\n        ".join(
        f"if self.training and self.width == {width} and len(x) > 2: {deed}"
        for width, (deed, _) in deeds.items()
    )
    mark = f"open(f'{tmp_path}/worker-{{os.getpid()}}', 'w').close()\n        "
    sections = {"model": {"family": "own:build"}, "student": {"widths": [*deeds, 2]}}
    sections["training"] = {"modes": dict.fromkeys(map(str, (16, *deeds, 2)), "fp32")}
    study = own(tmp_path, sections, forward="if len(x) > 2 and self.training: " + mark + code)
    run = rerun_of(tmp_path, study, trials=6)
    assert {t.chain[-1]: t.reason for t in run.trials} == {
        width: f"hop 16 → {width}: {reason}" for width, (_, reason) in deeds.items()
    } | {2: None}
    assert len([*tmp_path.glob("worker-*")]) == 1


def test_a_teacher_that_cannot_be_trained_ends_the_search(tmp_path: Path) -> None:
    study = own(
        tmp_path,
        {"model": {"family": "own:build"}},
        forward="if self.training and self.width == 16 and len(x) > 2: os._exit(0)",
    )
    (tmp_path / "s.toml").write_text(render(study))
    text = call("run", tmp_path / "s.toml", "--runs-dir", tmp_path / "runs", code=1)
    assert text.splitlines()[-1] == "error: hop 16: its worker ended with code 0, 3 times"
    with pytest.raises(TrainingError, match="hop 16: its worker ended with code 0, 3 times"):
        rerun_of(tmp_path, study)  # it is not recorded of any trial


@pytest.mark.parametrize("workers", [1, 2])
def test_only_the_guilty_one_of_a_wide_model_fails(tmp_path: Path, workers: int) -> None:
    """Its group go on alone, and so does a hop that was the first of the group."""
    student = {"widths": [4], "loss": ["kd", "own:loss", "ce", "dist"]}
    sections = {"student": student, "training": {"modes": {"4": "fp32 x8+"}}}
    study = own(tmp_path, sections, loss="if len(logits) > 2: os._exit(0)")
    run = rerun_of(tmp_path, study, trials=4, workers=workers)
    found = {t.recipe["student"]["loss"]: (t.state, t.reason) for t in run.trials if t.recipe}
    fine = dict.fromkeys(("kd", "ce", "dist"), ("complete", None))
    bad = ("failed", "hop 16 → 4: its worker ended with code 0, 3 times")
    assert found == fine | {"own:loss": bad}


def test_a_part_of_a_hop_that_dies_is_the_hop(tmp_path: Path) -> None:
    """Of three replicates, shared out to two workers."""
    body = "if self.training and self.width == 4 and len(x) > 2: os._exit(7)"
    sections = {"model": {"family": "own:build"}, "search": {"replicates": 3, "pruner": "none"}}
    study = own(tmp_path, sections, forward=body)
    run = rerun_of(tmp_path, study, trials=3, workers=2)
    assert {t.chain[-1]: (t.state, t.reason) for t in run.trials} == {
        6: ("complete", None),
        4: ("failed", "hop 16 → 4: its worker ended with code 7, 3 times"),
        2: ("complete", None),
    }


def test_deaths_that_pass_change_nothing(tmp_path: Path) -> None:
    """A module that dies twice of each hop, then no more, ends in the bits of one that does not."""
    body = (
        f"mark = f'{tmp_path}/{{self.width}}-'\n"
        "        if self.training and len(x) > 2:\n"
        "            self.count = getattr(self, 'count', 0) + 1\n"
        "            for n in range(2):\n"
        "                if self.count > 30 + n and not os.path.exists(f'{mark}{n}'):\n"
        "                    open(f'{mark}{n}', 'w').close()\n"
        "                    os._exit(0)"
    )
    study = own(tmp_path, {"model": {"family": "own:build"}}, forward=body)
    mortal = rerun_of(tmp_path / "a", study, trials=3)
    assert len([*tmp_path.glob("*-[01]")]) == 8
    straight = rerun_of(tmp_path / "b", study, trials=3, latency_from=mortal.path)
    again = rerun_of(tmp_path / "c", study, trials=3, latency_from=mortal.path, workers=2)
    assert {t.state for t in mortal.trials} == {"complete"}
    assert facts(straight) == facts(again)
    assert contents(straight) == contents(mortal) == contents(again)


# Stuck


@pytest.mark.parametrize(
    "hang",
    [
        "all(x is x for _ in itertools.repeat(0))",
        "threading.Lock().acquire() and threading.Event().wait()",
        "os.kill(os.getpid(), signal.SIGSTOP)",
        "sum(itertools.repeat(0))",  # in C, without letting go of the interpreter
    ],
)
def test_a_hop_that_is_stuck_fails(tmp_path: Path, hang: str) -> None:
    body = f"if self.training and self.width == 4 and len(x) > 2: {hang}"
    sections: dict[str, Any] = {"model": {"family": "own:build"}}
    sections["training"] = {"stall_minutes": 0.25}
    run = rerun_of(tmp_path, own(tmp_path, sections, forward=body), trials=3)
    words = "its worker made no progress for 0.25 minutes (training.stall_minutes)"
    assert {t.chain[-1]: (t.state, t.reason) for t in run.trials} == {
        6: ("complete", None),
        4: ("failed", f"hop 16 → 4: {words}"),
        2: ("complete", None),
    }


def test_the_limit_may_be_changed_within_a_run() -> None:
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
        (
            {"module": "raise Odd('at import')"},
            "search.sampler: 'own:sampler': importing it raised Odd: at import",
        ),
        (
            {"sampler": "ctypes.string_at(0)"},
            "search.sampler: 'own:sampler', when called: its process was killed by signal 11 "
            "(segmentation fault)",
        ),
        (
            {"data": "os._exit(0)"},
            "data.source: 'own:data', when called: its process ended with code 0",
        ),
        (
            {"build": "if width == 4: os._exit(1)"},
            "model.family: 'own:build' at width 4: its process ended with code 1",
        ),
        (
            {"forward": "if not self.training: os.abort()"},
            "model.family: 'own:build' at width 16: its process was killed by signal 6 (aborted)",
        ),
        (
            {"build": "width == 2 and threading.Event().wait()"},
            "model.family: 'own:build' at width 2: its process made no progress for 0.25 minutes "
            "(training.stall_minutes)",
        ),
        (
            {"loss": "sys.exit()"},
            "student.loss: 'own:loss', when called: raised SystemExit",
        ),
        (
            {"proposal": "ctypes.string_at(0)"},
            "search.sampler: 'own:sampler', when asked for a chain: its process was killed by "
            "signal 11 (segmentation fault)",
        ),
        ({"proposal": "os._exit(0)"}, "search.sampler called os._exit(0)"),
    ],
    ids=str,
)
def test_what_ends_a_process_is_found_before_the_search(
    tmp_path: Path, code: dict[str, str], message: str
) -> None:
    sections = {**EVERYWHERE, "student": {"loss": ["kd", "own:loss"]}}
    sections["training"] = {"stall_minutes": 0.25}
    with pytest.raises(StudyError) as error:
        prepare(own(tmp_path, sections, **code), RunOptions(runs_dir=tmp_path))
    assert str(error.value) == message
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize("place", ["module", "build", "sampler"])
def test_the_command_line_says_so_and_ends_with_2(tmp_path: Path, place: str) -> None:
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


def test_a_machine_that_kills_a_worker_once_is_no_fault_of_the_code(tmp_path: Path) -> None:
    mark = tmp_path / "killed"
    code = f"if not os.path.exists('{mark}'): open('{mark}', 'w'), os.kill(os.getpid(), 9)"
    prepared = prepare(own(tmp_path, EVERYWHERE | {}, build=code), RunOptions(runs_dir=tmp_path))
    prepared.close()
    assert mark.exists()


def test_a_sampler_that_ends_the_process_later_is_told(tmp_path: Path) -> None:
    """It runs in the process of the search: here, but when it is tried."""
    later = "sys.argv[0].endswith('worker.py') or args[1].number and os._exit(0)"
    sections: dict[str, Any] = {"search": {"sampler": "own:sampler", "max_concurrent": 1}}
    sections["assistants"] = {"max": 1, "widths": [12]}
    sections["training"] = {"modes": {}, "stack": "never"}
    study = own(tmp_path, sections, proposal=later)
    with pytest.raises(StudyError) as error:
        rerun_of(tmp_path, study, trials=12)
    assert str(error.value) == "search.sampler called os._exit(0)"


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        (lambda: os._exit(0), "mine called os._exit(0)"),
        (lambda: sys.exit("so there"), "mine called sys.exit('so there')"),
        (lambda: (_ for _ in ()).throw(GeneratorExit), "mine raised GeneratorExit"),
    ],
)
def test_what_ends_this_process_is_told(deed: Any, message: str) -> None:
    real = os._exit
    with pytest.raises(StudyError) as error, contained("mine"):
        next(iter(deed())) if "Generator" in message else deed()
    assert str(error.value) == message
    assert os._exit is real


def test_a_process_that_is_forked_within_may_end() -> None:
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
def test_a_death_in_words(code: int, words: str, is_own: bool) -> None:
    assert Death.from_exit_code(code) == Death(words=words, own=is_own)


# Surroundings


def test_a_worker_begins_where_the_search_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the module changes folder, path and environment; the replaced one is as the first."""
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
    body = f"if {dies}: open('{tmp_path}/died', 'w').close(); os._exit(1)"
    study = own(tmp_path, {"model": {"family": "own:build"}}, forward=body, module=module)
    study = study.model_copy(update={"root": str(tmp_path / "code")})
    (tmp_path / "code").mkdir()
    (tmp_path / "own.py").rename(tmp_path / "code" / "own.py")
    run = tasearch.run(study, runs_dir=tmp_path / "runs", trials=1)
    assert [t.state for t in run.trials] == ["complete"]
    assert (tmp_path / "died").exists()


def test_what_it_prints_or_reads_disturbs_nobody(tmp_path: Path) -> None:
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


def test_what_it_has_started_ends_with_it(tmp_path: Path) -> None:
    """A child of a worker, that holds all that it could inherit."""
    body = (
        "if self.training and self.width == 4 and len(x) > 2:\n"
        "            child = os.fork() or time.sleep(600)\n"
        f"            open(f'{tmp_path}/child-{{child}}', 'w').close()\n"
        "            os._exit(0)"
    )
    study = own(tmp_path, {"model": {"family": "own:build"}}, forward=body)
    run = rerun_of(tmp_path, study, trials=2)
    assert {t.chain[-1]: t.reason for t in run.trials} == {
        6: None,
        4: "hop 16 → 4: its worker ended with code 0, 3 times",
    }
    left = [int(file.name.partition("-")[2]) for file in tmp_path.glob("child-*")]
    assert len(left) == 3
    wait_for(lambda: not any(map(is_alive, left)))


def is_alive(process: int) -> bool:
    """Whether it runs; one that nobody has waited for does not."""
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


def test_ctrl_c_twice_ends_a_search_whose_worker_is_stuck(tmp_path: Path) -> None:
    mark = tmp_path / "stuck"
    hang = f"open('{mark}', 'w').close(); sum(itertools.repeat(0))"
    body = f"if self.training and self.width == 4 and len(x) > 2: {hang}"
    process = start(tmp_path, own(tmp_path, {"model": {"family": "own:build"}}, forward=body))
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


@pytest.mark.parametrize(
    ("wait", "codes"), [("time.sleep(0.1)", {130}), ("sum(itertools.repeat(0))", {-2})]
)
def test_ctrl_c_ends_what_catches_it_while_preparing(
    tmp_path: Path, wait: str, codes: set[int]
) -> None:
    """In the process of the search; in C for ever, the system itself ends it."""
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


@pytest.mark.parametrize("hang", ["sum(itertools.repeat(0))", "os.kill(os.getpid(), 19)"])
def test_a_worker_that_is_stuck_ends_with_a_search_that_is_killed(
    tmp_path: Path, hang: str
) -> None:
    mark = tmp_path / "stuck"
    body = f"if self.training and len(x) > 2: open('{mark}', 'w').close(); {hang}"
    process = start(tmp_path, own(tmp_path, {"model": {"family": "own:build"}}, forward=body))
    wait_for(mark.exists)
    assert len(runaways(tmp_path)) > 1
    process.kill()
    process.communicate(timeout=60)
    wait_for(lambda: not runaways(tmp_path))


# In this process


@pytest.mark.parametrize("late", [0, 4])
def test_a_sampler_that_hangs_ends_the_search_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    """After a worker has tried it, in the process of the search."""
    body = f"SEEN.append(1); len(SEEN) > {late} and os.environ.get('HANG') and time.sleep(600)"
    sections = {"search": {"sampler": "own:sampler"}, "training": {"stall_minutes": 0.05}}
    sections["assistants"] = {"max": 1, "widths": [12, 8], "epochs": 1}
    study = own(tmp_path, sections, proposal=body, module="SEEN = []")

    def hang(event: object) -> None:
        if isinstance(event, TrialStarted):
            monkeypatch.setenv("HANG", "1")

    with pytest.raises(StudyError) as error:
        tasearch.run(study, runs_dir=tmp_path / "runs", trials=9, on_event=hang)
    assert str(error.value) == (
        "search.sampler: Own made no progress for 0.05 minutes (training.stall_minutes)"
    )


def test_a_module_that_waits_for_its_own_worker_is_told(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("said", ["return self.nothing", "raise SystemExit(3)"])
def test_an_exception_that_cannot_say_what_it_is_fails_its_trial(tmp_path: Path, said: str) -> None:
    module = f"class Mute(Exception):\n    def __str__(self):\n        {said}\n"
    body = "if logits.requires_grad and len(logits) > 9: raise Mute()"
    sections = {"student": {"loss": ["kd", "own:loss"]}}
    run = rerun_of(tmp_path, own(tmp_path, sections, loss=body, module=module), trials=6)
    failed = [t for t in run.trials if t.state == "failed"]
    assert failed
    assert all(t.reason.endswith(": Mute") for t in failed), failed
    assert any(t.state == "complete" for t in run.trials)


def test_a_worker_that_never_begins_is_replaced(
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


def test_a_dead_worker_leaves_no_open_file(tmp_path: Path) -> None:
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
