"""Names that are safe as folders and as slugs, on every file system, without two becoming one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_SLUG = re.compile(r"\w[\w.-]*")
_UNSAFE = re.compile(r"[^\w.-]+")
LONGEST = 60
"""Characters of a folder name: at most 240 bytes of UTF-8, where file systems allow 255."""


def is_slug(text: str) -> bool:
    """True for letters, digits, `_`, `.` and `-`, beginning with none of the last two."""
    return _SLUG.fullmatch(text) is not None


def safe_name(text: str, fallback: str = "task") -> str:
    """`text` with everything but letters, digits, `_`, `.` and `-` replaced: `Refund #7` is `Refund-7`."""
    name = _UNSAFE.sub("-", unicodedata.normalize("NFC", text)).strip("-.")
    return name[:LONGEST].rstrip("-.") or fallback


def safe_names(texts: Iterable[str]) -> list[str]:
    """One safe name per text, all different where case does not count (`-2`, `-3` … tell them apart)."""
    taken: set[str] = set()
    names = []
    for text in texts:
        stem = name = safe_name(text)
        number = 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def name_problem(name: str) -> str:
    """Why `name` cannot name a task, in words; empty where it can."""
    if not name.strip():
        return "a task has an empty name; name it"
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        return f"the task name {name!a} holds control characters; use plain text"
    return ""
