"""Every migration, in order: numbered functions; nobody edits one that has landed."""

from __future__ import annotations

from sqlite_utils import Database, Migrations

from rollout_local.store import chain, ddl_costs, ddl_durable, ddl_kept_runs, ddl_programs, ddl_releases
from rollout_local.store.ddl import TABLES, TRIGGERS, VIEWS

migrations = Migrations("rollout_local")


@migrations(name="0001_the_whole_path")
def _the_whole_path(db: Database) -> None:
    for statement in (*TABLES, *TRIGGERS, *VIEWS):
        db.execute(statement)


@migrations(name="0002_durable_runs")
def _durable_runs(db: Database) -> None:
    for statement in ddl_durable.STATEMENTS:
        db.execute(statement)


@migrations(name="0003_releases")
def _releases(db: Database) -> None:
    for statement in ddl_releases.TABLES:
        db.execute(statement)


@migrations(name="0004_reuse")
def _reuse(db: Database) -> None:
    db.execute("CREATE INDEX trials_alike ON trials (candidate_hash, task_name) WHERE score IS NOT NULL AND NOT reused")


@migrations(name="0005_programs")
def _programs(db: Database) -> None:
    for statement in ddl_programs.STATEMENTS:
        db.execute(statement)


@migrations(name="0006_journal_formats")
def _journal_formats(db: Database) -> None:
    db.execute("ALTER TABLE journal_entries ADD COLUMN format INTEGER NOT NULL DEFAULT 1")
    for column in {"queued", "wants_fresh"} - {column.name for column in db["runs"].columns}:
        # 0002 was edited once after it had landed: the files that were made before that lack these
        db.execute(f"ALTER TABLE runs ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")
    for (run_id,) in db.execute("SELECT id FROM runs ORDER BY created_at, id").fetchall():
        chain.complete(db.conn, run_id, made_as=2)


@migrations(name="0007_claims_are_leases")
def _claims_are_leases(db: Database) -> None:
    db.execute("ALTER TABLE runs ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0")
    db.execute("ALTER TABLE runs ADD COLUMN folder TEXT")


@migrations(name="0008_seals")
def _seals(db: Database) -> None:
    for table in ("runs", "verifiers", "datasets"):
        db.execute(f"ALTER TABLE {table} ADD COLUMN confirmed TEXT")
    db.execute("ALTER TABLE promotions ADD COLUMN pending TEXT")


DROPPED_INDEXES = ("trials_alike", "trials_trace", "traces_of_run", "trials_of_candidate")


@migrations(name="0009_fewer_indexes")
def _fewer_indexes(db: Database) -> None:
    """Each index costs every trial a page of the WAL or two: one finds a trial by its key, and its like elsewhere."""
    for name in ("trials_key", "trials_alike", "trials_trace", "traces_of_run"):
        db.execute(f"DROP INDEX IF EXISTS {name}")
    db.execute(
        "CREATE UNIQUE INDEX trials_key ON trials (candidate_hash, task_name, run_id, attempt, split, occurrence)"
        " WHERE superseded_by IS NULL"
    )


@migrations(name="0010_narrow_keys")
def _narrow_keys(db: Database) -> None:
    """A trial's key by its candidate's row, not by its hash; traces where a row longer than a page's share has room.

    A candidate's row names its run and attempt, and is short: the key also finds the trials of a candidate.
    """
    for name in ("trials_key", "trials_of_candidate", "candidates_hash", "candidate_tasks_best"):
        db.execute(f"DROP INDEX {name}")
    db.execute("CREATE INDEX candidates_hash ON candidates (content_hash, run_id, attempt)")
    db.execute(
        "CREATE UNIQUE INDEX trials_key ON trials (candidate_id, task_name, split, occurrence)"
        " WHERE superseded_by IS NULL"
    )
    db.execute("CREATE INDEX candidate_tasks_best ON candidate_tasks (run_id, task_name, best) WHERE split = 'val'")
    db.execute("CREATE INDEX trials_superseded_of_candidate ON trials (candidate_id) WHERE superseded_by IS NOT NULL")
    db.execute(
        "CREATE TABLE new_traces (id TEXT NOT NULL PRIMARY KEY, name TEXT NOT NULL, run_id TEXT,"
        " trial_id INTEGER REFERENCES trials(id), attributes_json TEXT NOT NULL DEFAULT '{}',"
        " started_at TEXT NOT NULL, duration_s REAL NOT NULL) STRICT"
    )
    db.execute("INSERT INTO new_traces SELECT * FROM traces")
    db.execute("DROP TABLE traces")
    db.execute("ALTER TABLE new_traces RENAME TO traces")


@migrations(name="0011_unknown_costs")
def _unknown_costs(db: Database) -> None:
    for statement in ddl_costs.STATEMENTS:
        db.execute(statement)


@migrations(name="0012_kept_runs")
def _kept_runs(db: Database) -> None:
    for statement in ddl_kept_runs.STATEMENTS:
        db.execute(statement)
