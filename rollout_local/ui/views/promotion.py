"""Why the new text is better, for which tasks, and whether that is luck: the run's own report, drawn."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rollout_local.reports import steadiness
from rollout_local.reports.report import CandidateReport, Movement, Report
from rollout_local.reports.wording import percent
from rollout_local.ui import actions, queries
from rollout_local.ui.draw.lines import interval, lifts, slopes
from rollout_local.ui.texts import differences
from rollout_local.ui.views.run import newest_report
from rollout_local.ui.visit import Page, RunVisit, Visit, run_visit

MOST_CASES = 100


class ShownMovement(Movement):
    """A task that moved; `gist` is what it asks, in a line."""

    gist: str
    href: str | None


def show(visit: Visit) -> Page:
    """The page; before there is a report it says what is missing."""
    run = run_visit(visit)
    report = newest_report(run)
    shared = {"title": "Promotion", "run": run, "tab": "promotion", "report": report,
              "promotions": queries.promotions(run.store, run.id), **actions.asked(run)}  # fmt: skip
    if report is None:
        return Page("promotion.html", shared)
    return Page("promotion.html", {**shared, **_shown(run, report)})


def _shown(run: RunVisit, report: Report) -> dict[str, object]:
    holdout = report["holdout"]
    moved, fell = ([_case(run, case) for case in cases] for cases in (report["improved"], report["regressed"]))
    fitted = report["overfitting"]
    known = [
        (split, before, after) for split, of in fitted.items()
        if of["n"] and (before := of["baseline"]) is not None and (after := of["best"]) is not None
    ]  # fmt: skip
    return {
        "interval": interval(holdout["lift"], _pair(holdout["interval"]), percent(holdout["confidence"]))
        if holdout["interval"] and holdout["lift"] is not None and report["changed"] else None,
        "lifts": lifts([case["lift"] for case in moved + fell] + [0.0] * holdout["ties"])
        if report["changed"] and holdout["n"] else None,
        "slopes": slopes(known) if known and report["changed"] else None,
        "differences": differences(report["baseline"]["components"], report["best"]["components"]),
        "improved": moved[:MOST_CASES], "regressed": fell[:MOST_CASES],
        "left_out": max(0, len(moved) - MOST_CASES) + max(0, len(fell) - MOST_CASES),
        "best_text": _copied(report["best"]),
        "steadiness": steadiness.sentence(report["repeats"]) if "repeats" in report else None,
    }  # fmt: skip


def _pair(bounds: Sequence[float]) -> tuple[float, float]:
    low, high = bounds
    return low, high


def _copied(best: CandidateReport) -> str:
    """The text to take along; several are one JSON text, as `promote --to` writes them."""
    return (
        best["text"] if len(best["components"]) == 1 else json.dumps(best["components"], ensure_ascii=False, indent=2)
    )


def _case(run: RunVisit, case: Movement) -> ShownMovement:
    asked = case["instruction"] or next((str(value) for value in case["input"].values()), "")
    return {**case, "gist": asked, "href": run.task_link(case["task"], "holdout")}
