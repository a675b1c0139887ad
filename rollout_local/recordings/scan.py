"""Looks for keys in files that are about to be shared: recordings, databases, logs, bundles.

Invariant: what a `Redactor` removes, this finds: key-shaped pieces, and the secret values of this environment in all
their forms. Bytes are searched as they lie, so any file can be scanned; archives are looked into one level deep. A
secret itself is never told, only its first letters.
"""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rollout_local.errors import RecordingError
from rollout_local.redaction import secret_patterns
from rollout_local.redaction.known import MARK, environment_secrets, forms

_CHUNK = 4 << 20
_OVERLAP = 16 << 10


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A secret in a file: `offset` in bytes, `line` from 1, `shown` its first letters."""

    path: Path
    member: str
    offset: int
    line: int
    kind: str
    shown: str


def scan(paths: Iterable[Path], environ: Mapping[str, str] | None = None) -> list[Leak]:
    """Every leak in these files and folders. Raises `RecordingError` where one cannot be read."""
    values = {form for secret in environment_secrets(environ or {}) for form in forms(secret)}
    return [leak for path in paths for file in _files(Path(path)) for leak in _in_file(file, values)]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(one for one in path.rglob("*") if one.is_file() and not one.is_symlink())
    if not path.exists():
        raise RecordingError(f"{path}: there is no such file to scan.")
    if not path.is_file():
        raise RecordingError(f"{path}: is no plain file, so it is not scanned.")
    return [path]


def _in_file(path: Path, values: set[bytes]) -> Iterator[Leak]:
    try:
        for member, stream in _members(path):
            for offset, line, kind, found in _in_stream(stream, values):
                yield Leak(path, member, offset, line, kind, _shown(found))
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise RecordingError(f"{path}: cannot be scanned ({error}).") from None


def _members(path: Path) -> Iterator[tuple[str, Readable]]:
    """The file's own bytes, and those of an archive's members."""
    with path.open("rb") as raw:
        start = raw.read(2)
        raw.seek(0)
        yield "", raw
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as tar:
            for item in tar:
                held = tar.extractfile(item)
                if held is not None:
                    yield item.name, held
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as pack:
            for name in pack.namelist():
                with pack.open(name) as held:
                    yield name, held
    elif start == b"\x1f\x8b":
        with gzip.open(path) as unpacked:
            yield path.stem, unpacked


def _in_stream(stream: Readable, values: set[bytes]) -> Iterator[tuple[int, int, str, bytes]]:
    """Search chunk by chunk; the chunks overlap, so nothing is cut in two and nothing told twice."""
    before, tail, line = 0, b"", 1
    while chunk := stream.read(_CHUNK):
        data = tail + chunk
        keep = min(len(data), _OVERLAP) if len(chunk) == _CHUNK else 0
        limit = len(data) - keep
        for start, kind, found in _hits(data, values):
            if start < limit:
                yield before + start, line + data.count(b"\n", 0, start), kind, found
        before, line, tail = before + limit, line + data.count(b"\n", 0, limit), data[limit:]


def _hits(data: bytes, values: set[bytes]) -> list[tuple[int, str, bytes]]:
    found = [
        (start, kind, data[start:end]) for kind, start, end in secret_patterns.find(data) if MARK not in data[start:end]
    ]
    for value in values:
        at = data.find(value)
        while at >= 0:
            found.append((at, "value of a secret environment variable", value))
            at = data.find(value, at + 1)
    return sorted(found)


def _shown(found: bytes) -> str:
    return found[: min(6, len(found) // 4)].decode("utf-8", "replace") + "…"
