"""The tables, triggers and views, written out.

Times are ISO-8601 UTC text (`_at`), durations seconds (`_s`), JSON text (`_json`), money US dollars (`_usd`).
What people read is text in its own column. Roll-ups (a candidate's means per split, a run's counters, its
`rev`) are kept by triggers, so that nothing that is shown ever scans trials.
"""

from __future__ import annotations

TABLES = (
    """CREATE TABLE datasets (
        id INTEGER PRIMARY KEY, slug TEXT NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL,
        content_hash TEXT NOT NULL UNIQUE, task_count INTEGER NOT NULL, created_at TEXT NOT NULL,
        UNIQUE (slug, version)) STRICT""",
    """CREATE TABLE tasks (
        id INTEGER PRIMARY KEY, dataset_id INTEGER NOT NULL REFERENCES datasets(id), position INTEGER NOT NULL,
        name TEXT NOT NULL, instruction TEXT NOT NULL, input_json TEXT NOT NULL, metadata_json TEXT NOT NULL,
        expected_output_json TEXT, expected_output_schema_json TEXT, UNIQUE (dataset_id, name)) STRICT""",
    """CREATE TABLE verifiers (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, content_hash TEXT NOT NULL UNIQUE, spec_json TEXT NOT NULL,
        created_at TEXT NOT NULL) STRICT""",
    """CREATE TABLE targets (
        row_id INTEGER PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, description TEXT NOT NULL,
        baseline TEXT NOT NULL, baseline_json TEXT NOT NULL, source TEXT NOT NULL, source_hash TEXT NOT NULL,
        modules_json TEXT NOT NULL, synced_at TEXT NOT NULL, UNIQUE (id, source_hash, baseline_json)) STRICT""",
    """CREATE TABLE runs (
        id TEXT PRIMARY KEY, name TEXT, project TEXT NOT NULL, run_ref TEXT, tags_json TEXT NOT NULL,
        status TEXT NOT NULL, phase TEXT, stop_reason TEXT, message TEXT, target_id TEXT NOT NULL,
        target_row_id INTEGER NOT NULL REFERENCES targets(row_id),
        dataset_id INTEGER NOT NULL REFERENCES datasets(id), val_dataset_id INTEGER REFERENCES datasets(id),
        verifier_ids_json TEXT NOT NULL, split_json TEXT NOT NULL, optimizer TEXT NOT NULL, seed INTEGER NOT NULL,
        config_json TEXT NOT NULL, fingerprint TEXT NOT NULL, fingerprint_json TEXT NOT NULL,
        metric_call_budget INTEGER NOT NULL, metric_calls INTEGER NOT NULL DEFAULT 0,
        trial_count INTEGER NOT NULL DEFAULT 0, error_count INTEGER NOT NULL DEFAULT 0,
        cost_usd REAL NOT NULL DEFAULT 0, attempt INTEGER NOT NULL DEFAULT 0,
        baseline_candidate_id INTEGER REFERENCES candidates(id),
        best_candidate_id INTEGER REFERENCES candidates(id), degraded INTEGER NOT NULL DEFAULT 0,
        heartbeat_at TEXT, last_event_at TEXT, rev INTEGER NOT NULL DEFAULT 0, created_at TEXT NOT NULL,
        started_at TEXT, finished_at TEXT, log_dir TEXT, recording TEXT) STRICT""",
    """CREATE TABLE attempts (
        run_id TEXT NOT NULL REFERENCES runs(id), number INTEGER NOT NULL, pid INTEGER, host TEXT,
        started_at TEXT NOT NULL, ended_at TEXT, outcome TEXT, PRIMARY KEY (run_id, number)) STRICT""",
    """CREATE TABLE phase_calls (
        run_id TEXT NOT NULL REFERENCES runs(id), attempt INTEGER NOT NULL, phase TEXT NOT NULL,
        asked INTEGER NOT NULL DEFAULT 0, spent INTEGER NOT NULL DEFAULT 0, errors INTEGER NOT NULL DEFAULT 0,
        cost_usd REAL NOT NULL DEFAULT 0, PRIMARY KEY (run_id, attempt, phase)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE candidates (
        id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs(id), attempt INTEGER NOT NULL,
        number INTEGER NOT NULL, status TEXT NOT NULL, text TEXT NOT NULL, components_json TEXT NOT NULL,
        content_hash TEXT NOT NULL, train_sum REAL NOT NULL DEFAULT 0, train_mean REAL,
        train_n INTEGER NOT NULL DEFAULT 0, val_sum REAL NOT NULL DEFAULT 0, val_mean REAL,
        val_n INTEGER NOT NULL DEFAULT 0, val_best REAL, holdout_sum REAL NOT NULL DEFAULT 0, holdout_mean REAL,
        holdout_n INTEGER NOT NULL DEFAULT 0, created_at TEXT NOT NULL, UNIQUE (run_id, attempt, number)) STRICT""",
    """CREATE TABLE candidate_parents (
        candidate_id INTEGER NOT NULL REFERENCES candidates(id),
        parent_id INTEGER NOT NULL REFERENCES candidates(id), PRIMARY KEY (candidate_id, parent_id))
        STRICT, WITHOUT ROWID""",
    """CREATE TABLE candidate_tasks (
        candidate_id INTEGER NOT NULL REFERENCES candidates(id), split TEXT NOT NULL, task_name TEXT NOT NULL,
        run_id TEXT NOT NULL, n INTEGER NOT NULL, score_sum REAL NOT NULL, best REAL NOT NULL,
        last_trial_id INTEGER NOT NULL, PRIMARY KEY (candidate_id, split, task_name)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE proposals (
        id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs(id), attempt INTEGER NOT NULL,
        iteration INTEGER NOT NULL, parent_candidate_id INTEGER REFERENCES candidates(id), component TEXT NOT NULL,
        candidate_id INTEGER REFERENCES candidates(id), accepted INTEGER, reason TEXT NOT NULL DEFAULT '',
        feedback_json TEXT NOT NULL, minibatch_before REAL, minibatch_after REAL, created_at TEXT NOT NULL) STRICT""",
    """CREATE TABLE reflections (
        id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs(id), attempt INTEGER NOT NULL,
        input_hash TEXT NOT NULL, occurrence INTEGER NOT NULL, reply_json TEXT NOT NULL, trace_id TEXT,
        created_at TEXT NOT NULL, UNIQUE (run_id, attempt, input_hash, occurrence)) STRICT""",
    """CREATE TABLE trials (
        id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs(id), attempt INTEGER NOT NULL,
        candidate_id INTEGER NOT NULL REFERENCES candidates(id), candidate_hash TEXT NOT NULL,
        task_name TEXT NOT NULL, split TEXT NOT NULL, phase TEXT NOT NULL, occurrence INTEGER NOT NULL,
        outcome TEXT NOT NULL, score REAL, passed INTEGER, feedback TEXT NOT NULL DEFAULT '',
        output TEXT, output_kind TEXT NOT NULL DEFAULT 'text', error TEXT, error_kind TEXT, checks_json TEXT,
        metadata_json TEXT NOT NULL DEFAULT '{}', latency_ms REAL, cost_usd REAL, reused INTEGER NOT NULL DEFAULT 0,
        tries INTEGER NOT NULL DEFAULT 1, superseded_by INTEGER REFERENCES trials(id) DEFERRABLE INITIALLY DEFERRED,
        trace_id TEXT, created_at TEXT NOT NULL, CHECK ((outcome = 'scored') = (score IS NOT NULL)),
        CHECK (score IS NULL OR score BETWEEN 0 AND 1)) STRICT""",
    """CREATE TABLE texts (hash TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID""",
    """CREATE TABLE traces (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, run_id TEXT, trial_id INTEGER REFERENCES trials(id),
        attributes_json TEXT NOT NULL DEFAULT '{}', started_at TEXT NOT NULL, duration_s REAL NOT NULL)
        STRICT, WITHOUT ROWID""",
    """CREATE TABLE span_records (
        id TEXT PRIMARY KEY, trace_id TEXT NOT NULL REFERENCES traces(id), parent_id TEXT, type TEXT NOT NULL,
        name TEXT NOT NULL, model TEXT, input_hashes_json TEXT NOT NULL, output TEXT, tokens_in INTEGER,
        tokens_out INTEGER, cost_usd REAL, started_at TEXT NOT NULL, duration_s REAL NOT NULL, error TEXT,
        replayed INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID""",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs(id), attempt INTEGER NOT NULL, at TEXT NOT NULL,
        level TEXT NOT NULL, message TEXT NOT NULL, data_json TEXT NOT NULL DEFAULT '{}') STRICT""",
    """CREATE TABLE metrics (
        id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs(id), attempt INTEGER NOT NULL,
        name TEXT NOT NULL, step INTEGER NOT NULL, value REAL NOT NULL, at TEXT NOT NULL,
        UNIQUE (run_id, attempt, name, step)) STRICT""",
    """CREATE TABLE reports (
        id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs(id), attempt INTEGER NOT NULL,
        report_json TEXT NOT NULL, created_at TEXT NOT NULL) STRICT""",
    """CREATE UNIQUE INDEX trials_key ON trials
        (run_id, attempt, candidate_hash, task_name, split, occurrence) WHERE superseded_by IS NULL""",
    "CREATE INDEX trials_feed ON trials (run_id, id)",
    "CREATE INDEX trials_of_candidate ON trials (candidate_id, task_name, score)",
    "CREATE INDEX trials_failed ON trials (run_id, id) WHERE error IS NOT NULL",
    "CREATE INDEX trials_trace ON trials (trace_id) WHERE trace_id IS NOT NULL",
    "CREATE INDEX candidates_ranked ON candidates (run_id, val_mean)",
    "CREATE INDEX candidates_hash ON candidates (run_id, attempt, content_hash)",
    "CREATE INDEX candidate_tasks_best ON candidate_tasks (run_id, split, task_name, best)",
    "CREATE INDEX proposals_of_run ON proposals (run_id, attempt, iteration)",
    "CREATE INDEX spans_of_trace ON span_records (trace_id, started_at)",
    "CREATE INDEX traces_of_run ON traces (run_id, started_at)",
    "CREATE INDEX events_of_run ON events (run_id, id)",
    "CREATE INDEX reports_of_run ON reports (run_id, attempt)",
)


def _mean_of(split: str, sign: str, row: str) -> str:
    """The update of one split's roll-up when a scored trial comes (`+`, NEW) or is superseded (`-`, OLD)."""
    best = ", val_best = max(coalesce(val_best, 0), NEW.score)" if split == "val" and sign == "+" else ""
    return f"""
        UPDATE candidates SET {split}_n = {split}_n {sign} 1, {split}_sum = {split}_sum {sign} {row}.score,
            {split}_mean = CASE WHEN {split}_n {sign} 1 > 0
                THEN ({split}_sum {sign} {row}.score) / ({split}_n {sign} 1) END{best}
            WHERE id = {row}.candidate_id AND {row}.split = '{split}' AND {row}.score IS NOT NULL;"""


TRIGGERS = (
    f"""CREATE TRIGGER trials_inserted AFTER INSERT ON trials BEGIN
        {"".join(_mean_of(split, "+", "NEW") for split in ("train", "val", "holdout"))}
        INSERT INTO candidate_tasks (candidate_id, split, task_name, run_id, n, score_sum, best, last_trial_id)
            SELECT NEW.candidate_id, NEW.split, NEW.task_name, NEW.run_id, 1, NEW.score, NEW.score, NEW.id
            WHERE NEW.score IS NOT NULL
            ON CONFLICT DO UPDATE SET n = n + 1, score_sum = score_sum + excluded.score_sum,
                best = max(best, excluded.best), last_trial_id = excluded.last_trial_id;
        INSERT INTO phase_calls (run_id, attempt, phase, asked, spent, errors, cost_usd)
            VALUES (NEW.run_id, NEW.attempt, NEW.phase, 1, NOT NEW.reused, NEW.score IS NULL, coalesce(NEW.cost_usd, 0))
            ON CONFLICT DO UPDATE SET asked = asked + 1, spent = spent + excluded.spent,
                errors = errors + excluded.errors, cost_usd = cost_usd + excluded.cost_usd;
        UPDATE runs SET rev = rev + 1, trial_count = trial_count + 1, last_event_at = NEW.created_at,
            error_count = error_count + (NEW.score IS NULL), cost_usd = cost_usd + coalesce(NEW.cost_usd, 0),
            metric_calls = metric_calls + (NEW.phase = 'searching' AND NOT NEW.reused)
            WHERE id = NEW.run_id;
    END""",
    f"""CREATE TRIGGER trials_superseded AFTER UPDATE OF superseded_by ON trials
        WHEN OLD.superseded_by IS NULL AND NEW.superseded_by IS NOT NULL BEGIN
        {"".join(_mean_of(split, "-", "OLD") for split in ("train", "val", "holdout"))}
        UPDATE phase_calls SET asked = asked - 1, spent = spent - NOT OLD.reused, errors = errors - (OLD.score IS NULL)
            WHERE run_id = OLD.run_id AND attempt = OLD.attempt AND phase = OLD.phase;
        UPDATE runs SET rev = rev + 1, error_count = error_count - (OLD.score IS NULL),
            metric_calls = metric_calls - (OLD.phase = 'searching' AND NOT OLD.reused) WHERE id = OLD.run_id;
        DELETE FROM candidate_tasks WHERE OLD.score IS NOT NULL AND candidate_id = OLD.candidate_id
            AND split = OLD.split AND task_name = OLD.task_name;
        INSERT INTO candidate_tasks (candidate_id, split, task_name, run_id, n, score_sum, best, last_trial_id)
            SELECT candidate_id, split, task_name, run_id, count(*), sum(score), max(score), max(id) FROM trials
            WHERE OLD.score IS NOT NULL AND candidate_id = OLD.candidate_id AND split = OLD.split
                AND task_name = OLD.task_name AND score IS NOT NULL AND superseded_by IS NULL
            GROUP BY candidate_id, split, task_name, run_id;
        UPDATE candidates SET val_best = (SELECT max(best) FROM candidate_tasks
            WHERE candidate_id = OLD.candidate_id AND split = 'val')
            WHERE id = OLD.candidate_id AND OLD.split = 'val' AND OLD.score IS NOT NULL;
    END""",
    """CREATE TRIGGER candidates_changed AFTER UPDATE OF status ON candidates BEGIN
        UPDATE runs SET rev = rev + 1 WHERE id = NEW.run_id;
    END""",
    """CREATE TRIGGER candidates_inserted AFTER INSERT ON candidates BEGIN
        UPDATE runs SET rev = rev + 1 WHERE id = NEW.run_id;
    END""",
    """CREATE TRIGGER events_inserted AFTER INSERT ON events BEGIN
        UPDATE runs SET rev = rev + 1, last_event_at = NEW.at WHERE id = NEW.run_id;
    END""",
    """CREATE TRIGGER trials_are_kept BEFORE DELETE ON trials BEGIN
        SELECT RAISE(ABORT, 'trials are append only: a correction is a new row that supersedes');
    END""",
    """CREATE TRIGGER trials_are_not_edited BEFORE UPDATE OF score, outcome, output, feedback ON trials BEGIN
        SELECT RAISE(ABORT, 'trials are append only: a correction is a new row that supersedes');
    END""",
)

VIEWS = (
    """CREATE VIEW spans AS
        SELECT s.id, s.trace_id, s.parent_id, s.type, s.name, s.model,
            (SELECT json_group_array(json(text)) FROM (SELECT t.text FROM json_each(s.input_hashes_json) part
                JOIN texts t ON t.hash = part.value ORDER BY part.key)) AS input,
            s.output, s.tokens_in, s.tokens_out, s.cost_usd, s.started_at, s.duration_s, s.error, s.replayed
        FROM span_records s""",
    """CREATE VIEW run_summary AS
        SELECT r.id, r.name, r.status, r.phase, r.stop_reason, r.target_id, r.project, r.optimizer,
            r.metric_calls, r.metric_call_budget, r.cost_usd, r.attempt,
            b.val_mean AS baseline_val, c.val_mean AS best_val, b.holdout_mean AS baseline_holdout,
            c.holdout_mean AS best_holdout, c.holdout_mean - b.holdout_mean AS holdout_lift, r.degraded,
            r.created_at, r.finished_at
        FROM runs r LEFT JOIN candidates b ON b.id = r.baseline_candidate_id
            LEFT JOIN candidates c ON c.id = r.best_candidate_id ORDER BY r.created_at DESC""",
    """CREATE VIEW leaderboard AS
        SELECT c.run_id, c.number, c.status, c.val_mean, c.val_n, c.val_best, c.train_mean, c.train_n,
            c.holdout_mean, c.holdout_n, c.id = r.best_candidate_id AS is_best, c.text
        FROM candidates c JOIN runs r ON r.id = c.run_id AND r.attempt = c.attempt
        ORDER BY c.run_id, c.val_n DESC, c.val_mean DESC""",
    """CREATE VIEW trial_feed AS
        SELECT t.id, t.run_id, c.number AS candidate, t.task_name, t.split, t.phase, t.outcome, t.score, t.feedback,
            t.output, t.error, t.trace_id, t.created_at
        FROM trials t JOIN candidates c ON c.id = t.candidate_id ORDER BY t.id DESC""",
    """CREATE VIEW errors AS
        SELECT t.id, t.run_id, t.attempt, c.number AS candidate, t.task_name, t.split, t.outcome, t.error_kind,
            t.error, t.superseded_by IS NOT NULL AS was_retried, t.created_at
        FROM trials t JOIN candidates c ON c.id = t.candidate_id WHERE t.error IS NOT NULL ORDER BY t.id DESC""",
)
