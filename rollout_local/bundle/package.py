"""The file that a run travels in: a zip whose every byte is decided by what is in it.

Members are stored plainly, by name, with one fixed date; `manifest.json` lists each with its SHA-256. Reading puts
the archive together again from its members and compares: so a byte that is not a member's own (a date, a flag, a
comment) is as protected as those that are. The members:

    manifest.json           {format, run_id, digest, tables (a digest each), versions, members: {name: {sha256, bytes}}}
    tables/<table>.jsonl    the rows of `run_tables.TABLES`, one JSON object a line
    files/recording*.yaml   the recording of the newest attempt; files/run.json: the set-up in the log_dir
    files/target.py         the target's source text, to be read; an import lays its files out, and imports none
                            (target.json: what a target behind a URL said of itself)
    files/checks.py         the same of the modules that `python` checks name
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, NotRequired, TypedDict, cast

from rollout_local.bundle import archives
from rollout_local.documents import parse_json
from rollout_local.errors import InputError
from rollout_local.store.run_tables import TABLES, Tables

FORMAT = 1
MANIFEST = "manifest.json"
FILES, ROWS, CHECKS = "files/", "tables/", "checks.py"
LIMITS = archives.Limits(members=64, member_bytes=2 << 30, total_bytes=4 << 30)
_DATE = (1980, 1, 1, 0, 0, 0)
_FILE_NAME = re.compile(r"recording(-\d+)?\.yaml|run\.json|target\.(py|json)|checks\.py")
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Member(TypedDict):
    """What a manifest says of a member."""

    sha256: str
    bytes: int


class BundleHead(TypedDict):
    """What a manifest says of the run; `tables` are digests."""

    run_id: str
    digest: str
    digest_format: NotRequired[int]
    tables: Mapping[str, str]
    versions: Mapping[str, str]


class BundleManifest(BundleHead):
    """A manifest, as far as it is whole: `unpack` compares its members, an import its digests."""

    format: int
    members: dict[str, Member]


def pack(members: Mapping[str, bytes]) -> bytes:
    """The archive of these members: the same members, the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, 0o100644 << 16
            archive.writestr(info, members[name])
    return buffer.getvalue()


def described(head: BundleHead, members: Mapping[str, bytes]) -> bytes:
    """The manifest over these members."""
    listed: dict[str, Member] = {
        name: {"sha256": _sha256(data), "bytes": len(data)} for name, data in sorted(members.items())
    }
    document: BundleManifest = {"format": FORMAT, **head, "members": listed}
    return (json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def unpack(file: Path) -> tuple[BundleManifest, dict[str, bytes]]:
    """The manifest and the members, every hash compared; `InputError` names the member that is not whole."""
    members = archives.read(file, LIMITS)
    manifest = _manifest(file, members)
    for name, said in manifest["members"].items():
        if name not in members:
            _refuse(f"{file}: {name} is missing")
        if not isinstance(said, dict) or said.get("sha256") != _sha256(members[name]):
            _refuse(f"{file}: {name} is not what the manifest says: it was changed, or damaged on the way")
    for name in sorted(set(members) - set(manifest["members"]) - {MANIFEST}):
        _refuse(f"{file}: {name} is not in the manifest")
    _require_canonical(file, members)
    return manifest, {name: data for name, data in members.items() if name != MANIFEST}


def rows_to_members(tables: Tables) -> dict[str, bytes]:
    """Every table as JSON lines; an empty one is an empty member."""
    return {f"{ROWS}{name}.jsonl": "".join(_line(row) for row in rows).encode() for name, rows in tables.items()}


def members_to_rows(file: Path, members: Mapping[str, bytes]) -> Tables:
    """The rows again; a table that an older version did not carry is empty."""
    names = {f"{ROWS}{table.name}.jsonl": table.name for table in TABLES}
    for member in sorted(members):
        if member not in names and not _FILE_NAME.fullmatch(member.removeprefix(FILES)):
            _refuse(f"{file}: {member} has no place here: made by a newer rollout-local; upgrade to read it")
    return {table: _rows(file, member, members.get(member, b"")) for member, table in names.items()}


def _rows(file: Path, member: str, data: bytes) -> list[dict[str, Any]]:
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        _refuse(f"{file}: {member} is not UTF-8 ({error})")
    found = [parse_json(line, f"{file}: {member}", number) for number, line in enumerate(lines, 1) if line]
    for number, row in enumerate(found, 1):
        if not isinstance(row, dict) or any(isinstance(value, bool | list | dict) for value in row.values()):
            _refuse(f"{file}: {member}:{number}: a row is an object of texts, numbers and nulls")
    return found


def _line(row: Mapping[str, object]) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


def _manifest(file: Path, members: Mapping[str, bytes]) -> BundleManifest:
    if MANIFEST not in members:
        _refuse(f"{file} has no {MANIFEST}, so it is not a bundle; `rollout optimize export RUN --bundle` makes one")
    try:
        document = parse_json(members[MANIFEST].decode("utf-8"), f"{file}: {MANIFEST}")
    except UnicodeDecodeError as error:
        _refuse(f"{file}: {MANIFEST} is not UTF-8 ({error})")
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        _refuse(f"{file}: {MANIFEST} is not of this version of rollout-local (format {FORMAT})")
    if not isinstance(document.get("members"), dict) or not RUN_ID.fullmatch(str(document.get("run_id"))):
        _refuse(f"{file}: {MANIFEST} names no members, or no run")
    return cast("BundleManifest", document)


def _require_canonical(file: Path, members: Mapping[str, bytes]) -> None:
    """The archive is the one that these members make; otherwise name the member whose surroundings differ."""
    seen, expected = file.read_bytes(), pack(members)
    if seen == expected:
        return
    place = next((at for at, (one, two) in enumerate(zip(seen, expected, strict=False)) if one != two), len(expected))
    with zipfile.ZipFile(io.BytesIO(expected)) as archive:
        starts = [(info.header_offset, info.filename) for info in archive.infolist()]
        owner = next((name for start, name in reversed(starts) if start <= place), MANIFEST)
        if place >= archive.start_dir:
            owner = "its directory of members"
    _refuse(f"{file}: {owner} is not as it was written (byte {place}): it was changed, or damaged on the way")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _refuse(message: str) -> NoReturn:
    raise InputError(message) from None
