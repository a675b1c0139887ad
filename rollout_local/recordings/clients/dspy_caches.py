"""DSPy's memory and disk caches, off while a recording is open.

Invariant: a cache hit never reaches the wire, so a recording made with a cache is not one that can be replayed
(of three that were tried, none could). The cache that was there is put back afterwards; one that was not built yet
is built by DSPy when it is first asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from rollout_local.recordings.clients.hooks import Patch


def patches(module: object) -> Iterator[Patch]:
    """`dspy.cache`: a cache that holds nothing."""
    cache = sys.modules["dspy.clients.cache"].Cache
    yield Patch(
        module,
        "cache",
        lambda _: cache(
            enable_disk_cache=False,
            enable_memory_cache=False,
            disk_cache_dir=None,
            disk_size_limit_bytes=0,
            memory_max_entries=1,
        ),
    )
