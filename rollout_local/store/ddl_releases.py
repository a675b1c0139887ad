"""Tables of the registry: capabilities, their immutable versions, promotions into them."""

from __future__ import annotations

TABLES = (
    """CREATE TABLE capabilities (
        name TEXT PRIMARY KEY, description TEXT NOT NULL, created_at TEXT NOT NULL) STRICT, WITHOUT ROWID""",
    """CREATE TABLE capability_versions (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL REFERENCES capabilities(name), version TEXT NOT NULL,
        major INTEGER NOT NULL, minor INTEGER NOT NULL, patch INTEGER NOT NULL, description TEXT NOT NULL,
        content_hash TEXT NOT NULL, manifest_json TEXT NOT NULL, agents_json TEXT NOT NULL, files_json TEXT NOT NULL,
        promoted_from_run TEXT REFERENCES runs(id), created_at TEXT NOT NULL, UNIQUE (name, version)) STRICT""",
    """CREATE TABLE promotions (
        id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs(id), attempt INTEGER NOT NULL,
        target_id TEXT NOT NULL, capability TEXT REFERENCES capabilities(name), agent TEXT,
        from_version TEXT, to_version TEXT, to_path TEXT, text TEXT NOT NULL, text_hash TEXT NOT NULL,
        former_text TEXT NOT NULL, former_hash TEXT NOT NULL, forced INTEGER NOT NULL, reason TEXT,
        unmet_json TEXT NOT NULL DEFAULT '[]', actor TEXT NOT NULL, at TEXT NOT NULL,
        reverts INTEGER REFERENCES promotions(id), reverted_by INTEGER REFERENCES promotions(id),
        CHECK ((to_version IS NULL) != (to_path IS NULL))) STRICT""",
    "CREATE INDEX capability_versions_newest ON capability_versions (name, major, minor, patch)",
    "CREATE INDEX promotions_of_run ON promotions (run_id, id)",
    """CREATE TRIGGER capability_versions_are_kept BEFORE DELETE ON capability_versions BEGIN
        SELECT RAISE(ABORT, 'a published version is kept');
    END""",
    """CREATE TRIGGER capability_versions_are_not_edited BEFORE UPDATE ON capability_versions BEGIN
        SELECT RAISE(ABORT, 'a published version never changes: publish another one');
    END""",
    """CREATE TRIGGER promotions_are_kept BEFORE DELETE ON promotions BEGIN
        SELECT RAISE(ABORT, 'promotions are kept: take one back with another');
    END""",
    """CREATE TRIGGER promotions_are_not_edited BEFORE UPDATE OF run_id, attempt, target_id, capability, agent,
        from_version, to_version, to_path, text, text_hash, former_text, former_hash, forced, reason, unmet_json,
        actor, at, reverts ON promotions BEGIN
        SELECT RAISE(ABORT, 'promotions are append only: take one back with another');
    END""",
)
