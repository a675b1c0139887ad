"""Whose code a file is: the user's, or a library's (the standard library, an installed package, this one)."""

from __future__ import annotations

import sysconfig
from pathlib import Path

_STANDARD = sysconfig.get_path("stdlib")
_OURS = str(Path(__file__).parent)
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def is_library_code(file: str) -> bool:
    """Whether a source file (or `<frozen …>`) belongs to a library."""
    return file.startswith(("<frozen", _OURS, _STANDARD)) or not _INSTALLED.isdisjoint(Path(file).parts)
