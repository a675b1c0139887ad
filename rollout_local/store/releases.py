"""Capabilities, their versions, and promotions. A version never changes; a promotion is taken back by another one."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from rollout_local.errors import NotFound
from rollout_local.store.lifecycle import mark_handled
from rollout_local.store.schema import Store

Row = dict[str, Any]


def add_version(store: Store, row: Mapping[str, Any]) -> bool:
    """Write a new version (and its capability, where it is the first); False where the version is taken."""
    with store.write() as db:
        return insert_version(db, row)


def insert_version(db: sqlite3.Connection, row: Mapping[str, Any]) -> bool:
    """The same inside a transaction that is open already."""
    db.execute(
        "INSERT INTO capabilities (name, description, created_at) VALUES (:name, :description, :created_at)"
        " ON CONFLICT DO NOTHING",
        row,
    )
    major, minor, patch = (int(part) for part in row["version"].split("."))
    whole = {"promoted_from_run": None, **row, "major": major, "minor": minor, "patch": patch}
    columns, marks = ", ".join(whole), ", ".join(f":{column}" for column in whole)
    written = db.execute(
        f"INSERT INTO capability_versions ({columns}) VALUES ({marks}) ON CONFLICT (name, version) DO NOTHING", whole
    ).rowcount
    return bool(written)


def version(store: Store, name: str, number: str) -> Row | None:
    """One version of a capability, or None."""
    return store.row("SELECT * FROM capability_versions WHERE name = ? AND version = ?", (name, number))


def newest(store: Store, name: str) -> Row | None:
    """The highest version of a capability, or None."""
    return store.row(
        "SELECT * FROM capability_versions WHERE name = ? ORDER BY major DESC, minor DESC, patch DESC LIMIT 1", (name,)
    )


def find_version(store: Store, reference: str) -> Row:
    """The row of `NAME@VERSION`, or of `NAME` (its newest); raises `NotFound` naming what there is."""
    name, _, number = reference.partition("@")
    found = version(store, name, number) if number else newest(store, name)
    if found is not None:
        return found
    there = [row["version"] for row in versions(store, name)]
    if there:
        msg = f"{name} has no version {number!r}; it has {', '.join(there)}"
        raise NotFound(msg)
    names = ", ".join(row["name"] for row in capabilities(store)) or "none"
    msg = (
        f"there is no capability {name!r} in {store.path} (there: {names}); `rollout capabilities publish DIR` adds one"
    )
    raise NotFound(msg)


def versions(store: Store, name: str | None = None) -> list[Row]:
    """Every version (of one capability) without its files, oldest version first."""
    return store.rows(
        "SELECT id, name, version, description, content_hash, manifest_json, agents_json, promoted_from_run, created_at"
        " FROM capability_versions WHERE ?1 IS NULL OR name = ?1 ORDER BY name, major, minor, patch",
        (name,),
    )


def capabilities(store: Store) -> list[Row]:
    """Every capability by name."""
    return store.rows("SELECT * FROM capabilities ORDER BY name")


def add_promotion(
    store: Store,
    row: Mapping[str, Any],
    release: Mapping[str, Any] | None = None,
    *,
    said: str = "promoted",
    request: int | None = None,
) -> int | None:
    """Write a promotion, and with it the version that it publishes: both or neither.

    Whoever asked for it on a page is answered with `said` in the same transaction. `request` is the request that this
    carries out. Returns the promotion's id, or None (with nothing written) where the version is taken, where `reverts`
    names a promotion that was taken back already, or where the request was carried out by somebody else.
    """
    back = row.get("reverts")
    with store.write() as db:
        if back is not None and not _stands(db, back):
            return None
        waiting = [] if back is not None else _asked(db, row["run_id"])
        if request is not None and request not in waiting:
            return None
        if release is not None and not insert_version(db, release):
            return None
        columns, marks = ", ".join(row), ", ".join(f":{column}" for column in row)
        promotion = db.execute(f"INSERT INTO promotions ({columns}) VALUES ({marks})", row).lastrowid
        if back is not None:
            db.execute("UPDATE promotions SET reverted_by = ? WHERE id = ?", (promotion, back))
        for asked in waiting:
            mark_handled(db, asked, row["at"], said)
    return promotion


def _asked(db: sqlite3.Connection, run_id: str) -> list[int]:
    """The requests to promote a run that nobody has heard yet."""
    rows = db.execute(
        "SELECT id FROM run_commands WHERE run_id = ? AND action = 'promote' AND handled_at IS NULL", (run_id,)
    )
    return [row[0] for row in rows]


def _stands(db: sqlite3.Connection, promotion: int) -> bool:
    found = db.execute("SELECT 1 FROM promotions WHERE id = ? AND reverted_by IS NULL", (promotion,)).fetchone()
    return found is not None


def promotions(store: Store, run_id: str | None = None) -> list[Row]:
    """Every promotion (of one run), oldest first."""
    return store.rows("SELECT * FROM promotions WHERE ?1 IS NULL OR run_id = ?1 ORDER BY id", (run_id,))


def standing(store: Store, run_id: str) -> Row | None:
    """The newest promotion of a run that is not taken back, or None."""
    return store.row(
        "SELECT * FROM promotions WHERE run_id = ? AND reverts IS NULL AND reverted_by IS NULL"
        " ORDER BY id DESC LIMIT 1",
        (run_id,),
    )


def holdout_trials_in_search(store: Store, run_id: str, attempt: int) -> int:
    """Trials of the search on holdout tasks: a run of ours has none."""
    found = store.row(
        "SELECT count(*) AS n FROM trials"
        " WHERE run_id = ? AND attempt = ? AND phase = 'searching' AND split = 'holdout'",
        (run_id, attempt),
    )
    assert found is not None
    return int(found["n"])
