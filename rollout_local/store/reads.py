"""Every select that shows a run. Rows are dicts; JSON columns come as they are stored."""

from __future__ import annotations

from typing import Any

from rollout_local.errors import NotFound
from rollout_local.store.schema import Store

RUN_COLUMNS = (
    "id, name, project, run_ref, tags_json, status, phase, stop_reason, message, target_id, dataset_id, optimizer,"
    " seed, metric_call_budget, metric_calls, trial_count, error_count, cost_usd, attempt, baseline_candidate_id,"
    " best_candidate_id, degraded, heartbeat_at, last_event_at, rev, created_at, started_at, finished_at, log_dir,"
    " recording, fingerprint"
)


def run(store: Store, reference: str) -> dict[str, Any]:
    """The run with this id, unique prefix of an id, name, or `latest`; raises `NotFound` otherwise."""
    if reference == "latest":
        found = store.rows("SELECT * FROM runs ORDER BY created_at DESC, rowid DESC LIMIT 1")
        if not found:
            msg = f"there is no run in {store.path} yet; begin with `rollout optimize run`"
            raise NotFound(msg)
        return found[0]
    if not reference.strip():
        msg = "the id of a run is empty; give one that `rollout optimize list` shows, the beginning of one, or `latest`"
        raise NotFound(msg)
    exact = store.row("SELECT * FROM runs WHERE id = ?", (reference,))
    if exact:
        return exact
    found = store.rows(
        "SELECT * FROM runs WHERE (substr(id, 1, length(?1)) = ?1 OR substr(id, 5, length(?1)) = ?1"
        " OR name = ?1) ORDER BY created_at LIMIT 6",
        (reference,),
    )
    if len(found) == 1:
        return found[0]
    if found:
        msg = f"{reference!r} fits several runs: {', '.join(row['id'] for row in found[:5])}; give more of the id"
        raise NotFound(msg)
    msg = f"there is no run {reference!r} in {store.path}; `rollout optimize list` shows what there is"
    raise NotFound(msg)


def runs(
    store: Store,
    *,
    status: str | None = None,
    target: str | None = None,
    tag: str | None = None,
    project: str | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Runs with the scores of baseline and best, newest first, filtered by whatever is given."""
    return store.rows(
        f"""SELECT {", ".join("r." + column.strip() for column in RUN_COLUMNS.split(","))},
            b.val_mean AS baseline_val, c.val_mean AS best_val, b.holdout_mean AS baseline_holdout,
            c.holdout_mean AS best_holdout, c.number AS best_number
        FROM runs r LEFT JOIN candidates b ON b.id = r.baseline_candidate_id
            LEFT JOIN candidates c ON c.id = r.best_candidate_id
        WHERE (?1 IS NULL OR r.status = ?1) AND (?2 IS NULL OR r.target_id = ?2) AND (?3 IS NULL OR r.project = ?3)
            AND (?4 IS NULL OR EXISTS (SELECT 1 FROM json_each(r.tags_json) WHERE value = ?4))
        ORDER BY r.created_at DESC, r.rowid DESC LIMIT ?5""",
        (status, target, project, tag, limit),
    )


def target(store: Store, row_id: int) -> dict[str, Any]:
    """A synced target."""
    row = store.row("SELECT * FROM targets WHERE row_id = ?", (row_id,))
    assert row is not None
    return row


def candidates(store: Store, run_id: str, attempt: int) -> list[dict[str, Any]]:
    """Candidates of an attempt in the order of proposal."""
    return store.rows("SELECT * FROM candidates WHERE run_id = ? AND attempt = ? ORDER BY number", (run_id, attempt))


def candidate(store: Store, candidate_id: int) -> dict[str, Any]:
    """One candidate."""
    row = store.row("SELECT * FROM candidates WHERE id = ?", (candidate_id,))
    assert row is not None
    return row


def parents(store: Store, run_id: str, attempt: int) -> list[dict[str, Any]]:
    """Edges of the lineage as candidate numbers, `child` and `parent`."""
    return store.rows(
        "SELECT c.number AS child, p.number AS parent FROM candidate_parents e"
        " JOIN candidates c ON c.id = e.candidate_id JOIN candidates p ON p.id = e.parent_id"
        " WHERE c.run_id = ? AND c.attempt = ? ORDER BY 1, 2",
        (run_id, attempt),
    )


def proposals(store: Store, run_id: str, attempt: int) -> list[dict[str, Any]]:
    """Proposals of an attempt in order, with the numbers of parent and candidate."""
    return store.rows(
        "SELECT p.*, c.number AS candidate_number, q.number AS parent_number FROM proposals p"
        " LEFT JOIN candidates c ON c.id = p.candidate_id LEFT JOIN candidates q ON q.id = p.parent_candidate_id"
        " WHERE p.run_id = ? AND p.attempt = ? ORDER BY p.iteration, p.component, p.id",
        (run_id, attempt),
    )


def final_trials(store: Store, run_id: str, attempt: int) -> list[dict[str, Any]]:
    """Final trials of an attempt, with the candidate's number, sorted by key."""
    return store.rows(
        "SELECT t.*, c.number AS candidate_number FROM trials t JOIN candidates c ON c.id = t.candidate_id"
        " WHERE t.run_id = ? AND t.attempt = ? AND t.superseded_by IS NULL"
        " ORDER BY t.candidate_hash, t.split, t.task_name, t.occurrence",
        (run_id, attempt),
    )


def trials_of(store: Store, candidate_id: int, split: str) -> list[dict[str, Any]]:
    """Final trials of one candidate on one split, by task."""
    return store.rows(
        "SELECT * FROM trials WHERE candidate_id = ? AND split = ? AND superseded_by IS NULL"
        " ORDER BY task_name, occurrence",
        (candidate_id, split),
    )


def frontier(store: Store, run_id: str, attempt: int) -> dict[int, int]:
    """On how many validation tasks each candidate (by number) has the best score, ties included.

    Along the index of the best scores: tops first, then those who reach them. A plain grouping of 60 candidates on
    200 tasks takes 70 ms, this 4.
    """
    rows = store.rows(
        "SELECT c.number, count(*) AS wins FROM ("
        "   SELECT task_name, max(best) AS top FROM candidate_tasks WHERE run_id = ?1 AND split = 'val'"
        "   AND candidate_id IN (SELECT id FROM candidates WHERE run_id = ?1 AND attempt = ?2) GROUP BY task_name) m"
        " JOIN candidate_tasks k ON k.run_id = ?1 AND k.split = 'val' AND k.task_name = m.task_name AND k.best = m.top"
        " JOIN candidates c ON c.id = k.candidate_id AND c.attempt = ?2 GROUP BY c.number",
        (run_id, attempt),
    )
    return {row["number"]: row["wins"] for row in rows}


def outputs_of_task(store: Store, run_id: str, attempt: int, task: str, limit: int) -> list[dict[str, Any]]:
    """Scored final trials of one task over all candidates, best first; of equals the earlier candidate."""
    return store.rows(
        "SELECT t.id, t.score, t.output, t.output_kind, t.feedback, t.split, c.number AS candidate FROM trials t"
        " JOIN candidates c ON c.id = t.candidate_id WHERE t.run_id = ? AND t.attempt = ? AND t.task_name = ?"
        " AND t.score IS NOT NULL AND t.superseded_by IS NULL"
        " ORDER BY t.score DESC, c.number, t.split, t.occurrence LIMIT ?",
        (run_id, attempt, task, limit),
    )


def phase_calls(store: Store, run_id: str, attempt: int) -> dict[str, dict[str, Any]]:
    """Executions asked and spent by phase."""
    rows = store.rows("SELECT * FROM phase_calls WHERE run_id = ? AND attempt = ?", (run_id, attempt))
    return {row["phase"]: row for row in rows}


def newest_report(store: Store, run_id: str, attempt: int) -> str | None:
    """The newest promotion report of an attempt as JSON text, or None."""
    row = store.row(
        "SELECT report_json FROM reports WHERE run_id = ? AND attempt = ? ORDER BY id DESC LIMIT 1", (run_id, attempt)
    )
    return row["report_json"] if row else None


def events(store: Store, run_id: str, *, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
    """Log lines of a run after the line `after`, oldest first."""
    return store.rows("SELECT * FROM events WHERE run_id = ? AND id > ? ORDER BY id LIMIT ?", (run_id, after, limit))
