"""What `rollout.run` shows where it is given no `watch`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rollout_local.runs.progress import Silent, Watch
from rollout_local.watching import notebook, terminal


@contextmanager
def shown(watch: Watch | None) -> Iterator[Watch]:
    """`watch` where it is given; else a bar in a notebook or on a terminal, and nothing where stderr is neither."""
    if watch is not None:
        yield watch
    elif notebook.in_kernel():
        with notebook.bar() as bar:
            yield bar
    elif sys.stderr is not None and sys.stderr.isatty():
        with terminal.bar(color="NO_COLOR" not in os.environ) as bar:
            yield bar
    else:
        yield Silent()
