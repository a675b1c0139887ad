"""How much is read of what comes from elsewhere. Each limit has a name here; what goes over it is one sentence.

Invariant: no more than the limit is ever held: a file is measured before it is read, and what comes out of a
decompressor is counted while it comes.
"""

from __future__ import annotations

import os
import stat
import zlib
from pathlib import Path

MiB = 1 << 20
MOST: dict[str, int] = {
    "text file": 1024 * MiB,
    "cassette": 64 * MiB,
    "body": 256 * MiB,
    "cassette's bodies": 256 * MiB,
    "GEPA state": 256 * MiB,
    "signed file": 5 << 30,
    "key": 64 << 10,
    "signature": 64 << 10,
}
"""Bytes, by what they are the most of: of a cassette uncompressed, with its aliases written out."""
_GZIP, _ZLIB, _RAW = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS


class TooLarge(ValueError):
    """More than a limit; the words name it."""


def check(size: int, name: str) -> None:
    """Raise `TooLarge` where `size` bytes are more than the limit of this name."""
    if size > MOST[name]:
        shown = f"{MOST[name] // MiB} MiB" if MOST[name] >= MiB else f"{MOST[name]} bytes"
        raise TooLarge(f"is larger than {shown}, the most that is read of a {name}")


def read(path: Path, name: str, *, pipes: bool = False) -> bytes:
    """A file's bytes, at most as many as the limit of this name says.

    A pipe has no size to be measured, and may never end: it is read only where the user named it (`pipes`). Raises
    `TooLarge`, and `OSError` as opening does or where it is no plain file.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if pipes else os.O_NONBLOCK)), "rb") as file:
        kind = os.fstat(file.fileno())
        if stat.S_ISDIR(kind.st_mode):
            raise IsADirectoryError(21, "Is a directory")
        if not (stat.S_ISREG(kind.st_mode) or (pipes and stat.S_ISFIFO(kind.st_mode))):
            raise OSError(0, "it is no plain file, but a pipe, a socket or a device")
        check(kind.st_size, name)
        data = file.read(MOST[name] + 1)
    check(len(data), name)
    return data


def inflate(data: bytes, encoding: str, name: str) -> bytes:
    """What gzip or deflate (with or without zlib's head) packed: all members of it, nothing after them.

    Raises `TooLarge` as soon as more comes out, `zlib.error` or `EOFError` where it is damaged.
    """
    if encoding == "gzip":
        return _inflated(data, _GZIP, name)
    try:
        return _inflated(data, _ZLIB, name)
    except zlib.error:
        return _inflated(data, _RAW, name)


def _inflated(data: bytes, window: int, name: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        member = zlib.decompressobj(window)
        parts.append(member.decompress(data, MOST[name] - size + 1))
        size += len(parts[-1])
        check(size, name)
        if not member.eof:
            msg = "the compressed data ends too early"
            raise EOFError(msg)
        data = member.unused_data.lstrip(b"\0")
        if not data:
            return b"".join(parts)
