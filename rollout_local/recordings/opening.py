"""Opens a recording: looks at the file, decides what may be served and what will be written, and stands guard.

Invariant: nothing is sent or served before the file was found whole, made by the same engine, and its clients
were found as this package knows them. Mode `none` opens no file for writing and no socket for anything.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollout_local.errors import RecordingError
from rollout_local.recordings import clients, current, guard, identity, vcr_formats
from rollout_local.recordings.exchange import RecordMode
from rollout_local.recordings.file import Memory, Survey, Tape, is_ours, survey
from rollout_local.recordings.identity import Reader
from rollout_local.recordings.playback import Cassette, FileShelf, ListShelf, rekeyed
from rollout_local.recordings.session import Gate, Recording, Sink, StandIn
from rollout_local.redaction import Redactor

_log = logging.getLogger(__name__)
_NONE: Mapping[str, str] = {}
_LISTED = 20


@dataclass(frozen=True)
class _Wanted:
    """What the caller asked for, and what identifies it in a manifest."""

    path: Path
    mode: RecordMode
    reader: Reader
    engine: str
    versions: Mapping[str, str]

    def manifest(self) -> dict[str, Any]:
        return {
            "engine": self.engine,
            "versions": dict(self.versions),
            "key": identity.VERSION,
            "ignore": list(self.reader.ignore),
        }


@contextmanager
def open_recording(
    path: Path | None,
    mode: RecordMode = RecordMode.NEW_EPISODES,
    *,
    ignore_fields: Sequence[str] = (),
    strict: bool = False,
    engine: str = "litellm",
    versions: Mapping[str, str] = _NONE,
    lease: str | None = None,
    allow_hosts: Sequence[str] | None = None,
    redactor: Redactor | None = None,
    sink: Sink | None = None,
    gate: Gate | None = None,
    partial: bool = False,
    memory: Memory | None = None,
    stand_in: StandIn | None = None,
) -> Iterator[Recording]:
    """Record and replay every covered client of this process until the block ends.

    `path` None writes nothing, but exchanges still reach the sink. `mode` is as in vcrpy: `new_episodes` serves what
    is recorded and records the rest; `none` serves only, without a socket; `once` records a new file and only serves
    an existing one; `all` records anew (the old file stays as `….previous` unless the block ends without error).
    `ignore_fields` are left out of requests' identity. `strict` lets each scope have its own answers before it is
    lent another's, and forbids an end with interactions unplayed. `allow_hosts` (may be empty) lets a live run reach
    loopback and these hosts only. `gate` is called before a request is sent. `partial`: that not all of what is
    recorded is asked for is in order. What `redactor` takes out (without one, what the environment names so) is not in
    the file. `memory` is for a block in which modules are imported: it takes what would be recorded in place of a
    file (a replay without a file answers nothing), and what is made in the block keeps the environment's proxies.
    With `stand_in` nothing is read, written or sent, whatever the mode: it answers every request.

    Raises `RecordingError` where the file cannot be used, a client is not as known, or a recording is open.
    """
    mode = RecordMode(mode)
    wanted_reader = Reader(redactor or Redactor(os.environ), ignore_fields)
    with ExitStack() as stack:
        clients.check()
        if path is None:
            mode = mode if stand_in is None else RecordMode.NONE
            if mode is RecordMode.NONE and memory is None and stand_in is None:
                raise RecordingError("A replay needs a recording: name its file.")
            found = _Found(Cassette((), ListShelf(()))) if mode is RecordMode.NONE else _Found(tape=memory)
        else:
            found = _prepare(_Wanted(Path(path), mode, wanted_reader, engine, versions), stack)
        doors = None if allow_hosts is None or mode is RecordMode.NONE else guard.Doors(allow_hosts)
        recording = Recording(
            None if path is None else Path(path),
            mode,
            reader=wanted_reader,
            covered=clients.COVERED,
            tape=found.tape,
            cassette=found.cassette,
            strict=strict,
            lease=lease,
            doors=doors,
            note=_note(found.manifest, versions),
            sink=sink,
            gate=gate,
            partial=partial,
            stand_in=stand_in,
        )
        current.enter(recording)
        stack.callback(current.leave, recording)
        stack.enter_context(guard.noting(recording.bypasses))
        if mode is RecordMode.NONE:
            recording.blocked = stack.enter_context(
                guard.no_sockets(switches=memory is None and stand_in is None, programs=stand_in is None)
            )
        elif doors is not None:
            recording.blocked = stack.enter_context(guard.only_hosts(doors))
        stack.enter_context(clients.installed())
        yield recording
        if mode is RecordMode.NONE:
            _check_played(recording, strict=strict)


def require_usable(path: Path, mode: RecordMode, *, ignore_fields: Sequence[str] = (), engine: str = "litellm") -> None:
    """Raise the `RecordingError` that opening this file in this mode would raise; nothing is opened or written."""
    wanted = _Wanted(path, RecordMode(mode), Reader(Redactor(os.environ), ignore_fields), engine, _NONE)
    exists = path.exists() and (path.is_dir() or path.stat().st_size > 0)
    with ExitStack() as stack:
        if mode is RecordMode.NONE or (mode is RecordMode.ONCE and exists):
            _replay(wanted, stack)
        elif exists and mode is RecordMode.NEW_EPISODES:
            if is_ours(start_of(path)):
                survey(path)
            else:
                vcr_formats.read(path, wanted.reader)


@dataclass
class _Found:
    """What a file gives: interactions to serve, a tape to write on, and its manifest."""

    cassette: Cassette | None = None
    tape: Tape | Memory | None = None
    manifest: Mapping[str, Any] | None = None


def _prepare(wanted: _Wanted, stack: ExitStack) -> _Found:
    path, mode = wanted.path, wanted.mode
    exists = path.exists() and (path.is_dir() or path.stat().st_size > 0)
    if mode is RecordMode.NONE or (mode is RecordMode.ONCE and exists):
        return _replay(wanted, stack)
    if mode is RecordMode.ALL and exists:
        return _anew(wanted, stack)
    if exists and not is_ours(start_of(path)):
        vcr_formats.convert(path, wanted.reader, wanted.manifest())
    return _continue(wanted, stack)


def _replay(wanted: _Wanted, stack: ExitStack) -> _Found:
    path = wanted.path
    start = start_of(path)
    if not start:
        raise RecordingError(f"{path}: the recording is empty; make one with --record-mode new_episodes.")
    if not is_ours(start):
        items = vcr_formats.read(path, wanted.reader)
        cassette = Cassette(vcr_formats.entries(items), ListShelf(items))
        return _Found(cassette=cassette)
    found = survey(path)
    _check_whole(path, found)
    _check_engine(wanted, found.manifest)
    shelf = FileShelf(path)
    stack.callback(shelf.close)
    entries = found.entries
    if not _same_keys(wanted, found.manifest):
        entries = rekeyed(entries, shelf, wanted.reader)
    return _Found(cassette=Cassette(entries, shelf), manifest=found.manifest)


def _continue(wanted: _Wanted, stack: ExitStack) -> _Found:
    tape = Tape(wanted.path, wanted.manifest())
    stack.callback(tape.close)
    found = tape.survey
    _check_engine(wanted, found.manifest)
    if not _same_keys(wanted, found.manifest):
        raise RecordingError(
            f"{wanted.path}: recorded with --ignore-field {' '.join(found.manifest.get('ignore', ())) or '(none)'}; "
            "go on with the same, or replay it (--record-mode none), where others may be given."
        )
    if not found.entries:
        return _Found(tape=tape, manifest=found.manifest)
    shelf = FileShelf(wanted.path)
    stack.callback(shelf.close)
    return _Found(Cassette(found.entries, shelf, continuing=True), tape, found.manifest)


def _anew(wanted: _Wanted, stack: ExitStack) -> _Found:
    """Record from nothing; the old file stays where the new one did not come to its end."""
    old = wanted.path.with_name(wanted.path.name + ".previous")
    wanted.path.replace(old)

    def forget(kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            old.unlink(missing_ok=True)

    stack.push(forget)
    return _continue(wanted, stack)


def start_of(path: Path) -> bytes:
    """The first bytes of a file. Raises `RecordingError` where it cannot be read."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # a pipe, a device: reading may never end
            raise RecordingError(f"{path}: is no plain file, but a pipe, a socket or a device.")
        with path.open("rb") as file:
            return file.read(64)
    except FileNotFoundError:
        raise RecordingError(f"{path}: there is no such recording; make one with --record-mode new_episodes.") from None
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror}).") from None


def _check_whole(path: Path, found: Survey) -> None:
    after = "Go on with it (--record-mode new_episodes) to end it in order."
    if found.torn is not None:
        raise RecordingError(f"{path}:{found.torn}: this line is cut off: the recording was broken off there. {after}")
    if not found.closed:
        last = 3 + len(found.entries)
        raise RecordingError(
            f"{path}:{last}: the recording ends after this line without its `closed:` line: it is still being made, or "
            f"was broken off. {after}"
        )


def _check_engine(wanted: _Wanted, manifest: Mapping[str, object]) -> None:
    made_by = manifest.get("engine")
    if made_by != wanted.engine:
        raise RecordingError(
            f"{wanted.path}: recorded with the engine {made_by!r}, and this run uses {wanted.engine!r}: their requests "
            "differ. Use the same engine, or record anew."
        )


def _same_keys(wanted: _Wanted, manifest: Mapping[str, object]) -> bool:
    return manifest.get("key") == identity.VERSION and manifest.get("ignore", []) == list(wanted.reader.ignore)


def _note(manifest: Mapping[str, Any] | None, versions: Mapping[str, str]) -> str:
    """A sentence on the libraries that have changed since, for a miss to show."""
    recorded = (manifest or {}).get("versions", {})
    changed = [
        f"{name} {recorded[name]} (now {now})" for name, now in versions.items() if recorded.get(name, now) != now
    ]
    return f"It was recorded with {', '.join(changed)}." if changed else ""


def _check_played(recording: Recording, *, strict: bool) -> None:
    count = recording.stats().unplayed
    if not count or recording.partial:
        return
    rows = [
        f"  line {one.line}: {one.method} {one.url} (scope {one.scope or 'none'})"
        for one in recording.unplayed(_LISTED)
    ]
    if count > _LISTED:
        rows.append(f"  … and {count - _LISTED} more")
    text = "\n".join([f"{recording.path}: {count} recorded interactions were not asked for:", *rows])
    if strict:
        raise RecordingError(text)
    _log.warning(text)
