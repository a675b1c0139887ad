"""What Datasette shows beside the tables: descriptions of tables and columns, and the queries that people ask first."""

from __future__ import annotations

_LIFT = "a difference of mean scores, each in [0, 1]"

TABLES: dict[str, dict[str, object]] = {
    "runs": {
        "description": "One row is an optimization run: its set-up, where it stands, what it spent.",
        "sort_desc": "created_at",
        "columns": {
            "metric_calls": "executions of the target that the search paid for", "degraded": "1: trials of train or "
            "holdout ended without a score", "rev": "grows with every change", "attempt": "the newest fresh start",
            "best_candidate_id": "what the run says is best", "fingerprint": "a hash of what decides the search",
            "note": "what its owner says of it", "archived_at": "when it was put away; empty while it is listed",
        },
    },
    "candidates": {
        "description": "One row is a text that was tried.",
        "sort_desc": "val_mean",
        "columns": {
            "text": "the prompt", "val_mean": "mean score on validation; the search selects by it",
            "holdout_mean": "mean score on tasks that the search never saw", "status": "baseline, accepted, rejected, "
            "or proposed (not judged when the budget ended)",
        },
    },
    "trials": {
        "description": "One row is one candidate on one task, ended. Rows are never edited.",
        "sort_desc": "id",
        "columns": {
            "score": "in [0, 1]; empty unless the outcome is `scored`: a failure is not a zero",
            "feedback": "why it is not perfect, in the verifier's words", "superseded_by": "a retry that replaced it",
            "outcome": "scored, timeout, provider_error, verifier_error or cancelled", "latency_ms": "milliseconds",
            "reused": "1: taken from an earlier trial, not counted",
        },
    },
    "proposals": {
        "description": "One row is one reflection and what became of it.",
        "columns": {"feedback_json": "what the reflection model read", "minibatch_before": "mean of the parent",
                    "minibatch_after": "mean of the candidate on the same tasks"},
    },
    "reports": {"description": "Promotion reports as the runs wrote them.", "sort_desc": "id"},
    "events": {"description": "The log of every run.", "sort_desc": "id"},
    "traces": {"description": "One row is one execution of a target, or one reflection.", "sort_desc": "started_at"},
    "spans": {"description": "Steps of executions: what a model was asked and said."},
    "tasks": {"description": "Tasks of the imported datasets."},
    "run_commands": {"description": "What was asked of runs, and when it was heard."},
    "deleted_runs": {"description": "Runs that were here: who deleted them, and when.", "sort_desc": "at"},
    "candidate_tasks": {"description": "A candidate's scores by task, summed up.", "hidden": True},
    "span_records": {"hidden": True},
    "texts": {"hidden": True},
    "candidate_parents": {"hidden": True},
}  # fmt: skip

QUERIES: dict[str, dict[str, str]] = {
    "best_prompts": {
        "title": "The best prompt of every run",
        "sql": "select r.id as run, r.target_id as target, c.number as candidate, c.val_mean, c.val_n, c.holdout_mean,"
        " c.text from runs r join candidates c on c.id = r.best_candidate_id order by r.created_at desc",
    },
    "lift_by_run": {
        "title": "What each run gained on the holdout",
        "description": _LIFT,
        "sql": "select id, target_id, status, baseline_holdout, best_holdout, holdout_lift, metric_calls, cost_usd"
        " from run_summary",
    },
    "hardest_tasks": {
        "title": "The tasks that the best candidate still fails",
        "sql": "select r.id as run, k.split, k.task_name, k.score_sum / k.n as mean, k.n from runs r"
        " join candidate_tasks k on k.candidate_id = r.best_candidate_id where k.score_sum / k.n < 0.5"
        " order by mean limit 200",
    },
    "tasks_that_got_worse": {
        "title": "Tasks on which the best candidate is worse than the baseline",
        "sql": "select r.id as run, a.split, a.task_name, b.score_sum / b.n as baseline_mean,"
        " a.score_sum / a.n as best_mean from runs r"
        " join candidate_tasks a on a.candidate_id = r.best_candidate_id join candidate_tasks b on"
        " b.candidate_id = r.baseline_candidate_id and b.split = a.split and b.task_name = a.task_name"
        " where a.score_sum / a.n < b.score_sum / b.n order by best_mean - baseline_mean limit 200",
    },
    "trials_of_a_task": {
        "title": "Every output for one task",
        "sql": "select t.id, c.number as candidate, t.split, t.score, t.output, t.feedback, t.created_at from trials t"
        " join candidates c on c.id = t.candidate_id where t.task_name = :task order by t.id desc limit 200",
    },
    "errors_by_kind": {
        "title": "What went wrong, by kind",
        "sql": "select run_id, outcome, error_kind, count(*) as trials, max(created_at) as last from trials"
        " where error is not null group by 1, 2, 3 order by trials desc",
    },
    "rejected_proposals": {
        "title": "Proposals that were rejected, and why",
        "sql": "select p.run_id, p.iteration, p.component, p.reason, p.minibatch_before, p.minibatch_after, c.text from"
        " proposals p left join candidates c on c.id = p.candidate_id where p.accepted = 0"
        " order by p.id desc limit 200",
    },
    "slowest_calls": {
        "title": "The slowest calls to a model",
        "sql": "select trace_id, model, duration_s, tokens_in, tokens_out, error, started_at from spans"
        " where model is not null order by duration_s desc limit 100",
    },
    "tokens_by_model": {
        "title": "Tokens and cost by model",
        "sql": "select t.run_id, s.model, count(*) as calls, sum(s.tokens_in) as tokens_in, sum(s.tokens_out) as"
        " tokens_out, sum(s.cost_usd) as cost_usd, sum(s.replayed) as replayed from span_records s join traces t on"
        " t.id = s.trace_id where s.model is not null group by 1, 2 order by 1, calls desc",
    },
    "search_feedback": {
        "title": "Trials whose feedback holds a word",
        "sql": "select id, run_id, task_name, split, score, feedback from trials"
        " where feedback like '%' || :word || '%'"
        " order by id desc limit 100",
    },
}

DATABASE: dict[str, object] = {
    "description": "Optimization runs. Scores are in [0, 1], times UTC, durations seconds, money US dollars.",
    "tables": TABLES,
}
