"""A bar on a terminal, or lines in a pipe; both on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rollout_local.watching.phrases import phase, scores

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from rollout_local.runs.progress import Progress, Watch


@contextmanager
def bar(*, color: bool) -> Iterator[Watch]:
    """A bar as wide as the terminal, gone when the block ends."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[scores]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        console=Console(file=sys.stderr, no_color=not color, highlight=False), transient=True,
    ) as drawn:  # fmt: skip
        yield _Bar(drawn)


class _Bar:
    def __init__(self, drawn: RichProgress) -> None:
        self._drawn = drawn
        self._tasks: dict[str, TaskID] = {}

    def progress(self, progress: Progress) -> None:
        if progress.phase not in self._tasks:
            for task in self._tasks.values():
                self._drawn.update(task, visible=False)
            self._tasks[progress.phase] = self._drawn.add_task(
                phase(progress), total=max(progress.total, 1), completed=progress.done, scores=""
            )
        self._drawn.update(
            self._tasks[progress.phase], description=phase(progress), completed=progress.done, scores=scores(progress)
        )

    def note(self, level: str, message: str) -> None:
        if level != "info":
            self._drawn.console.print(f"{level}: {message}", markup=False)


class LineWatch:
    """About ten lines a phase."""

    def __init__(self) -> None:
        self._last = -1

    def progress(self, progress: Progress) -> None:
        """A line for every tenth of the phase."""
        step = max(1, progress.total // 10)
        if progress.done // step != self._last and progress.done:
            self._last = progress.done // step
            print(f"{phase(progress)} {progress.done}/{progress.total} {scores(progress)}", file=sys.stderr, flush=True)

    def note(self, level: str, message: str) -> None:
        """The message, with its level unless that is info."""
        print(f"{level}: {message}" if level != "info" else message, file=sys.stderr, flush=True)
