"""All rows of one run, free of the row ids of the database they are in, and such rows written to a database.

`gather` numbers the rows of every table anew from 1 in an order that their content decides, so the same run gives
the same rows wherever it is; `insert` gives them the next free ids of another database. Datasets, verifiers,
targets and texts are named by content and may be there already; then those are used. SQL is made of the names in
`TABLES` alone, and columns that the database is known to have; values are parameters. Roll-ups are not carried:
the triggers that keep them see the trials in the order in which they were made.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, cast

from rollout_local.domain.dataset import SPLITS
from rollout_local.domain.identity import text_hash
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import InputError
from rollout_local.store import catalog, chain
from rollout_local.store.catalog_rows import DatasetRow, TargetRow, VerifierRow
from rollout_local.store.row_types import RunRow, SpanRecordRow, TextRow, TraceRow
from rollout_local.store.schema import Store

Row = dict[str, Any]
Tables = dict[str, list[Row]]


class RunRows(TypedDict):
    """The tables that are looked into by name, as far as their rows are whole: `insert` checks what a bundle brings."""

    datasets: list[DatasetRow]
    verifiers: list[VerifierRow]
    targets: list[TargetRow]
    runs: list[RunRow]
    traces: list[TraceRow]
    texts: list[TextRow]
    span_records: list[SpanRecordRow]


Ids = dict[str, dict[int, int]]


@dataclass(frozen=True)
class RunTable:
    """One table of a run: how its rows are selected (`?1` is the run), its row id, the row ids it refers to.

    `left_out` are columns that belong to this database or machine, and roll-ups. `marks` are the owner's, who may have
    changed them since. `same` names the columns that identify a row which other runs may share.
    """

    name: str
    select: str
    key: str | None = None
    refs: Mapping[str, str] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    marks: frozenset[str] = frozenset()
    same: tuple[str, ...] = ()


_OF_RUN = "SELECT * FROM {} WHERE run_id = ?1 ORDER BY {}"
_ROLL_UPS = frozenset([f"{split}_{what}" for split in SPLITS for what in ("sum", "mean", "n")] + ["val_best"])


def _of_run(name: str, order: str = "id", **more: Any) -> RunTable:
    return RunTable(name, _OF_RUN.format(name, order), **more)


TABLES = (
    RunTable(
        "datasets",
        "SELECT d.* FROM datasets d JOIN runs r ON d.id IN (r.dataset_id, r.val_dataset_id) WHERE r.id = ?1"
        " ORDER BY d.content_hash",
        key="id", left_out=frozenset({"version", "confirmed"}), same=("content_hash",),
    ),
    RunTable(
        "tasks",
        "SELECT t.* FROM tasks t JOIN datasets d ON d.id = t.dataset_id JOIN runs r"
        " ON d.id IN (r.dataset_id, r.val_dataset_id) WHERE r.id = ?1 ORDER BY d.content_hash, t.position",
        key="id", refs={"dataset_id": "datasets"}, same=("name",),
    ),
    RunTable(
        "verifiers",
        "SELECT v.* FROM verifiers v WHERE v.id IN (SELECT j.value FROM runs r, json_each(r.verifier_ids_json) j"
        " WHERE r.id = ?1) ORDER BY v.content_hash",
        key="id", left_out=frozenset({"confirmed"}), same=("content_hash",),
    ),
    RunTable(
        "targets", "SELECT t.* FROM targets t JOIN runs r ON r.target_row_id = t.row_id WHERE r.id = ?1",
        key="row_id", same=("id", "source_hash", "baseline_json"),
    ),
    RunTable(
        "runs", "SELECT * FROM runs WHERE id = ?1",
        refs={"target_row_id": "targets", "dataset_id": "datasets", "val_dataset_id": "datasets",
              "baseline_candidate_id": "candidates", "best_candidate_id": "candidates"},
        left_out=frozenset({
            "rev", "heartbeat_at", "folder", "queued", "wants_fresh", "restarts", "confirmed", "archived_at"
        }),
        marks=frozenset({"name", "tags_json", "note"}),
    ),
    _of_run("attempts", "number", left_out=frozenset({"pid", "host"})),
    _of_run("candidates", key="id", left_out=_ROLL_UPS),
    RunTable(
        "candidate_parents",
        "SELECT e.* FROM candidate_parents e JOIN candidates c ON c.id = e.candidate_id WHERE c.run_id = ?1"
        " ORDER BY 1, 2",
        refs={"candidate_id": "candidates", "parent_id": "candidates"},
    ),
    _of_run("proposals", key="id", refs={"parent_candidate_id": "candidates", "candidate_id": "candidates"}),
    _of_run("reflections", key="id"),
    _of_run("trials", key="id", refs={"candidate_id": "candidates", "superseded_by": "trials"}),
    _of_run("program_answers", "trial_id", refs={"trial_id": "trials"}),
    _of_run("traces", refs={"trial_id": "trials"}),
    RunTable(
        "texts",
        "SELECT DISTINCT t.* FROM traces r JOIN span_records s ON s.trace_id = r.id"
        " JOIN json_each(s.input_hashes_json) j JOIN texts t ON t.hash = j.value WHERE r.run_id = ?1 ORDER BY t.hash",
        same=("hash",),
    ),
    RunTable(
        "span_records",
        "SELECT s.* FROM span_records s JOIN traces r ON r.id = s.trace_id WHERE r.run_id = ?1 ORDER BY s.id",
    ),
    _of_run("events", key="id"),
    _of_run("metrics", key="id"),
    _of_run("reports", key="id"),
    _of_run("journal_entries", "seq"),
)  # fmt: skip
"""In the order of insertion: what is referred to comes first."""

ELSEWHERE = frozenset({
    "phase_calls", "candidate_tasks",  # roll-ups, kept by triggers
    "leases", "run_commands",  # of this machine
    "capabilities", "capability_versions", "promotions",  # releases: of whoever released
    "deleted_runs",  # of whoever deleted
})  # fmt: skip
"""Tables that a bundle leaves behind."""


def gather(store: Store, run_id: str) -> Tables:
    """The rows of a run by table, renumbered; raises `InputError` where they refer to rows that are not there."""
    found = {table.name: store.rows(table.select, (run_id,)) for table in TABLES}
    ids: Ids = {
        table.name: {row[table.key]: place for place, row in enumerate(found[table.name], 1)}
        for table in TABLES
        if table.key
    }
    return {table.name: [_renumbered(table, row, ids) for row in found[table.name]] for table in TABLES}


def typed(tables: Tables) -> RunRows:
    """The same rows by the types of their tables."""
    return cast("RunRows", tables)


def difference(ours: Tables, theirs: Tables) -> str | None:
    """The first table in which two gathered runs differ, or None. Columns that only we have do not count.

    Nor do marks of the owner. Nor does the journal: its entries follow from the rows, and are as old as the version
    that made them.
    """
    for table in TABLES:
        if table.name == "journal_entries":
            continue
        mine, other = ours[table.name], theirs[table.name]
        if len(mine) != len(other):
            return table.name
        for one, two in zip(mine, other, strict=True):
            columns = table.same or set(two) - table.left_out - table.marks
            if any(one.get(column) != two.get(column) for column in columns):
                return table.name
    return None


def insert(store: Store, db: sqlite3.Connection, tables: Tables) -> None:
    """Write gathered rows within a transaction of the caller's (`db` is its connection).

    Raises `InputError` where a row does not fit its table, or content differs from the hash that names it.
    """
    _require_one_run(tables)
    _Insertion(store, db, tables).write()


class _Insertion:
    """One run on its way into a database. `ids` are the row ids it gets, `there` the shared rows that were there."""

    def __init__(self, store: Store, db: sqlite3.Connection, tables: Tables) -> None:
        self.store = store
        self.db = db
        self.tables = tables
        self.ids: Ids = {}
        self.there: dict[str, set[int]] = defaultdict(set)
        self.corrected: dict[int, list[int]] = defaultdict(list)
        """Trials that wait for the one that supersedes them, by its row id."""

    def write(self) -> None:
        for table in TABLES:
            rows = self.tables[table.name]
            _require_columns(self.store, table, rows)
            self._number(table, rows)
            for row in rows:
                if not self._is_there(table, row):
                    self._insert(table.name, _renumbered(table, row, self.ids))
        self._finish_run()
        self._require_content()
        chain.complete(self.db, typed(self.tables)["runs"][0]["id"])

    def _number(self, table: RunTable, rows: Sequence[Row]) -> None:
        """Give out the next free row ids; where a shared row is there already, the one that it has."""
        if table.key is None:
            return
        last = self.store.rows(f"SELECT coalesce(max({table.key}), 0) AS id FROM {table.name}")[0]["id"]
        self.ids[table.name] = ids = {row[table.key]: last + place for place, row in enumerate(rows, 1)}
        if len(ids) < len(rows):
            msg = f"two rows of {table.name} have one number"
            raise InputError(msg)
        for row in rows if table.name in _SHARED else ():
            found = self._same_row(table, row)
            if found is not None:
                self.there[table.name].add(row[table.key])
                ids[row[table.key]] = found["id"]

    def _same_row(self, table: RunTable, row: Row) -> Row | None:
        condition = " AND ".join(f"{column} = ?" for column in table.same)
        sql = f"SELECT {table.key} AS id FROM {table.name} WHERE {condition}"
        return self.store.row(sql, [row[column] for column in table.same])

    def _is_there(self, table: RunTable, row: Row) -> bool:
        if table.name == "tasks":
            return row["dataset_id"] in self.there["datasets"]
        return table.key is not None and row[table.key] in self.there[table.name]

    def _insert(self, name: str, row: Row) -> None:
        if name == "datasets":
            sql = "SELECT coalesce(max(version), 0) + 1 AS version FROM datasets WHERE slug = ?"
            row = row | self.store.rows(sql, (row["slug"],))[0]
        if name == "trials":
            row = self._superseding(row)
        verb = "INSERT OR IGNORE" if name == "texts" else "INSERT"
        columns, marks = ", ".join(row), ", ".join("?" * len(row))
        self.db.execute(f"{verb} INTO {name} ({columns}) VALUES ({marks})", tuple(row.values()))

    def _superseding(self, trial: Row) -> Row:
        """As it was made: the trials that this one corrects are marked first, and nothing corrects it yet."""
        for corrected in self.corrected.pop(trial["id"], ()):
            self.db.execute("UPDATE trials SET superseded_by = ? WHERE id = ?", (trial["id"], corrected))
        if trial["superseded_by"] is not None:
            self.corrected[trial["superseded_by"]].append(trial["id"])
        return trial | {"superseded_by": None}

    def _finish_run(self) -> None:
        """Give the run its counters and its candidates, now that they are there."""
        if self.corrected:
            msg = "a row of trials is superseded by an earlier one"
            raise InputError(msg)
        row = _renumbered(_RUNS, self.tables["runs"][0], self.ids)
        columns = ", ".join(f"{column} = ?" for column in row)
        self.db.execute(f"UPDATE runs SET {columns} WHERE id = ?", (*row.values(), row["id"]))

    def _require_content(self) -> None:
        """What other runs may share is what its hash says."""
        rows = typed(self.tables)
        for dataset in rows["datasets"]:
            seen = catalog.load_dataset(self.store, self.ids["datasets"][dataset["id"]]).content_hash
            _require_hash("datasets", dataset["content_hash"], seen)
        for verifier in rows["verifiers"]:
            seen = VerifierSpec.model_validate_json(verifier["spec_json"]).content_hash
            _require_hash("verifiers", verifier["content_hash"], seen)
        for text in rows["texts"]:
            _require_hash("texts", text["hash"], text_hash(text["text"]))


_SHARED = ("datasets", "verifiers", "targets")
_RUNS = next(table for table in TABLES if table.name == "runs")


def _require_hash(name: str, said: str, seen: str) -> None:
    if said != seen:
        msg = f"a row of {name} is not what its hash says ({said[:23]}…)"
        raise InputError(msg)


def _require_one_run(tables: Tables) -> None:
    """Every row belongs to the one run, and every span to one of its traces."""
    rows = typed(tables)
    run_ids = [run.get("id") for run in rows["runs"]]
    owners = {row["run_id"] for table in tables.values() for row in table if "run_id" in row}
    traces = {trace.get("id") for trace in rows["traces"]}
    spanned = {span["trace_id"] for span in rows["span_records"]}
    if len(run_ids) != 1 or owners - set(run_ids) or spanned - traces:
        msg = "its rows belong to more than one run"
        raise InputError(msg)


def _require_columns(store: Store, table: RunTable, rows: Sequence[Row]) -> None:
    known = {column["name"] for column in store.rows("SELECT name FROM pragma_table_info(?)", (table.name,))}
    for row in rows:
        strange = sorted(set(row) - known)
        if strange:
            msg = f"{table.name} has no column {strange[0]!r} here: made by a newer rollout-local; upgrade to read it"
            raise InputError(msg)


def _renumbered(table: RunTable, row: Mapping[str, Any], ids: Ids) -> Row:
    """A row with every row id in it exchanged; those of tables that come later are not known yet, and null."""
    found = {name: value for name, value in row.items() if name not in table.left_out}
    try:
        if table.key:
            found[table.key] = ids[table.name][row[table.key]]
        for column, owner in table.refs.items():
            known = ids.get(owner)
            found[column] = None if row[column] is None or known is None else known[row[column]]
        if table.name == "journal_entries":
            found["row_id"] = chain.RUN if row["kind"] == "runs" else ids[row["kind"]][row["row_id"]]
        if table.name == "runs":
            verifiers = [ids["verifiers"][old] for old in json.loads(row["verifier_ids_json"])]
            found["verifier_ids_json"] = json.dumps(verifiers)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"a row of {table.name} refers to a row that is not there ({error}); see `rollout db check`"
        raise InputError(msg) from error
    return found
