"""One hash over all that the newest attempt of a run found: equal digests are the same run.

Only what the inputs decide goes in: texts, lineage, judgements, outcomes, scores, feedback, outputs, the report.
Out stay cost, latency, error texts, ids, times, traces, tries, what a target put in `metadata`, whether a trial
was reused (and so the calls spent), whether the models were simulated, and the count of the target's own failures,
which follows from the trials. Rows are sorted by what they are, floats carry 12 significant digits, means are taken
by `fsum` over final trials. `FORMAT` counts changes of all this: digests of two formats are not compared.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, cast

from rollout_local.domain.dataset import SplitName
from rollout_local.domain.identity import content_hash
from rollout_local.reports import promotion
from rollout_local.reports.gates import INTERVAL
from rollout_local.reports.report import Report, parse
from rollout_local.reports.statistics import mean
from rollout_local.store import reads
from rollout_local.store.row_types import CandidateRow, RunRow
from rollout_local.store.schema import Store
from rollout_local.store.selected_types import Edge, JudgedProposal, NumberedTrial


class SplitMean(TypedDict):
    """The mean of a candidate's scores on a split."""

    mean: float | None
    n: int


class CanonicalCandidate(TypedDict):
    """A candidate without ids and times."""

    number: int
    status: str
    components: dict[str, str]
    content_hash: str
    train: SplitMean
    val: SplitMean
    holdout: SplitMean


class CanonicalProposal(TypedDict):
    """A proposal without ids and times."""

    iteration: int
    component: str
    parent: int | None
    candidate: int | None
    accepted: bool | None
    reason: str
    minibatch_before: float | None
    minibatch_after: float | None
    feedback: list[dict[str, Any]]


class CanonicalTrial(TypedDict):
    """A trial without ids, times, costs and traces."""

    candidate: int
    split: SplitName
    task: str
    occurrence: int
    phase: str
    outcome: str
    score: float | None
    passed: bool | None
    feedback: str
    output: str | None
    output_kind: str
    checks: list[dict[str, Any]] | None


class Rows(TypedDict):
    """The canonical rows of a run, by table; of the report one, or none."""

    candidates: list[CanonicalCandidate]
    parents: list[Edge]
    proposals: list[CanonicalProposal]
    trials: list[CanonicalTrial]
    report: list[Mapping[str, object]]


FORMAT = 1
REPORT_LEFT_OUT = frozenset({
    "format", "run_id", "attempt", "status", "simulated", "target_failures", "doubts", "repeats", "volatile",
    "provisional",
})  # fmt: skip
VERDICT_LEFT_OUT = frozenset({"outcome", "more_tasks"})
"""What reports said later than format 1 and follows from what they said before, like the gate of the interval."""


@dataclass(frozen=True)
class Digest:
    """`sha256:…` over all tables, and one for each of them."""

    digest: str
    tables: dict[str, str]
    format: int = FORMAT


def digest(store: Store, run: RunRow) -> Digest:
    """The digest of the newest attempt of `run`, a row of `reads.run()`."""
    return digest_of(rows(store, run))


def digest_of(canonical: Rows) -> Digest:
    """The digest of canonical rows."""
    tables = {name: content_hash(table) for name, table in canonical.items()}
    return Digest(content_hash(tables), tables)


def rows(store: Store, run: RunRow, *, reckon_report: bool = False) -> Rows:
    """The canonical rows by table: `candidates, parents, proposals, trials, report` (one row, or none).

    The report is the one that the run wrote, or with `reckon_report` what this version reckons from the rows; where
    the run wrote none yet, the list is empty.
    """
    run_id, attempt = run["id"], run["attempt"]
    candidates = reads.candidates(store, run_id, attempt)
    trials = reads.final_trials(store, run_id, attempt)
    written = reads.newest_report(store, run_id, attempt)
    report = None if written is None else promotion.build(store, run) if reckon_report else parse(written)
    found: Rows = {
        "candidates": _candidates(candidates, trials),
        "parents": sorted(reads.parents(store, run_id, attempt), key=lambda edge: (edge["child"], edge["parent"])),
        "proposals": _proposals(reads.proposals(store, run_id, attempt)),
        "trials": _trials(candidates, trials),
        "report": [] if report is None else [_report(report)],
    }
    return promotion.rounded(found)


def _candidates(candidates: Sequence[CandidateRow], trials: Sequence[NumberedTrial]) -> list[CanonicalCandidate]:
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for trial in trials:
        if trial["score"] is not None:
            scores[trial["candidate_hash"], trial["split"]].append(trial["score"])
    return [
        {
            "number": candidate["number"],
            "status": candidate["status"],
            "components": json.loads(candidate["components_json"]),
            "content_hash": candidate["content_hash"],
            "train": _mean(scores[candidate["content_hash"], "train"]),
            "val": _mean(scores[candidate["content_hash"], "val"]),
            "holdout": _mean(scores[candidate["content_hash"], "holdout"]),
        }
        for candidate in sorted(candidates, key=lambda row: row["number"])
    ]


def _mean(scores: Sequence[float]) -> SplitMean:
    return {"mean": mean(scores), "n": len(scores)}


def _proposals(proposals: Sequence[JudgedProposal]) -> list[CanonicalProposal]:
    found: list[CanonicalProposal] = [
        {
            "iteration": row["iteration"],
            "component": row["component"],
            "parent": row["parent_number"],
            "candidate": row["candidate_number"],
            "accepted": None if row["accepted"] is None else bool(row["accepted"]),
            "reason": row["reason"],
            "minibatch_before": row["minibatch_before"],
            "minibatch_after": row["minibatch_after"],
            "feedback": json.loads(row["feedback_json"]),
        }
        for row in proposals
    ]
    return sorted(found, key=lambda row: (row["iteration"], row["component"], row["candidate"] or -1, row["reason"]))


def _trials(candidates: Sequence[CandidateRow], trials: Sequence[NumberedTrial]) -> list[CanonicalTrial]:
    """A trial names the first candidate with its text: a later proposal may have come to the same one."""
    numbers: dict[str, int] = {}
    for candidate in sorted(candidates, key=lambda row: row["number"]):
        numbers.setdefault(candidate["content_hash"], candidate["number"])
    found = [_trial(row, numbers[row["candidate_hash"]]) for row in trials]
    return sorted(found, key=lambda row: (row["candidate"], row["split"], row["task"], row["occurrence"]))


def _trial(row: NumberedTrial, number: int) -> CanonicalTrial:
    return {
        "candidate": number,
        "split": cast("SplitName", row["split"]),
        "task": row["task_name"],
        "occurrence": row["occurrence"],
        "phase": row["phase"],
        "outcome": row["outcome"],
        "score": row["score"],
        "passed": None if row["passed"] is None else bool(row["passed"]),
        "feedback": row["feedback"],
        "output": row["output"],
        "output_kind": row["output_kind"],
        "checks": json.loads(row["checks_json"] or "null"),
    }


def _report(report: Report) -> dict[str, object]:
    kept: dict[str, object] = {name: value for name, value in report.items() if name not in REPORT_LEFT_OUT}
    calls = {phase: {"asked": c["asked"], "errors": c["errors"]} for phase, c in report["calls"].items()}
    kept |= {"calls": calls, "budget": {"asked": report["budget"]["asked"]}}
    if "gates" in kept:
        kept["gates"] = [gate for gate in report["gates"] if gate["name"] != INTERVAL]
    if "verdict" in kept:
        kept["verdict"] = {name: value for name, value in report["verdict"].items() if name not in VERDICT_LEFT_OUT}
    return kept
