"""threading and concurrent.futures: what a trial hands to a thread is the trial's.

Invariant: work in a thread pool, and a thread that its process waits for, is in the scope of whoever handed it over, so
that its requests, their errors and their cost are the trial's. A daemon thread is nobody's: exporters and caches live
in those. An executor's thread takes no scope by itself, since it outlives the trial that happened to start it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

from rollout_local.errors import StopSearch
from rollout_local.recordings import scopes
from rollout_local.recordings.clients.hooks import Patch
from rollout_local.tracing import collecting, current_collector

_POOLS = "concurrent.futures.thread"


def pool_patches(module: Any) -> Iterator[Patch]:
    """What to replace in `concurrent.futures.thread`."""
    yield Patch(module.ThreadPoolExecutor, "submit", _submitting)


def thread_patches(module: Any) -> Iterator[Patch]:
    """What to replace in `threading`."""
    yield Patch(module.Thread, "start", _starting)


def _submitting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def submit(pool: Any, work: Callable[..., Any], /, *values: Any, **settings: Any) -> Any:
        return original(pool, _carrying(work) if scopes.scope_name() else work, *values, **settings)

    return submit


def _starting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def start(thread: Any) -> Any:
        if scopes.scope_name() not in ("", scopes.IMPORT) and _is_waited_for(thread):
            thread.run = _ending_quietly(_carrying(thread.run))
        return original(thread)

    return start


def _is_waited_for(thread: Any) -> bool:
    """No daemon, and none of an executor's."""
    of_an_executor = getattr(getattr(thread, "_target", None), "__module__", "") == _POOLS
    return not thread.daemon and not of_an_executor


def _carrying(work: Callable[..., Any]) -> Callable[..., Any]:
    """The same work, in the scope and under the collector of spans that are current now."""
    name, collector = scopes.scope_name(), current_collector()

    @functools.wraps(work)
    def carried(*values: Any, **settings: Any) -> Any:
        with scopes.entered(name), collecting(collector) if collector is not None else nullcontext():
            return work(*values, **settings)

    return carried


def _ending_quietly(work: Callable[..., Any]) -> Callable[..., Any]:
    """What ends the run is known to the trial's scope; Python would print it as a fault of the thread."""

    def run() -> None:
        with suppress(StopSearch):
            work()

    return run
