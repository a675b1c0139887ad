"""Time and dice for those who run things; everything below is handed them as arguments."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

from rollout_local.domain.identity import make_id


def iso(seconds: float) -> str:
    """Unix seconds as ISO-8601 UTC text with milliseconds, the form of every `_at` column."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    """The present in that form."""
    return iso(time.time())


def new_id(prefix: str) -> str:
    """An id of 16 characters, for what there are millions of, in the order of time: an index grows at its end."""
    return make_id(prefix, int(time.time() * 1000).to_bytes(6, "big") + os.urandom(4))


def new_run_id() -> str:
    """A random id that people type: `opt_3k7qx2m5la`."""
    return make_id("opt", os.urandom(6))
