"""What the reflection model was shown and what became of what it wrote; and the run's log."""

from __future__ import annotations

from rollout_local.reports.evidence import texts_of
from rollout_local.store.selected_types import JudgedProposal
from rollout_local.ui import queries
from rollout_local.ui.texts import differences
from rollout_local.ui.views.candidate import feedback_of, parents_of
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
    parents = parents_of(run)
    numbers = {n for row in shown for n in (row["parent_number"], row["candidate_number"]) if n is not None}
    rows = queries.texts(run.store, run.id, run.attempt, sorted(numbers))
    texts = {number: texts_of(row) for number, row in rows.items()}
    ids = [row["candidate_id"] for row in shown if row["candidate_id"] is not None]
    parts = queries.proposals_of(run.store, ids)
    return Page("reflections.html", {
        "title": "Reflections", "run": run, "tab": "reflections", "show": chosen, "page": page,
        "counts": queries.proposal_counts(run.store, run.id, run.attempt), "more": len(found) > PER_PAGE,
        "proposals": [_proposal(row, parts, texts, traces, parents) for row in shown],
    })  # fmt: skip


def _kind(row: JudgedProposal) -> str:
    if row["candidate_id"] is None:
        return "failed"
    return {None: "open", 0: "rejected"}.get(row["accepted"], "accepted")


def _proposal(
    first: JudgedProposal, parts: list[JudgedProposal], texts: dict[int, dict[str, str]], traces: dict[str, str],
    parents: dict[int, list[int]],
) -> dict[str, object]:  # fmt: skip
    """A candidate with all that was proposed for it; or a reflection that gave no text."""
    number, grew_from = first["candidate_number"], [n for n in (first["parent_number"],) if n is not None]
    parent = next((texts[n] for n in grew_from if n in texts), None)
    child = texts.get(number, {}) if number is not None else {}
    rows = [row for row in parts if row["candidate_id"] == first["candidate_id"]] or [first]
    names = [row["component"] for row in rows]
    grew_from = (parents.get(number) if number is not None else None) or grew_from
    return {
        **first, "kind": _kind(first), "feedback": feedback_of(rows), "parents": grew_from, "components": names,
        "several": len(child or parent or {}) > 1,
        "differences": differences(parent, child) if parent is not None and child else None,
        "traces": [(name, traces[child[name]]) for name in names if child.get(name) in traces],
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
