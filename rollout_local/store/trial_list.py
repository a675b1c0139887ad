"""Trials of a run as people read them: filtered, searched, sorted, with the question and what was expected.

What an index serves is followed to its end: the newest trials of a run, those of a candidate or a task, those without
a score, words where `trial_index` is on. Anything else is looked for among the newest `LOOKED_AT` of these, which a
page of a million trials can afford; the answer says how far it looked, and where the next look begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from rollout_local.store import trial_index
from rollout_local.store.schema import Store

LOOKED_AT = 5_000
PER_PAGE = 50
SHORT, LONG = 600, 2_000
"""Characters of a text that a row of a list carries, and of one that is opened."""

SCORES = {"": "1", "errors": "t.score IS NULL", "zero": "t.score = 0", "low": "t.score < 0.5", "full": "t.score = 1"}
"""What a list can be narrowed to by score."""
SORTS = {
    "": "t.id DESC",
    "score": "t.score, t.id DESC",
    "-score": "t.score DESC, t.id DESC",
    "task": "t.task_name, t.id DESC",
    "-task": "t.task_name DESC, t.id DESC",
    "candidate": "c.number, t.id DESC",
    "-candidate": "c.number DESC, t.id DESC",
}
"""Orders of a list; the first is by time, newest first."""


@dataclass(frozen=True)
class Sought:
    """Which trials are wanted; `before` is the id that they are older than, `candidate` the row id of one."""

    run_id: str
    attempt: int
    candidate: int | None = None
    task: str = ""
    split: str = ""
    score: str = ""
    text: str = ""
    sort: str = ""
    before: int | None = None
    page: int = 1


class ReadTrial(TypedDict):
    """A trial with its question; texts are cut."""

    id: int
    candidate: int
    task_name: str
    split: str
    outcome: str
    score: float | None
    feedback: str
    output: str | None
    error: str | None
    trace_id: str | None
    reused: int
    superseded_by: int | None
    created_at: str
    instruction: str | None
    input_json: str | None
    expected_output_json: str | None


class _Id(TypedDict):
    id: int


class _Reach(TypedDict):
    n: int
    last: int | None


@dataclass(frozen=True)
class Found:
    """`trials` of one page, in order; `more` after them. `looked_at` is how many were looked at where not all were,
    and `older` the id before which the next look begins, where there is more to look at.
    """

    trials: list[ReadTrial]
    more: bool
    looked_at: int | None
    older: int | None


def find(store: Store, sought: Sought) -> Found:
    """One page of trials. By time it is mostly full after a short look, and the long one is spared."""
    if not sought.sort:
        found = _look(store, sought, PER_PAGE + 1)
        if found.more:
            return found
    return _look(store, sought, LOOKED_AT)


def _look(store: Store, sought: Sought, most: int) -> Found:
    """The page among at most this many of the newest that an index gives."""
    asked = trial_index.words(sought.text)
    indexed = bool(asked) and trial_index.is_on(store)
    source = f"{_source(sought, indexed=indexed)} LIMIT {most}"
    values = _values(sought, asked)
    ids = store.select(
        _Id,
        f"SELECT t.id FROM ({source}) f JOIN trials t ON t.id = f.id JOIN candidates c ON c.id = t.candidate_id"
        f" WHERE {_conditions(sought, asked, indexed=indexed)} ORDER BY {SORTS[sought.sort]}"
        f" LIMIT {PER_PAGE + 1} OFFSET :skipped",
        values | {"skipped": (sought.page - 1) * PER_PAGE if sought.sort else 0},
    )
    shown, more = [row["id"] for row in ids[:PER_PAGE]], len(ids) > PER_PAGE
    if more and not sought.sort:
        return Found(_read(store, shown), more, None, shown[-1])
    if most < LOOKED_AT:
        return Found([], more=False, looked_at=None, older=None)
    reach = store.first(_Reach, f"SELECT count(*) AS n, min(id) AS last FROM ({source})", values)
    last = reach["last"] if reach is not None and reach["n"] == most else None
    return Found(
        _read(store, shown), more, None if last is None else most, None if sought.sort else last
    )  # fmt: skip


def of_candidate(store: Store, run_id: str, attempt: int, candidate: int, limit: int) -> list[ReadTrial]:
    """The newest trials of a candidate, with longer texts."""
    sought = Sought(run_id, attempt, candidate)
    ids = store.select(_Id, f"{_source(sought, indexed=False)} LIMIT {limit}", _values(sought, asked=()))
    return _read(store, [row["id"] for row in ids], LONG)


_ALL = "(SELECT id FROM candidates WHERE run_id = :run AND attempt = :attempt)"
_BEFORE = "id < coalesce(:before, 9223372036854775807)"


def _source(sought: Sought, *, indexed: bool) -> str:
    """A select of the ids among which is looked, the newest first."""
    if indexed:
        return (
            f"SELECT rowid AS id FROM {trial_index.TABLE} WHERE {trial_index.TABLE} MATCH :match AND rowid BETWEEN"
            " (SELECT min(id) FROM trials WHERE run_id = :run) AND min(coalesce(:before - 1, 9223372036854775807),"
            f" (SELECT max(id) FROM trials WHERE run_id = :run)) ORDER BY rowid DESC"
        )
    if sought.candidate is not None or sought.task:
        key = "candidate_id = :candidate" if sought.candidate is not None else f"candidate_id IN {_ALL}"
        key += " AND task_name = :task" if sought.task else ""
        parts = [
            f"SELECT id FROM trials WHERE {key} AND superseded_by IS {no}NULL AND {_BEFORE}" for no in ("", "NOT ")
        ]
        return f"{' UNION ALL '.join(parts)} ORDER BY id DESC"
    failed = " AND error IS NOT NULL" if sought.score == "errors" else ""
    return f"SELECT id FROM trials WHERE run_id = :run{failed} AND {_BEFORE} ORDER BY id DESC"


def _values(sought: Sought, asked: Sequence[str]) -> dict[str, object]:
    like = {f"word{n}": _like(word) for n, word in enumerate(asked)}
    return {
        "run": sought.run_id, "attempt": sought.attempt, "candidate": sought.candidate, "task": sought.task,
        "split": sought.split, "before": sought.before, "match": trial_index.match(asked), **like,
    }  # fmt: skip


def _like(word: str) -> str:
    escaped = word.rstrip("*").replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"


def _conditions(sought: Sought, asked: Sequence[str], *, indexed: bool) -> str:
    """What the index that the ids came from does not answer."""
    parts = ["t.run_id = :run", "t.attempt = :attempt", SCORES[sought.score]]
    parts += ["t.candidate_id = :candidate"] if sought.candidate is not None else []
    parts += ["t.task_name = :task"] if sought.task else []
    parts += ["t.split = :split"] if sought.split else []
    for n in range(0 if indexed else len(asked)):
        texts = (f"coalesce(t.{column}, '') LIKE :word{n} ESCAPE '\\'" for column in trial_index.COLUMNS)
        parts.append(f"({' OR '.join(texts)})")
    return " AND ".join(parts)


def _read(store: Store, ids: Sequence[int], cut: int = SHORT) -> list[ReadTrial]:
    """These trials with their questions, in this order."""
    marks = ", ".join("?" * len(ids))
    rows = store.select(
        ReadTrial,
        f"""SELECT t.id, c.number AS candidate, substr(t.task_name, 1, 500) AS task_name, t.split, t.outcome, t.score,
            substr(t.feedback, 1, {cut}) AS feedback, substr(t.output, 1, {cut}) AS output,
            substr(t.error, 1, {cut}) AS error, t.trace_id, t.reused, t.superseded_by, t.created_at,
            substr(k.instruction, 1, {cut}) AS instruction, substr(k.input_json, 1, 4000) AS input_json,
            substr(k.expected_output_json, 1, 4000) AS expected_output_json
        FROM trials t JOIN candidates c ON c.id = t.candidate_id JOIN runs r ON r.id = t.run_id
            LEFT JOIN tasks k ON k.name = t.task_name
                AND k.dataset_id = iif(t.split = 'val', coalesce(r.val_dataset_id, r.dataset_id), r.dataset_id)
        WHERE t.id IN ({marks})""",
        tuple(ids),
    )
    by_id = {row["id"]: row for row in rows}
    return [by_id[one] for one in ids]
