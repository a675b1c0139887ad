"""What a person sees of a running run (a bar on stderr), and how they stop it (Ctrl-C, once to pause)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from rollout_local.cli.stdout import prints_aside
from rollout_local.errors import Paused

if TYPE_CHECKING:
    from rollout_local.runs.progress import Progress, Watch
    from rollout_local.stop import StopFlag


@contextmanager
def shown(*, quiet: bool, color: bool) -> Iterator[Watch]:
    """A watch for one run: a bar on a terminal, lines in a pipe, nothing when quiet. The target's prints go aside."""
    from rollout_local.runs.progress import Silent

    with prints_aside():
        if quiet:
            yield Silent()
        elif sys.stderr.isatty():
            with _bar(color=color) as bar:
                yield _Bar(bar)
        else:
            yield _Lines()


@contextmanager
def interruptible(stop: StopFlag) -> Iterator[None]:
    """Ctrl-C and SIGTERM pause the run; a second one ends the process at once, and a child that a target forked."""
    process = os.getpid()

    def handler(number: int, _frame: Any) -> None:
        if os.getpid() != process:  # a pool ends its workers so, and waits until they are gone
            os._exit(128 + number)
        if not stop.stop(Paused("interrupted; go on with the same command", interrupted=True)):
            os._exit(130)
        click.echo("rollout: pausing; the calls in flight are finished first (again to stop at once)", err=True)

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _bar(*, color: bool) -> Any:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from rollout_local.cli.options import console

    return Progress(
        TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[scores]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        console=console(color=color, stderr=True), transient=True,
    )  # fmt: skip


class _Bar:
    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._tasks: dict[str, Any] = {}

    def progress(self, progress: Progress) -> None:
        if progress.phase not in self._tasks:
            for task in self._tasks.values():
                self._bar.update(task, visible=False)
            name = progress.phase.replace("_", " ")
            self._tasks[progress.phase] = self._bar.add_task(name, total=max(progress.total, 1), scores="")
        self._bar.update(self._tasks[progress.phase], completed=progress.done, scores=_scores(progress))

    def note(self, level: str, message: str) -> None:
        if level != "info":
            self._bar.console.print(f"{level}: {message}", markup=False)


class _Lines:
    def __init__(self) -> None:
        self._last = -1

    def progress(self, progress: Progress) -> None:
        step = max(1, progress.total // 10)
        if progress.done // step != self._last and progress.done:
            self._last = progress.done // step
            phase = progress.phase.replace("_", " ")
            click.echo(f"{phase} {progress.done}/{progress.total} {_scores(progress)}", err=True)

    def note(self, level: str, message: str) -> None:
        click.echo(f"{level}: {message}" if level != "info" else message, err=True)


def _scores(progress: Progress) -> str:
    parts = []
    if progress.best is not None and progress.baseline is not None:
        parts.append(f"val {progress.baseline:.3f} → {progress.best:.3f}")
    if progress.cost_usd:
        parts.append(f"${progress.cost_usd:.4f}")
    if progress.errors:
        parts.append(f"{progress.errors} without a score")
    return " · ".join(parts)
