"""What is kept beside the rows so that no page has to count them: is it what the rows say; made anew.

Each select gives one row per roll-up that is wrong. A candidate's means count final trials; a run's counters count
the trials of its newest attempt. The calls of a search that plain GEPA made are what its log says: it kept few trials.
"""

from __future__ import annotations

from collections.abc import Iterator

from rollout_local.store.schema import Store
from rollout_local.store.selected_types import CountedMeans, CountedPhase, CountedRun, CountedTask

_CLOSE = "abs(coalesce({0}, 0) - coalesce({1}, 0)) < 1e-6 AND ({0} IS NULL) = ({1} IS NULL)"

_MEANS = f"""
    SELECT c.id, c.run_id, s.split, count(t.score) AS n, coalesce(sum(t.score), 0) AS total, avg(t.score) AS mean,
        CASE s.split WHEN 'val' THEN max(t.score) END AS best,
        'candidate ' || c.number || ' on ' || s.split AS what,
        CASE s.split WHEN 'train' THEN c.train_n WHEN 'val' THEN c.val_n ELSE c.holdout_n END AS kept_n,
        CASE s.split WHEN 'train' THEN c.train_sum WHEN 'val' THEN c.val_sum ELSE c.holdout_sum END AS kept_sum,
        CASE s.split WHEN 'train' THEN c.train_mean WHEN 'val' THEN c.val_mean ELSE c.holdout_mean END AS kept_mean,
        CASE s.split WHEN 'val' THEN c.val_best END AS kept_best
    FROM candidates c JOIN (SELECT 'train' AS split UNION SELECT 'val' UNION SELECT 'holdout') s
        LEFT JOIN trials t ON t.candidate_id = c.id AND t.split = s.split AND t.superseded_by IS NULL
    GROUP BY c.id, s.split HAVING NOT (n = kept_n AND {_CLOSE.format("total", "kept_sum")}
        AND {_CLOSE.format("mean", "kept_mean")} AND {_CLOSE.format("best", "kept_best")})
"""

_TASKS = """
    WITH counted AS (SELECT candidate_id, split, task_name, run_id, count(*) AS n, sum(score) AS score_sum,
        max(score) AS best, max(id) AS last_trial_id FROM trials WHERE score IS NOT NULL AND superseded_by IS NULL
        GROUP BY candidate_id, split, task_name)
    SELECT coalesce(k.run_id, t.run_id) AS run_id, coalesce(k.candidate_id, t.candidate_id) AS candidate_id
    FROM counted k FULL JOIN candidate_tasks t USING (candidate_id, split, task_name)
    WHERE k.n IS NOT t.n OR abs(k.score_sum - t.score_sum) > 1e-6 OR k.best IS NOT t.best
        OR k.last_trial_id IS NOT t.last_trial_id OR k.run_id IS NOT t.run_id
"""

_PHASES = """
    WITH counted AS (SELECT run_id, attempt, phase, sum(superseded_by IS NULL) AS asked,
        sum(superseded_by IS NULL AND NOT reused) AS spent, sum(superseded_by IS NULL AND score IS NULL) AS errors,
        sum(cost_usd) AS cost_usd FROM trials GROUP BY run_id, attempt, phase)
    SELECT coalesce(k.run_id, p.run_id) AS run_id, coalesce(k.phase, p.phase) AS phase
    FROM counted k FULL JOIN phase_calls p USING (run_id, attempt, phase)
    WHERE k.asked IS NOT p.asked OR k.spent IS NOT p.spent OR k.errors IS NOT p.errors
        OR abs(k.cost_usd - p.cost_usd) > 1e-6 OR (k.cost_usd IS NULL) != (p.cost_usd IS NULL)
"""

_RUNS = """
    SELECT r.id AS run_id, r.trial_count, r.error_count, r.metric_calls, count(t.id) AS trials,
        count(t.id) FILTER (WHERE t.superseded_by IS NULL AND t.score IS NULL) AS errors,
        CASE WHEN r.fingerprint_json LIKE '{"gepa_log":%' THEN r.metric_calls
            ELSE count(t.id) FILTER (WHERE t.phase = 'searching' AND NOT t.reused AND t.superseded_by IS NULL)
            END AS calls
    FROM runs r LEFT JOIN trials t ON t.run_id = r.id AND t.attempt = r.attempt GROUP BY r.id
    HAVING r.trial_count != trials OR r.error_count != errors OR r.metric_calls != calls
"""

_MEND = "(`rollout db rebuild`)"


def problems(store: Store) -> Iterator[str]:
    """Sentences for roll-ups that are not what the trials say."""
    for row in store.select(CountedMeans, _MEANS):
        yield (
            f"run {row['run_id']}: {row['what']} shows {row['kept_n']} trials with the sum {row['kept_sum']:g}, the"
            f" mean {_number(row['kept_mean'])} and the best {_number(row['kept_best'])}; there are {row['n']} with"
            f" {row['total']:g}, {_number(row['mean'])} and {_number(row['best'])} {_MEND}"
        )
    for task in store.select(CountedTask, _TASKS):
        yield f"run {task['run_id']}: the scores by task of candidate row {task['candidate_id']} are wrong {_MEND}"
    for phase in store.select(CountedPhase, _PHASES):
        yield f"run {phase['run_id']}: the counts of the phase {phase['phase']} are wrong {_MEND}"
    for run in store.select(CountedRun, _RUNS):
        yield (
            f"run {run['run_id']}: its row counts {run['trial_count']} trials, {run['error_count']} of them without a"
            f" score, {run['metric_calls']} calls of the search; there are {run['trials']}, {run['errors']} and"
            f" {run['calls']} {_MEND}"
        )


def rebuild(store: Store) -> int:
    """Make every roll-up anew from the trials. Returns how many were wrong."""
    wrong = len(list(problems(store)))
    with store.write() as db:
        for row in store.select(CountedMeans, _MEANS):
            split, values = row["split"], [row["n"], row["total"], row["mean"], row["id"]]
            db.execute(f"UPDATE candidates SET {split}_n = ?, {split}_sum = ?, {split}_mean = ? WHERE id = ?", values)
            if split == "val":
                db.execute("UPDATE candidates SET val_best = ? WHERE id = ?", (row["best"], row["id"]))
        if wrong:
            for statement in _ANEW:
                db.execute(statement)
    return wrong


_ANEW = (
    "DELETE FROM candidate_tasks",
    """INSERT INTO candidate_tasks (candidate_id, split, task_name, run_id, n, score_sum, best, last_trial_id)
        SELECT candidate_id, split, task_name, run_id, count(*), sum(score), max(score), max(id) FROM trials
        WHERE score IS NOT NULL AND superseded_by IS NULL GROUP BY candidate_id, split, task_name""",
    "DELETE FROM phase_calls",
    """INSERT INTO phase_calls (run_id, attempt, phase, asked, spent, errors, cost_usd)
        SELECT run_id, attempt, phase, sum(superseded_by IS NULL), sum(superseded_by IS NULL AND NOT reused),
            sum(superseded_by IS NULL AND score IS NULL), sum(cost_usd) FROM trials
        GROUP BY run_id, attempt, phase""",
    f"""UPDATE runs SET (trial_count, error_count, metric_calls) = (
        SELECT trials, errors, calls FROM ({_RUNS}) w WHERE w.run_id = runs.id)
        WHERE id IN (SELECT run_id FROM ({_RUNS}))""",
)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"
