"""The file of a recording: append only, one write per interaction, safe to kill at any byte.

Invariant: what `append` has returned from is on disk, whole, in one line; a kill can leave at most one torn
line, at the end, and nobody has seen the answer in it. The head names the format; every line carries the
chain of all before it; `closed:` is written last, by an orderly end, and cut off before anything follows it.
One process writes: it holds a lock on the file, which the system lifts when the process dies.

    version: 1
    rollout: {"format":1,"engine":…,"versions":{…},…}
    interactions:
    - {"key":…,"scope":…,…,"request":{…},"response":{…},"chain":…}
    closed: {"count":1,"chain":…}
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from rollout_local import locks
from rollout_local.errors import Paused, RecordingError
from rollout_local.recordings import lines

FORMAT = 1
_FIRST = b"version: 1\n"
_MANIFEST = b"rollout: "
_LIST = b"interactions:\n"
_NONE = b"  []\n"
_CLOSED = b"closed: "


@dataclass(slots=True)
class Entry:
    """What the index holds of one interaction; `number` is its line in the file, from 1."""

    number: int
    offset: int
    length: int
    key: str
    scope: str
    attempt: int
    outcome: int | str
    parts: bytes


@dataclass(slots=True)
class Survey:
    """What a recording's file holds: its manifest, its lines, and how it ends.

    `end` is the offset after the last whole line. `torn` is the number of a line that was cut off, `closed`
    says that the file ended in order, and `missing_head` that not even its head was written.
    """

    manifest: dict[str, Any] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    end: int = 0
    chain: str = ""
    closed: bool = False
    torn: int | None = None
    missing_head: bool = False


def is_ours(data: bytes) -> bool:
    """Whether a file that starts with `data` is a recording of this format (or the beginning of one)."""
    start = _FIRST + _MANIFEST
    return data.startswith(start) or (0 < len(data) < len(start) and start.startswith(data))


def survey(path: Path) -> Survey:
    """Read and check a recording of ours without parsing bodies: every byte is covered by the chain.

    Raises `RecordingError` naming the line where it is damaged or edited.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _survey(path, data)


def _survey(path: Path, data: mmap.mmap) -> Survey:
    found = Survey()
    rows = _rows(data)
    _read_head(path, rows, found)
    if found.missing_head:
        return found
    for number, offset, row in rows:
        if not row.endswith(b"\n"):
            found.torn = number
        elif found.closed:
            raise RecordingError(f"{path}:{number}: something was added after the end of the recording. {_REMEDY}")
        elif row.startswith(b"- "):
            found.entries.append(_entry(path, number, offset, row, found))
            found.end = offset + len(row)
        elif row.startswith(_CLOSED):
            _check_end(path, number, row, found)
        elif row != _NONE:
            raise RecordingError(f"{path}:{number}: this is not a line of a recording. {_REMEDY}")
    return found


_REMEDY = "Restore the file, or record it again with --record-mode all."


def _rows(data: mmap.mmap) -> Iterator[tuple[int, int, bytes]]:
    offset, number, size = 0, 0, len(data)
    while offset < size:
        end = data.find(b"\n", offset)
        after = size if end < 0 else end + 1
        number += 1
        yield number, offset, data[offset:after]
        offset = after


def _read_head(path: Path, rows: Iterator[tuple[int, int, bytes]], found: Survey) -> None:
    head = list(islice(rows, 3))
    raw = b"".join(row for _, _, row in head)
    if len(head) < 3 or not raw.endswith(b"\n"):
        found.missing_head, found.torn = True, len(head)
        return
    try:
        found.manifest = orjson.loads(head[1][2][len(_MANIFEST) :])
        version = found.manifest["format"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise RecordingError(f"{path}:2: the recording's manifest is damaged. {_REMEDY}") from None
    if version != FORMAT or head[2][2] != _LIST:
        raise RecordingError(f"{path}:2: format {version} is not known here (known: {FORMAT}); update rollout-local.")
    found.end = len(raw)
    found.chain = lines.link("", raw)


def _entry(path: Path, number: int, offset: int, row: bytes, found: Survey) -> Entry:
    head = lines.HEAD.match(row)
    tail = lines.CHAIN.fullmatch(row[-lines.CHAIN_LENGTH :])
    chain = lines.link(found.chain, row[: -lines.CHAIN_LENGTH])
    if head is None or tail is None or tail.group(1).decode() != chain:
        raise RecordingError(f"{path}:{number}: {_what_is_wrong(row)} {_REMEDY}")
    found.chain = chain
    scope = head.group(2)
    return Entry(
        number=number,
        offset=offset,
        length=len(row),
        key=head.group(1).decode(),
        scope=orjson.loads(b'"%b"' % scope) if b"\\" in scope else scope.decode(),
        attempt=int(head.group(3)),
        outcome=int(head.group(4)) if head.group(4) else head.group(5).decode(),
        parts=head.group(6),
    )


def _what_is_wrong(row: bytes) -> str:
    try:
        lines.parse(row)
    except (ValueError, KeyError, TypeError, AttributeError):
        return "this line is damaged."
    return "this line, or the one before it, was changed after it was recorded."


def _check_end(path: Path, number: int, row: bytes, found: Survey) -> None:
    try:
        end = orjson.loads(row[len(_CLOSED) :])
        told = (end["count"], end["chain"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise RecordingError(f"{path}:{number}: the recording's last line is damaged. {_REMEDY}") from None
    if told != (len(found.entries), found.chain):
        raise RecordingError(
            f"{path}:{number}: the recording ended with {told[0]} interactions and now has {len(found.entries)}, "
            f"or others. {_REMEDY}"
        )
    found.closed = True


class Tape:
    """A recording that is open for writing. `append` may be called from any thread."""

    def __init__(self, path: Path, manifest: Mapping[str, object]) -> None:
        """Begin a file, or go on after the last whole line of one. Raises `RecordingError`."""
        self.path = path
        self._guard = threading.Lock()
        self._pid = os.getpid()
        self._file = _open(path)
        try:
            size = os.fstat(self._file).st_size
            self.survey = survey(path) if size else Survey(missing_head=True)
            if self.survey.missing_head:
                self._begin(manifest)
        except BaseException:
            locks.close(self._file)
            raise
        self._count = len(self.survey.entries)
        self._chain = self.survey.chain
        self._end = self.survey.end
        self._closed = self.survey.closed
        self._cut()

    def _begin(self, manifest: Mapping[str, object]) -> None:
        fields = {"format": FORMAT, **manifest}
        head = _FIRST + _MANIFEST + orjson.dumps(fields, option=orjson.OPT_SORT_KEYS) + b"\n" + _LIST
        os.ftruncate(self._file, 0)
        self.survey = Survey(manifest=fields, chain=lines.link("", head), end=len(head))
        _write(self.path, self._file, head, 0)

    def _cut(self) -> None:
        """Drop a torn line or the `closed:` line: from here on the file is open."""
        if os.fstat(self._file).st_size != self._end:
            os.ftruncate(self._file, self._end)
        self._closed = False

    def append(self, line: bytes) -> None:
        """Add the line that `lines.dump` made; it is on disk when this returns.

        A recording that cannot be written stops the run (`Paused`): what is paid for must not be lost again.
        An answer that comes in after `close` is added before the end.
        """
        with self._guard:
            if os.getpid() != self._pid:
                raise Paused(f"{self.path}: a forked process cannot write the recording of its parent.", reason="error")
            late = self._file < 0
            if late:
                self._file = _open(self.path)
                self._cut()
            self._require_as_it_was()
            whole, chain = lines.seal(self._chain, line)
            _write(self.path, self._file, whole, self._end)
            self._chain = chain
            self._end += len(whole)
            self._count += 1
            if late:
                self._close()

    def _require_as_it_was(self) -> None:
        """The file is where it was opened, and as long as it was left: an answer is not written to nowhere."""
        what = self._difference()
        if what:
            raise Paused(
                f"{self.path}: the recording {what} while its run ran; put it back and go on, or begin anew with "
                "--fresh.",
                reason="error",
            )

    def _difference(self) -> str:
        """What others did to the file, in words; empty where it is as it was left."""
        try:
            held = os.fstat(self._file)
        except OSError:
            return "was closed by the target"
        try:
            there = self.path.stat()
        except OSError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != (held.st_dev, held.st_ino):
            return "was removed, renamed or replaced"
        if held.st_size != self._end:
            return f"was changed: it has {held.st_size} bytes, and had {self._end}"
        return ""

    def close(self) -> None:
        """End the recording in order."""
        with self._guard:
            if self._file >= 0 and os.getpid() == self._pid:
                self._close()

    def _close(self) -> None:
        row = _CLOSED + orjson.dumps({"count": self._count, "chain": self._chain}) + b"\n"
        try:
            if not self._difference():
                _write(self.path, self._file, row if self._count else _NONE + row, self._end)
                os.fsync(self._file)
        finally:
            with contextlib.suppress(OSError):  # the target may have closed it
                locks.close(self._file)
            self._file = -1


@dataclass
class Memory:
    """Lines that wait for a tape: what was asked before there was a file. `bypasses` is what passed by them."""

    lines: dict[str, bytes] = field(default_factory=dict)
    """By the key of the request; a request that is asked again replaces its line."""
    bypasses: dict[str, int] = field(default_factory=dict)

    def append(self, line: bytes) -> None:
        """Keep the line that `lines.dump` made."""
        head = lines.HEAD.match(line)
        assert head is not None, "lines.dump made it"
        self.lines[head.group(1).decode()] = line


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = locks.open_to_lock(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be written ({error.strerror}).") from None
    try:
        if not locks.try_lock(file):
            locks.close(file)
            raise RecordingError(f"{path}: another process is recording into this file; give each its own.")
        os.fchmod(file, 0o600)
    except OSError:
        pass  # a file system without locks or modes: nothing to hold on to
    return file


def _write(path: Path, file: int, data: bytes, end: int) -> None:
    """One write of all of `data`, or none of it."""
    try:
        written = os.write(file, data)
        if written != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
        os.ftruncate(file, end)
        raise Paused(
            f"{path}: the recording cannot be written ({error.strerror}); the run stops here.", reason="error"
        ) from None
