"""The report of an attempt as readers see it: what the run wrote, judged as this version judges.

A report written by an older version keeps its numbers; its gates and its verdict are reckoned anew from them, so that
no page repeats a verdict that this version would not give.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from rollout_local.domain.run import RunConfig
from rollout_local.errors import StoreError
from rollout_local.reports.gates import judge
from rollout_local.reports.promotion import FORMAT
from rollout_local.reports.report import Report, parse
from rollout_local.reports.statistics import Paired
from rollout_local.store import reads
from rollout_local.store.schema import Store


def standing(store: Store, run_id: str, attempt: int, config: RunConfig) -> Report | None:
    """The report that an attempt of a run wrote, or None where it wrote none.

    Raises `StoreError` where it has another text than the candidate that it is about, or that was changed.
    """
    written = reads.newest_report(store, run_id, attempt)
    if written is None:
        return None
    report = parse(written)
    for side in (report["baseline"], report["best"]):
        row = reads.find_candidate(store, run_id, attempt, side["number"])
        if row is None or json.loads(row["components_json"]) != side["components"]:
            msg = (
                f"the report of run {run_id} in {store.path} has another text than its candidate {side['number']}; "
                "take the file back from a backup (`rollout db check` says what else is not as it was)"
            )
            raise StoreError(msg)
    return judged(report, config)


def judged(report: Report, config: RunConfig) -> Report:
    """`report` with gates and verdict of this version's `FORMAT`."""
    if report.get("format", 0) >= FORMAT:
        return report
    lift = report["holdout"]
    known: dict[str, Any] = {field.name: lift[field.name] for field in fields(Paired)}  # type: ignore[literal-required]
    found, verdict = judge(
        config.min_holdout_improvement, config.confidence, Paired(**known), changed=report["changed"],
        degraded_why=report["degraded_why"], best=report["best"]["number"],
    )  # fmt: skip
    return {**report, "gates": found, "verdict": verdict, "doubts": report.get("doubts", [])}
