"""The chain over a run's journal: written with every entry, recomputed by `rollout db check`.

Only what never changes of a row is hashed: a trial that is superseded later keeps its hash.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from rollout_local.domain.identity import canonical_json, well_formed
from rollout_local.errors import StoreError
from rollout_local.store.schema import Store

KINDS: dict[str, tuple[str, ...]] = {
    "trials": (
        "attempt", "candidate_hash", "task_name", "split", "phase", "occurrence", "step", "outcome", "score", "passed",
        "feedback", "output", "output_kind", "error", "error_kind", "metadata_json", "tries", "reused", "created_at",
    ),
    "reflections": ("attempt", "input_hash", "occurrence", "step", "reply_json", "created_at"),
    "events": ("attempt", "at", "level", "message", "data_json"),
}  # fmt: skip
"""The tables that the chain covers, and the columns that are hashed."""

START = "0" * 64


def append(db: sqlite3.Connection, run_id: str, kind: str, row_id: int, row: Mapping[str, Any]) -> None:
    """Add the entry of a row that was just written, in the same transaction."""
    last = db.execute(
        "SELECT seq, chain FROM journal_entries WHERE run_id = ? ORDER BY seq DESC LIMIT 1", (run_id,)
    ).fetchone()
    seq, before = (last[0] + 1, last[1]) if last else (1, START)
    row_hash = hash_of(kind, row)
    db.execute(
        "INSERT INTO journal_entries VALUES (?, ?, ?, ?, ?, ?)",
        (run_id, seq, kind, row_id, row_hash, link(before, kind, row_hash)),
    )


def hash_of(kind: str, row: Mapping[str, Any]) -> str:
    """SHA-256 over the columns of a row that never change, as the database gives them back."""
    text = canonical_json({name: well_formed(row[name]) for name in KINDS[kind]})
    return hashlib.sha256(text.encode()).hexdigest()


def link(before: str, kind: str, row_hash: str) -> str:
    """The chain after one more entry."""
    return hashlib.sha256(f"{before}|{kind}|{row_hash}".encode()).hexdigest()


def problems(store: Store, run_id: str) -> Iterator[str]:
    """Sentences for what is wrong with a run's journal: gaps, broken links, rows that differ from their hash."""
    expected, before = 1, START
    for entry in store.rows("SELECT * FROM journal_entries WHERE run_id = ? ORDER BY seq", (run_id,)):
        if entry["seq"] != expected:
            yield f"run {run_id}: journal entries {expected} to {entry['seq'] - 1} are missing"
        if entry["chain"] != link(before, entry["kind"], entry["row_hash"]):
            yield f"run {run_id}: the chain is broken at journal entry {entry['seq']}"
        state = _state_of_row(store, entry)
        if state is not None:
            yield f"run {run_id}: row {entry['row_id']} of {entry['kind']} {state} (journal entry {entry['seq']})"
        expected, before = entry["seq"] + 1, entry["chain"]
    for kind in KINDS:
        row = store.row(
            f"SELECT count(*) AS n FROM {kind} WHERE run_id = ? AND id NOT IN"
            " (SELECT row_id FROM journal_entries WHERE run_id = ? AND kind = ?)",
            (run_id, run_id, kind),
        )
        if row is not None and row["n"]:
            yield f"run {run_id}: {row['n']} rows of {kind} have no journal entry"


def _state_of_row(store: Store, entry: Mapping[str, Any]) -> str | None:
    """What is wrong with the row of an entry, or None."""
    kind = entry["kind"]
    if kind not in KINDS:
        return "is in a table that the journal does not cover"
    try:
        row = store.row(f"SELECT * FROM {kind} WHERE id = ?", (entry["row_id"],))
    except StoreError as error:  # a byte that makes a text no text any more
        return f"cannot be read: {error}"
    if row is None:
        return "is missing"
    return None if hash_of(kind, row) == entry["row_hash"] else "is not what was written"
