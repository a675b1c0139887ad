"""What a child asks: recorded in the scope of its trial, replayed to the same answers, and held by the same guard."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from rollout_local.domain.dataset import Task
from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import TargetKind
from rollout_local.errors import Paused, RecordingMiss
from rollout_local.isolation.target import placed
from rollout_local.planning.target import agent_target
from rollout_local.recordings import Memory, open_recording, scope
from rollout_local.recordings.file import survey
from rollout_local.runs.execution import Executor, Wire
from rollout_local.simulator import Simulator
from rollout_local.stop import StopFlag
from rollout_local.targets.agent_files import Agent, Capability
from rollout_local.targets.function import FunctionTarget
from tests.unit.isolation.conftest import TEXT

ASKING = """
import asyncio, json, os, socket, threading, urllib.request
import httpx

URL = os.environ["ASKED"]
LOG = []

def body(text, **more):
    return {"model": "sim-student", "messages": [{"role": "user", "content": text}], **more}

def plain(text):
    return httpx.post(URL, json=body(text), headers={"authorization": "Bearer sk-0123456789abcdef"}).json()

def streamed(text):
    with httpx.Client() as client, client.stream("POST", URL, json=body(text, stream=True)) as reply:
        return "".join(reply.iter_lines())

def urllibs(text):
    asked = urllib.request.Request(URL, json.dumps(body(text)).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(asked) as reply:
        return reply.read().decode()

def failing(text):
    try:
        httpx.post("http://127.0.0.1:1/", json=body(text))
    except httpx.ConnectError as error:
        return type(error).__name__

def threads(text):
    found = []
    made = [threading.Thread(target=lambda n=n: found.append(plain(f"{text} {n}")["usage"])) for n in range(3)]
    [one.start() for one in made]
    [one.join() for one in made]
    return sorted(map(str, found))

async def together(text):
    async with httpx.AsyncClient() as client:
        replies = await asyncio.gather(*(client.post(URL, json=body(f"{text} {n}")) for n in range(3)))
    return [reply.json()["usage"] for reply in replies]

@rollout.optimize(id="odd", baseline="Answer.")
def odd(task, candidate):
    how = globals()[task.instruction]
    given = how(task.instruction)
    return {"output": asyncio.run(given) if asyncio.iscoroutine(given) else given}

def raw(text):
    socket.create_connection(("127.0.0.1", 1))

def spawned(text):
    import multiprocessing
    one = multiprocessing.get_context("spawn").Process(target=print)
    one.start()
    one.join()
    return "x"
"""
WAYS = ("plain", "streamed", "urllibs", "failing", "threads", "together")


@pytest.fixture
def asked(simulate: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch) -> Simulator:
    simulator = simulate()
    monkeypatch.setenv("ASKED", f"{simulator.url}/chat/completions")
    return simulator


def outputs(executor: Any) -> list[Any]:
    found = [executor.run(f"trial/{way}", Task(name=way, instruction=way), TEXT, again=False) for way in WAYS]
    assert [one.error for one in found] == [None] * len(WAYS)
    return [one.result.output for one in found]


def kept(path: Path) -> list[tuple[str, str, int | str]]:
    return sorted((entry.scope, entry.key, entry.outcome) for entry in survey(path).entries)


def test_every_way_to_ask_is_recorded_and_replayed_as_in_the_run_s_own_process(
    isolating: Callable[..., Any], asked: Simulator, tmp_path: Path
) -> None:
    with isolating(ASKING) as place:
        apart = outputs(place.executor)
        calls = asked.calls()["total"]
        assert "[DONE]" in apart[1]
        assert len(place.run("plain", "trial/plain").exchanges) == 1
    here: dict[str, Any] = {}
    unregistered = ASKING.replace('@rollout.optimize(id="odd", baseline="Answer.")\n', "")
    exec(unregistered, here)
    same = FunctionTarget(here["odd"], id="odd", kind=TargetKind.PROMPT, description="", baseline=TEXT)
    with open_recording(tmp_path / "here.yaml") as recording:
        assert len(outputs(Executor(same, recording, Wire()))) == len(WAYS)
    assert [one for one in kept(tmp_path / "recording.yaml") if one[0] != "trial/plain"] == [
        one for one in kept(tmp_path / "here.yaml") if one[0] != "trial/plain"
    ]
    assert b"0123456789abcdef" not in (tmp_path / "recording.yaml").read_bytes()
    before = asked.calls()["total"]
    assert before == calls * 2 + 1
    with open_recording(tmp_path / "recording.yaml", "none", partial=True) as recording:
        assert outputs(Executor(same, recording, Wire())) == apart
    with isolating(ASKING, mode="none", settings={"partial": True}) as place:
        assert outputs(place.executor) == apart
        with pytest.raises(
            RecordingMiss, match=r"A replay opens no sockets, but something tried to reach 127\.0\.0\.1:1"
        ):
            place.run("raw")
        with pytest.raises(RecordingMiss, match="the target started a process of multiprocessing"):
            place.run("spawned")
    assert asked.calls()["total"] == before


def test_what_passes_by_is_told_and_what_an_offline_run_may_not_reach_is_refused(
    isolating: Callable[..., Any], asked: Simulator
) -> None:
    with isolating(ASKING) as place:
        assert place.run("raw").error is not None
        assert place.run("spawned").result.output == "x"
        told = " ".join(place.recording.bypasses.noted())
        assert "the target reached 127.0.0.1:1 with a client that recordings do not cover" in told
        assert "the target started a process of multiprocessing" in told
    far = ASKING.replace('httpx.post("http://127.0.0.1:1/"', 'httpx.post("http://far.example/"')
    with isolating(far, settings={"allow_hosts": []}) as place:
        assert place.run("plain").result.output["usage"]
        with pytest.raises(Paused, match=r"offline: a request to far\.example was stopped"):
            place.run("failing")


def test_a_limit_passes_in_the_middle_of_a_call(isolating: Callable[..., Any], simulate: Any, monkeypatch: Any) -> None:
    simulator = simulate(latency_ms=20_000)
    monkeypatch.setenv("ASKED", f"{simulator.url}/chat/completions")
    with isolating(ASKING, timeout=1.0) as place:
        begun = time.monotonic()
        execution = place.run("plain")
        assert (execution.overrun, execution.in_flight) == (True, True)
        assert time.monotonic() - begun < 20
        assert place.recording.in_flight("trial/a") == 0


def test_what_the_gate_raises_ends_the_run_even_where_the_target_swallows_it(
    isolating: Callable[..., Any], asked: Simulator
) -> None:
    reason = Paused("--max-cost is spent", reason="cost_limit")

    def gate(*_: Any) -> None:
        raise reason

    with isolating(ASKING, settings={"gate": gate}) as place:
        with pytest.raises(Paused) as caught:
            place.run("plain")
        assert caught.value is reason


def test_what_a_module_asks_while_it_is_imported_is_asked_once(
    isolating: Callable[..., Any], asked: Simulator, tmp_path: Path
) -> None:
    memory = Memory()
    question = {"model": "sim-student", "messages": [{"role": "user", "content": "at import"}]}
    with open_recording(None, memory=memory), scope("import"):
        said = httpx.post(f"{asked.url}/chat/completions", json=question).json()
    importing = (
        ASKING + f"AT_IMPORT = httpx.post(URL, json={question!r}).json()\ndef imported(text): return AT_IMPORT\n"
    )
    with isolating(importing) as place:
        place.recording.adopt(memory)
        assert place.run("imported").result.output == said
    assert asked.calls()["total"] == 1
    assert [one[0] for one in kept(tmp_path / "recording.yaml")] == ["import"]
    with isolating(importing, mode="none") as place:
        assert place.run("imported").result.output == said


def test_an_agent_of_a_capability_runs_in_a_child_as_it_does_here(simulate: Callable[..., Simulator]) -> None:
    agent = Agent(name="triage", path="agents/triage.md", body="Help.")
    files = {
        "agents/triage.md": b"Help.",
        "tools/orders.py": b'def lookup(order: str) -> str:\n    return "\xc3\xa9"\n',
    }
    made = Capability(
        name="support", version="1.0.0", description="", agents=(agent,), tools=("tools/orders.py",), files=files
    )
    config = RunConfig(
        capability="support@1.0.0", isolate=True, task_model="openai/sim-student", task_api_base=simulate().url
    )
    target = agent_target(made, config)
    setup: Any = SimpleNamespace(target=target, config=config)
    task = Task(name="a", input={"goal": "Where is order 7?"})
    with open_recording(None) as recording:
        here = Executor(target, recording, Wire()).run("trial/a", task, TEXT, again=False).result
        with placed(setup, Path.cwd(), recording, StopFlag(), ("opt_x", 1)) as isolated:
            assert isolated.source_hash == target.source_hash
            assert (isolated.kind, isolated.description) == (target.kind, target.description)
            there = isolated.run(task, TEXT)
    assert here is not None
    assert (there.output, there.metadata) == (here.output, here.metadata)
