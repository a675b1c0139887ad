"""The bytes of a capability's folder, and nothing else: no link is followed, nothing special is opened.

Left out are what tools leave behind and what holds secrets (`.env` files; said, so that nobody misses them). Refused
are links, devices and pipes, names that are no UTF-8, and more bytes or files than a capability has.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn

from rollout_local.errors import InputError

MAX_FILE = 4 * 1024 * 1024
MAX_BYTES = 32 * 1024 * 1024
MAX_FILES = 2000
LEFT_OUT = frozenset(
    {
        ".git", "__pycache__", ".DS_Store", ".dreadnode", ".rollout", ".venv", "node_modules", ".mypy_cache",
        ".ruff_cache",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Folder:
    """The files of a folder by relative path, sorted; which are executable; what was left out and why it matters."""

    files: dict[str, bytes]
    executable: tuple[str, ...]
    warnings: tuple[str, ...]


def read(root: Path) -> Folder:
    """Every file of the folder; `InputError` for what a capability may not hold."""
    if not root.is_dir():
        what = "is a file; give the folder that holds capability.yaml" if root.exists() else "does not exist; check it"
        _refuse(f"the capability folder {root} {what}")
    files: dict[str, bytes] = {}
    executable, secrets, total = [], [], 0
    for path in sorted(_walk(root)):
        name = _name(path, root)
        if _is_secret(path.name):
            secrets.append(f"{name} is left out: a published version would keep its secrets")
            continue
        mode, files[name] = _read(path)
        total += len(files[name])
        if len(files) > MAX_FILES or total > MAX_BYTES:
            _refuse(f"{root} holds more than {MAX_FILES} files or {MAX_BYTES // 2**20} MiB; move out what is no part")
        if mode & stat.S_IXUSR:
            executable.append(name)
    return Folder(files, tuple(executable), tuple(secrets))


def inside(path: str) -> bool:
    """True for a relative path that stays where it is put: no `..`, no root, no backslash, nothing hidden in it."""
    parts = PurePosixPath(path).parts
    plain = bool(parts) and not path.startswith("/") and ".." not in parts and path == "/".join(parts)
    return plain and "\\" not in path and path.isprintable()


def _walk(root: Path) -> Iterator[Path]:
    """Every path that is no folder, without entering links."""
    try:
        entries = list(os.scandir(root))
    except OSError as error:
        _refuse(f"{root} cannot be read: {error.strerror or error}")
    for entry in entries:
        if entry.name in LEFT_OUT or entry.name.endswith((".pyc", ".pyo")):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        else:
            yield Path(entry.path)


def _name(path: Path, root: Path) -> str:
    name = path.relative_to(root).as_posix()
    if not inside(name) or name.encode("utf-8", "replace").decode() != name:
        _refuse(f"{root}: the file name {name!a} holds characters that not every system can write; rename it")
    return name


def _read(path: Path) -> tuple[int, bytes]:
    """Mode and bytes. The file is opened before it is looked at, so that it cannot be another one by then."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if path.is_symlink():
            _refuse(f"{path} is a link; a capability holds its files itself: put the file there")
        _refuse(f"{path} cannot be read: {error.strerror or error}")
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            _refuse(f"{path} is no plain file; remove it from the capability")
        if status.st_size > MAX_FILE:
            _refuse(f"{path} is larger than {MAX_FILE // 2**20} MiB; a capability holds texts and small tools")
        return status.st_mode, file.read(MAX_FILE + 1)


def _is_secret(name: str) -> bool:
    return name == ".env" or (name.startswith(".env.") and name not in (".env.example", ".env.sample"))


def _refuse(message: str) -> NoReturn:
    raise InputError(message) from None
