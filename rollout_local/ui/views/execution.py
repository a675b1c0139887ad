"""One execution: the trial, what the verifier said, and the waterfall of its calls. One task over all candidates."""

from __future__ import annotations

import json
from dataclasses import replace

from rollout_local.domain.dataset import SPLITS
from rollout_local.store import catalog, reads
from rollout_local.store.catalog_rows import TaskRow
from rollout_local.store.row_types import TraceRow, TrialRow
from rollout_local.store.view_rows import SpanRow
from rollout_local.ui import queries
from rollout_local.ui.draw.marks import bar, dots
from rollout_local.ui.heartbeat import seconds
from rollout_local.ui.shown_rows import DrawnSpan
from rollout_local.ui.visit import Missing, Page, RunVisit, Visit, run_visit

MOST_SPANS = 200


def trial(visit: Visit) -> Page:
    """An execution by its trial."""
    row = reads.trial(visit.store, int(visit.names["trial"][:15]))
    if row is None:
        msg = f"There is no trial {visit.names['trial']} in {visit.source.path.name}."
        raise Missing(msg)
    return _page(visit, row, row["trace_id"], row["run_id"])


def trace(visit: Visit) -> Page:
    """An execution by its trace; that of a reflection has no trial."""
    found = reads.trace_owner(visit.store, visit.names["trace"])
    if found is None:
        msg = f"There is no trace {visit.names['trace']!r} in {visit.source.path.name}."
        raise Missing(msg)
    row = reads.trial(visit.store, found["trial_id"])
    return _page(visit, row, found["id"], found["run_id"])


def _page(visit: Visit, row: TrialRow | None, trace_id: str | None, run_id: str | None) -> Page:
    run = None
    if run_id is not None and queries.run(visit.store, run_id) is not None:
        asked: dict[str, list[str]] = {"attempt": [str(row["attempt"])]} if row else {}
        run = run_visit(_renamed(visit, run_id, asked))
    found = reads.trace(visit.store, trace_id) if trace_id else None
    return Page("execution.html", {
        "title": f"Trial {row['id']}" if row else "Trace", "run": run, "tab": "", "trial": row, "trace": found,
        "db": visit.source.name, "candidate": _number(visit, row), "task": _task(run, row) if run and row else None,
        "checks": json.loads(row["checks_json"] or "[]") if row else [], "spans": _spans(visit, found) if found else [],
        "task_href": run.task_link(row["task_name"], row["split"]) if run and row else None,
    })  # fmt: skip


def _renamed(visit: Visit, run_id: str, args: dict[str, list[str]]) -> Visit:
    return replace(visit, names={**visit.names, "run": run_id}, args=args)


def _number(visit: Visit, row: TrialRow | None) -> int | None:
    found = queries.candidate_row(visit.store, row["candidate_id"]) if row else None
    return found["number"] if found else None


def _task(run: RunVisit, row: TrialRow) -> TaskRow | None:
    """The task as it was imported; a validation task may come from a data set of its own."""
    return task_row(run, row["task_name"], row["split"])


def task_row(run: RunVisit, name: str, split: str) -> TaskRow | None:
    """A task of a run by name."""
    owner = run.row["val_dataset_id"] if split == "val" and run.row["val_dataset_id"] else run.row["dataset_id"]
    return catalog.task_row(run.store, owner, name)


def _spans(visit: Visit, found: TraceRow) -> list[DrawnSpan]:
    """Steps of a trace with their place in time, children under their parents."""
    rows = reads.spans(visit.store, found["id"], MOST_SPANS)
    if not rows:
        return []
    begin = min(seconds(row["started_at"]) for row in rows)
    end = max(seconds(row["started_at"]) + row["duration_s"] for row in rows)
    whole = max(end - begin, 1e-6)
    depth = _depths(rows)
    return [_span(row, seconds(row["started_at"]) - begin, whole, min(depth[row["id"]], 8)) for row in rows]


def _span(row: SpanRow, offset: float, whole: float, depth: int) -> DrawnSpan:
    drawn = bar(offset / whole, row["duration_s"] / whole, failed=row["error"] is not None)
    return {**row, "depth": depth, "offset": offset, "bar": drawn, "messages": _messages(row["input"])}


def _depths(rows: list[SpanRow]) -> dict[str, int]:
    parents = {row["id"]: row["parent_id"] for row in rows}
    depths: dict[str, int] = {}
    for row in rows:
        depth, at = 0, row["parent_id"]
        while at in parents and depth < 20:
            depth, at = depth + 1, parents[at]
        depths[row["id"]] = depth
    return depths


def _messages(text: str | None) -> list[dict[str, str]]:
    """What went in: role and content of each message, or the JSON as it is."""
    found = []
    for message in json.loads(text or "[]"):
        if isinstance(message, dict) and isinstance(message.get("content"), str):
            found.append({"role": str(message.get("role", "")), "content": message["content"]})
        else:
            found.append({"role": "", "content": json.dumps(message, ensure_ascii=False, indent=2)})
    return found


def task(visit: Visit) -> Page:
    """`?name=` and `?split=`: one task over all candidates, with what each gave for it."""
    run = run_visit(visit)
    name, split = visit.first("name"), visit.choice("split", dict.fromkeys(SPLITS), "val")
    rows = queries.of_task(run.store, run.id, run.attempt, split, name)
    found = task_row(run, name, split)
    if not rows and found is None:
        msg = f"Run {run.id} has no task {name[:200]!r}."
        raise Missing(msg)
    newest = queries.trials(run.store, [row["last_trial_id"] for row in rows][-100:])
    number = run.best["number"] if run.best else None
    return Page("task.html", {
        "title": "Task", "run": run, "tab": "pareto", "name": name, "split": split, "task": found,
        "rows": [{**row, "trial": newest.get(row["last_trial_id"]), "href": run.candidate_link(row["number"])}
                 for row in rows],
        "best": number, "dots": dots(rows, number) if rows else None,
    })  # fmt: skip
