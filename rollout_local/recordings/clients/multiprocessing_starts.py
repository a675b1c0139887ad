"""multiprocessing: `BaseProcess.start`, of which the guard is told.

Invariant: nothing is recorded of a child; a pool, an executor and joblib's processes all start here, in every start
method. Python raises no audit event of its own for a spawned one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from rollout_local.recordings import current
from rollout_local.recordings.bypass import STARTED
from rollout_local.recordings.clients.hooks import Patch


def patches(module: Any) -> Iterator[Patch]:
    """What to replace in `multiprocessing.process`."""
    yield Patch(module.BaseProcess, "start", _starting)


def _starting(original: Callable[..., Any]) -> Callable[..., Any]:
    def start(process: Any) -> Any:
        if not current.is_open():
            return original(process)
        sys.audit(STARTED, process.name)
        with current.unrecorded():  # the start is told of; what it does to start (fork, a helper) is not one more
            return original(process)

    return start
