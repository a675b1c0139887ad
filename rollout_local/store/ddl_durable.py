"""What a durable run needs beside its rows: a lease, requests to its runner, and a chain over its journal.

Every committed trial, reflection and event gets an entry in `journal_entries`: numbered per run without gaps, with
a hash of the row and a hash over all entries so far. SQLite's own check misses a flipped byte in the WAL; the chain
does not.
"""

from __future__ import annotations

STATEMENTS = (
    "ALTER TABLE trials ADD COLUMN step INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE reflections ADD COLUMN step INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE runs ADD COLUMN active_s REAL NOT NULL DEFAULT 0",
    "ALTER TABLE runs ADD COLUMN concurrency_now INTEGER",
    "ALTER TABLE runs ADD COLUMN queued INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE runs ADD COLUMN wants_fresh INTEGER NOT NULL DEFAULT 0",
    """CREATE TABLE leases (
        run_id TEXT PRIMARY KEY REFERENCES runs(id), token INTEGER NOT NULL, pid INTEGER, host TEXT NOT NULL,
        boot TEXT NOT NULL, process TEXT NOT NULL, beats INTEGER NOT NULL, beat_s REAL NOT NULL) STRICT""",
    """CREATE TABLE run_commands (
        id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs(id), action TEXT NOT NULL, actor TEXT NOT NULL,
        created_at TEXT NOT NULL, handled_at TEXT, note TEXT NOT NULL DEFAULT '') STRICT""",
    "CREATE INDEX run_commands_waiting ON run_commands (run_id, id) WHERE handled_at IS NULL",
    """CREATE TABLE journal_entries (
        run_id TEXT NOT NULL REFERENCES runs(id), seq INTEGER NOT NULL, kind TEXT NOT NULL, row_id INTEGER NOT NULL,
        row_hash TEXT NOT NULL, chain TEXT NOT NULL, PRIMARY KEY (run_id, seq)) STRICT, WITHOUT ROWID""",
)
