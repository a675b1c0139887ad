"""A file that is written in one move: whoever reads it sees the former one or the new one, never a part.

What is written beside its place is named `….new`, and left there only where the process dies; the next writer takes
its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A draft beside `path` to write; it becomes `path` when the block ends, and `path` stays as it was where it fails.

    Raises `OSError`, as the block does.
    """
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    yield draft
    draft.replace(path)
