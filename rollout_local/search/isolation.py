"""What stands between DSPy and a run: errors of ours pass through it, its bars and logs do not."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import dspy

from rollout_local.errors import StopSearch
from rollout_local.library_logs import library_logs_off
from rollout_local.search.engine import Signals


class SignalFailed(StopSearch):
    """Carries what a signal raised past DSPy, which would score it 0, and GEPA, which would log it and go on."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def loud(signals: Signals) -> Signals:
    """`signals` whose first exception ends the search; after it, no call gets through."""
    failed: list[SignalFailed] = []

    def loud(signal: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if failed:
                raise failed[0]
            try:
                return signal(*arguments)
            except Exception as error:
                failed.append(SignalFailed(error))
                raise failed[0] from error

        return call

    return Signals(
        loud(signals.evaluate), loud(signals.reflect), loud(signals.emit), loud(signals.should_stop),
        loud(signals.judge),
    )  # fmt: skip


_TQDM = re.compile(r"\r.*?\d+/\d+ \[\d+:\d+<", re.DOTALL)


class _WithoutLoopBars:
    """A stream without the bars of DSPy's own loops, which tqdm draws on stderr. All else is the stream's."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Drop a bar."""
        if _TQDM.match(text) is None:
            self._stream.write(text)
        return len(text)


class _WithoutBars(io.TextIOBase):
    """Hands what is printed on to stderr, but for the progress bars that DSPy draws on its trace pass."""

    def __init__(self) -> None:
        self._in_bar = False

    def write(self, text: str) -> int:
        """Drop what begins with a carriage return, and the line's end that follows it."""
        bar = text.startswith("\r") or (self._in_bar and text in {"\n", ""})
        self._in_bar = text.startswith("\r")
        if not bar:
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """Pass it on."""
        sys.stderr.flush()


_in_trial: ContextVar[bool] = ContextVar("rollout_in_trial", default=False)


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """What is printed inside the block is the target's, and kept by `own_prints_dropped`."""
    token = _in_trial.set(True)
    try:
        yield
    finally:
        _in_trial.reset(token)


class _OfTrials(io.TextIOBase):
    """Hands on what is printed in a trial; an optimizer's own account of itself is dropped."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Pass it on, or drop it."""
        if _in_trial.get():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Pass it on."""
        self._stream.flush()


@contextlib.contextmanager
def own_prints_dropped() -> Iterator[None]:
    """MIPROv2 and the bootstraps print what they do, and the source of signatures; only trials are heard."""
    with contextlib.redirect_stdout(_OfTrials(sys.stdout)):
        yield


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """DSPy prints bars to stdout and logs every iteration: stdout is for results."""
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    with (
        library_logs_off(),
        contextlib.redirect_stderr(_WithoutLoopBars(sys.stderr)),
        contextlib.redirect_stdout(_WithoutBars()),
    ):
        yield
