"""The registry of versions in the database: publish, look up, compare, write out again.

A published version never changes. Publishing the same content again is nothing; other content under a taken version is
refused. What is exported is byte for byte what was published.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

from rollout_local.capabilities.folder import inside
from rollout_local.datasets.harbor import require_free
from rollout_local.errors import InputError, Refused
from rollout_local.store import releases
from rollout_local.store.schema import Store
from rollout_local.targets.agent_files import Capability, columns, of_row

SHOWN = 3


@dataclass(frozen=True)
class Published:
    """What publishing gave; not `is_new` where this content was there already."""

    reference: str
    content_hash: str
    is_new: bool


class ListedCapability(TypedDict):
    """A capability with its versions, oldest first; the rest is of the newest."""

    name: str
    versions: list[str]
    version: str
    description: str
    agents: list[str]
    content_hash: str
    promoted_from_run: str | None
    created_at: str


def publish(store: Store, capability: Capability, at: str) -> Published:
    """Write a version, or find that it is there; `Refused` where the version has other content."""
    written = releases.add_version(store, {**columns(capability), "created_at": at})
    if not written:
        row = releases.version(store, capability.name, capability.version)
        assert row is not None  # what is taken is kept
        _require_same(capability, of_row(row))
    return Published(capability.reference, capability.content_hash, written)


def get(store: Store, reference: str) -> Capability:
    """The capability of `NAME@VERSION` or `NAME` (its newest); `NotFound` naming what there is."""
    return of_row(releases.find_version(store, reference))


def listing(store: Store) -> list[ListedCapability]:
    """One document per capability: its versions, and what its newest one says."""
    found: dict[str, ListedCapability] = {}
    for row in releases.versions(store):
        older = found[row["name"]]["versions"] if row["name"] in found else []
        found[row["name"]] = {
            "name": row["name"],
            "versions": [*older, row["version"]],
            "version": row["version"],
            "description": row["description"],
            "agents": [agent["name"] for agent in json.loads(row["agents_json"])],
            "content_hash": row["content_hash"],
            "promoted_from_run": row["promoted_from_run"],
            "created_at": row["created_at"],
        }
    return list(found.values())


def diff(before: Capability, after: Capability) -> str:
    """A unified diff per file, sorted by path; empty where all files are equal."""
    return "".join(_differences(before, after))


def export(capability: Capability, out: Path) -> list[str]:
    """Write every file under `out`, which must be free, all of it or nothing. Returns the paths."""
    outside = [path for path in capability.files if not inside(path)]
    if outside:
        msg = f"{capability.reference} holds the path {outside[0]!a}, which leads out of {out}; nothing was written"
        raise InputError(msg)
    require_free(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=".rollout-") as scratch:
            staged = Path(scratch) / "capability"
            for path, raw in capability.files.items():
                _write(staged / path, raw, executable=path in capability.executable)
            staged.rename(out)
    except OSError as error:
        msg = f"{out} cannot be written: {error.strerror or error}"
        raise InputError(msg) from error
    return list(capability.files)


def _write(file: Path, raw: bytes, *, executable: bool) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(raw)
    if executable:
        file.chmod(file.stat().st_mode | 0o111)


def _require_same(given: Capability, there: Capability) -> None:
    if given.content_hash == there.content_hash:
        return
    paths = sorted({*given.files, *there.files})
    changed = [path for path in paths if given.files.get(path) != there.files.get(path)] or [
        "which files are executable"
    ]
    more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    msg = (
        f"{given.reference} is published with other content ({', '.join(changed[:SHOWN])}{more} differ); "
        "a published version never changes: give this one another version"
    )
    raise Refused(msg)


def _differences(before: Capability, after: Capability) -> Iterator[str]:
    for path in sorted({*before.files, *after.files}):
        old, new = before.files.get(path), after.files.get(path)
        if old != new:
            yield from file_diff(old, new, f"{before.reference}/{path}", f"{after.reference}/{path}")
        elif (path in before.executable) != (path in after.executable):
            yield f"{path} is {'now' if path in after.executable else 'no longer'} executable\n"


def file_diff(old: bytes | None, new: bytes | None, before: str, after: str) -> Iterator[str]:
    """The lines of a unified diff of two files; None is a file that is not there."""
    try:
        texts = [(raw or b"").decode("utf-8") for raw in (old, new)]
    except UnicodeDecodeError:
        yield f"Binary files {before if old is not None else '/dev/null'} and {after} differ\n"
        return
    one, other = (name if raw is not None else "/dev/null" for raw, name in ((old, before), (new, after)))
    for line in difflib.unified_diff(_lines(texts[0]), _lines(texts[1]), one, other):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _lines(text: str) -> list[str]:
    """Lines as files have them: other line separators stay inside a line."""
    parts = text.split("\n")
    return [*(f"{part}\n" for part in parts[:-1]), *(part for part in parts[-1:] if part)]
