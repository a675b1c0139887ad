"""The program of a child: loads the target as the run did, then runs one task after the other until the run hangs up.

Tasks run in the main thread; another one listens. Where the run is gone in the middle of a task, the child ends at
once, and what it started with it. What is printed goes to where the run prints.
"""

from __future__ import annotations

import base64
import ctypes
import io
import itertools
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from rollout_local.domain.dataset import Task
from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import Candidate, Target
from rollout_local.errors import RolloutError, StopSearch
from rollout_local.isolation.messages import FromChild, FromRun, Load, Replied, Result, Run, Told
from rollout_local.isolation.pipes import CLOSED, Channel
from rollout_local.isolation.values import pack_error, pack_result, pack_span, pack_stop, unpack_stop
from rollout_local.planning import environment
from rollout_local.recordings import IMPORT, scope
from rollout_local.recordings.remote import RemoteRecording, RemoteReply, Request, opened, unpack_terms
from rollout_local.targets.registry import get_optimization_target, load_modules, raised_by_us
from rollout_local.tracing import Collector, collecting

_DIE_WITH_PARENT = 1
"""`PR_SET_PDEATHSIG` of Linux's prctl(2)."""
_RETURNED = 70
"""Exit status of a process that the target forked, and let return into our code."""


def main(reading: str, writing: str, parent: str) -> None:
    """Serve the run at the other ends of these pipes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        return
    os.register_at_fork(after_in_child=lambda: _let_go(int(reading), int(writing)))
    link = RunLink(Channel[FromRun](int(reading), int(writing)), _end_at_once)
    sys.stdout, sys.stderr = Forwarded("stdout", 1, link), Forwarded("stderr", 2, link)
    serve(link)


def _let_go(*pipes: int) -> None:
    """A process that the target forks holds no pipe of ours, and prints for itself."""
    for pipe in pipes:
        os.close(pipe)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__


def _end_at_once() -> NoReturn:
    os.killpg(os.getpgrp(), signal.SIGKILL)
    os._exit(_RETURNED)


class RunLink:
    """The child's end of the pipes: orders come, questions go. `gone` is called where the run is, during a task."""

    def __init__(self, channel: Channel[FromRun], gone: Callable[[], None]) -> None:
        self.busy = True
        self._channel = channel
        self._gone = gone
        self._orders: queue.SimpleQueue[Load | Run | None] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[Replied]] = {}
        threading.Thread(target=self._listen, daemon=True, name="rollout-run").start()

    def order(self) -> Load | Run | None:
        """What is to be done next; None where the run has hung up."""
        self.busy = False
        found = self._orders.get()
        self.busy = True
        return found

    def tell(self, message: FromChild) -> None:
        """Say what came of it."""
        self._channel.send(message)

    def ask(self, what: Request) -> RemoteReply:
        """An answer of the run. Raises what was raised there."""
        number, answers = next(self._numbers), queue.SimpleQueue[Replied]()
        self._waiting[number] = answers
        self.tell({"do": "ask", "number": number, "what": what})
        told = answers.get()
        del self._waiting[number]
        if "raise" in told:
            raise unpack_stop(told["raise"])
        return told["answer"]

    def _listen(self) -> None:
        while (message := self._channel.receive()) is not None:
            if message["do"] == "reply":
                asked = self._waiting.get(message["number"])
                if asked is not None:  # a target may ask in our name
                    asked.put(message)
            else:
                self._orders.put(message)
        if self._channel.is_closed_here:
            os._exit(CLOSED)
        if self.busy:
            self._gone()
        self._orders.put(None)


class Forwarded(io.TextIOWrapper):
    """A stream that is written where the run writes; its descriptor is the child's own."""

    def __init__(self, name: str, descriptor: int, link: RunLink) -> None:
        super().__init__(_Raw(name, descriptor, link), encoding="utf-8", errors="replace", write_through=True)


class _Raw(io.RawIOBase):
    def __init__(self, name: str, descriptor: int, link: RunLink) -> None:
        self.name = f"<{name}>"
        self._stream = name
        self._descriptor = descriptor
        self._link = link

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: Any) -> int:
        text = bytes(data).decode("utf-8", "replace")
        self._link.tell({"do": "print", "stream": self._stream, "text": text})
        return len(data)


def serve(link: RunLink) -> None:
    """Load the target, then run what is ordered."""
    first = link.order()
    if first is None:
        return
    assert first["do"] == "load", "the first order"
    sys.path[:], sys.argv[:] = first["path"], first["argv"]
    config = RunConfig.model_validate_json(first["config"])
    with opened(unpack_terms(first["terms"]), link.ask) as recording:
        try:
            with scope(IMPORT):
                target = _load(config, first)
        except (RolloutError, StopSearch) as error:
            link.tell({"do": "failed", "words": str(error)})
            return
        with_dspy = "dspy" in sys.modules or "dspy" in target.source  # importing it takes seconds
        with environment.during(config, first["run_id"], first["attempt"], with_dspy=with_dspy):
            link.tell({"do": "loaded"})
            while (order := link.order()) is not None:
                assert order["do"] == "run", "every other order"
                link.tell(_run(target, order, recording))


def _load(config: RunConfig, first: Load) -> Target:
    told = first["capability"]
    if told is None:
        load_modules(config.modules, Path(first["folder"]))
        return get_optimization_target(str(config.target))
    from rollout_local.planning.target import agent_target
    from rollout_local.targets.agent_files import Capability

    files = {path: base64.b64decode(raw) for path, raw in told.pop("files").items()}
    return agent_target(Capability.model_validate({**told, "files": files}), config)


def _run(target: Target, order: Run, recording: RemoteRecording) -> Result:
    """What came of one task, with all that is to be known of it beside."""
    collector, process, blocked = Collector(), os.getpid(), len(recording.blocked)
    try:
        with collecting(collector), scope(order["scope"]):
            told = _told(target, order)
    finally:
        if os.getpid() != process:
            os._exit(_RETURNED)
    spans = [pack_span(span) for span in collector.spans]
    return {
        "do": "result", "number": order["number"], "spans": spans, "noted": recording.bypasses.news(),
        "blocked": recording.blocked[blocked:], **told,
    }  # fmt: skip


def _told(target: Target, order: Run) -> Told:
    try:
        task = Task.model_validate(json.loads(order["task"]))
        result = target.run(task, Candidate(components=order["components"]))
    except BaseException as error:  # noqa: BLE001 - a target may raise anything; it is raised in the run
        if issubclass(type(error), StopSearch) and raised_by_us(error):
            return {"stop": pack_stop(error)}
        return {"error": pack_error(error)}
    try:
        return {"result": pack_result(result)}
    except Exception as error:  # noqa: BLE001 - what it works with may be gone: a target can replace it
        return {"broken": f"{type(error).__name__}: {error}"}
