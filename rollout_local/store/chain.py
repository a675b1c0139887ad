"""The chain over a run's journal: written with every entry, recomputed by `rollout db check`.

An entry hashes a row as it was when the entry was made, and is linked to the entry before it. A row that changes by
design (a candidate is judged, a run goes on with an accepted change) gets another entry, so the newest entry of a row
says what the row must be. Row ids are hashed nowhere: an import renumbers them.

What it proves: no row that it covers was changed, added or lost by accident (a stray UPDATE, a bad disk, half a copy).
It has no key: who recomputes all of it is not noticed, nor by it alone that its end was cut off. The end is compared
with the run's log_dir (`rollout_local.afterwards.audit`) and with what `rollout db seal` wrote.

`FORMAT` counts what an entry hashes. An entry keeps the format that it was made in, and is checked by that one.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rollout_local.domain.identity import canonical_json, well_formed
from rollout_local.errors import StoreError
from rollout_local.store.row_types import JournalEntryRow
from rollout_local.store.selected_types import ChainEnd, ChainLink, RunId, Sequenced

if TYPE_CHECKING:  # `migrations`, which `schema` imports, calls this module
    from rollout_local.store.schema import Store

_FIRST: dict[str, tuple[str, ...]] = {
    "trials": (
        "attempt", "candidate_hash", "task_name", "split", "phase", "occurrence", "step", "outcome", "score", "passed",
        "feedback", "output", "output_kind", "error", "error_kind", "metadata_json", "tries", "reused", "created_at",
    ),
    "reflections": ("attempt", "input_hash", "occurrence", "step", "reply_json", "created_at"),
    "events": ("attempt", "at", "level", "message", "data_json"),
}  # fmt: skip

_SECOND: dict[str, tuple[str, ...]] = {
    **_FIRST,
    "trials": (*_FIRST["trials"], "checks_json", "latency_ms", "cost_usd", "trace_id"),
    "reflections": (*_FIRST["reflections"], "trace_id"),
    "candidates": ("attempt", "number", "status", "text", "components_json", "content_hash", "created_at"),
    "proposals": (
        "attempt", "iteration", "component", "accepted", "reason", "feedback_json", "minibatch_before",
        "minibatch_after", "created_at",
    ),
    "reports": ("attempt", "report_json", "created_at"),
    "runs": (
        "target_id", "optimizer", "seed", "config_json", "split_json", "fingerprint", "fingerprint_json",
        "metric_call_budget", "created_at",
    ),
}  # fmt: skip

COLUMNS: Mapping[int, Mapping[str, tuple[str, ...]]] = {1: _FIRST, 2: _SECOND}
"""By format: the tables that the chain covers, and the columns of each that are hashed."""

FORMAT = max(COLUMNS)
KINDS = tuple(COLUMNS[FORMAT])
PLACES = frozenset({"log_dir", "recording"})
START = "0" * 64
RUN = 0
"""The row id of a run's own entries: a run is named by its id, which is a text."""


def append(db: sqlite3.Connection, run_id: str, kind: str, row_id: int = RUN, *, made_as: int = FORMAT) -> None:
    """Add an entry for a row as it stands now, in the transaction that wrote it."""
    last = db.execute(
        "SELECT seq, chain FROM journal_entries WHERE run_id = ? ORDER BY seq DESC LIMIT 1", (run_id,)
    ).fetchone()
    seq, before = (last[0] + 1, last[1]) if last else (1, START)
    columns = COLUMNS[made_as][kind]
    where = (run_id,) if kind == "runs" else (row_id,)
    row = db.execute(f"SELECT {', '.join(columns)} FROM {kind} WHERE id = ?", where).fetchone()
    row_hash = _hash(dict(zip(columns, row, strict=True)), columns)
    db.execute(
        "INSERT INTO journal_entries (run_id, seq, kind, row_id, row_hash, chain, format) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (run_id, seq, kind, row_id, row_hash, link(before, kind, row_hash), made_as),
    )


def complete(db: sqlite3.Connection, run_id: str, made_as: int = FORMAT) -> None:
    """Add entries for the rows that have none: of a run that was written before the chain covered their table."""
    for kind in COLUMNS[made_as]:
        for row_id in _without_entry(db, run_id, kind):
            append(db, run_id, kind, row_id, made_as=made_as)


def head(store: Store, run_id: str) -> tuple[int, str]:
    """How many entries the chain of a run has, and the chain after the last of them."""
    sql = "SELECT seq, chain FROM journal_entries WHERE run_id = ? ORDER BY seq DESC LIMIT 1"
    row = store.first(ChainEnd, sql, (run_id,))
    return (0, START) if row is None else (row["seq"], row["chain"])


def heads(store: Store) -> dict[str, tuple[int, str]]:
    """The head of every run that is here, by id, oldest run first."""
    runs = store.select(RunId, "SELECT id FROM runs ORDER BY created_at, rowid")
    return {row["id"]: head(store, row["id"]) for row in runs}


def at(store: Store, run_id: str, seq: int) -> str | None:
    """The chain after the entry with this number, or None where there is no such entry."""
    row = store.first(ChainLink, "SELECT chain FROM journal_entries WHERE run_id = ? AND seq = ?", (run_id, seq))
    return None if row is None else row["chain"]


def link(before: str, kind: str, row_hash: str) -> str:
    """The chain after one more entry."""
    return hashlib.sha256(f"{before}|{kind}|{row_hash}".encode()).hexdigest()


def problems(store: Store, run_id: str) -> Iterator[str]:
    """Sentences for what is wrong with a run's journal: gaps, broken links, rows that differ from their hash."""
    newest = {row["seq"] for row in store.select(Sequenced, _NEWEST, (run_id,))}
    expected, before = 1, START
    sql = "SELECT * FROM journal_entries WHERE run_id = ? ORDER BY seq"
    for entry in store.select(JournalEntryRow, sql, (run_id,)):
        if entry["seq"] != expected:
            yield f"run {run_id}: journal entries {expected} to {entry['seq'] - 1} are missing"
        if entry["chain"] != link(before, entry["kind"], entry["row_hash"]):
            yield f"run {run_id}: the chain is broken at journal entry {entry['seq']}"
        state = _state_of_row(store, entry) if entry["seq"] in newest else None
        if state is not None:
            yield f"run {run_id}: {_named(entry)} {state} (journal entry {entry['seq']})"
        expected, before = entry["seq"] + 1, entry["chain"]
    for kind in KINDS:
        with store.reading() as db:
            missing = len(_without_entry(db, run_id, kind))
        if missing:
            yield f"run {run_id}: {missing} rows of {kind} have no journal entry"


_NEWEST = "SELECT max(seq) AS seq FROM journal_entries WHERE run_id = ? GROUP BY kind, row_id"


def _without_entry(db: sqlite3.Connection, run_id: str, kind: str) -> list[int]:
    """The row ids of a run's rows that no entry is about, in order."""
    if kind == "runs":
        sql = f"SELECT {RUN} FROM runs WHERE id = ?1 AND {RUN}"
    else:
        sql = f"SELECT id FROM {kind} WHERE run_id = ?1 AND id"
    entries = "(SELECT row_id FROM journal_entries WHERE run_id = ?1 AND kind = ?2)"
    return [row[0] for row in db.execute(f"{sql} NOT IN {entries} ORDER BY 1", (run_id, kind))]


def _named(entry: JournalEntryRow) -> str:
    return "its own row" if entry["kind"] == "runs" else f"row {entry['row_id']} of {entry['kind']}"


def _state_of_row(store: Store, entry: JournalEntryRow) -> str | None:
    """What is wrong with the row of an entry, or None."""
    kind, columns = entry["kind"], COLUMNS.get(entry["format"], {}).get(entry["kind"])
    if columns is None:
        return "is in a table that the journal does not cover"
    key = entry["run_id"] if kind == "runs" else entry["row_id"]
    try:
        row = store.row(f"SELECT * FROM {kind} WHERE id = ?", (key,))
    except StoreError as error:  # a byte that makes a text no text any more
        return f"cannot be read: {error}"
    if row is None:
        return "is missing"
    return None if _hash(row, columns) == entry["row_hash"] else "is not what was written"


def _hash(row: Mapping[str, object], columns: tuple[str, ...]) -> str:
    """SHA-256 over columns of a row, as the database gives them back."""
    text = canonical_json({name: _hashed(name, row[name]) for name in columns})
    return hashlib.sha256(text.encode()).hexdigest()


def _hashed(column: str, value: object) -> object:
    """A value as it is hashed: a config without the places of its files, which are an import's to choose."""
    if column != "config_json":
        return well_formed(value)
    try:
        config = json.loads(value if isinstance(value, str) else "")
        return {name: setting for name, setting in config.items() if name not in PLACES}
    except (ValueError, AttributeError):
        return well_formed(value)
