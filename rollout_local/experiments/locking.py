"""`experiment.lock` and `experiment.rows`: what the tool writes of what an experiment gave.

The lock has hashes, versions, digests per table and the headline numbers. The rows beside it are the run itself,
one line each with long texts cut and hashed, so that a replay that differs can say where, as a person would.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rollout_local.domain.experiment import Lock, differences
from rollout_local.domain.identity import content_hash
from rollout_local.errors import InputError
from rollout_local.reports.digest import Rows
from rollout_local.runs.fingerprint import versions
from rollout_local.runs.setup import Setup

LOCK, ROWS = "experiment.lock", "experiment.rows"
LONGEST = 60
"""Characters of a text that are kept in the rows; a longer one is cut and gets its hash."""


def read_lock(folder: Path) -> Lock | None:
    """The lock beside a manifest, or None where there is none yet; raises `InputError` for a damaged one."""
    path = folder / LOCK
    if not path.exists():
        return None
    try:
        return Lock.model_validate_json(path.read_bytes())
    except ValidationError as error:
        msg = f"{path} is damaged ({error.errors()[0]['msg'].lower()}); write it anew with `rollout experiments lock`"
        raise InputError(msg) from error


def write_lock(folder: Path, lock: Lock, rows: Rows) -> None:
    """Write the lock (JSON, sorted keys) and the rows (one JSON object a line)."""
    text = json.dumps(lock.model_dump(by_alias=True), indent=2, sort_keys=True, ensure_ascii=False)
    (folder / LOCK).write_text(text + "\n", encoding="utf-8")
    lines = [json.dumps({"table": table, **row}, ensure_ascii=False) for table, row in _lines(abridged(rows))]
    (folder / ROWS).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_rows(folder: Path) -> Rows | None:
    """The rows that the lock was made with, abridged; None where they are missing or cannot be read."""
    path = folder / ROWS
    if not path.exists():
        return None
    found: dict[str, list[dict[str, Any]]] = {table: [] for table in ("candidates", "parents", "proposals", "trials")}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found[row.pop("table")].append(row)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return {**found, "report": []}


def abridged(rows: Rows) -> Rows:
    """Rows whose long texts are cut and hashed; the report is left out, since it follows from the rest."""
    return {table: [_short(row) for row in found] if table != "report" else [] for table, found in rows.items()}


def lock_of(digest: str, tables: Mapping[str, str], inputs: Mapping[str, str], report: Mapping[str, Any]) -> Lock:
    """The lock of a replay."""
    return Lock(
        schema=1, inputs=dict(inputs), versions=versions(), digest=digest, tables=dict(tables), result=headline(report)
    )


def headline(report: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a report that a lock shows."""
    return {
        "baseline_holdout": report["baseline"]["holdout"]["mean"],
        "best_candidate": report["best"]["number"],
        "best_holdout": report["best"]["holdout"]["mean"],
        "lift": report["holdout"]["lift"],
        "promote": report["verdict"]["promote"],
        "stop_reason": report["stop_reason"],
    }


def compare(first: Path, second: Path) -> Iterator[tuple[str, Any, Any]]:
    """What differs between two locked experiments: `(name, value of the first, value of the second)`.

    Raises `InputError` where one of them has no lock.
    """
    locks = []
    for folder in (first, second):
        lock = read_lock(folder)
        if lock is None:
            msg = f"{folder} has no {LOCK}; make it with `rollout experiments lock {folder}`"
            raise InputError(msg)
        locks.append(lock)
    for part in ("inputs", "versions", "result", "tables"):
        for name, was, now in differences(getattr(locks[0], part), getattr(locks[1], part)):
            yield f"{part.removesuffix('s')} {name}", was, now


def input_hashes(setup: Setup, recording: Path) -> dict[str, str]:
    """What decides the run, hashed by name, and the recording."""
    named = {name: content_hash(value) for name, value in setup.inputs.items() if name != "versions"}
    return {**named, "recording": "sha256:" + hashlib.sha256(recording.read_bytes()).hexdigest()}


def _lines(rows: Rows) -> Iterator[tuple[str, dict[str, Any]]]:
    for table, found in rows.items():
        for row in found:
            yield table, row


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST:
        return f"{value[:LONGEST]}… #{content_hash(value)[7:15]}"
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        return f"{len(value)} items #{content_hash(value)[7:15]}" if len(str(value)) > LONGEST else value
    return value
