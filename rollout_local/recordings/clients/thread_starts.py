"""threading, concurrent.futures and multiprocessing's thread pools: what a trial hands to a thread is the trial's.

Invariant: work in a thread pool, and a thread that its process waits for or that runs the user's code, is in the scope
of whoever handed it over, so that its requests, their errors and their cost are the trial's. A library's daemon thread
is nobody's: exporters and caches live in those. A pool's own thread takes no scope by itself, since it outlives the
trial that happened to start it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

from rollout_local.errors import StopSearch
from rollout_local.library_code import is_library_code
from rollout_local.recordings import scopes
from rollout_local.recordings.clients.hooks import Patch
from rollout_local.tracing import collecting, current_collector

_POOLS = ("concurrent.futures.thread", "multiprocessing.pool")


def pool_patches(module: Any) -> Iterator[Patch]:
    """What to replace in `concurrent.futures.thread`."""
    yield Patch(module.ThreadPoolExecutor, "submit", _submitting)


def worker_patches(module: Any) -> Iterator[Patch]:
    """What to replace in `multiprocessing.pool`; its pools of processes are not for this."""
    for name in ("apply_async", "_map_async", "imap", "imap_unordered"):
        yield Patch(module.Pool, name, functools.partial(_handing_over, module.ThreadPool))


def thread_patches(module: Any) -> Iterator[Patch]:
    """What to replace in `threading`."""
    yield Patch(module.Thread, "start", _starting)


def _submitting(original: Callable[..., object]) -> Callable[..., Any]:
    @functools.wraps(original)
    def submit(pool: object, work: Callable[..., object], /, *values: object, **settings: object) -> Any:
        return original(pool, _carrying(work) if scopes.scope_name() else work, *values, **settings)

    return submit


def _handing_over(thread_pool: type, original: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(original)
    def hand_over(pool: object, work: Callable[..., object], /, *values: object, **settings: object) -> object:
        carries = isinstance(pool, thread_pool) and scopes.scope_name()
        return original(pool, _answering(_carrying(work)) if carries else work, *values, **settings)

    return hand_over


def _answering(work: Callable[..., object]) -> Callable[..., object]:
    """Work that fails where the run ends: its pool takes no other exception for an answer, and would wait for one."""

    @functools.wraps(work)
    def answered(*values: object, **settings: object) -> object:
        try:
            return work(*values, **settings)
        except StopSearch as stop:
            raise RuntimeError(str(stop)) from stop

    return answered


def _starting(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def start(thread: Any) -> Any:
        if scopes.scope_name() not in ("", scopes.IMPORT) and _is_the_trials(thread):
            thread.run = _ending_quietly(_carrying(thread.run))
        return original(thread)

    return start


def _is_the_trials(thread: Any) -> bool:
    """None of a pool's; and one that its process waits for, or that begins in the user's code."""
    begins = inspect.unwrap(_function_of(thread))
    if getattr(begins, "__module__", "") in _POOLS:
        return False
    code = getattr(begins, "__code__", None)
    return not thread.daemon or (code is not None and not is_library_code(code.co_filename))


def _function_of(thread: Any) -> Callable[..., object]:
    """What a thread runs: the function that it was given, or the `run` of its class."""
    function = getattr(thread, "_target", None) or type(thread).run
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__func__", function)  # type: ignore[no-any-return]


def _carrying(work: Callable[..., object]) -> Callable[..., object]:
    """The same work, in the scope and under the collector of spans that are current now."""
    name, collector = scopes.scope_name(), current_collector()

    @functools.wraps(work)
    def carried(*values: object, **settings: object) -> object:
        with scopes.entered(name), collecting(collector) if collector is not None else nullcontext():
            return work(*values, **settings)

    return carried


def _ending_quietly(work: Callable[..., object]) -> Callable[..., object]:
    """What ends the run is known to the trial's scope; Python would print it as a fault of the thread."""

    def run() -> None:
        with suppress(StopSearch):
            work()

    return run
