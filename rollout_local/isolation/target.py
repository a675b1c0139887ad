"""A target whose trials are run in child processes: one at a time in each, as many children as trials at once.

A child is started when a trial finds none waiting, before that trial's clock runs, and is used again for the next one.
Whoever leaves a trial before its child has told its result ends that child: so a time limit ends what hangs.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import AgentResult, Candidate, Target, TargetDefaults, TargetKind
from rollout_local.errors import TargetError
from rollout_local.isolation.messages import Placed, Result
from rollout_local.isolation.process import Child
from rollout_local.isolation.values import unpack_error, unpack_result, unpack_span, unpack_stop
from rollout_local.planning.setup import Setup
from rollout_local.recordings import Recording, scope_name
from rollout_local.recordings.remote import pack_terms
from rollout_local.stop import StopFlag
from rollout_local.targets.capability import CapabilityTarget
from rollout_local.tracing import current_collector

Start = Callable[[], Child]


class IsolatedTarget(TargetDefaults):
    """The target of a run, run in children; what it is (id, text, source) it is as before."""

    def __init__(self, target: Target, start: Start) -> None:
        self._target = target
        self._start = start
        self._idle: list[Child] = []
        self._lock = threading.Lock()

    @property
    def id(self) -> str:
        """The name it is registered under."""
        return self._target.id

    @property
    def kind(self) -> TargetKind:
        """What kind of text it is."""
        return self._target.kind

    @property
    def description(self) -> str:
        """What it is for."""
        return self._target.description

    @property
    def baseline(self) -> Candidate:
        """The text that the search starts from."""
        return self._target.baseline

    @property
    def source(self) -> str:
        """Its source text."""
        return self._target.source

    @property
    def source_hash(self) -> str:
        """`sha256:…` of what decides its behaviour."""
        return self._target.source_hash

    def run(self, task: Task, candidate: Candidate) -> AgentResult:
        """Execute once, in any child."""
        with self.seat() as seat:
            return seat.run(task, candidate)

    @contextmanager
    def seat(self) -> Iterator[Seat]:
        """A child for one trial, ready; it is ended where the trial is left before its result is there."""
        with self._lock:
            found = self._idle.pop() if self._idle else None
        if found is not None and not found.usable:
            found.end()
            found = None
        child = found or self._start()
        try:
            yield Seat(self, child)
        finally:
            if child.usable:
                with self._lock:
                    self._idle.append(child)
            else:
                child.end()

    def close(self) -> None:
        """End the children that wait."""
        with self._lock:
            waiting, self._idle = self._idle, []
        for child in waiting:
            child.end()


class Seat:
    """One child, for one trial."""

    def __init__(self, target: IsolatedTarget, child: Child) -> None:
        self.target = target
        self._child = child

    def run(self, task: Task, candidate: Candidate) -> AgentResult:
        """Execute once. Raises what the target raised, as `values` brings it over."""
        scope = scope_name()
        told = self._child.run(scope, json.dumps(task.model_dump()), candidate.components)
        try:
            spans, found = [unpack_span(span) for span in told["spans"]], self._unpacked(told)
        except (LookupError, TypeError, ValueError):  # the target wrote it, in our name
            raise self._child.spoiled() from None
        collector = current_collector()
        if collector is not None:
            collector.spans.extend(spans)
        if isinstance(found, BaseException):
            raise found
        return found

    def _unpacked(self, told: Result) -> AgentResult | BaseException:
        """The result, or what is to be raised in its place."""
        if "stop" in told:
            return (self._child.raised or unpack_stop(told["stop"])).with_traceback(None)
        if "broken" in told:
            return TargetError(f"it broke what its own process works with ({told['broken']})")
        if "error" in told:
            return unpack_error(told["error"])
        return unpack_result(told["result"])


def seated(target: Target) -> AbstractContextManager[Any]:
    """The target for one trial: a child of its own where it is isolated, else itself."""
    return target.seat() if isinstance(target, IsolatedTarget) else nullcontext(target)


@contextmanager
def placed(setup: Setup, folder: Path, recording: Recording, stop: StopFlag, run: tuple[str, int]) -> Iterator[Target]:
    """The target as the run asks for it: in processes of its own, or as it is. `run` is the run's id and attempt."""
    target, config = setup.target, setup.config
    if not config.isolate:
        yield target
        return
    order: Placed = {
        "config": config.model_dump_json(), "folder": str(folder), "run_id": run[0], "attempt": run[1],
        "terms": pack_terms(recording.terms()), "capability": _capability(target),
    }  # fmt: skip
    with ThreadPoolExecutor(1, thread_name_prefix="rollout-children") as threads:
        isolated = IsolatedTarget(target, lambda: Child(order, recording, stop, threads))
        try:
            yield isolated
        finally:
            isolated.close()


def _capability(target: Target) -> dict[str, object] | None:
    """A capability, which a child has no database to find in."""
    if not isinstance(target, CapabilityTarget):
        return None
    capability = target.capability
    files = {path: base64.b64encode(raw).decode("ascii") for path, raw in capability.files.items()}
    return {**capability.model_dump(mode="json", exclude={"files"}), "files": files}
