"""The list of jobs, newest first, of all open files."""

from __future__ import annotations

from collections.abc import Callable

from rollout_local.domain.run import RunStatus
from rollout_local.store import reads
from rollout_local.store.schema import Store
from rollout_local.ui import queries
from rollout_local.ui.draw.lines import spark
from rollout_local.ui.figures import mean_of
from rollout_local.ui.heartbeat import heartbeat
from rollout_local.ui.readers import Source
from rollout_local.ui.shown_rows import Job
from rollout_local.ui.views import new
from rollout_local.ui.visit import Page, Visit

PER_PAGE = 50
LONGEST_SEARCH = 200
"""Characters of a search."""


def show(visit: Visit) -> Page:
    """`?status=`, `?target=`, `?project=`, `?tag=`, `?search=` and `?page=` narrow it; `?archived=1` shows more."""
    wanted = {"status": visit.choice("status", {status.value: status for status in RunStatus}, "")}
    wanted |= {name: visit.first(name) or "" for name in ("target", "project", "tag")}
    wanted |= {"search": visit.first("search").strip()[:LONGEST_SEARCH], "archived": visit.first("archived") and "1"}
    page, filtered = max(1, visit.number("page") or 1), any(wanted.values())
    first = (page - 1) * PER_PAGE
    found: list[tuple[Source, Job]] = []
    for source in visit.sources.values():
        rows = queries.jobs(visit.open(source), wanted, first + PER_PAGE + 1)
        found += [(source, row) for row in rows]
    filtered = filtered or (not found and any(queries.jobs(s, {"archived": "1"}, 1) for s in _stores(visit)))
    found.sort(key=lambda pair: pair[1]["created_at"], reverse=True)
    shown = found[first : first + PER_PAGE]
    return Page("jobs.html", {
        "title": "Jobs", "jobs": [_job(visit, *pair) for pair in shown], "wanted": wanted,
        "choices": {
            "status": [status.value for status in RunStatus], "target": _all(visit, queries.target_names),
            "project": _all(visit, queries.projects), "tag": _all(visit, queries.tags),
        },
        "page": page, "more": len(found) > first + PER_PAGE, "filtered": filtered,
        "several": len(visit.sources) > 1, "lively": any(row["status"] in {"running", "queued"} for _, row in shown),
        **(new.form_of(visit) if not (found or filtered) else {}),
    })  # fmt: skip


def _stores(visit: Visit) -> list[Store]:
    return [visit.open(source) for source in visit.sources.values()]


def _all(visit: Visit, names: Callable[[Store], list[str]]) -> list[str]:
    return sorted({name for store in _stores(visit) for name in names(store)})


def _job(visit: Visit, source: Source, row: Job) -> dict[str, object]:
    store = visit.open(source)
    best = queries.best(store, row, row["attempt"])
    baseline = queries.first_candidate(store, row["id"], row["attempt"])
    holder = queries.holder(store, row["id"]) if row["status"] == RunStatus.RUNNING else None
    return {
        **row, "db": source.name, "href": visit.links.run(source.name, row["id"]),
        "baseline": mean_of(store, baseline, "val"), "best": mean_of(store, best, "val"),
        "verdict": reads.verdict_of(store, row["id"]),
        "heartbeat": heartbeat(row, holder, visit.now), "tags": queries.tags_of(row),
        "frontier": reads.newest_point(store, row["id"], row["attempt"], "frontier"),
        "spark": spark(reads.series(store, row["id"], row["attempt"], "best_val")),
    }  # fmt: skip
