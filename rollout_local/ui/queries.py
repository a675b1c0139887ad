"""The selects that the pages need beyond `store.reads`: short columns, bounded rows, roll-ups instead of scans.

Each touches a number of rows that does not grow with the number of trials. Long texts are cut in SQL: a page that
lists fifty trials must not carry fifty megabytes.
"""

# ruff: noqa: S608 - SQL is written out, over constants of ours; values are parameters
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from rollout_local.store import reads, run_search
from rollout_local.store.holders import Holder
from rollout_local.store.lease import holder_of
from rollout_local.store.reads import RUN_COLUMNS
from rollout_local.store.row_types import RunRow, ShortRun
from rollout_local.store.schema import Store
from rollout_local.store.selected_types import Count, JudgedProposal
from rollout_local.ui.shown_rows import (
    CandidateCells,
    CandidateText,
    FeedTrial,
    Job,
    MadeAt,
    Moments,
    Name,
    ProposedComponents,
    Pulse,
    ReflectedText,
    ShortCandidate,
    ShownCommand,
    ShownEvent,
    ShownPromotion,
    ShownTrial,
    Tagged,
    TaskOfCandidate,
    TrialWithOutput,
)

FEED = 50
DELTA = 200
SCANNED = 5_000
"""How many of the newest trials a filter looks at."""
COUNTED = 10_000

_CANDIDATE = (
    "id, number, status, train_mean, train_n, val_mean, val_n, val_best, holdout_mean, holdout_n, created_at,"
    " length(text) AS length"
)
_TRIAL = (
    "t.id, t.attempt, c.number AS candidate, substr(t.task_name, 1, 500) AS task_name, t.split, t.phase, t.outcome,"
    " t.score, substr(t.feedback, 1, 500) AS feedback, substr(t.error, 1, 300) AS error, t.error_kind, t.trace_id,"
    " t.reused, t.superseded_by, t.latency_ms, t.created_at"
)
_WITH_CANDIDATE = " JOIN candidates c ON c.id = t.candidate_id"
_ASKED = ", substr(k.instruction, 1, 400) AS instruction, substr(k.input_json, 1, 4000) AS input_json"
_WITH_TASK = (
    f"{_WITH_CANDIDATE} JOIN runs r ON r.id = t.run_id LEFT JOIN tasks k ON k.name = t.task_name"
    " AND k.dataset_id = iif(t.split = 'val', coalesce(r.val_dataset_id, r.dataset_id), r.dataset_id)"
)

FILTERS = {
    "all": "1",
    "errors": "t.score IS NULL",
    "low": "t.score < 0.5",
    "zero": "t.score = 0",
}
"""What the feed can be narrowed to."""


def run(store: Store, run_id: str) -> RunRow | None:
    """A run's row, or None."""
    return store.first(RunRow, "SELECT * FROM runs WHERE id = ?", (run_id,))


def pulse(store: Store, run_id: str) -> Pulse | None:
    """What the live page asks for each second."""
    return store.first(Pulse, "SELECT " + RUN_COLUMNS + ", target_row_id FROM runs WHERE id = ?", (run_id,))


def has(store: Store, table: str) -> bool:
    """Whether the file has this table; older ones lack some."""
    return store.has("SELECT 1 FROM sqlite_master WHERE name = ?", (table,))


def holder(store: Store, run_id: str) -> Holder | None:
    """Who runs a run, as far as the file says."""
    return holder_of(store, run_id) if has(store, "leases") else None


def commands(store: Store, run_id: str) -> list[ShownCommand]:
    """The newest requests to a run's runner."""
    if not has(store, "run_commands"):
        return []
    return store.select(
        ShownCommand,
        "SELECT id, action, actor, created_at, handled_at, note FROM run_commands WHERE run_id = ?"
        " ORDER BY id DESC LIMIT 5",
        (run_id,),
    )


def promotions(store: Store, run_id: str) -> list[ShownPromotion]:
    """What was made of a run's best text, newest first, without the texts."""
    if not has(store, "promotions"):
        return []
    return store.select(
        ShownPromotion,
        "SELECT capability, to_version, to_path, actor, at, forced, reason, reverts, reverted_by FROM promotions"
        " WHERE run_id = ? ORDER BY id DESC LIMIT 5",
        (run_id,),
    )


def candidates(store: Store, run_id: str, attempt: int) -> list[ShortCandidate]:
    """Candidates of an attempt without their texts, in the order of proposal."""
    sql = "SELECT " + _CANDIDATE + " FROM candidates WHERE run_id = ? AND attempt = ? ORDER BY number"
    return store.select(ShortCandidate, sql, (run_id, attempt))


def candidate_row(store: Store, candidate_id: int | None) -> ShortCandidate | None:
    """A candidate by its row id, without its texts."""
    return store.first(ShortCandidate, "SELECT " + _CANDIDATE + " FROM candidates WHERE id = ?", (candidate_id,))


def first_candidate(store: Store, run_id: str, attempt: int) -> ShortCandidate | None:
    """The baseline of an attempt, without its texts."""
    return store.first(
        ShortCandidate,
        "SELECT " + _CANDIDATE + " FROM candidates WHERE run_id = ? AND attempt = ? AND status = 'baseline'"
        " ORDER BY number LIMIT 1",
        (run_id, attempt),
    )


def best(store: Store, run: ShortRun, attempt: int) -> ShortCandidate | None:
    """The candidate that the run says is best; while it searches, the one that leads on validation."""
    if attempt == run["attempt"] and run["best_candidate_id"] is not None:
        return candidate_row(store, run["best_candidate_id"])
    leader = reads.leader(store, run["id"], attempt)
    return candidate_row(store, leader) if leader else first_candidate(store, run["id"], attempt)


def texts(store: Store, run_id: str, attempt: int, numbers: Sequence[int]) -> dict[int, CandidateText]:
    """Components and hashes of some candidates, by number."""
    marks = ", ".join("?" * len(numbers))
    rows = store.select(
        CandidateText,
        "SELECT id, number, components_json, content_hash FROM candidates"
        f" WHERE run_id = ? AND attempt = ? AND number IN ({marks})",
        (run_id, attempt, *numbers),
    )
    return {row["number"]: row for row in rows}


def moments(store: Store, candidate_id: int, split: str) -> tuple[int, float, float]:
    """Count, sum and sum of squares of a candidate's mean score per task."""
    row = store.first(
        Moments,
        "SELECT count(*) AS n, coalesce(sum(m), 0.0) AS one, coalesce(sum(m * m), 0.0) AS two FROM"
        " (SELECT score_sum / n AS m FROM candidate_tasks WHERE candidate_id = ? AND split = ?)",
        (candidate_id, split),
    )
    assert row is not None
    return row["n"], row["one"], row["two"]


def task_means(store: Store, candidate_id: int, split: str) -> dict[str, float]:
    """A candidate's mean score by task."""
    return cells(store, [candidate_id], split).get(candidate_id, {})


def cells(store: Store, ids: Sequence[int], split: str = "val") -> dict[int, dict[str, float]]:
    """Mean score by task of some candidates, by row id; put together by SQLite, three times as fast as row by row."""
    marks = ", ".join("?" * len(ids))
    rows = store.select(
        CandidateCells,
        "SELECT candidate_id, json_group_object(task_name, score_sum / n) AS means FROM candidate_tasks"
        f" WHERE split = ? AND candidate_id IN ({marks}) GROUP BY candidate_id",
        (split, *ids),
    )
    return {row["candidate_id"]: json.loads(row["means"]) for row in rows}


def shares_instruction(store: Store, dataset_id: int) -> bool:
    """Whether all of several tasks have one instruction, which then tells none from another."""
    sql = "SELECT count(*) AS n, min(instruction) AS a, max(instruction) AS b FROM tasks WHERE dataset_id = ?"
    return store.has(f"SELECT 1 FROM ({sql}) WHERE n > 1 AND a = b", (dataset_id,))


def feed(store: Store, run_id: str, attempt: int, show: str, limit: int = FEED) -> list[FeedTrial]:
    """The newest trials of an attempt, newest first. A filter looks at the newest `SCANNED` ones."""
    newest = "0"
    if show != "all":
        newest = f"coalesce((SELECT id FROM trials WHERE run_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET {SCANNED}), 0)"
    return store.select(
        FeedTrial,
        f"SELECT {_TRIAL}{_ASKED} FROM trials t{_WITH_TASK} WHERE t.run_id = ?1 AND t.attempt = ?2 AND t.id > {newest}"
        f" AND {FILTERS[show]} ORDER BY t.id DESC LIMIT ?3",
        (run_id, attempt, limit),
    )


def since(store: Store, run_id: str, attempt: int, after: int, show: str) -> tuple[list[FeedTrial], int]:
    """Trials after the trial `after`, newest first, at most `DELTA`; and how many were left out (up to `COUNTED`)."""
    found = store.select(
        FeedTrial,
        f"SELECT {_TRIAL}{_ASKED} FROM trials t{_WITH_TASK} WHERE t.run_id = ? AND t.id > ? AND t.attempt = ?"
        " ORDER BY t.id DESC LIMIT ?",
        (run_id, after, attempt, DELTA),
    )
    skipped = 0
    if len(found) == DELTA:
        row = store.first(
            Count,
            "SELECT count(*) AS n FROM (SELECT 1 FROM trials WHERE run_id = ? AND id > ? LIMIT ?)",
            (run_id, after, COUNTED + DELTA),
        )
        skipped = (row["n"] if row else DELTA) - DELTA
    return [row for row in found if _shown(row, show)], skipped


def _shown(row: ShownTrial, show: str) -> bool:
    score = row["score"]
    if show == "errors":
        return score is None
    return show == "all" or (score is not None and (score == 0 if show == "zero" else score < 0.5))


def pace(store: Store, run_id: str) -> list[MadeAt]:
    """Times of the newest trials of a run, newest first."""
    sql = "SELECT created_at FROM trials WHERE run_id = ? ORDER BY id DESC LIMIT 60"
    return store.select(MadeAt, sql, (run_id,))


def trials(store: Store, ids: Sequence[int]) -> dict[int, TrialWithOutput]:
    """Some trials by id, with their outputs (cut)."""
    marks = ", ".join("?" * len(ids))
    rows = store.select(
        TrialWithOutput,
        f"SELECT {_TRIAL}, substr(t.output, 1, 2000) AS output FROM trials t {_WITH_CANDIDATE} WHERE t.id IN ({marks})",
        tuple(ids),
    )
    return {row["id"]: row for row in rows}


def of_task(store: Store, run_id: str, attempt: int, split: str, name: str) -> list[TaskOfCandidate]:
    """A task's roll-up for every candidate of an attempt."""
    return store.select(
        TaskOfCandidate,
        "SELECT c.number, c.status, k.candidate_id, k.n, k.score_sum / k.n AS mean, k.best, k.last_trial_id"
        " FROM candidates c JOIN candidate_tasks k ON k.candidate_id = c.id"
        " WHERE k.split = ? AND k.task_name = ? AND c.run_id = ? AND c.attempt = ? ORDER BY c.number",
        (split, name, run_id, attempt),
    )


def events(store: Store, run_id: str, before: int | None, level: str | None, limit: int) -> list[ShownEvent]:
    """Log lines of a run, newest first, before the line `before`."""
    return store.select(
        ShownEvent,
        "SELECT id, attempt, at, level, substr(message, 1, 4000) AS message FROM events WHERE run_id = ?1"
        " AND (?2 IS NULL OR id < ?2) AND (?3 IS NULL OR level = ?3) ORDER BY id DESC LIMIT ?4",
        {"1": run_id, "2": before, "3": level, "4": limit},
    )


def tags_of(row: Tagged) -> list[str]:
    """The tags of a run."""
    try:
        found = json.loads(row["tags_json"])
    except ValueError:
        return []
    return [str(tag) for tag in found] if isinstance(found, list) else []


def jobs(store: Store, wanted: Mapping[str, str], limit: int) -> list[Job]:
    """Runs, newest first, with the number of their candidates; of the `status`, `target`, `project`, `tag` wanted.

    `search` are words; `archived`: those that were put away, too. A file of an earlier version knows of neither that
    nor of notes.
    """
    marked = store.has("SELECT 1 FROM pragma_table_info('runs') WHERE name = 'archived_at'")
    marks = "r.note, r.archived_at" if marked else "NULL AS note, NULL AS archived_at"
    columns = ", ".join("r." + column.strip() for column in RUN_COLUMNS.split(","))
    return store.select(
        Job,
        f"SELECT {columns}, (SELECT count(*) FROM candidates c WHERE c.run_id = r.id AND c.attempt = r.attempt)"
        f" AS candidate_count, {marks} FROM runs r WHERE (?1 IS NULL OR r.status = ?1)"
        " AND (?2 IS NULL OR r.target_id = ?2) AND (?4 IS NULL OR r.project = ?4)"
        f" AND (?5 IS NULL OR EXISTS (SELECT 1 FROM json_each({run_search.TAGS}) WHERE value = ?5))"
        f" AND {run_search.condition('?6', notes=marked)}{' AND (?7 OR r.archived_at IS NULL)' if marked else ''}"
        " ORDER BY r.created_at DESC, r.rowid DESC LIMIT ?3",
        (
            *(wanted.get(name) or None for name in ("status", "target")),
            limit,
            *(wanted.get(name) or None for name in ("project", "tag")),
            run_search.patterns(wanted.get("search")),
            *([bool(wanted.get("archived"))] if marked else []),
        ),
    )


def projects(store: Store) -> list[str]:
    """Projects that runs belong to."""
    rows = store.select(Name, "SELECT DISTINCT substr(project, 1, 200) AS id FROM runs ORDER BY 1 LIMIT 200")
    return [row["id"] for row in rows]


def tags(store: Store) -> list[str]:
    """Tags of runs."""
    sql = f"SELECT DISTINCT substr(value, 1, 200) AS id FROM runs r, json_each({run_search.TAGS}) ORDER BY 1 LIMIT 200"
    return [row["id"] for row in store.select(Name, sql)]


def target_names(store: Store) -> list[str]:
    """Targets that were synced."""
    rows = store.select(Name, "SELECT DISTINCT substr(id, 1, 200) AS id FROM targets ORDER BY 1 LIMIT 200")
    return [row["id"] for row in rows]


_PROPOSAL = (
    "SELECT p.*, c.number AS candidate_number, q.number AS parent_number FROM proposals p"
    " LEFT JOIN candidates c ON c.id = p.candidate_id LEFT JOIN candidates q ON q.id = p.parent_candidate_id"
)
KINDS = {
    "all": "1",
    "accepted": "p.accepted = 1",
    "rejected": "p.accepted = 0 AND p.candidate_id IS NOT NULL",
    "failed": "p.candidate_id IS NULL",
    "open": "p.accepted IS NULL AND p.candidate_id IS NOT NULL",
}
"""What became of a proposal."""
_ONCE = "coalesce(p.candidate_id, -p.id)"
"""A candidate has a row per component that was proposed; a reflection without a usable text stands for itself."""


def proposals(store: Store, run_id: str, attempt: int, kind: str, limit: int, offset: int) -> list[JudgedProposal]:
    """Proposals of one kind, newest first, with the numbers of parent and candidate: each candidate's first row."""
    return store.select(
        JudgedProposal,
        f"{_PROPOSAL} WHERE p.id IN (SELECT min(p.id) FROM proposals p WHERE p.run_id = ? AND p.attempt = ?"
        f" AND {KINDS[kind]} GROUP BY {_ONCE}) ORDER BY p.iteration DESC, p.id DESC LIMIT ? OFFSET ?",
        (run_id, attempt, limit, offset),
    )


def proposal_counts(store: Store, run_id: str, attempt: int) -> dict[str, int]:
    """How many proposals there are of each kind."""
    sums = ", ".join(
        f"count(DISTINCT CASE WHEN {condition} THEN {_ONCE} END) AS {kind!r}" for kind, condition in KINDS.items()
    )
    found = store.first(
        dict[str, int],
        f"SELECT {sums} FROM proposals p WHERE p.run_id = ? AND p.attempt = ?",
        (run_id, attempt),
    )
    assert found is not None
    return found


def proposals_of(store: Store, candidate_ids: Sequence[int]) -> list[JudgedProposal]:
    """The proposals that these candidates came of."""
    marks = ", ".join("?" * len(candidate_ids))
    sql = f"{_PROPOSAL} WHERE p.candidate_id IN ({marks}) ORDER BY p.id"
    return store.select(JudgedProposal, sql, tuple(candidate_ids))


def proposed_components(store: Store, run_id: str, attempt: int) -> dict[int, list[str]]:
    """The components that each candidate (by its row id) was proposed for."""
    rows = store.select(
        ProposedComponents,
        "SELECT candidate_id, json_group_array(component) AS names FROM (SELECT candidate_id, component FROM proposals"
        " WHERE run_id = ? AND attempt = ? AND candidate_id IS NOT NULL ORDER BY id) GROUP BY candidate_id",
        (run_id, attempt),
    )
    return {row["candidate_id"]: json.loads(row["names"]) for row in rows}


def reflection_traces(store: Store, run_id: str, attempt: int) -> dict[str, str]:
    """The trace of the reflection that gave a text, by the text."""
    rows = store.select(
        ReflectedText,
        "SELECT json_extract(reply_json, '$.text') AS text, trace_id FROM reflections"
        " WHERE run_id = ? AND attempt = ? AND trace_id IS NOT NULL",
        (run_id, attempt),
    )
    return {row["text"]: row["trace_id"] for row in rows if row["text"] is not None}
