"""Baseline and best on the same tasks: only tasks that have a score for both are compared.

A task that a candidate ran several times counts once, with the mean of its scores.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from rollout_local.reports.evidence import Evidence
from rollout_local.reports.report import CheckMeans, Movement, TaskSide
from rollout_local.reports.statistics import TIE, mean
from rollout_local.store.row_types import TrialRow


@dataclass(frozen=True)
class Pair:
    """One task under both texts: mean scores in [0, 1] and the first trial of each."""

    task: str
    before: float
    after: float
    first_before: TrialRow
    first_after: TrialRow

    @property
    def lift(self) -> float:
        """After less before, in [-1, 1]."""
        return round(self.after - self.before, 12)


def by_task(trials: Iterable[TrialRow]) -> dict[str, list[TrialRow]]:
    """The scored ones among trials, by task, each task's in the order of occurrence."""
    found: dict[str, list[TrialRow]] = defaultdict(list)
    for trial in sorted(trials, key=lambda row: (row["task_name"], row["occurrence"])):
        if trial["score"] is not None:
            found[trial["task_name"]].append(trial)
    return dict(found)


def mean_score(trials: Iterable[TrialRow]) -> float:
    """The mean score of scored trials; there is at least one."""
    found = mean([score for trial in trials if (score := trial["score"]) is not None])
    assert found is not None
    return found


def pairs(evidence: Evidence, split: str) -> list[Pair]:
    """The tasks of a split that have a score for both, by name."""
    before = by_task(evidence.trials_of(evidence.baseline, split))
    after = by_task(evidence.trials_of(evidence.best, split))
    return [
        Pair(task, mean_score(before[task]), mean_score(after[task]), before[task][0], after[task][0])
        for task in sorted(before.keys() & after.keys())
    ]


def movements(evidence: Evidence) -> tuple[list[Movement], list[Movement]]:
    """Holdout tasks that improved and that regressed, the largest movement first."""
    moved = sorted(pairs(evidence, "holdout"), key=lambda pair: (-abs(pair.lift), pair.task))
    improved = [_movement(evidence, pair) for pair in moved if pair.lift > TIE]
    regressed = [_movement(evidence, pair) for pair in moved if pair.lift < -TIE]
    return improved, regressed


def _movement(evidence: Evidence, pair: Pair) -> Movement:
    task = evidence.tasks.get(pair.task)
    return {
        "task": pair.task,
        "instruction": task.instruction if task else "",
        "input": task.input if task else {},
        "lift": pair.lift,
        "baseline": _side(pair.before, pair.first_before),
        "best": _side(pair.after, pair.first_after),
    }


def _side(score: float, trial: TrialRow) -> TaskSide:
    return {"score": score, "output": trial["output"], "feedback": trial["feedback"]}


def checks(evidence: Evidence) -> list[CheckMeans]:
    """The verifiers' checks, by how much they moved: mean scores over the holdout tasks that have both."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for pair in pairs(evidence, "holdout"):
        before, after = _check_scores(pair.first_before), _check_scores(pair.first_after)
        for name in before.keys() & after.keys():
            found[name].append((before[name], after[name]))
    rows = [_check(name, scores) for name, scores in found.items()]
    return sorted(rows, key=lambda row: (-abs(row["lift"]), row["id"]))


def _check(name: str, scores: list[tuple[float, float]]) -> CheckMeans:
    before, after = mean([one for one, _ in scores]), mean([other for _, other in scores])
    assert before is not None
    assert after is not None
    return {"id": name, "n": len(scores), "before": before, "after": after, "lift": round(after - before, 12)}


def _check_scores(trial: TrialRow) -> dict[str, float]:
    return {check["id"]: check["score"] for check in json.loads(trial["checks_json"] or "[]")}
