"""Zip archives of other people, read so that they can do no harm.

Every name, kind and size is checked before a byte is kept. Members are stored, not compressed, so no more comes out
than is in the file. Refused are `..`, absolute names, drive letters, links, devices, names that are the same on some
file system (case, Unicode form, a file that is also a folder), names that Windows reserves, encrypted and overlapping
members.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from rollout_local.errors import InputError

RESERVED = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"]
    + [f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"]
)
"""Device names of Windows, with any ending (`nul.txt`)."""
_DAMAGE = (
    zipfile.BadZipFile, EOFError, OSError, zlib.error, struct.error, ValueError, NotImplementedError, RuntimeError,
    OverflowError, IndexError, KeyError,
)  # fmt: skip
"""What zipfile raises on damaged input."""


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold: members, bytes of one, bytes of all."""

    members: int = 20_000
    member_bytes: int = 256 << 20
    total_bytes: int = 1 << 30


DEFAULT = Limits()


def read(path: Path, limits: Limits = DEFAULT) -> dict[str, bytes]:
    """The files of an archive by name, in memory; `InputError` names the member that is refused."""
    found: dict[str, bytes] = {}
    with _damage_named(path):
        _require_zip(path)
        _check_zip_directory(path, limits)
        with zipfile.ZipFile(path) as archive:
            for info in _checked(path, archive, limits):
                if not info.is_dir():
                    found[info.filename] = _content(path, archive, info)
    return found


def _checked(path: Path, archive: zipfile.ZipFile, limits: Limits) -> list[zipfile.ZipInfo]:
    """The members, each checked against its name, kind, size and all before it."""
    infos, names = archive.infolist(), _Names(path)
    _refuse_overlaps(path, infos, archive.start_dir)
    for info in infos:
        _check_zip_member(path, info)
        if info.file_size > limits.member_bytes:
            _refuse(f"{path}: {info.filename!r} is larger than {limits.member_bytes} bytes")
        names.add(info.filename.removesuffix("/"), is_folder=info.is_dir())
    if sum(info.file_size for info in infos) > limits.total_bytes:
        _refuse(f"{path}: its members are larger than {limits.total_bytes} bytes together")
    return infos


def _content(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with _damage_named(path, info.filename):
        return archive.read(info)


@contextlib.contextmanager
def _damage_named(path: Path, member: str = "") -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        msg = f"{path} does not exist; check the path"
        raise InputError(msg) from error
    except _DAMAGE as error:
        what = f"{path}: {member!r} is damaged" if member else f"{path} is not a zip archive, or a damaged one"
        msg = f"{what} ({error or type(error).__name__})"
        raise InputError(msg) from error


# -- names


class _Names:
    """The names of an archive so far, as the most forgetful file system would see them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._spelled: dict[str, tuple[str, bool]] = {}
        self._members: set[str] = set()

    def add(self, name: str, *, is_folder: bool) -> None:
        problem = name_problem(name)
        if problem:
            _refuse(f"{self._path}: the name {name[:200]!r} {problem}")
        if name in self._members:
            _refuse(f"{self._path}: {name!r} is there twice")
        self._members.add(name)
        parts = name.split("/")
        for depth in range(1, len(parts)):
            self._claim("/".join(parts[:depth]), is_folder=True)
        self._claim(name, is_folder=is_folder)

    def _claim(self, name: str, *, is_folder: bool) -> None:
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        spelled, was_folder = self._spelled.setdefault(key, (name, is_folder))
        if spelled != name:
            _refuse(f"{self._path}: {spelled!r} and {name!r} are one name on some file systems")
        if is_folder != was_folder:
            _refuse(f"{self._path}: {name!r} is a file and a folder")


def name_problem(name: str) -> str:
    """Why a member's name is refused, in words; empty where it is a plain relative path with `/`."""
    if not name or len(name) > 1024:
        return "is empty or longer than 1024 characters"
    if name.startswith("/") or "\\" in name or ":" in name:
        return "is absolute, or has a backslash or a colon"
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name):
        return "has a control character"
    return next((problem for part in name.split("/") if (problem := _part_problem(part))), "")


def _part_problem(part: str) -> str:
    if part in ("", ".", ".."):
        return "leads out of its folder, or has an empty part"
    if part[-1] in ". " or part[0] == " " or any(char in '<>"|?*' for char in part):
        return "cannot be kept on every file system"
    if part.partition(".")[0].rstrip(" ").casefold() in RESERVED:
        return "is a device on Windows"
    return "is too long" if len(part.encode("utf-8")) > 255 else ""


# -- zip

_END = b"PK\x05\x06"
_PER_MEMBER = 512
"""Bytes of a zip's directory that one member may take on average: 46 and its name."""


def _require_zip(path: Path) -> None:
    if path.exists() and not (path.is_file() or path.is_dir()):  # a pipe, a device: there is no end to wait for
        _refuse(f"{path} is no plain file")
    with path.open("rb") as file:
        if file.read(4)[:2] != b"PK":
            _refuse(f"{path} is not a zip archive, and only one is read here")


def _check_zip_directory(path: Path, limits: Limits) -> None:
    """Refuse a directory of millions of names before it is read into memory."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 65_557))
        tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        _refuse(f"{path} is not a zip archive, or a damaged one (its directory is missing)")
    members, length = struct.unpack_from("<HI", tail, at + 10)
    if members == 0xFFFF or length == 0xFFFFFFFF:
        _refuse(f"{path}: more members or bytes than an archive may have here (zip64)")
    if members > limits.members or length > limits.members * _PER_MEMBER:
        _refuse(f"{path}: more than {limits.members} members")


def _refuse_overlaps(path: Path, infos: list[zipfile.ZipInfo], end: int) -> None:
    """Members that share bytes are the trick of a small archive with a huge content."""
    ordered = sorted(infos, key=lambda info: info.header_offset)
    for info, following in zip(ordered, [item.header_offset for item in ordered[1:]] + [end], strict=True):
        if info.header_offset + 30 + len(info.orig_filename) + info.compress_size > following:
            _refuse(f"{path}: {info.filename!r} overlaps the member after it")


def _check_zip_member(path: Path, info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.orig_filename != info.filename:
        _refuse(f"{path}: the name {info.orig_filename[:200]!r} has a NUL")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR) > info.is_dir():
        _refuse(f"{path}: {info.filename!r} is a link or a device; only files and folders are read")
    if info.flag_bits & 0x1:
        _refuse(f"{path}: {info.filename!r} is encrypted")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        _refuse(f"{path}: {info.filename!r} is compressed, and no member is here")
    if info.is_dir() and info.file_size:
        _refuse(f"{path}: the folder {info.filename!r} has a content")


def _refuse(message: str) -> NoReturn:
    raise InputError(message)
