"""A child: what it does is what the run's own process would have seen; what it does to itself is its own end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollout_local.domain.target import AgentResult
from rollout_local.errors import Cancelled, InputError, Paused, TargetError
from rollout_local.isolation.process import NoChild
from tests.children import until
from tests.conftest import ROOT

DO = """
import os, signal, subprocess, sys, threading, time

@rollout.optimize(id="odd", baseline="Answer.")
def odd(task, candidate):
    return eval(task.instruction, globals(), {"task": task, "candidate": candidate})

def quit(): raise SystemExit(3)
def spans():
    from rollout_local.tracing import Span, current_collector
    current_collector().spans.append(Span("step", "tool", 1.0, input={"a": 1}, output=object))
    return "done"
class Mine(BaseException): pass
def mine(): raise Mine("my own")
def cause():
    try: {}["k"]
    except KeyError as error: raise ValueError("no such key") from error
def state(n=[0]):
    n[0] += 1
    return str(n[0])
def loop():
    while True: pass
def paused():
    from rollout_local.errors import Paused
    raise Paused("I am the user's")
def broken():
    import json
    json.dumps = None
    return {"output": [1]}
def helper():
    helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    open("helper", "w").write(str(helper.pid))
    time.sleep(60)
def forked():
    if os.fork() == 0: return "a copy"
    return "itself"
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]


def gone(pid: int) -> bool:
    end = time.monotonic() + 10
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


def test_what_a_target_gives_and_raises_comes_over(
    isolating: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with isolating(DO) as place:
        assert place.run("candidate.text + task.name").result == AgentResult(output="Answer.a")
        one = place.run("rollout.AgentResult(output=(1, {2: 'b'}), cost_usd=0.5, trace_id='t', metadata={'m': {1}})")
        assert one.result == AgentResult(output=[1, {"2": "b"}], cost_usd=0.5, trace_id="t", metadata={"m": "{1}"})
        assert place.run("[(1, 2), {1: 'a'}]").result.output == [(1, 2), {1: "a"}]
        assert type(place.run("{'output': [object()]}").result.output).__name__ == "list"
        assert place.raised("None").startswith("InputError: the target returned nothing")
        assert place.raised("rollout.AgentResult(output='x', cost_usd=float('inf'))").startswith("ValidationError")
        assert place.raised("cause()") == "ValueError: no such key"
        assert isinstance(place.run("cause()").error.__cause__, Exception)
        assert place.raised("quit()") == "SystemExit: 3"
        assert place.raised("mine()") == "Mine: my own"
        assert place.raised("paused()") == "Paused: I am the user's"
        assert (place.run("state()").result.output, place.run("state()").result.output) == ("1", "2")
        assert place.run("rollout.current_run().run_id").result.output == "opt_x"
        assert place.run("task.input.setdefault('a', 'b')", input={}).result.output == "b"
        span = place.run("spans()").spans[0]
        assert (span.name, span.input, span.output) == ("step", {"a": 1}, repr(object))
        place.run("print('hello') or sys.stderr.write('there') and sys.stdout.fileno() and 'x'")
        told = capsys.readouterr()
        assert ("hello\n" in told.out, "there" in told.err) == (True, True)
        assert place.run("forked()").result.output == "itself"
        assert isinstance(place.run("None").error, InputError)
        held = place.run("[os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd') if int(n) > 2 "
                         "and os.path.exists(f'/proc/self/fd/{n}')]").result.output  # fmt: skip
        assert [one.partition(":")[0] for one in held] == ["pipe", "pipe"]
        assert place.run("os.getpgrp() == os.getpid() != 1").result.output is True
        assert len(place.waiting) == 1


ENDS = {
    "os._exit(3)": "it ended its own process (exit status 3)",
    "os.kill(os.getpid(), signal.SIGSEGV)": "its own process crashed (SIGSEGV)",
    "os.closerange(3, 256) or time.sleep(30)": "it closed the pipes between its own process and the run",
    "broken()": "it broke what its own process works with (TypeError: 'NoneType' object is not callable)",
}


def test_a_child_that_ends_itself_fails_its_trial_and_the_next_trial_has_another(
    isolating: Callable[..., Any],
) -> None:
    with isolating(DO) as place:
        for asked, said in ENDS.items():
            error = place.run(asked).error
            assert (type(error), str(error)) == (TargetError, said)
        with pytest.raises(Paused, match=r"killed from outside \(SIGKILL; where memory is short"):
            place.run("os.kill(os.getpid(), signal.SIGKILL)")
        place.run("'x'")
        os.kill(place.pid, signal.SIGKILL)  # while it waits
        until(lambda: not place.waiting[0].usable)
        assert place.run("'y'").result.output == "y"


WROTE = "TargetError: it wrote into the pipes between its own process and the run"
NO_MESSAGES = {
    "text": "b'hello, hello, hello'",
    "a length": "(5000).to_bytes(8, 'big')",
    "a length after the mark": "MARK + (2**40).to_bytes(8, 'big')",
    "no JSON": "MARK + (3).to_bytes(8, 'big') + b'{{{'",
    "nested too deep": "MARK + (200_000).to_bytes(8, 'big') + b'[' * 200_000",
    "a list": "framed(['do'])",
    "of no kind": "framed({'do': ['run']})",
    "loaded twice": "framed({'do': 'loaded'})",
    "failed after all": "framed({'do': 'failed', 'words': 'x'})",
    "fields missing": "framed({'do': 'result'})",
    "a field of another type": "framed(result(noted=3, result=[]))",
    "an item of another type": "framed(result(spans=[1]))",
    "a result of another order": "framed(result(number=99, broken='x'))",
    "nothing of a result": "framed(result())",
    "an output that is no JSON": "framed(result(result={'output': '{', 'type': 'str', 'trace_id': None, "
    "'latency_ms': None, 'cost_usd': None, 'metadata': '{}'}))",
    "an error of no class": "framed(result(error=[]))",
    "a stop of no kind": "framed(result(stop={'stop': 'Nope', 'words': 'x'}))",
    "a question of no kind": "framed({'do': 'ask', 'number': 1, 'what': {}})",
    "printed numbers": "framed({'do': 'print', 'stream': 'stdout', 'text': 3})",
}  # fmt: skip
WRITING = """
import json, os, stat
MARK = b"\\x00rl1"
def framed(value):
    data = json.dumps(value).encode()
    return MARK + len(data).to_bytes(8, "big") + data
def result(number=1, **more):
    return {"do": "result", "number": number, "spans": [], "noted": [], "blocked": [], **more}
def write(data):
    for pipe in range(3, 4096):  # they have the numbers that they had in the run
        try:
            if stat.S_ISFIFO(os.fstat(pipe).st_mode):
                os.write(pipe, data)
        except OSError:
            pass
    return "what it gave"
"""


@pytest.mark.parametrize("written", NO_MESSAGES.values(), ids=NO_MESSAGES)
def test_what_a_target_writes_into_the_pipes_fails_its_trial_in_a_sentence_and_no_other(
    written: str, isolating: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    with isolating(DO + WRITING) as place:
        assert place.raised(f"write({written})") == WROTE
        assert place.run("'of the next one'").result.output == "of the next one"
    assert "Traceback" not in capfd.readouterr().err


def test_a_question_in_our_name_is_answered_to_nobody(
    isolating: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    end = "{'do': 'end', 'call': 7, 'answer': None, 'encoded': False}"
    with isolating(DO + WRITING) as place:
        asked = f"write(framed({{'do': 'ask', 'number': 99, 'what': {end}}}))"
        assert place.run(asked).result.output == "what it gave"
        assert place.run("'y'").result.output == "y"
    assert "Traceback" not in capfd.readouterr().err


def test_a_module_that_writes_into_the_pipes_pauses_the_run(isolating: Callable[..., Any]) -> None:
    said = "cannot load the target: it wrote into the pipes"
    with isolating(WRITING + "write(framed(result(broken='x')))\n") as place, pytest.raises(NoChild, match=said):
        place.run("'x'")


def test_a_time_limit_ends_the_child_with_what_it_started(isolating: Callable[..., Any], tmp_path: Path) -> None:
    with isolating(DO, timeout=1.5) as place:
        assert place.run("os.chdir(sys.path[0]) or 'x'").result.output == "x"
        first = place.pid
        execution = place.run("helper()")
        assert (execution.overrun, execution.in_flight, execution.seconds < 30) == (True, False, True)
        assert gone(first)
        assert gone(int((tmp_path / "helper").read_text()))
        assert place.run("loop()").overrun


def test_what_hangs_after_a_stop_of_the_run_is_ended(
    isolating: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollout_local.isolation.process.GRACE", 0.3)
    with isolating(DO) as place:
        place.run("'x'")
        place.stop.stop(Cancelled("enough"))
        with pytest.raises(Cancelled, match="enough"):
            place.run("time.sleep(60)")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("raise ValueError('not today')\n", "cannot load the target: module 'odd' raised on import at .*not today"),
        ("import os\nos._exit(9)\n", r"ended while it was starting \(it ended its own process \(exit status 9\)\)"),
    ],
)
def test_a_child_that_cannot_load_the_target_pauses_the_run(
    isolating: Callable[..., Any], source: str, said: str
) -> None:
    with isolating(source) as place, pytest.raises(NoChild, match=said):
        place.run("'x'")


def test_a_process_that_cannot_be_started_pauses_the_run(
    isolating: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with isolating(DO) as place:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(NoChild, match=r"cannot be started \(No such file or directory\)"):
            place.run("'x'")


RUNNER = """
import sys, threading, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.unit.isolation.conftest import isolating
with isolating.__wrapped__(Path({folder!r}))({source!r}) as place:
    place.run("'x'")
    print(place.pid, flush=True)
    place.run({asked!r})
"""


def test_a_child_ends_with_a_runner_that_is_killed(tmp_path: Path) -> None:
    asked = "sum([1]) if next(n for n in range(10**11) if n < 0) else ''"  # no thread of the child's gets a turn soon
    program = RUNNER.format(root=str(ROOT), folder=str(tmp_path), source=DO, asked=asked)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        child = int(runner.stdout.readline())
        assert alive(child)
        time.sleep(0.3)
        runner.kill()
    assert gone(child)
