"""What people do with recordings as files: list, show, verify, import, export.

Invariant: nothing here replays or sends. `verify` reads every line again: whole, in order, unchanged, under the
key that its request has, and without a secret.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from rollout_local.errors import RecordingError
from rollout_local.recordings import identity, lines, vcr_formats
from rollout_local.recordings.file import is_ours, survey
from rollout_local.recordings.identity import Reader
from rollout_local.recordings.lines import Interaction
from rollout_local.recordings.opening import start_of
from rollout_local.recordings.playback import FileShelf
from rollout_local.recordings.scan import Leak, scan
from rollout_local.redaction.redactor import REQUEST_HEADERS, RESPONSE_HEADERS, Redactor

_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class RecordingReport:
    """What `verify` found. `problems` are sentences, each with its line; an empty list means that the file is sound."""

    path: Path
    interactions: int
    closed: bool
    ours: bool
    problems: list[str] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether a replay may trust the file."""
        return not self.problems and not self.leaks


@dataclass(frozen=True, slots=True)
class RecordingSummary:
    """One recording in a list; `error` says why it cannot be used."""

    path: Path
    size: int
    interactions: int
    closed: bool
    ours: bool
    engine: str | None
    scopes: int
    outcomes: dict[str, int]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A recording and its interactions, in the order of the file."""

    summary: RecordingSummary
    manifest: dict[str, Any]
    interactions: list[Interaction]


def list_recordings(directory: Path) -> list[RecordingSummary]:
    """A summary of every YAML or JSON file under a directory that is a cassette, or looks like a damaged one."""
    found = sorted(path for path in Path(directory).rglob("*") if path.suffix in _SUFFIXES and path.is_file())
    return [summary for summary in (_summary_or_none(path) for path in found) if summary is not None]


def _summary_or_none(path: Path) -> RecordingSummary | None:
    try:
        return show(path).summary
    except RecordingError as error:
        if not is_ours(start_of(path)):
            return None
        return RecordingSummary(path, path.stat().st_size, 0, False, True, None, 0, {}, str(error))


def show(path: Path) -> Shown:
    """Everything in a recording or a foreign cassette. Raises `RecordingError` where it is damaged."""
    path = Path(path)
    manifest, items, closed, ours = _load(path)
    outcomes = Counter(str(item.answer.outcome) for item in items)
    summary = RecordingSummary(
        path=path,
        size=path.stat().st_size,
        interactions=len(items),
        closed=closed,
        ours=ours,
        engine=manifest.get("engine"),
        scopes=len({item.scope for item in items}),
        outcomes=dict(outcomes.most_common()),
    )
    return Shown(summary, manifest, items)


def first_request(path: Path, scope: str) -> object:
    """The parsed body of the first request in a scope whose name begins so; None where there is none to be read.

    What is wrong with the file is said by who opens it to replay.
    """
    try:
        if not is_ours(start_of(path)):
            return None
        entry = next((entry for entry in survey(path).entries if entry.scope.startswith(scope)), None)
        if entry is None:
            return None
        shelf = FileShelf(path)
        try:
            return orjson.loads(shelf.read(entry).body or b"null")
        finally:
            shelf.close()
    except (RecordingError, ValueError, OSError):
        return None


def _load(path: Path) -> tuple[dict[str, Any], list[Interaction], bool, bool]:
    start = start_of(path)
    if not start:
        raise RecordingError(f"{path}: the recording is empty.")
    if not is_ours(start):
        return {}, vcr_formats.read(path, Reader(Redactor(os.environ))), True, False
    found = survey(path)
    shelf = FileShelf(path)
    try:
        items = [shelf.read(entry) for entry in found.entries]
    finally:
        shelf.close()
    return found.manifest, items, found.closed and found.torn is None, True


def verify(path: Path) -> RecordingReport:
    """Check every line, key, the order and the redaction of a recording. A damaged file is a report, not an error."""
    path = Path(path)
    try:
        manifest, items, closed, ours = _load(path)
    except RecordingError as error:
        return RecordingReport(path, 0, False, is_ours(_start_or_nothing(path)), [str(error)])
    problems = [] if closed else [f"{path}: it did not end in order (no `closed:` line, or a line that is cut off)."]
    if ours:
        problems += _problems(path, manifest, items)
    return RecordingReport(path, len(items), closed, ours, problems, scan([path], os.environ))


def _start_or_nothing(path: Path) -> bytes:
    try:
        return start_of(path)
    except RecordingError:
        return b""


def _problems(path: Path, manifest: Mapping[str, Any], items: list[Interaction]) -> Iterator[str]:
    reader = Reader(Redactor({}), manifest.get("ignore", ()))
    current = manifest.get("key") == identity.VERSION
    for number, item in enumerate(items, 4):
        kind = next((value for name, value in item.headers if name == "content-type"), "")
        if current and reader.name(item.method, item.url, item.headers, item.body, kind).key != item.key:
            yield f"{path}:{number}: the key is not the one of this request."
        told = {name for name, _ in item.headers} - REQUEST_HEADERS
        told |= {name for name, _ in item.answer.headers} - RESPONSE_HEADERS
        if told:
            yield f"{path}:{number}: headers that are never recorded: {', '.join(sorted(told))}."


def import_cassette(src: Path, out: Path, *, engine: str = "litellm") -> int:
    """Make a recording of ours from any cassette; return the number of interactions. Refuses to overwrite."""
    src, out = Path(src), Path(out)
    if out.exists():
        raise RecordingError(f"{out}: is there already; name another file.")
    if is_ours(start_of(src)):
        raise RecordingError(f"{src}: is a recording already; copy it.")
    manifest = {"engine": engine, "versions": {}, "key": identity.VERSION, "ignore": [], "imported_from": src.name}
    return vcr_formats.convert(src, Reader(Redactor(os.environ)), manifest, out)


def export_cassette(src: Path, out: Path, format: str = "yaml") -> int:
    """Write a plain vcrpy cassette, block YAML or JSON, of what a replay would serve; return its length."""
    from vcr.request import Request
    from vcr.serialize import serialize
    from vcr.serializers import jsonserializer, yamlserializer

    serializers = {"yaml": yamlserializer, "json": jsonserializer}
    if format not in serializers:
        raise RecordingError(f"{format!r} is not a format of cassettes: yaml or json.")
    items = _not_void(show(src).interactions)
    held = [lines.plain(item, mark=False) for item in items]
    requests = [
        Request(one["method"], one["uri"], one["body"], one["headers"]) for one in (pair["request"] for pair in held)
    ]
    try:
        text = serialize({"requests": requests, "responses": [one["response"] for one in held]}, serializers[format])
    except TypeError:
        raise RecordingError(f"{src}: holds a body that is not text, which JSON cannot: export it as yaml.") from None
    _write_private(Path(out), text)
    return len(items)


def _not_void(items: list[Interaction]) -> list[Interaction]:
    newest: dict[str, int] = {}
    for item in items:
        newest[item.scope] = max(item.attempt, newest.get(item.scope, 0))
    return [item for item in items if item.attempt == newest[item.scope]]


def _write_private(out: Path, text: str) -> None:
    """Write a file of mode 0600, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=out.name, suffix=".part", dir=out.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(out)
