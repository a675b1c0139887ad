"""Zip and tar archives of other people, read so that they can do no harm.

Every name, kind and size is checked before a byte is kept; a refused archive leaves nothing behind, inside the
target or outside it. Sizes are checked twice: as declared, and as they come out of the decompressor. Refused are
`..`, absolute names, drive letters, links, devices, names that are the same on some file system (case, Unicode
form, a file that is also a folder), names that Windows reserves, encrypted and overlapping members.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, Self, cast

from rollout_local.errors import InputError

CHUNK = 1 << 20
RESERVED = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$", "clock$"]
    + [f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"]
)
"""Device names of Windows, with any ending (`nul.txt`)."""
_DECOMPRESSORS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, struct.error, ValueError,
    NotImplementedError, RuntimeError, OverflowError, IndexError, KeyError,
)  # fmt: skip
"""What zipfile, tarfile and the decompressors raise on damaged input."""


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold: members, bytes of one, bytes of all."""

    members: int = 20_000
    member_bytes: int = 256 << 20
    total_bytes: int = 1 << 30


@dataclass(frozen=True)
class _Entry:
    """A member that passed its checks: `copy(sink)` hands its content on, chunk by chunk."""

    name: str
    is_folder: bool
    size: int
    copy: Callable[[Callable[[bytes], Any]], None]


DEFAULT = Limits()


def read(path: Path, limits: Limits = DEFAULT) -> dict[str, bytes]:
    """The files of an archive by name, in memory; `InputError` names the member that is refused."""
    found: dict[str, bytes] = {}
    for entry in _entries(path, limits):
        if not entry.is_folder:
            parts: list[bytes] = []
            entry.copy(parts.append)
            found[entry.name] = b"".join(parts)
    return found


def unpack(path: Path, into: Path, limits: Limits = DEFAULT) -> list[Path]:
    """Write an archive to the new folder `into`, wholly or not at all; returns its files.

    Raises `InputError` where `into` exists or a member is refused.
    """
    if into.exists() or into.is_symlink():
        _refuse(f"{into} exists; give a folder that does not")
    if not into.parent.is_dir():
        _refuse(f"the folder {into.parent} does not exist; make it first")
    draft = Path(tempfile.mkdtemp(prefix=f".{into.name}.", dir=into.parent))
    try:
        files = [file.relative_to(draft) for file in _written(path, draft, limits)]
        draft.chmod(0o755)
        draft.rename(into)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return [into / file for file in files]


def _written(path: Path, folder: Path, limits: Limits) -> Iterator[Path]:
    for entry in _entries(path, limits):
        target = folder / entry.name
        if entry.is_folder:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            entry.copy(file.write)
        yield target


def _entries(path: Path, limits: Limits) -> Iterator[_Entry]:
    """The members of a zip or tar archive, each checked against its name, kind, size and all before it."""
    names, total, count = _Names(path), 0, 0
    with _damage_named(path):
        for entry in _zip_entries(path, limits) if _is_zip(path) else _tar_entries(path, limits):
            count += 1
            total += entry.size
            if count > limits.members:
                _refuse(f"{path}: more than {limits.members} members")
            if entry.size > limits.member_bytes:
                _refuse(f"{path}: {entry.name!r} is larger than {limits.member_bytes} bytes")
            if total > limits.total_bytes:
                _refuse(f"{path}: its members are larger than {limits.total_bytes} bytes together")
            names.add(entry.name, is_folder=entry.is_folder)
            yield entry


@contextlib.contextmanager
def _damage_named(path: Path, member: str = "") -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        msg = f"{path} does not exist; check the path"
        raise InputError(msg) from error
    except _DAMAGE as error:
        what = f"{path}: {member!r} is damaged" if member else f"{path} is not a zip or tar archive, or a damaged one"
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


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4)[:2] == b"PK"


def _zip_entries(path: Path, limits: Limits) -> Iterator[_Entry]:
    _check_zip_directory(path, limits)
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        _refuse_overlaps(path, infos, archive.start_dir)
        for info in infos:
            _check_zip_member(path, info)
            name = info.filename.removesuffix("/")
            yield _Entry(name, info.is_dir(), info.file_size, _zip_copier(path, archive, info))


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
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        _refuse(f"{path}: {info.filename!r} is compressed in a way that is not read here")
    if info.is_dir() and info.file_size:
        _refuse(f"{path}: the folder {info.filename!r} has a content")


def _zip_copier(
    path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo
) -> Callable[[Callable[[bytes], Any]], None]:
    def copy(sink: Callable[[bytes], Any]) -> None:
        with _damage_named(path, info.filename):
            file = archive.open(info)
        with file:
            _copy(path, info.filename, file, info.file_size, sink)

    return copy


# -- tar


class _WholeHeader(tarfile.TarInfo):
    """A tar header; a damaged or missing one is an error, where tarfile would take it for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        if len(buf) == tarfile.BLOCKSIZE and not any(buf):
            return super().frombuf(buf, encoding, errors)  # the end, said by an exception
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


def _tar_entries(path: Path, limits: Limits) -> Iterator[_Entry]:
    """Read as a stream, so that neither the number of members nor a header's size can fill the memory."""
    with _decompressed(path) as file:
        bounded = _Bounded(path, file, limits.total_bytes + limits.members * 2048)
        with tarfile.open(
            fileobj=cast("IO[bytes]", bounded), mode="r|", encoding="utf-8", errors="strict", tarinfo=_WholeHeader
        ) as archive:
            for member in archive:
                _check_tar_member(path, member)
                name = member.name.removesuffix("/").removeprefix("./")
                if name in ("", ".") and member.isdir():
                    continue
                yield _Entry(name, member.isdir(), member.size, _tar_copier(path, archive, member))
        while bounded.read(CHUNK):  # to the end, where gzip keeps its checksum
            pass


def _check_tar_member(path: Path, member: tarfile.TarInfo) -> None:
    if not (member.isdir() or (member.isreg() and not member.issparse())):
        kinds = {tarfile.SYMTYPE: "a symbolic link", tarfile.LNKTYPE: "a hard link", tarfile.FIFOTYPE: "a pipe"}
        kind = kinds.get(member.type, "a device, or of an unknown kind")
        _refuse(f"{path}: {member.name[:200]!r} is {kind}; only files and folders are read")


def _tar_copier(
    path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo
) -> Callable[[Callable[[bytes], Any]], None]:
    def copy(sink: Callable[[bytes], Any]) -> None:
        file = archive.extractfile(member)
        assert file is not None
        _copy(path, member.name, file, member.size, sink)

    return copy


@contextlib.contextmanager
def _decompressed(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as raw:
        magic = raw.read(6)
        raw.seek(0)
        opener = next((found for start, found in _DECOMPRESSORS.items() if magic.startswith(start)), None)
        if opener is None:
            yield raw
        else:
            with opener(raw) as file:
                yield file


class _Bounded:
    """A stream that refuses to give more than `limit` bytes."""

    def __init__(self, path: Path, file: IO[bytes], limit: int) -> None:
        self._path, self._file, self._left = path, file, limit

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            _refuse(f"{self._path}: more comes out of it than an archive may hold here")
        return data


def _copy(path: Path, name: str, file: IO[bytes], size: int, sink: Callable[[bytes], Any]) -> None:
    """Hand a member on; what comes out must be as long as was declared."""
    seen = 0
    while chunk := _chunk(path, name, file, min(CHUNK, size - seen)):
        seen += len(chunk)
        sink(chunk)
    if seen != size:
        _refuse(f"{path}: {name!r} is not as long as the archive says")


def _chunk(path: Path, name: str, file: IO[bytes], size: int) -> bytes:
    with _damage_named(path, name):
        return file.read(size)


def _refuse(message: str) -> NoReturn:
    raise InputError(message)
