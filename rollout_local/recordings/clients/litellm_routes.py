"""litellm's table of what it sends through Rust, which no Python code sees.

Invariant: while a recording is open, completions, embeddings and responses go through Python clients; where a litellm
says otherwise, recording refuses instead of missing them (litellm's `rust_bridge/catalog.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rollout_local.errors import RecordingError
from rollout_local.recordings.clients.hooks import Patch

_ROUTES = ("CHAT_COMPLETIONS", "EMBEDDINGS", "RESPONSES")


def patches(module: Any) -> Iterator[Patch]:
    """Nothing to replace: the table is only looked at. Raises `RecordingError`."""
    for name in _ROUTES:
        decided = module.decision(module.RouteContext(route=getattr(module.Route, name)))
        if decided.name != "PYTHON":
            raise RecordingError(
                f"litellm sends {name.lower()} through Rust ({decided.name}), which recordings do not see: "
                "set LITELLM_RUST=0, or use the version in experiments/constraints.txt."
            )
    yield from ()
