"""A database that is only read: on a disk, in a folder or of a mode that nobody here may write."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

Writable = Callable[[Path], bool]


def can_write(place: Path) -> bool:
    """Whether this process may write a file, or create files in a folder."""
    return os.access(place, os.W_OK)


def must_be_immutable(path: Path, writable: Writable = can_write) -> bool:
    """Whether a file can only be read as it stands: nothing in a WAL beside it, and a folder where none can be made.

    Such a file fails with `mode=ro`, since reading a WAL database needs its -wal and -shm files.
    """
    wal, shm = (path.with_name(path.name + ending) for ending in ("-wal", "-shm"))
    in_wal = wal.exists() and (shm.exists() or wal.stat().st_size > 0)
    return not in_wal and not writable(path.parent)


def connect(path: Path, timeout: float, *, immutable: bool) -> sqlite3.Connection:
    """A connection that writes nothing. `immutable`: nobody else does either, and a WAL is not looked for."""
    mode = "mode=ro&immutable=1" if immutable else "mode=ro"
    uri = f"file:{quote(str(path.absolute()))}?{mode}"
    return sqlite3.connect(
        uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False, cached_statements=256
    )


def application_id(connection: sqlite3.Connection) -> int:
    """What tells our files from other programs'."""
    return int(connection.execute("PRAGMA application_id").fetchone()[0])
