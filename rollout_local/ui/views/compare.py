"""Runs side by side: only what differs in their set-up, their best texts, their tasks. From roll-ups, so that a
run of a million trials is compared as fast as one of a thousand.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypedDict

from rollout_local.domain.dataset import SplitName
from rollout_local.domain.identity import content_hash
from rollout_local.reports.evidence import texts_of
from rollout_local.reports.report import Report
from rollout_local.store import catalog, reads
from rollout_local.ui import queries
from rollout_local.ui.draw.lines import overlaid
from rollout_local.ui.figures import Mean, lift, means
from rollout_local.ui.shown_rows import ShortCandidate
from rollout_local.ui.texts import differences
from rollout_local.ui.views.run import newest_report
from rollout_local.ui.visit import Missing, Page, RunVisit, Visit, run_visit

MOST_RUNS = 5
MOST_TASKS = 100
_NAMES = frozenset({"log_dir", "recording", "name", "run_ref"})
"""Of the config: what names a run instead of deciding it."""


class ComparedSide(TypedDict):
    """One of the runs compared."""

    run: RunVisit
    letter: str
    best: ShortCandidate | None
    before: dict[SplitName, Mean]
    after: dict[SplitName, Mean]
    lift: float | None
    report: Report | None
    series: list[tuple[int, float]]
    texts: dict[str, str]
    tasks: dict[str, float]


class TaskLifts(TypedDict):
    """A task's lift in every run, and how differently they did."""

    task: str
    lifts: list[float | None]
    spread: float


class DifferingField(TypedDict):
    """A field of the set-up that is not the same everywhere."""

    field: str
    values: list[str]


def show(visit: Visit) -> Page:
    """`?run=database/id`, two or more."""
    asked = list(dict.fromkeys(str(value) for value in visit.args.get("run", ())))[:MOST_RUNS]
    runs = [_run(visit, reference) for reference in asked]
    sides = [_side(run, chr(ord("A") + place)) for place, run in enumerate(runs)]
    context: dict[str, object] = {"title": "Compare", "sides": sides, "choices": _choices(visit, asked)}
    if len(runs) > 1:
        context |= {
            "differing": _differing([_set_up(run) for run in runs]), "tasks": _tasks(sides)[:MOST_TASKS],
            "chart": overlaid([(side["letter"], side["series"], side["run"].spent) for side in sides]),
            "prompts": [(side["letter"], differences(sides[0]["texts"], side["texts"])) for side in sides[1:]],
        }  # fmt: skip
    return Page("compare.html", context)


def _run(visit: Visit, reference: str) -> RunVisit:
    db, _, run = reference.partition("/")
    if db not in visit.sources:
        msg = f"No run database {db!r} is open here."
        raise Missing(msg)
    return run_visit(Visit(visit.links, visit.sources, visit.open, visit.now, {"db": db, "run": run}))


def _choices(visit: Visit, asked: list[str]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for source in visit.sources.values():
        for row in queries.jobs(visit.open(source), {}, 50):
            value = f"{source.name}/{row['id']}"
            found.append({**row, "value": value, "chosen": value in asked})
    return found


def _side(run: RunVisit, letter: str) -> ComparedSide:
    baseline, best = run.baseline, run.best
    before, after = means(run.store, baseline), means(run.store, best)
    rows = queries.texts(run.store, run.id, run.attempt, [best["number"]]) if best else {}
    report = newest_report(run)
    return {
        "run": run, "letter": letter, "best": best, "before": before, "after": after,
        "lift": lift(before["holdout"], after["holdout"]), "report": report,
        "series": reads.series(run.store, run.id, run.attempt, "best_val"),
        "texts": texts_of(rows[best["number"]]) if best else {}, "tasks": _lifts(run),
    }  # fmt: skip


def _lifts(run: RunVisit) -> dict[str, float]:
    """The best candidate's lift by holdout task; by validation task while no holdout was run."""
    baseline, best = run.baseline, run.best
    if baseline is None or best is None:
        return {}
    split = "holdout" if best["holdout_n"] else "val"
    before = queries.task_means(run.store, baseline["id"], split)
    after = queries.task_means(run.store, best["id"], split)
    return {task: after[task] - before[task] for task in before.keys() & after.keys()}


def _tasks(sides: Sequence[ComparedSide]) -> list[TaskLifts]:
    """Tasks by how differently the runs did on them."""
    names = {task for side in sides for task in side["tasks"]}
    rows: list[TaskLifts] = []
    for task in names:
        lifts = [side["tasks"].get(task) for side in sides]
        known = [found for found in lifts if found is not None]
        rows.append({"task": task, "lifts": lifts, "spread": max(known) - min(known)})
    return sorted(rows, key=lambda row: (-row["spread"], row["task"]))


def _set_up(run: RunVisit) -> dict[str, object]:
    """Every input of a run by name, large ones by their hash."""
    row = run.row
    fingerprint = run.stored.inputs
    return {
        **{name: value for name, value in run.config.items() if name not in _NAMES},
        "dataset": catalog.dataset_name(run.store, row["dataset_id"]),
        "val_dataset": catalog.dataset_name(run.store, row["val_dataset_id"]),
        "splits": content_hash(run.split), "budget": row["metric_call_budget"],
        **{name: fingerprint.get(name) for name in ("verifier", "target", "versions")},
    }  # fmt: skip


def _differing(set_ups: Sequence[dict[str, object]]) -> list[DifferingField]:
    fields = dict.fromkeys(field for set_up in set_ups for field in set_up)
    rows: list[DifferingField] = [
        {"field": field, "values": [_said(set_up.get(field)) for set_up in set_ups]} for field in fields
    ]
    return [row for row in rows if len(set(row["values"])) > 1]


def _said(value: object) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
