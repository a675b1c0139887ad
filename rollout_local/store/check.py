"""`rollout db`: is the file whole, and what that is asked of; a copy of it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from rollout_local.errors import InputError, StoreError
from rollout_local.store import chain, contents, fixed, rollups, shape, trial_index
from rollout_local.store.schema import Store
from rollout_local.store.selected_types import IntegrityProblem, LooseReference, QuickProblem, RunId


def problems(store: Store) -> Iterator[str]:
    """Sentences for everything that is not as it should be; nothing where all is well."""
    for row in store.select(IntegrityProblem, "PRAGMA integrity_check"):
        if row["integrity_check"] != "ok":
            yield f"SQLite: {row['integrity_check']}"
    yield from shape.problems(store)
    try:
        yield from _of_rows(store)
    except StoreError as error:  # a table or a column is missing, and was named
        yield f"not everything could be asked: {error}"


def quick_check(store: Store) -> list[str]:
    """What SQLite's short check of the file says: `["ok"]` where all is well."""
    return [row["quick_check"] for row in store.select(QuickProblem, "PRAGMA quick_check")]


def application_id(store: Store) -> int:
    """What tells our files from other programs'."""
    with store.reading() as db:
        return fixed.application_id(db)


def sqlite_version(store: Store) -> str:
    """The SQLite that this store works with."""
    with store.reading() as db:
        return str(db.execute("SELECT sqlite_version()").fetchone()[0])


def require_json(store: Store) -> None:
    """Raise what SQLite raises where it has no JSON functions."""
    store.has("SELECT value FROM json_each('[1]')")


def _of_rows(store: Store) -> Iterator[str]:
    for row in store.select(LooseReference, "PRAGMA foreign_key_check"):
        yield f"a row of {row['table']} refers to a row of {row['parent']} that is not there"
    for run in store.select(RunId, "SELECT id FROM runs ORDER BY created_at"):
        yield from chain.problems(store, run["id"])
    yield from contents.problems(store)
    yield from rollups.problems(store)


def backup(store: Store, target: Path) -> None:
    """Copy the database, whole and consistent, while it may be in use; a plain copy would miss its WAL.

    `target` is there at the end, whole, or not at all, also where this is killed: it is made beside its place.
    """
    if target.exists():
        msg = f"{target} exists; give a file that does not"
        raise InputError(msg)
    draft = target.with_name(target.name + ".new")
    try:
        _remove(draft)  # what an earlier backup left that was killed
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # for its owner alone, as the database is
        with contextlib.closing(sqlite3.connect(draft)) as copy:
            store.copy_into(copy)
        _sync(draft)
        draft.replace(target)
        _sync(target.parent)
    except (sqlite3.Error, OSError) as error:
        with contextlib.suppress(OSError):
            _remove(draft)
        msg = f"{target} cannot be written: {error}"
        raise StoreError(msg) from error


def _remove(draft: Path) -> None:
    for file in (draft, draft.with_name(draft.name + "-journal")):
        file.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Let a file, or the names in a folder, reach the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def vacuum(store: Store) -> None:
    """Give free pages back to the file system, and with them what was deleted."""
    trial_index.forget_the_deleted(store)
    store.vacuum()
