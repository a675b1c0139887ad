"""A bar in a notebook: one HTML display that is updated, without a widget, a script or a style sheet.

IPython is looked up among the modules that are loaded and never imported: where it runs the kernel, it is there.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rollout_local.watching.phrases import phase, scores

if TYPE_CHECKING:
    from rollout_local.runs.progress import Progress, Watch

EVERY_S = 0.2
"""Seconds between two updates, at least; the first and the last of a phase are never left out."""
MOST_NOTES = 20


class Display(Protocol):
    """What `IPython.display.display(…, display_id=True)` returns."""

    def update(self, obj: object) -> None:
        """Show `obj` in the place of what was shown."""
        ...


Show = Callable[[str], Display]
"""Shows HTML in a new place of the cell's output."""


def in_kernel() -> bool:
    """Whether a Jupyter kernel runs this Python."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


@contextmanager
def bar(show: Show | None = None, clock: Callable[[], float] = time.monotonic) -> Iterator[Watch]:
    """A bar in the output of the cell that is run; when the block ends, a line that says how far it came stays."""
    drawn = _Bar(show or _shown_by_ipython, clock)
    try:
        yield drawn
    finally:
        drawn.end()


def _shown_by_ipython(html: str) -> Display:
    from IPython.display import display

    handle: Display = display(_Html(html), display_id=True)
    return handle


class _Html:
    """HTML that a notebook shows; its repr is what a notebook without HTML does."""

    def __init__(self, html: str) -> None:
        self._html = html

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return "progress of a rollout run"


class _Bar:
    def __init__(self, show: Show, clock: Callable[[], float]) -> None:
        self._show = show
        self._clock = clock
        self._begun = clock()
        self._drawn_at = -EVERY_S
        self._display: Display | None = None
        self._progress: Progress | None = None
        self._notes: list[str] = []
        self._lock = threading.RLock()

    def progress(self, progress: Progress) -> None:
        """Draw it, unless another was drawn just now."""
        with self._lock:
            before, self._progress = self._progress, progress
            turned = before is None or before.phase != progress.phase or progress.done >= progress.total
            if turned or self._clock() - self._drawn_at >= EVERY_S:
                self._draw(ended=False)

    def note(self, level: str, message: str) -> None:
        """Keep the message under the bar."""
        if level in ("debug", "info"):
            return
        with self._lock:
            self._notes = [*self._notes, f"{level}: {message}"][-MOST_NOTES:]
            self._draw(ended=False)

    def end(self) -> None:
        """The last word."""
        with self._lock:
            if self._progress is not None:
                self._draw(ended=True)

    def _draw(self, *, ended: bool) -> None:
        self._drawn_at = self._clock()
        html = _html(self._progress, self._notes, self._drawn_at - self._begun, ended=ended)
        if self._display is None:
            self._display = self._show(html)
        else:
            self._display.update(_Html(html))


def _html(progress: Progress | None, notes: list[str], seconds: float, *, ended: bool) -> str:
    from rollout_local.reports.page import escaped

    told = "".join(f"<div>{escaped(note)}</div>" for note in notes)
    if progress is None:
        return f'<div style="font:14px/1.5 system-ui,sans-serif">{told}</div>'
    where = f"{escaped(phase(progress))} "
    if progress.total:
        where += (
            f'<progress value="{progress.done}" max="{progress.total}"></progress> {progress.done}/{progress.total} · '
        )
    told_of = escaped(" · ".join(filter(None, [scores(progress), _clock_time(seconds)])))
    return f'<div style="font:14px/1.5 system-ui,sans-serif">{"ran: " if ended else where}{told_of}{told}</div>'


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
