"""How a command shows a run, and what Ctrl-C and SIGTERM do to it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import click

from rollout_local.cli.stdout import prints_aside
from rollout_local.watching import interrupt, terminal

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rollout_local.runs.progress import Watch
    from rollout_local.stop import StopFlag


@contextmanager
def shown(*, quiet: bool, color: bool) -> Iterator[Watch]:
    """A watch for one run: a bar on a terminal, lines in a pipe, nothing when quiet. The target's prints go aside."""
    from rollout_local.runs.progress import Silent

    with prints_aside():
        if quiet:
            yield Silent()
        elif sys.stderr.isatty():
            with terminal.bar(color=color) as bar:
                yield bar
        else:
            yield terminal.LineWatch()


def interruptible(stop: StopFlag) -> AbstractContextManager[None]:
    """Ctrl-C and SIGTERM pause the run; a second one ends the process at once, and a child that a target forked."""
    return interrupt.interruptible(
        stop, signals=(signal.SIGINT, signal.SIGTERM), advice="go on with the same command",
        say=lambda words: click.echo(f"rollout: {words}", err=True), at_once=partial(os._exit, 130),
    )  # fmt: skip
