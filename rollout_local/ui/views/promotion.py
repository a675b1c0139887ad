"""Why the new text is better, for which tasks, and whether that is luck: the run's own report, drawn."""

from __future__ import annotations

import json
from typing import Any

from rollout_local.reports.wording import percent
from rollout_local.ui import actions, queries
from rollout_local.ui.draw.lines import interval, lifts, slopes
from rollout_local.ui.texts import differences
from rollout_local.ui.views.run import newest_report
from rollout_local.ui.visit import Page, RunVisit, Visit, run_visit

MOST_CASES = 100


def show(visit: Visit) -> Page:
    """The page; before there is a report it says what is missing."""
    run = run_visit(visit)
    report = newest_report(run)
    shared = {"title": "Promotion", "run": run, "tab": "promotion", "report": report,
              "promotions": queries.promotions(run.store, run.id), **actions.asked(run)}  # fmt: skip
    if report is None:
        return Page("promotion.html", shared)
    return Page("promotion.html", {**shared, **_shown(run, report)})


def _shown(run: RunVisit, report: dict[str, Any]) -> dict[str, Any]:
    holdout = report["holdout"]
    moved, fell = ([_case(run, case) for case in report[kind]] for kind in ("improved", "regressed"))
    fitted = report["overfitting"]
    known = [(split, of["baseline"], of["best"]) for split, of in fitted.items() if of["n"]]
    return {
        "interval": interval(holdout["lift"], tuple(holdout["interval"]), percent(holdout["confidence"]))
        if holdout["interval"] and report["changed"] else None,
        "lifts": lifts([case["lift"] for case in moved + fell] + [0.0] * holdout["ties"])
        if report["changed"] and holdout["n"] else None,
        "slopes": slopes(known) if known and report["changed"] else None,
        "differences": differences(report["baseline"]["components"], report["best"]["components"]),
        "improved": moved[:MOST_CASES], "regressed": fell[:MOST_CASES],
        "left_out": max(0, len(moved) - MOST_CASES) + max(0, len(fell) - MOST_CASES),
        "best_text": _copied(report["best"]),
    }  # fmt: skip


def _copied(best: dict[str, Any]) -> str:
    """The text to take along; several are one JSON text, as `promote --to` writes them."""
    return (
        str(best["text"])
        if len(best["components"]) == 1
        else json.dumps(best["components"], ensure_ascii=False, indent=2)
    )


def _case(run: RunVisit, case: dict[str, Any]) -> dict[str, Any]:
    """A task that moved; `gist` is what it asks, in a line."""
    asked = case["instruction"] or next((str(value) for value in case["input"].values()), "")
    return {**case, "gist": asked, "href": run.task_link(case["task"], "holdout")}
