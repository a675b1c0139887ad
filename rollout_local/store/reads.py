"""Every select that shows a run. Rows are typed dicts; JSON columns come as they are stored."""

from __future__ import annotations

from rollout_local.errors import NotFound, StoreError
from rollout_local.store import run_search
from rollout_local.store.catalog_rows import TargetRow
from rollout_local.store.contents import candidate_fits
from rollout_local.store.row_types import CandidateRow, EventRow, PhaseCallsRow, RunRow, TraceRow, TrialRow
from rollout_local.store.schema import Store
from rollout_local.store.selected_types import (
    BestOfRun,
    CandidateId,
    ConcludedVerdict,
    Count,
    Edge,
    JudgedProposal,
    ListedRun,
    NumberedTrial,
    Point,
    ReportText,
    RunInLogDir,
    Said,
    TaskOutput,
    TraceOwner,
    Wins,
)
from rollout_local.store.view_rows import SpanRow

RUN_COLUMNS = (
    "id, name, project, run_ref, tags_json, status, phase, stop_reason, message, target_id, dataset_id, optimizer,"
    " seed, metric_call_budget, metric_calls, trial_count, error_count, cost_usd, attempt, baseline_candidate_id,"
    " best_candidate_id, degraded, heartbeat_at, last_event_at, rev, created_at, started_at, finished_at, log_dir,"
    " recording, fingerprint"
)


def run(store: Store, reference: str) -> RunRow:
    """The run with this id, unique prefix of an id, name, or `latest`; raises `NotFound` otherwise."""
    if reference == "latest":
        found = store.select(RunRow, "SELECT * FROM runs ORDER BY created_at DESC, rowid DESC LIMIT 1")
        if not found:
            msg = f"there is no run in {store.path} yet; begin with `rollout optimize run`"
            raise NotFound(msg)
        return found[0]
    if not reference.strip():
        msg = "the id of a run is empty; give one that `rollout optimize list` shows, the beginning of one, or `latest`"
        raise NotFound(msg)
    exact = store.first(RunRow, "SELECT * FROM runs WHERE id = ?", (reference,))
    if exact:
        return exact
    found = store.select(
        RunRow,
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
    search: str | None = None,
    archived: bool = False,
    limit: int = 100,
) -> list[ListedRun]:
    """Runs with the scores of baseline and best, newest first, filtered by whatever is given.

    `search` are words, as `run_search` finds them; `archived`: those that were put away, too.
    """
    return store.select(
        ListedRun,
        f"""SELECT {", ".join("r." + column.strip() for column in RUN_COLUMNS.split(","))},
            b.val_mean AS baseline_val, c.val_mean AS best_val, b.holdout_mean AS baseline_holdout,
            c.holdout_mean AS best_holdout, c.number AS best_number, {_OUTCOME} AS verdict, r.note, r.archived_at
        FROM runs r LEFT JOIN candidates b ON b.id = r.baseline_candidate_id
            LEFT JOIN candidates c ON c.id = {_BEST_NOW}
        WHERE (?1 IS NULL OR r.status = ?1) AND (?2 IS NULL OR r.target_id = ?2) AND (?3 IS NULL OR r.project = ?3)
            AND (?4 IS NULL OR EXISTS (SELECT 1 FROM json_each(r.tags_json) WHERE value = ?4))
            AND {run_search.condition("?6")} AND (?7 OR r.archived_at IS NULL)
        ORDER BY r.created_at DESC, r.rowid DESC LIMIT ?5""",
        (status, target, project, tag, limit, run_search.patterns(search), archived),
    )


def target(store: Store, row_id: int) -> TargetRow:
    """A synced target."""
    row = store.first(TargetRow, "SELECT * FROM targets WHERE row_id = ?", (row_id,))
    assert row is not None
    return row


def candidates(store: Store, run_id: str, attempt: int) -> list[CandidateRow]:
    """Candidates of an attempt in the order of proposal; raises `StoreError` as `candidate` does."""
    sql = "SELECT * FROM candidates WHERE run_id = ? AND attempt = ? ORDER BY number"
    found = store.select(CandidateRow, sql, (run_id, attempt))
    return [_whole(store, row) for row in found]


def candidate(store: Store, candidate_id: int) -> CandidateRow:
    """One candidate; raises `StoreError` where its text was changed after it was written."""
    row = store.first(CandidateRow, "SELECT * FROM candidates WHERE id = ?", (candidate_id,))
    assert row is not None
    return _whole(store, row)


def find_candidate(store: Store, run_id: str, attempt: int, number: int) -> CandidateRow | None:
    """Candidate `number` of an attempt, or None; raises `StoreError` as `candidate` does."""
    sql = "SELECT * FROM candidates WHERE run_id = ? AND attempt = ? AND number = ?"
    row = store.first(CandidateRow, sql, (run_id, attempt, number))
    return None if row is None else _whole(store, row)


def _whole(store: Store, row: CandidateRow) -> CandidateRow:
    if not candidate_fits(row):
        msg = (
            f"the text of candidate {row['number']} of run {row['run_id']} in {store.path} was changed after it was"
            " written; take the file back from a backup (`rollout db check` says what else is not as it was)"
        )
        raise StoreError(msg)
    return row


def parents(store: Store, run_id: str, attempt: int) -> list[Edge]:
    """Edges of the lineage as candidate numbers, `child` and `parent`."""
    return store.select(
        Edge,
        "SELECT c.number AS child, p.number AS parent FROM candidate_parents e"
        " JOIN candidates c ON c.id = e.candidate_id JOIN candidates p ON p.id = e.parent_id"
        " WHERE c.run_id = ? AND c.attempt = ? ORDER BY 1, 2",
        (run_id, attempt),
    )


def proposals(store: Store, run_id: str, attempt: int) -> list[JudgedProposal]:
    """Proposals of an attempt in order, with the numbers of parent and candidate."""
    return store.select(
        JudgedProposal,
        "SELECT p.*, c.number AS candidate_number, q.number AS parent_number FROM proposals p"
        " LEFT JOIN candidates c ON c.id = p.candidate_id LEFT JOIN candidates q ON q.id = p.parent_candidate_id"
        " WHERE p.run_id = ? AND p.attempt = ? ORDER BY p.iteration, p.component, p.id",
        (run_id, attempt),
    )


def final_trials(store: Store, run_id: str, attempt: int) -> list[NumberedTrial]:
    """Final trials of an attempt, with the candidate's number, sorted by key."""
    return store.select(
        NumberedTrial,
        "SELECT t.*, c.number AS candidate_number FROM trials t JOIN candidates c ON c.id = t.candidate_id"
        " WHERE t.run_id = ? AND t.attempt = ? AND t.superseded_by IS NULL"
        " ORDER BY t.candidate_hash, t.split, t.task_name, t.occurrence",
        (run_id, attempt),
    )


def scored_trials(store: Store, run_id: str, attempt: int, phase: str) -> int:
    """How many trials of a phase of an attempt have their score."""
    sql = "SELECT count(*) AS n FROM trials WHERE run_id = ? AND attempt = ? AND phase = ? AND score IS NOT NULL"
    found = store.first(Count, sql + " AND superseded_by IS NULL", (run_id, attempt, phase))
    return found["n"] if found else 0


def trials_of(store: Store, candidate_id: int, split: str) -> list[TrialRow]:
    """Final trials of one candidate on one split, by task."""
    return store.select(
        TrialRow,
        "SELECT * FROM trials WHERE candidate_id = ? AND split = ? AND superseded_by IS NULL"
        " ORDER BY task_name, occurrence",
        (candidate_id, split),
    )


def frontier(store: Store, run_id: str, attempt: int) -> dict[int, int]:
    """On how many validation tasks each candidate (by number) has the best score, ties included.

    Along the index of the best scores: tops first, then those who reach them. A plain grouping of 60 candidates on
    200 tasks takes 70 ms, this 4.
    """
    rows = store.select(
        Wins,
        "SELECT c.number, count(*) AS wins FROM ("
        "   SELECT task_name, max(best) AS top FROM candidate_tasks WHERE run_id = ?1 AND split = 'val'"
        "   AND candidate_id IN (SELECT id FROM candidates WHERE run_id = ?1 AND attempt = ?2) GROUP BY task_name) m"
        " JOIN candidate_tasks k ON k.run_id = ?1 AND k.split = 'val' AND k.task_name = m.task_name AND k.best = m.top"
        " JOIN candidates c ON c.id = k.candidate_id AND c.attempt = ?2 GROUP BY c.number",
        (run_id, attempt),
    )
    return {row["number"]: row["wins"] for row in rows}


def outputs_of_task(store: Store, run_id: str, attempt: int, task: str, limit: int) -> list[TaskOutput]:
    """Scored final trials of one task over all candidates, best first; of equals the earlier candidate."""
    return store.select(
        TaskOutput,
        "SELECT t.id, t.score, t.output, t.output_kind, t.feedback, t.split, c.number AS candidate FROM trials t"
        " JOIN candidates c ON c.id = t.candidate_id WHERE t.run_id = ? AND t.attempt = ? AND t.task_name = ?"
        " AND t.score IS NOT NULL AND t.superseded_by IS NULL"
        " ORDER BY t.score DESC, c.number, t.split, t.occurrence LIMIT ?",
        (run_id, attempt, task, limit),
    )


def phase_calls(store: Store, run_id: str, attempt: int) -> dict[str, PhaseCallsRow]:
    """Executions asked and spent by phase."""
    sql = "SELECT * FROM phase_calls WHERE run_id = ? AND attempt = ?"
    rows = store.select(PhaseCallsRow, sql, (run_id, attempt))
    return {row["phase"]: row for row in rows}


def series(store: Store, run_id: str, attempt: int, name: str) -> list[tuple[int, float]]:
    """A series of an attempt as (step, value)."""
    sql = "SELECT step, value FROM metrics WHERE run_id = ? AND attempt = ? AND name = ? ORDER BY step"
    return [(row["step"], row["value"]) for row in store.select(Point, sql, (run_id, attempt, name))]


def trials_without_a_call(store: Store) -> int:
    """Final trials of which no step was replayed from a recording."""
    found = store.first(
        Count,
        "SELECT count(*) AS n FROM trials t WHERE superseded_by IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM span_records s WHERE s.trace_id = t.trace_id AND s.replayed)",
    )
    return found["n"] if found else 0


def runs_with_log_dirs(store: Store) -> list[RunInLogDir]:
    """Runs that have a log_dir, oldest first."""
    return store.select(
        RunInLogDir,
        "SELECT id, status, attempt, log_dir FROM runs WHERE log_dir IS NOT NULL ORDER BY created_at",
    )


def is_there(store: Store, run_id: str) -> bool:
    """Whether the file has a run with this id."""
    return store.has("SELECT 1 FROM runs WHERE id = ?", (run_id,))


def trial(store: Store, trial_id: int | None) -> TrialRow | None:
    """A trial, whole."""
    return store.first(TrialRow, "SELECT * FROM trials WHERE id = ?", (trial_id,))


def trace(store: Store, trace_id: str) -> TraceRow | None:
    """A trace."""
    return store.first(TraceRow, "SELECT * FROM traces WHERE id = ?", (trace_id,))


def trace_owner(store: Store, trace_id: str) -> TraceOwner | None:
    """The run and the trial of a trace."""
    return store.first(TraceOwner, "SELECT id, run_id, trial_id FROM traces WHERE id = ?", (trace_id,))


def spans(store: Store, trace_id: str, limit: int) -> list[SpanRow]:
    """The first steps of a trace."""
    sql = "SELECT * FROM spans WHERE trace_id = ? ORDER BY started_at, id LIMIT ?"
    return store.select(SpanRow, sql, (trace_id, limit))


def newest_point(store: Store, run_id: str, attempt: int, name: str) -> float | None:
    """The last value of a series, or None."""
    sql = "SELECT step, value FROM metrics WHERE run_id = ? AND attempt = ? AND name = ? ORDER BY step DESC LIMIT 1"
    row = store.first(Point, sql, (run_id, attempt, name))
    return None if row is None else row["value"]


_LEADER = (
    "SELECT c.id FROM metrics b JOIN metrics v ON v.run_id = b.run_id AND v.attempt = b.attempt"
    " AND v.name = 'val_mean' AND v.value = b.value"
    " JOIN candidates c ON c.run_id = b.run_id AND c.attempt = b.attempt AND c.number = v.step"
    " WHERE b.run_id = {run} AND b.attempt = {attempt} AND b.name = 'best_val' ORDER BY b.step DESC, v.step LIMIT 1"
)
"""The row id of the candidate that leads on validation, as the search said: the series hold its mean and number."""
_BEST_NOW = (
    f"coalesce(r.best_candidate_id, ({_LEADER.format(run='r.id', attempt='r.attempt')}), r.baseline_candidate_id)"
)


_OUTCOME = (
    "(SELECT coalesce(json_extract(p.report_json, '$.verdict.outcome'), CASE"
    " WHEN json_extract(p.report_json, '$.verdict.promote') THEN iif(json_extract(p.report_json,"
    " '$.holdout.interval[0]') > 1e-9, 'promote', 'undecided') ELSE 'do_not_promote' END) FROM reports p"
    " WHERE p.run_id = r.id AND p.attempt = r.attempt ORDER BY p.id DESC LIMIT 1)"
)
"""The outcome of a run's report; one of an older format says promote or not, and its interval whether that is sure."""


def verdict_of(store: Store, run_id: str) -> str | None:
    """`promote`, `undecided` or `do_not_promote`, as the report of the newest attempt says; None without a report."""
    found = store.first(ConcludedVerdict, f"SELECT {_OUTCOME} AS verdict FROM runs r WHERE r.id = ?", (run_id,))
    return found["verdict"] if found else None


def best_so_far(store: Store, run: BestOfRun) -> int | None:
    """The row id of what a run says is best; while it has not ended, of what leads on validation; or the baseline."""
    if run["best_candidate_id"] is not None:
        return run["best_candidate_id"]
    return leader(store, run["id"], run["attempt"]) or run["baseline_candidate_id"]


def leader(store: Store, run_id: str, attempt: int) -> int | None:
    """The row id of the candidate of an attempt that leads on validation; None before any was scored there."""
    found = store.first(CandidateId, _LEADER.format(run="?", attempt="?"), (run_id, attempt))
    return found["id"] if found else None


def candidate_numbered(store: Store, run: RunRow, number: int) -> CandidateRow:
    """A candidate of the newest attempt by its number; raises `NotFound` naming those there are."""
    found = find_candidate(store, run["id"], run["attempt"], number)
    if found is None:
        last = len(candidates(store, run["id"], run["attempt"])) - 1
        there = f"its candidates are 0 to {last}" if last >= 0 else "it has none yet"
        msg = f"run {run['id']} has no candidate {number}; {there}"
        raise NotFound(msg)
    return found


def newest_report(store: Store, run_id: str, attempt: int) -> str | None:
    """The newest promotion report of an attempt as JSON text, or None."""
    sql = "SELECT report_json FROM reports WHERE run_id = ? AND attempt = ? ORDER BY id DESC LIMIT 1"
    row = store.first(ReportText, sql, (run_id, attempt))
    return row["report_json"] if row else None


def reused_trials(store: Store, run_id: str, attempt: int) -> int:
    """How many trials of an attempt were taken over from another one."""
    sql = "SELECT count(*) AS n FROM trials WHERE run_id = ? AND attempt = ? AND reused = 1"
    found = store.first(Count, sql, (run_id, attempt))
    return found["n"] if found else 0


def messages_about(store: Store, run_id: str, attempt: int, about: str) -> list[str]:
    """The log lines of an attempt that say what they are about, oldest first, each once."""
    rows = store.select(
        Said,
        "SELECT message FROM events WHERE run_id = ? AND attempt = ? AND json_extract(data_json, '$.about') = ?"
        " GROUP BY message ORDER BY min(id)",
        (run_id, attempt, about),
    )
    return [row["message"] for row in rows]


def events(store: Store, run_id: str, *, after: int = 0, limit: int = 1000) -> list[EventRow]:
    """Log lines of a run after the line `after`, oldest first."""
    sql = "SELECT * FROM events WHERE run_id = ? AND id > ? ORDER BY id LIMIT ?"
    return store.select(EventRow, sql, (run_id, after, limit))
