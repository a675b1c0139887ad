"""Taking all rows of one run out of the file, in one transaction, and leaving every other row as it was.

Rows of a run are append only. `deleted_runs` opens the door that their triggers look at, for this run and inside this
transaction alone; what stays of the run is that row. Datasets, verifiers, targets and published versions stay, since
they are named by content and may be others' too; a text of a span goes where no other run has it.

SQLite would look through every table that may refer to a row for each row that goes, without an index that would cost
every trial its share. So references are checked once, over the whole file, before the transaction ends.
"""

from __future__ import annotations

import sqlite3

from rollout_local.errors import Refused
from rollout_local.store import chain, releases
from rollout_local.store.lease import acquire
from rollout_local.store.row_types import DeletedRunRow
from rollout_local.store.schema import Store
from rollout_local.store.selected_types import Count

_OF_RUN = (
    "trials", "proposals", "reflections", "events", "metrics", "reports", "attempts", "phase_calls", "program_answers",
    "journal_entries", "run_commands", "leases", "promotions",
)  # fmt: skip
"""Tables with a `run_id` and no rows below theirs."""
_CANDIDATES = "(SELECT id FROM candidates WHERE run_id = ?1)"
_SPANS = "(SELECT id FROM traces WHERE run_id = ?1)"
_TEXTS = (
    "SELECT j.value FROM span_records s JOIN traces r ON r.id = s.trace_id, json_each(s.input_hashes_json) j"
    " WHERE r.run_id"
)
_STATEMENTS = (
    f"DELETE FROM texts WHERE hash IN ({_TEXTS} = ?1) AND hash NOT IN ({_TEXTS} IS NOT ?1)",
    f"DELETE FROM span_records WHERE trace_id IN {_SPANS}",
    "DELETE FROM traces WHERE run_id = ?1",
    "UPDATE capability_versions SET promoted_from_run = NULL WHERE promoted_from_run = ?1",
    f"DELETE FROM candidate_tasks WHERE candidate_id IN {_CANDIDATES}",
    f"DELETE FROM candidate_parents WHERE candidate_id IN {_CANDIDATES}",
    *(f"DELETE FROM {table} WHERE run_id = ?1" for table in _OF_RUN),
    "DELETE FROM candidates WHERE run_id = ?1",
    "DELETE FROM runs WHERE id = ?1",
)
COUNTED = ("candidates", "trials", "traces", "reports", "promotions")
"""What people are told of."""


def counts(store: Store, run_id: str) -> dict[str, int]:
    """How many rows of the tables `COUNTED` a run has."""
    found = {}
    for table in COUNTED:
        row = store.first(Count, f"SELECT count(*) AS n FROM {table} WHERE run_id = ?", (run_id,))
        found[table] = row["n"] if row else 0
    return found


def delete(store: Store, run_id: str, *, actor: str, at: str, force: bool = False) -> None:
    """Delete a run. Raises `Refused` where somebody runs it, or its promotion stands and `force` is not given."""
    lease = acquire(store, run_id, at=at)
    store.fence = None  # its row goes, too
    try:
        with store.write_unlinked() as db:
            lease.check(db)
            if not force:
                _require_no_promotion(store, run_id)
            _delete(db, run_id, actor, at, chain.head(store, run_id))
    except BaseException:
        lease.release()
        raise


def record(store: Store, run_id: str) -> DeletedRunRow | None:
    """What is known of a run that was deleted, or None."""
    return store.first(DeletedRunRow, "SELECT * FROM deleted_runs WHERE run_id = ?", (run_id,))


def _require_no_promotion(store: Store, run_id: str) -> None:
    standing = releases.standing(store, run_id)
    if standing is not None:
        place = standing["to_path"] or f"{standing['capability']}@{standing['to_version']}"
        msg = (
            f"the text of run {run_id} stands in {place}; take it back with `rollout optimize promote {run_id}"
            " --revert`, or delete with --force: the text stays there, and where it came from is forgotten"
        )
        raise Refused(msg)


def _delete(db: sqlite3.Connection, run_id: str, actor: str, at: str, head: tuple[int, str]) -> None:
    db.execute("INSERT OR REPLACE INTO deleted_runs VALUES (?, ?, ?, ?, ?, 1)", (run_id, *head, actor, at))
    for statement in _STATEMENTS:
        db.execute(statement, (run_id,))
    db.execute("UPDATE deleted_runs SET deleting = 0 WHERE run_id = ?", (run_id,))
