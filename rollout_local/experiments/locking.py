"""`experiment.lock` and `experiment.rows`: what the tool writes of what an experiment gave.

The lock has hashes, versions, digests per table and the headline numbers. The rows beside it are the run itself,
one line each with long texts cut and hashed, so that a replay that differs can say where, as a person would.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from rollout_local.domain.experiment import LOCK_SCHEMA, Lock, differences
from rollout_local.domain.identity import content_hash
from rollout_local.domain.validation import first_problem
from rollout_local.errors import InputError
from rollout_local.planning.fingerprint import versions
from rollout_local.planning.setup import Setup
from rollout_local.reports.digest import FORMAT, Rows
from rollout_local.reports.report import Report

LOCK, ROWS = "experiment.lock", "experiment.rows"
LONGEST = 60
"""Characters of a text that are kept in the rows; a longer one is cut and gets its hash."""
Cut = TypeVar("Cut")


def read_lock(folder: Path) -> Lock | None:
    """The lock beside a manifest, or None where there is none yet; raises `InputError` for a damaged one."""
    path = folder / LOCK
    if not path.exists():
        return None
    try:
        lock = Lock.model_validate_json(path.read_bytes())
    except ValidationError as error:
        msg = f"{path} is damaged ({first_problem(error)[1]}); write it anew with `rollout experiments lock`"
        raise InputError(msg) from error
    if (lock.schema_number, lock.digest_format) != (LOCK_SCHEMA, FORMAT):
        msg = (
            f"{path} has schema {lock.schema_number} and digests of format {lock.digest_format}, this version"
            f" {LOCK_SCHEMA} and {FORMAT}; write it anew with `rollout experiments lock`"
        )
        raise InputError(msg)
    return lock


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
    found: Rows = {"candidates": [], "parents": [], "proposals": [], "trials": [], "report": []}
    by_table: dict[str, list[Any]] = {
        "candidates": found["candidates"], "parents": found["parents"], "proposals": found["proposals"],
        "trials": found["trials"],
    }  # fmt: skip
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            by_table[row.pop("table")].append(row)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return found


def abridged(rows: Rows) -> Rows:
    """Rows whose long texts are cut and hashed; the report is left out, since it follows from the rest."""
    return {
        "candidates": [cut(row) for row in rows["candidates"]], "parents": [cut(row) for row in rows["parents"]],
        "proposals": [cut(row) for row in rows["proposals"]], "trials": [cut(row) for row in rows["trials"]],
        "report": [],
    }  # fmt: skip


def lock_of(digest: str, tables: Mapping[str, str], inputs: Mapping[str, str], report: Report) -> Lock:
    """The lock of a replay."""
    return Lock(
        schema=LOCK_SCHEMA,
        inputs=dict(inputs),
        versions=versions(),
        digest_format=FORMAT,
        digest=digest,
        tables=dict(tables),
        result=headline(report),
    )


def headline(report: Report) -> dict[str, object]:
    """The numbers of a report that a lock shows."""
    return {
        "baseline_holdout": report["baseline"]["holdout"]["mean"],
        "best_candidate": report["best"]["number"],
        "best_holdout": report["best"]["holdout"]["mean"],
        "lift": report["holdout"]["lift"],
        "promote": report["verdict"]["promote"],
        "stop_reason": report["stop_reason"],
    }


def compare(first: Path, second: Path) -> Iterator[tuple[str, object, object]]:
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


def _lines(rows: Rows) -> Iterator[tuple[str, Mapping[str, object]]]:
    yield from (("candidates", row) for row in rows["candidates"])
    yield from (("parents", row) for row in rows["parents"])
    yield from (("proposals", row) for row in rows["proposals"])
    yield from (("trials", row) for row in rows["trials"])


def cut(row: Cut) -> Cut:
    """A row whose long texts are cut and hashed."""
    return cast("Cut", _short(row))


def _short(value: object) -> object:
    if isinstance(value, str) and len(value) > LONGEST:
        return f"{value[:LONGEST]}… #{content_hash(value)[7:15]}"
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        return f"{len(value)} items #{content_hash(value)[7:15]}" if len(str(value)) > LONGEST else value
    return value
