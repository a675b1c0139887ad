"""A decorated function as a target: sync or async, any of the three return shapes.

Async functions run on one event loop that lives as long as the process, so that an async client made at
module level keeps working from call to call; context variables reach the coroutine.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from functools import cache

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import AgentResult, Candidate, TargetKind, as_result
from rollout_local.targets.decorated import Decorated

TargetFunction = Callable[[Task, Candidate], object]
_starting = threading.Lock()


class FunctionTarget(Decorated):
    """A function `(task, candidate) -> AgentResult | str | dict`, registered under an id."""

    def __init__(
        self, function: TargetFunction, *, id: str, kind: TargetKind, description: str, baseline: Candidate
    ) -> None:
        self.function = function
        self.id = id
        self.kind = kind
        self.description = description
        self.baseline = baseline

    def run(self, task: Task, candidate: Candidate) -> AgentResult:
        """Execute once. Whatever the function raises comes through unchanged."""
        returned = self.function(task, candidate)
        if inspect.isawaitable(returned):
            returned = wait_for(returned)
        return as_result(returned)


def wait_for(awaitable: Awaitable[object]) -> object:
    """What an awaitable gives, waited for on the loop of all async targets; raises what it raises."""

    async def finish() -> tuple[object, BaseException | None]:
        try:
            return await awaitable, None
        except (SystemExit, KeyboardInterrupt) as stop:  # would end the loop, and every later call would wait forever
            return None, stop

    returned, stop = asyncio.run_coroutine_threadsafe(finish(), _loop()).result()
    if stop is not None:
        raise stop
    return returned


def _loop() -> asyncio.AbstractEventLoop:
    with _starting:  # the first calls come from many threads at once
        return _started_loop()


@cache
def _started_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="rollout-async-targets", daemon=True).start()
    return loop
