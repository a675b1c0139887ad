"""What the reflection model was shown and what became of what it wrote; and the run's log."""

from __future__ import annotations

from typing import Any

from rollout_local.reports.evidence import texts_of
from rollout_local.ui import queries
from rollout_local.ui.texts import differences
from rollout_local.ui.views.candidate import feedback_of
from rollout_local.ui.visit import Page, Visit, run_visit

PER_PAGE = 20
LINES = 200
LEVELS = ("debug", "info", "warning", "error")


def reflections(visit: Visit) -> Page:
    """Proposals, newest first; `?show=` takes a kind, `?page=`."""
    run = run_visit(visit)
    chosen, page = visit.choice("show", queries.KINDS, "all"), max(1, visit.number("page") or 1)
    found = queries.proposals(run.store, run.id, run.attempt, chosen, PER_PAGE + 1, (page - 1) * PER_PAGE)
    shown, traces = found[:PER_PAGE], queries.reflection_traces(run.store, run.id, run.attempt)
    numbers = {n for row in shown for n in (row["parent_number"], row["candidate_number"]) if n is not None}
    rows = queries.texts(run.store, run.id, run.attempt, sorted(numbers))
    texts = {number: texts_of(row) for number, row in rows.items()}
    return Page("reflections.html", {
        "title": "Reflections", "run": run, "tab": "reflections", "show": chosen, "page": page,
        "counts": queries.proposal_counts(run.store, run.id, run.attempt), "more": len(found) > PER_PAGE,
        "proposals": [_proposal(row, texts, traces) for row in shown],
    })  # fmt: skip


def _kind(row: queries.Row) -> str:
    if row["candidate_id"] is None:
        return "failed"
    return {None: "open", 0: "rejected"}.get(row["accepted"], "accepted")


def _proposal(row: queries.Row, texts: dict[int, dict[str, str]], traces: dict[str, str]) -> dict[str, Any]:
    parent, child = texts.get(row["parent_number"]), texts.get(row["candidate_number"])
    return {
        **row, "kind": _kind(row), "feedback": feedback_of([row]),
        "differences": differences(parent, child) if parent is not None and child is not None else None,
        "trace": traces.get((child or {}).get(row["component"], "")),
    }  # fmt: skip


def events(visit: Visit) -> Page:
    """The log, newest first; `?level=`, `?before=`."""
    run = run_visit(visit)
    level = visit.choice("level", dict.fromkeys(LEVELS), "")
    found = queries.events(run.store, run.id, visit.number("before"), level or None, LINES + 1)
    return Page("events.html", {
        "title": "Events", "run": run, "tab": "events", "events": found[:LINES], "levels": LEVELS, "level": level,
        "more": found[LINES - 1]["id"] if len(found) > LINES else None,
    })  # fmt: skip
