"""Capabilities, their versions, and promotions. A version never changes; a promotion is taken back by another one."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from rollout_local.errors import NotFound
from rollout_local.store.catalog_rows import CapabilityRow, CapabilityVersionRow, NewPromotion, PromotionRow
from rollout_local.store.lifecycle import mark_handled
from rollout_local.store.schema import Store
from rollout_local.store.selected_types import ListedVersion, PendingPromotion


def add_version(store: Store, row: Mapping[str, object]) -> bool:
    """Write a new version (and its capability, where it is the first); False where the version is taken."""
    with store.write() as db:
        return insert_version(db, row)


def insert_version(db: sqlite3.Connection, row: Mapping[str, object]) -> bool:
    """The same inside a transaction that is open already."""
    db.execute(
        "INSERT INTO capabilities (name, description, created_at) VALUES (:name, :description, :created_at)"
        " ON CONFLICT DO NOTHING",
        row,
    )
    major, minor, patch = (int(part) for part in str(row["version"]).split("."))
    whole = {"promoted_from_run": None, **row, "major": major, "minor": minor, "patch": patch}
    columns, marks = ", ".join(whole), ", ".join(f":{column}" for column in whole)
    written = db.execute(
        f"INSERT INTO capability_versions ({columns}) VALUES ({marks}) ON CONFLICT (name, version) DO NOTHING", whole
    ).rowcount
    return bool(written)


def version(store: Store, name: str, number: str) -> CapabilityVersionRow | None:
    """One version of a capability, or None."""
    sql = "SELECT * FROM capability_versions WHERE name = ? AND version = ?"
    return store.first(CapabilityVersionRow, sql, (name, number))


def newest(store: Store, name: str) -> CapabilityVersionRow | None:
    """The highest version of a capability, or None."""
    sql = "SELECT * FROM capability_versions WHERE name = ? ORDER BY major DESC, minor DESC, patch DESC LIMIT 1"
    return store.first(CapabilityVersionRow, sql, (name,))


def find_version(store: Store, reference: str) -> CapabilityVersionRow:
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


def versions(store: Store, name: str | None = None) -> list[ListedVersion]:
    """Every version (of one capability) without its files, oldest version first."""
    return store.select(
        ListedVersion,
        "SELECT id, name, version, description, content_hash, manifest_json, agents_json, promoted_from_run, created_at"
        " FROM capability_versions WHERE ?1 IS NULL OR name = ?1 ORDER BY name, major, minor, patch",
        (name,),
    )


def capabilities(store: Store) -> list[CapabilityRow]:
    """Every capability by name."""
    return store.select(CapabilityRow, "SELECT * FROM capabilities ORDER BY name")


def add_promotion(
    store: Store,
    row: NewPromotion,
    release: Mapping[str, object] | None = None,
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


def promotions(store: Store, run_id: str | None = None) -> list[PromotionRow]:
    """Every promotion (of one run), oldest first."""
    sql = "SELECT * FROM promotions WHERE ?1 IS NULL OR run_id = ?1 ORDER BY id"
    return store.select(PromotionRow, sql, (run_id,))


def pending(store: Store) -> list[PendingPromotion]:
    """Promotions whose file may not have taken its place yet: their process died, or is at it."""
    sql = "SELECT id, to_path, text, pending FROM promotions WHERE pending IS NOT NULL ORDER BY id"
    return store.select(PendingPromotion, sql)


def set_landed(store: Store, promotion: int) -> None:
    """The file of a promotion is in its place."""
    with store.write() as db:
        db.execute("UPDATE promotions SET pending = NULL WHERE id = ?", (promotion,))


def standing(store: Store, run_id: str) -> PromotionRow | None:
    """The newest promotion of a run that is not taken back, or None."""
    return store.first(
        PromotionRow,
        "SELECT * FROM promotions WHERE run_id = ? AND reverts IS NULL AND reverted_by IS NULL"
        " ORDER BY id DESC LIMIT 1",
        (run_id,),
    )


def has_holdout_trials_in_search(store: Store, run_id: str, attempt: int) -> bool:
    """Whether the search executed holdout tasks: a run of ours never does."""
    sql = "SELECT 1 FROM trials WHERE run_id = ? AND attempt = ? AND phase = 'searching' AND split = 'holdout' LIMIT 1"
    return store.has(sql, (run_id, attempt))


def is_agent(store: Store, name: str) -> bool:
    """Whether a target is an agent of some published version."""
    return store.has("SELECT 1 FROM capability_versions WHERE ? LIKE name || '@' || version || ':%'", (name,))
