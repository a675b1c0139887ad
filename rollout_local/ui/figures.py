"""Means with what belongs beside them: n and the standard error; how far a run is, and when it may be done."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

from rollout_local.domain.dataset import SPLITS, SplitName
from rollout_local.domain.run import Phase, RunStatus
from rollout_local.reports.statistics import standard_error
from rollout_local.store import reads
from rollout_local.store.row_types import ShortRun
from rollout_local.store.schema import Store
from rollout_local.ui import queries
from rollout_local.ui.heartbeat import duration, seconds
from rollout_local.ui.shown_rows import CandidateMeans
from rollout_local.ui.visit import RunVisit

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """The newest results of a costly pure function, by what it was given."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value for `key`, made if it is not here."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        made = make()
        with self._lock:
            self._values[key] = made
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        return made


@dataclass(frozen=True)
class Mean:
    """A mean of scores in [0, 1], over `n` trials; `error` is the standard error over tasks, if it can be told."""

    mean: float | None
    n: int
    error: float | None


_errors: Kept[float | None] = Kept(20_000)


def mean_of(store: Store, candidate: CandidateMeans | None, split: SplitName) -> Mean:
    """A candidate's mean on a split. What was summed decides the error, so it is computed once per change."""
    if candidate is None:
        return Mean(None, 0, None)
    mean, n = _kept_mean(candidate, split)
    if mean is None:
        return Mean(None, 0, None)
    key = (str(store.path), candidate["id"], split, n, mean)
    return Mean(mean, n, _errors.get(key, lambda: _standard_error(*queries.moments(store, candidate["id"], split))))


def _kept_mean(candidate: CandidateMeans, split: SplitName) -> tuple[float | None, int]:
    """The roll-up of a split: the mean and over how many."""
    if split == "train":
        return candidate["train_mean"], candidate["train_n"]
    if split == "val":
        return candidate["val_mean"], candidate["val_n"]
    return candidate["holdout_mean"], candidate["holdout_n"]


def _standard_error(n: int, one: float, two: float) -> float | None:
    """Of a count, a sum and a sum of squares."""
    return standard_error(math.sqrt(max(0.0, two - one * one / n) / (n - 1)), n) if n > 1 else None


_frontiers: Kept[dict[int, int]] = Kept(200)


def frontier(run: RunVisit) -> dict[int, int]:
    """On how many validation tasks each candidate (by number) is best; computed once per change of the run."""
    key = (str(run.store.path), run.id, run.attempt, run.row["rev"], run.row["last_event_at"])
    return _frontiers.get(key, lambda: reads.frontier(run.store, run.id, run.attempt))


def means(store: Store, candidate: CandidateMeans | None) -> dict[SplitName, Mean]:
    """A candidate's means on all splits."""
    return {split: mean_of(store, candidate, split) for split in SPLITS}


def lift(before: Mean, after: Mean) -> float | None:
    """After less before, where both are known."""
    return None if before.mean is None or after.mean is None else after.mean - before.mean


@dataclass(frozen=True)
class PhaseStep:
    """A phase of a run. `state` is done, now or ahead; `spent` of about `total` executions."""

    phase: str
    name: str
    state: str
    spent: int
    total: int | None


_NAMES = {
    Phase.BASELINE: "Baseline",
    Phase.SEARCH: "Search",
    Phase.BEST: "Best on holdout",
    Phase.FINALIZE: "Report",
}


def steps(run: RunVisit) -> list[PhaseStep]:
    """The four phases, with executions asked in each."""
    calls = reads.phase_calls(run.store, run.id, run.attempt)
    sizes = _sizes(run)
    totals = {
        Phase.BASELINE: sum(sizes.values()) or None, Phase.SEARCH: run.row["metric_call_budget"],
        Phase.BEST: sizes.get("holdout"), Phase.FINALIZE: None,
    }  # fmt: skip
    order = list(Phase)
    reached = order.index(Phase(run.row["phase"])) if run.row["phase"] in order else -1
    if not run.is_newest or run.row["status"] == RunStatus.COMPLETED:
        reached = len(order)
    return [
        PhaseStep(
            phase, _NAMES[phase], _state(place, reached), calls[phase]["asked"] if phase in calls else 0, totals[phase]
        )
        for place, phase in enumerate(order)
    ]


def _state(place: int, reached: int) -> str:
    return "done" if place < reached else "now" if place == reached else "ahead"


def _sizes(run: RunVisit) -> dict[str, int]:
    return {name: len(run.split.get(name, ())) for name in SPLITS}


def time_left(run: ShortRun, holdout: int, recent: list[str]) -> str:
    """About how long a running search still takes, by the pace of its newest trials; empty where it cannot be told."""
    if run["status"] != RunStatus.RUNNING or run["phase"] != Phase.SEARCH or len(recent) < 5:
        return ""
    took = seconds(recent[0]) - seconds(recent[-1])
    if took <= 0:
        return ""
    left = holdout + max(0, run["metric_call_budget"] - run["metric_calls"])
    return f"about {duration(left * took / (len(recent) - 1))} left"
