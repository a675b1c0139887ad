"""Migration 0012: what the owner of a run says of it, the one way out for its rows, and trials with their question.

Rows of a run are append only. They leave by one door: a row of `deleted_runs` that says `deleting`, which the triggers
look at, and which `rollout_local.store.deletion` opens and closes in the transaction that deletes all of a run. The row
stays, as the one trace of a run that was here.
"""

from __future__ import annotations

_BEING_DELETED = "EXISTS (SELECT 1 FROM deleted_runs WHERE run_id = OLD.{} AND deleting)"
_EXPECTED = "k.expected_output_json"

STATEMENTS = (
    "ALTER TABLE runs ADD COLUMN note TEXT",
    "ALTER TABLE runs ADD COLUMN archived_at TEXT",
    """CREATE TABLE deleted_runs (
        run_id TEXT NOT NULL PRIMARY KEY, entries INTEGER NOT NULL, chain TEXT NOT NULL, actor TEXT NOT NULL,
        at TEXT NOT NULL, deleting INTEGER NOT NULL) STRICT, WITHOUT ROWID""",
    "DROP TRIGGER trials_are_kept",
    f"""CREATE TRIGGER trials_are_kept BEFORE DELETE ON trials WHEN NOT {_BEING_DELETED.format("run_id")} BEGIN
        SELECT RAISE(ABORT, 'trials are append only: a correction is a new row that supersedes');
    END""",
    "DROP TRIGGER promotions_are_kept",
    f"""CREATE TRIGGER promotions_are_kept BEFORE DELETE ON promotions
        WHEN NOT {_BEING_DELETED.format("run_id")} BEGIN
        SELECT RAISE(ABORT, 'promotions are kept: take one back with another');
    END""",
    "DROP TRIGGER capability_versions_are_not_edited",
    """CREATE TRIGGER capability_versions_are_not_edited BEFORE UPDATE OF id, name, version, major, minor, patch,
        description, content_hash, manifest_json, agents_json, files_json, created_at ON capability_versions BEGIN
        SELECT RAISE(ABORT, 'a published version never changes: publish another one');
    END""",
    f"""CREATE TRIGGER capability_versions_know_their_run BEFORE UPDATE OF promoted_from_run ON capability_versions
        WHEN NEW.promoted_from_run IS NOT NULL OR NOT {_BEING_DELETED.format("promoted_from_run")} BEGIN
        SELECT RAISE(ABORT, 'a published version never changes: publish another one');
    END""",
    "DROP VIEW trial_feed",
    f"""CREATE VIEW trial_feed AS
        SELECT t.id, t.run_id, c.number AS candidate, t.task_name, t.split,
            k.instruction || iif(k.input_json = '{{}}', '', char(10) || k.input_json) AS input,
            iif(json_type({_EXPECTED}) = 'text', json_extract({_EXPECTED}, '$'), {_EXPECTED}) AS expected,
            t.phase, t.outcome, t.score, t.feedback, t.output, t.error, t.trace_id, t.created_at
        FROM trials t JOIN candidates c ON c.id = t.candidate_id JOIN runs r ON r.id = t.run_id
            LEFT JOIN tasks k ON k.name = t.task_name
                AND k.dataset_id = iif(t.split = 'val', coalesce(r.val_dataset_id, r.dataset_id), r.dataset_id)
        ORDER BY t.id DESC""",
)
