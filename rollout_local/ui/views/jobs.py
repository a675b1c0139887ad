"""The list of jobs, newest first, of all open files."""

from __future__ import annotations

from typing import Any

from rollout_local.domain.run import RunStatus
from rollout_local.ui import queries
from rollout_local.ui.draw.lines import spark
from rollout_local.ui.figures import mean_of
from rollout_local.ui.heartbeat import heartbeat
from rollout_local.ui.queries import Row
from rollout_local.ui.readers import Source
from rollout_local.ui.views import new
from rollout_local.ui.visit import Page, RunVisit, Visit

PER_PAGE = 50


def show(visit: Visit) -> Page:
    """`?status=`, `?target=` and `?page=` narrow it."""
    status = visit.choice("status", {status.value: status for status in RunStatus}, "")
    target, page = visit.first("target"), max(1, visit.number("page") or 1)
    first = (page - 1) * PER_PAGE
    found: list[tuple[Source, Row]] = []
    for source in visit.sources.values():
        rows = queries.jobs(visit.open(source), status or None, target or None, first + PER_PAGE + 1)
        found += [(source, row) for row in rows]
    found.sort(key=lambda pair: pair[1]["created_at"], reverse=True)
    shown = found[first : first + PER_PAGE]
    return Page("jobs.html", {
        "title": "Jobs", "jobs": [_job(visit, *pair) for pair in shown], "status": status, "target": target,
        "statuses": [status.value for status in RunStatus], "targets": _targets(visit),
        "page": page, "more": len(found) > first + PER_PAGE, "filtered": bool(status or target),
        "several": len(visit.sources) > 1, "lively": any(row["status"] in {"running", "queued"} for _, row in shown),
        **(new.form_of(visit) if not (found or status or target) else {}),
    })  # fmt: skip


def _targets(visit: Visit) -> list[str]:
    return sorted({name for source in visit.sources.values() for name in queries.target_names(visit.open(source))})


def _job(visit: Visit, source: Source, row: Row) -> dict[str, Any]:
    store = visit.open(source)
    run = RunVisit(Visit(visit.links, visit.sources, visit.open, visit.now, {"db": source.name}), row, row["attempt"])
    holder = queries.holder(store, row["id"]) if row["status"] == RunStatus.RUNNING else None
    return {
        **row, "db": source.name, "href": visit.links.run(source.name, row["id"]),
        "baseline": mean_of(run, run.baseline, "val"), "best": mean_of(run, run.best, "val"),
        "heartbeat": heartbeat(row, holder, visit.now),
        "spark": spark(queries.series(store, row["id"], row["attempt"], "best_val")),
    }  # fmt: skip
