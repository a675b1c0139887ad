"""Is every content what the hash that names it says, and does every row agree with the rows that repeat it.

A candidate's text, a dataset's tasks, a verifier's spec, a text of a span, a published file and a promoted text are
named by hashes. What is said twice (the best candidate by the run and by its report, a parent by a proposal and by
the lineage, a superseded trial by its key) must be said alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from rollout_local.domain.dataset import SPLITS
from rollout_local.domain.identity import content_hash, text_hash
from rollout_local.domain.run import Phase, RunStatus
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import StoreError
from rollout_local.store import catalog
from rollout_local.store.catalog_rows import TargetRow
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store
from rollout_local.store.selected_types import ContentHash
from rollout_local.store.stored_run import StoredRun

Row = Mapping[str, Any]
"""A row of one of the selects below."""


def candidate_fits(row: Row) -> bool:
    """A candidate's texts are those that its content hash was made of."""
    return _fits(row, _texts_hash)


def problems(store: Store) -> Iterator[str]:
    """Sentences for contents that are not what their hash says, and for rows that contradict each other."""
    for statement, seen, sentence in _NAMED_BY_HASH:
        for row in store.rows(statement):
            if not _fits(row, partial(seen, store)):
                yield sentence.format(**row)
    for run in store.select(RunRow, "SELECT * FROM runs ORDER BY created_at"):
        for problem in _of_run(store, run):
            yield f"run {run['id']}: {problem}"
    for statement, sentence in _CONTRADICTIONS.items():
        for row in store.rows(statement):
            yield sentence.format(**row)


def _fits(row: Row, seen: Callable[[Row], str | None]) -> bool:
    try:
        fits: bool = seen(row) == row["content_hash"]
    except (ValueError, TypeError, KeyError, AttributeError, StoreError):  # pydantic's is a ValueError
        return False
    return fits


def _texts_hash(row: Row) -> str | None:
    """None where the text that people read is not made of the components, in whatever order they were given."""
    components, text = json.loads(row["components_json"]), row["text"]
    shown = all(part in text for part in components.values())
    return content_hash(components) if shown and len("\n\n".join(components.values())) == len(text) else None


_NAMED_BY_HASH: tuple[tuple[str, Callable[[Store, Row], str | None], str], ...] = (
    (
        "SELECT run_id, number, text, components_json, content_hash FROM candidates",
        lambda _store, row: _texts_hash(row),
        "run {run_id}: the text of candidate {number} is not what its content hash says",
    ),
    (
        "SELECT id, slug, version, content_hash FROM datasets",
        lambda store, row: catalog.load_dataset(store, row["id"]).content_hash,
        "the tasks of dataset {slug}@{version} are not what its content hash says",
    ),
    (
        "SELECT id, name, spec_json, content_hash FROM verifiers",
        lambda _store, row: VerifierSpec.model_validate_json(row["spec_json"]).content_hash,
        "the spec of verifier {name} is not what its content hash says",
    ),
    (
        "SELECT text, hash AS content_hash FROM texts",
        lambda _store, row: text_hash(row["text"]),
        "the text {content_hash} of a span is not what its hash says",
    ),
    (
        """SELECT id, text, text_hash AS content_hash FROM promotions
            UNION ALL SELECT id, former_text, former_hash FROM promotions""",
        lambda _store, row: text_hash(row["text"]),
        "a text of promotion {id} is not what its hash says",
    ),
)
"""What is named by a hash: a select with `content_hash`, the hash of what is there, and what to say of a misfit."""


def _of_run(store: Store, row: RunRow) -> Iterator[str]:
    """What in a run's own row does not fit the rest of it."""
    if row["status"] not in set(RunStatus) or row["phase"] not in {None, *Phase}:
        yield f"its status is {row['status']!r} and its phase {row['phase']!r}, which no run has"
    try:
        run = StoredRun(row)
        _, _, inputs, _ = run.config, run.split, run.inputs, run.tags
        seen = _inputs_of(store, run)
    except (ValueError, TypeError) as error:  # pydantic's is a ValueError
        yield f"its set-up cannot be read ({str(error).splitlines()[0]})"
        return
    if inputs and content_hash(inputs) != row["fingerprint"]:
        yield "its inputs are not what its fingerprint says"
    for name, value in seen.items():
        if inputs.get(name, value) != value:
            yield f"its {name} is not that of its fingerprint"


def _inputs_of(store: Store, run: StoredRun) -> dict[str, object]:
    """The inputs of a run that other rows hold, as its fingerprint names them."""
    row = run.row
    target = store.first(TargetRow, "SELECT * FROM targets WHERE row_id = ?", (row["target_row_id"],))
    objective = run.written.get("objective")
    verifiers = [_hash_of(store, "verifiers", verifier) for verifier in run.verifier_ids]
    return {
        "splits": content_hash({name: run.split.names(name) for name in SPLITS}),
        "dataset": [_hash_of(store, "datasets", row_id) for row_id in (row["dataset_id"], row["val_dataset_id"])],
        "verifier": verifiers,
        "target": {
            "id": target and target["id"],
            "source": target and target["source_hash"],
            "baseline": content_hash(json.loads(target["baseline_json"] if target else "null")),
            "told": [target and target["kind"], target and target["description"], objective],
        },
    }


def _hash_of(store: Store, table: str, row_id: int | None) -> str | None:
    found = store.first(ContentHash, f"SELECT content_hash FROM {table} WHERE id = ?", (row_id,))
    return None if found is None else found["content_hash"]


_CONTRADICTIONS = {
    "SELECT * FROM (SELECT run_id, id, superseded_by, lead(id) OVER (PARTITION BY run_id, attempt, candidate_hash,"
    " task_name, split, occurrence ORDER BY id) AS next FROM trials) WHERE superseded_by IS NOT next":
        "run {run_id}: trial {id} is superseded by {superseded_by}, and the next trial of its key is {next}",
    "SELECT t.run_id, t.id FROM trials t JOIN candidates c ON c.id = t.candidate_id"
    " WHERE c.content_hash != t.candidate_hash OR c.run_id != t.run_id OR c.attempt != t.attempt":
        "run {run_id}: trial {id} names a candidate row of another text",
    "SELECT p.run_id, p.id FROM proposals p WHERE p.candidate_id IS NOT NULL AND p.parent_candidate_id IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM candidate_parents e WHERE e.candidate_id = p.candidate_id"
    " AND e.parent_id = p.parent_candidate_id)":
        "run {run_id}: proposal {id} names another parent than the lineage of its candidate",
    "SELECT r.id, c.number, json_extract(p.report_json, '$.best.number') AS reported FROM runs r"
    " JOIN reports p ON p.id = (SELECT max(id) FROM reports WHERE run_id = r.id AND attempt = r.attempt)"
    " JOIN candidates c ON c.id = coalesce(r.best_candidate_id, r.baseline_candidate_id)"
    " WHERE json_valid(p.report_json) AND json_extract(p.report_json, '$.best.number') != c.number":
        "run {id}: its best candidate is {number}, and its report is about candidate {reported}",
    "SELECT r.id FROM runs r JOIN reports p ON p.id = (SELECT max(id) FROM reports WHERE run_id = r.id"
    " AND attempt = r.attempt) WHERE json_valid(p.report_json) AND r.status = 'completed'"
    " AND (json_extract(p.report_json, '$.stop_reason') IS NOT r.stop_reason"
    " OR coalesce(json_extract(p.report_json, '$.degraded'), r.degraded) != r.degraded)":
        "run {id}: its row and its report differ in why it stopped, or in whether it is degraded",
    "SELECT id FROM runs r WHERE status = 'completed' AND message NOT LIKE 'imported from%' AND attempt > 0"
    " AND NOT EXISTS (SELECT 1 FROM reports WHERE run_id = r.id AND attempt = r.attempt)":
        "run {id}: it is completed and has no report",
    "SELECT r.id FROM runs r JOIN candidates c ON c.run_id = r.id AND c.attempt = r.attempt AND c.number = 0"
    " JOIN targets t ON t.row_id = r.target_row_id WHERE c.text != t.baseline":
        "run {id}: its first candidate is not the baseline of its target",
    "SELECT r.id FROM runs r JOIN candidates c ON c.id = r.baseline_candidate_id"
    " WHERE c.number != 0 OR c.run_id != r.id":
        "run {id}: its baseline is not its first candidate",
    "SELECT t.id, t.trial_id FROM traces t LEFT JOIN trials r ON r.id = t.trial_id"
    " WHERE t.trial_id IS NOT NULL AND r.trace_id IS NOT t.id":
        "trace {id} belongs to trial {trial_id}, which names another",
    "SELECT run_id FROM deleted_runs WHERE deleting":
        "run {run_id}: its rows are open to be deleted, as they are only while `rollout optimize delete` does it",
}  # fmt: skip
"""Selects that give nothing where all is well, and what to say of each row that they give."""
