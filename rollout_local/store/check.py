"""`rollout db`: is the file whole, are its roll-ups true; a copy of it; its roll-ups made anew."""

from __future__ import annotations

import contextlib
import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from rollout_local.errors import InputError, StoreError
from rollout_local.store import chain
from rollout_local.store.schema import Store

ROLL_UPS = """
    SELECT c.id, c.number, c.run_id, s.split, count(t.score) AS n, coalesce(sum(t.score), 0) AS total,
        CASE s.split WHEN 'train' THEN c.train_n WHEN 'val' THEN c.val_n ELSE c.holdout_n END AS kept_n,
        CASE s.split WHEN 'train' THEN c.train_sum WHEN 'val' THEN c.val_sum ELSE c.holdout_sum END AS kept_sum
    FROM candidates c JOIN (SELECT 'train' AS split UNION SELECT 'val' UNION SELECT 'holdout') s
        LEFT JOIN trials t ON t.candidate_id = c.id AND t.split = s.split AND t.superseded_by IS NULL
    GROUP BY c.id, s.split
"""


def problems(store: Store) -> Iterator[str]:
    """Sentences for everything that is not as it should be; nothing where all is well."""
    for row in store.rows("PRAGMA integrity_check"):
        if row["integrity_check"] != "ok":
            yield f"SQLite: {row['integrity_check']}"
    for row in store.rows("PRAGMA foreign_key_check"):
        yield f"a row of {row['table']} refers to a row of {row['parent']} that is not there"
    for row in store.rows("SELECT id FROM runs ORDER BY created_at"):
        yield from chain.problems(store, row["id"])
    for row in store.rows(ROLL_UPS):
        if row["n"] != row["kept_n"] or not math.isclose(row["total"], row["kept_sum"], abs_tol=1e-6):
            yield (
                f"run {row['run_id']}: candidate {row['number']} shows {row['kept_n']} trials on {row['split']} "
                f"with the sum {row['kept_sum']:g}; there are {row['n']} with {row['total']:g} (`rollout db rebuild`)"
            )


def rebuild(store: Store) -> int:
    """Make the roll-ups of candidates anew from their trials. Returns how many were wrong."""
    wrong = [
        row
        for row in store.rows(ROLL_UPS)
        if row["n"] != row["kept_n"] or not math.isclose(row["total"], row["kept_sum"], abs_tol=1e-6)
    ]
    with store.write() as db:
        for row in wrong:
            split, mean = row["split"], row["total"] / row["n"] if row["n"] else None
            db.execute(
                f"UPDATE candidates SET {split}_n = ?, {split}_sum = ?, {split}_mean = ? WHERE id = ?",
                (row["n"], row["total"], mean, row["id"]),
            )
    return len(wrong)


def backup(store: Store, target: Path) -> None:
    """Copy the database, whole and consistent, while it may be in use; a plain copy would miss its WAL."""
    if target.exists():
        msg = f"{target} exists; give a file that does not"
        raise InputError(msg)
    try:
        with contextlib.closing(sqlite3.connect(target)) as copy:
            store.copy_into(copy)
    except (sqlite3.Error, OSError) as error:
        target.unlink(missing_ok=True)
        msg = f"{target} cannot be written: {error}"
        raise StoreError(msg) from error


def vacuum(store: Store) -> None:
    """Give free pages back to the file system."""
    store.vacuum()
