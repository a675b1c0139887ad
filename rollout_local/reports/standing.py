"""The report of an attempt as readers see it: what the run wrote, judged as this version judges.

A report written by an older version keeps its numbers; its gates and its verdict are reckoned anew from them, so that
no page repeats a verdict that this version would not give.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from rollout_local.domain.run import RunConfig
from rollout_local.reports.gates import judge
from rollout_local.reports.promotion import FORMAT
from rollout_local.reports.report import Report, parse
from rollout_local.reports.statistics import Paired
from rollout_local.store import reads
from rollout_local.store.schema import Store


def standing(store: Store, run_id: str, attempt: int, config: RunConfig) -> Report | None:
    """The report that an attempt of a run wrote, or None where it wrote none."""
    written = reads.newest_report(store, run_id, attempt)
    return None if written is None else judged(parse(written), config)


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
