"""Migration 0011: a cost that is not known is NULL, in the run and its phases too, and no longer 0.

A sum is of what is known; it is NULL where nothing is.
"""

from __future__ import annotations

from rollout_local.store.ddl import TRIGGERS, VIEWS

_ADDED = "CASE WHEN {new} IS NULL THEN cost_usd ELSE coalesce(cost_usd, 0) + {new} END"
_INSERTED = (
    TRIGGERS[0]
    .replace("NEW.score IS NULL, coalesce(NEW.cost_usd, 0))", "NEW.score IS NULL, NEW.cost_usd)")
    .replace("cost_usd + excluded.cost_usd", _ADDED.format(new="excluded.cost_usd"))
    .replace("cost_usd + coalesce(NEW.cost_usd, 0)", _ADDED.format(new="NEW.cost_usd"))
)
_SUMMARY = next(view for view in VIEWS if view.startswith("CREATE VIEW run_summary"))

STATEMENTS = (
    "DROP TRIGGER trials_inserted",
    "DROP VIEW run_summary",
    "ALTER TABLE runs ADD COLUMN known_cost_usd REAL",
    """UPDATE runs SET known_cost_usd = cost_usd WHERE cost_usd != 0
        OR EXISTS (SELECT 1 FROM trials t WHERE t.run_id = runs.id AND t.cost_usd IS NOT NULL)""",
    "ALTER TABLE runs DROP COLUMN cost_usd",
    "ALTER TABLE runs RENAME COLUMN known_cost_usd TO cost_usd",
    "ALTER TABLE phase_calls ADD COLUMN known_cost_usd REAL",
    """UPDATE phase_calls SET known_cost_usd = (SELECT sum(t.cost_usd) FROM trials t
        WHERE t.run_id = phase_calls.run_id AND t.attempt = phase_calls.attempt AND t.phase = phase_calls.phase)""",
    "ALTER TABLE phase_calls DROP COLUMN cost_usd",
    "ALTER TABLE phase_calls RENAME COLUMN known_cost_usd TO cost_usd",
    _INSERTED,
    _SUMMARY,
)
