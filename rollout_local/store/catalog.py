"""Datasets, verifiers and targets: written once per content, read by id or name."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Literal, overload

from rollout_local.domain.dataset import Dataset, SplitName, Task
from rollout_local.domain.identity import canonical_json
from rollout_local.domain.target import Target
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import NotFound
from rollout_local.store.catalog_rows import DatasetRow, TargetRow, TaskRow, VerifierRow
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store
from rollout_local.store.seals import seal
from rollout_local.store.selected_types import (
    AddedDataset,
    AddedVerifier,
    CallableTarget,
    DatasetChoice,
    DatasetVersion,
    SplitText,
    VerifierChoice,
)


def import_dataset(store: Store, dataset: Dataset, created_at: str) -> AddedDataset:
    """Write a dataset version, or find the one with this content. Returns its row; `is_new` says which."""
    sealed = seal("dataset", dataset.content_hash)
    with store.write() as db:
        found = store.first(DatasetRow, "SELECT * FROM datasets WHERE content_hash = ?", (dataset.content_hash,))
        if found:
            db.execute("UPDATE datasets SET confirmed = ? WHERE id = ?", (sealed, found["id"]))
            return {**found, "is_new": False}
        version = db.execute(
            "SELECT coalesce(max(version), 0) + 1 FROM datasets WHERE slug = ?", (dataset.slug,)
        ).fetchone()[0]
        dataset_id = db.execute(
            "INSERT INTO datasets (slug, version, name, content_hash, task_count, created_at, confirmed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (dataset.slug, version, dataset.name, dataset.content_hash, len(dataset.tasks), created_at, sealed),
        ).lastrowid
        db.executemany(
            "INSERT INTO tasks (dataset_id, position, name, instruction, input_json, metadata_json,"
            " expected_output_json, expected_output_schema_json) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(dataset_id, position, *_task_row(task)) for position, task in enumerate(dataset.tasks)],
        )
    row = store.first(DatasetRow, "SELECT * FROM datasets WHERE id = ?", (dataset_id,))
    assert row is not None
    return {**row, "is_new": True}


def _task_row(task: Task) -> tuple[str | None, ...]:
    schema = task.expected_output_schema
    return (
        task.name,
        task.instruction,
        _json(task.input),
        _json(task.metadata),
        None if task.expected_output is None else _json(task.expected_output),
        None if schema is None else _json(schema),
    )


def _json(value: object) -> str:
    """JSON that keeps the order of keys and tells 1.0 from 1: what is read back is what was written."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def find_dataset(store: Store, reference: str) -> DatasetRow:
    """The row of `slug` or `slug@version`; raises `NotFound` naming what there is.

    `slug` is its newest version of those that were made here, where there is one: an import changes no name.
    """
    slug, _, version = reference.partition("@")
    sql = "SELECT * FROM datasets WHERE slug = ?"
    if version:
        found = store.first(DatasetRow, f"{sql} AND CAST(version AS TEXT) = ?", (slug, version))
    else:
        found = store.first(DatasetRow, f"{sql} ORDER BY confirmed IS NULL, version DESC LIMIT 1", (slug,))
    if found is None:
        known = [f"{row['slug']}@{row['version']}" for row in list_datasets(store)]
        msg = f"there is no dataset {reference!r}: no such folder, and the database has {', '.join(known) or 'none'}"
        raise NotFound(msg)
    return found


def list_datasets(store: Store) -> list[DatasetRow]:
    """Every dataset version, by slug and version."""
    return store.select(DatasetRow, "SELECT * FROM datasets ORDER BY slug, version")


def load_dataset(store: Store, dataset_id: int) -> Dataset:
    """A dataset as it was imported."""
    row = store.first(DatasetRow, "SELECT * FROM datasets WHERE id = ?", (dataset_id,))
    assert row is not None
    rows = store.select(TaskRow, "SELECT * FROM tasks WHERE dataset_id = ? ORDER BY position", (dataset_id,))
    return Dataset(name=row["name"], slug=row["slug"], tasks=tuple(_task(task) for task in rows))


def _task(row: TaskRow) -> Task:
    expected, schema = row["expected_output_json"], row["expected_output_schema_json"]
    return Task(
        name=row["name"],
        instruction=row["instruction"],
        input=json.loads(row["input_json"]),
        metadata=json.loads(row["metadata_json"]),
        expected_output=None if expected is None else json.loads(expected),
        expected_output_schema=None if schema is None else json.loads(schema),
    )


def task_row(store: Store, dataset_id: int, name: str) -> TaskRow | None:
    """A task of a dataset."""
    return store.first(TaskRow, "SELECT * FROM tasks WHERE dataset_id = ? AND name = ?", (dataset_id, name))


def dataset_name(store: Store, dataset_id: int | None) -> str | None:
    """`slug@version`, or None."""
    row = store.first(DatasetVersion, "SELECT slug, version FROM datasets WHERE id = ?", (dataset_id,))
    return f"{row['slug']}@{row['version']}" if row else None


def add_verifier(store: Store, spec: VerifierSpec, created_at: str) -> AddedVerifier:
    """Register a verifier, or find the one with this content. Returns its row; `is_new` says which."""
    with store.write() as db:
        added = db.execute(
            "INSERT OR IGNORE INTO verifiers (name, content_hash, spec_json, created_at) VALUES (?, ?, ?, ?)",
            (spec.name, spec.content_hash, canonical_json(spec.model_dump()), created_at),
        ).rowcount
        db.execute(
            "UPDATE verifiers SET confirmed = ? WHERE content_hash = ?",
            (seal("verifier", spec.content_hash), spec.content_hash),
        )
    row = store.first(VerifierRow, "SELECT * FROM verifiers WHERE content_hash = ?", (spec.content_hash,))
    assert row is not None
    return {**row, "is_new": bool(added)}


def list_verifiers(store: Store) -> list[VerifierRow]:
    """Every registered verifier, oldest first."""
    return store.select(VerifierRow, "SELECT * FROM verifiers ORDER BY id")


def find_verifier(store: Store, reference: str) -> VerifierRow:
    """The newest verifier with this id, name or (a prefix of its) hash; raises `NotFound` naming what there is.

    Those that were registered here go before those that came with an import.
    """
    newest_first = reversed(list_verifiers(store))
    for row in sorted(newest_first, key=lambda row: row["confirmed"] is None):
        spec = json.loads(row["spec_json"])
        if reference in (spec["id"], row["name"], str(row["id"])):
            return row
        if len(reference) > len("sha256:") and row["content_hash"].startswith(reference):
            return row
    known = ", ".join(str(json.loads(row["spec_json"])["id"]) for row in list_verifiers(store)) or "none"
    msg = f"there is no verifier {reference!r}: no such file, and the database has {known}"
    raise NotFound(msg)


def load_verifiers(store: Store, ids: Sequence[int]) -> list[VerifierSpec]:
    """The specs with these row ids, in this order."""
    by_id = {row["id"]: row for row in list_verifiers(store)}
    return [VerifierSpec.model_validate_json(by_id[verifier_id]["spec_json"]) for verifier_id in ids]


_CALLED = "json_array_length({0}, '$.modules') > 0 OR json_extract({0}, '$.target_url') IS NOT NULL"
"""A config that says how its target is reached: modules to import, or an address."""


def callable_targets(store: Store, among: int = 200) -> list[CallableTarget]:
    """`row_id`, `id` and `used_at` of the targets that a worker can call, by id: of each the row that was used last.

    The newest `among` runs are looked at; a row that none of them used counts from when it was synced.
    """
    return store.select(
        CallableTarget,
        "SELECT t.row_id, t.id, max(coalesce(r.created_at, t.synced_at)) AS used_at FROM targets t LEFT JOIN"
        " (SELECT target_row_id, config_json, created_at FROM runs ORDER BY created_at DESC, rowid DESC LIMIT ?) r"
        " ON r.target_row_id = t.row_id WHERE json_array_length(t.modules_json) > 0 OR "
        + _CALLED.format("r.config_json")
        + " GROUP BY t.id ORDER BY t.id",
        (among,),
    )


def last_call(store: Store, row_id: int) -> RunRow | None:
    """The newest run of a target's row whose config says how the target is reached, or None."""
    return store.first(
        RunRow,
        "SELECT * FROM runs WHERE target_row_id = ? AND ("
        + _CALLED.format("config_json")
        + ") ORDER BY created_at DESC, rowid DESC LIMIT 1",
        (row_id,),
    )


def last_split(store: Store, dataset_id: int) -> dict[SplitName, list[str]] | None:
    """Where the newest run of a dataset (alone, and all of it) placed its tasks, or None."""
    row = store.first(
        SplitText,
        "SELECT split_json FROM runs WHERE dataset_id = ? AND val_dataset_id IS NULL"
        " AND json_extract(config_json, '$.max_tasks') IS NULL ORDER BY created_at DESC, rowid DESC LIMIT 1",
        (dataset_id,),
    )
    if row is None:
        return None
    found: dict[SplitName, list[str]] = json.loads(row["split_json"])
    return found


def datasets_to_choose(store: Store, limit: int) -> list[DatasetChoice]:
    """Every version of every dataset, the newest of each first."""
    return store.select(
        DatasetChoice,
        "SELECT id, slug, version, task_count FROM datasets ORDER BY slug, version DESC, id DESC LIMIT ?",
        (limit,),
    )


def newest_verifiers(store: Store) -> list[VerifierChoice]:
    """The newest verifier of each id, the newest first."""
    return store.select(
        VerifierChoice,
        "SELECT max(id) AS id, name, spec_json FROM verifiers GROUP BY json_extract(spec_json, '$.id') ORDER BY 1 DESC",
    )


def newest_runs(store: Store, limit: int) -> list[RunRow]:
    """The newest runs, whole."""
    return store.select(RunRow, "SELECT * FROM runs ORDER BY created_at DESC, rowid DESC LIMIT ?", (limit,))


@overload
def kept(store: Store, kind: Literal["dataset"], row_id: int) -> DatasetRow: ...
@overload
def kept(store: Store, kind: Literal["verifier"], row_id: int) -> VerifierRow: ...
@overload
def kept(store: Store, kind: Literal["target"], row_id: int) -> TargetRow: ...
def kept(
    store: Store, kind: Literal["dataset", "verifier", "target"], row_id: int
) -> DatasetRow | VerifierRow | TargetRow:
    """The row with this number; raises `NotFound` where there is none."""
    found: DatasetRow | VerifierRow | TargetRow | None
    if kind == "dataset":
        found = store.first(DatasetRow, "SELECT * FROM datasets WHERE id = ?", (row_id,))
    elif kind == "verifier":
        found = store.first(VerifierRow, "SELECT * FROM verifiers WHERE id = ?", (row_id,))
    else:
        found = store.first(TargetRow, "SELECT * FROM targets WHERE row_id = ?", (row_id,))
    if found is None:
        msg = f"there is no {kind} number {row_id} in {store.path.name}; choose one of those that are there"
        raise NotFound(msg)
    return found


def sync_target(store: Store, target: Target, modules: Sequence[str], synced_at: str) -> int:
    """Keep a target's metadata and source text; the same content is one row. Returns the row's id.

    A credential that is written into the source is not in the text; the hash is that of the source as it is.
    """
    baseline = canonical_json(target.baseline.components)
    with store.write() as db:
        db.execute(
            "INSERT OR IGNORE INTO targets (id, kind, description, baseline, baseline_json, source, source_hash,"
            " modules_json, synced_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                target.id, target.kind, store.redactor.text(target.description),
                "\n\n".join(target.baseline.components.values()), baseline,
                store.redactor.text(target.source), target.source_hash, json.dumps(list(modules)), synced_at,
            ),
        )  # fmt: skip
        return _target_row_id(db, target.id, target.source_hash, baseline)


def _target_row_id(db: sqlite3.Connection, target_id: str, source_hash: str, baseline: str) -> int:
    row = db.execute(
        "SELECT row_id FROM targets WHERE id = ? AND source_hash = ? AND baseline_json = ?",
        (target_id, source_hash, baseline),
    ).fetchone()
    return int(row[0])
