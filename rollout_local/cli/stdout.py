"""Keep stdout for what a command says: what a target prints, or a child of it, goes to stderr.

`--json` promises one document on stdout. Both doors are turned: Python's `sys.stdout`, and the file descriptor that
children and C libraries write to.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def prints_aside() -> Iterator[None]:
    """While user code is imported or executed, everything that it prints goes to stderr."""
    with contextlib.ExitStack() as stack:
        sys.stdout.flush()
        with contextlib.suppress(OSError):  # a process that was started without one of the two
            kept = os.dup(1)
            stack.callback(_turned_back, kept)
            os.dup2(2, 1)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def _turned_back(kept: int) -> None:
    with contextlib.suppress(OSError):  # what was executed may have closed it
        os.dup2(kept, 1)
        os.close(kept)
