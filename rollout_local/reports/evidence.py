"""The rows that a report is made of, gathered once; everything after this is a pure function of them.

Only final trials of the newest attempt are evidence: a superseded one was corrected. A trial belongs to the
text that it ran, so trials are found by content hash. A rescore replaces `trials` and keeps the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from rollout_local.domain.dataset import SplitName, Task
from rollout_local.domain.run import Phase, RunStatus
from rollout_local.errors import InputError
from rollout_local.store import catalog, reads
from rollout_local.store.catalog_rows import TargetRow
from rollout_local.store.journal import BYPASS
from rollout_local.store.row_types import CandidateRow, PhaseCallsRow, RunRow
from rollout_local.store.schema import Store
from rollout_local.store.selected_types import NumberedTrial
from rollout_local.store.stored_run import StoredConfig, StoredRun


class CandidateTexts(TypedDict):
    """The part of a candidate's row that has its texts."""

    components_json: str


@dataclass(frozen=True)
class Evidence:
    """A run (its row and its config), its target, the two candidates compared, all final trials, the tasks."""

    run: RunRow
    config: StoredConfig
    target: TargetRow
    baseline: CandidateRow
    best: CandidateRow
    trials: Sequence[NumberedTrial]
    calls: Mapping[str, PhaseCallsRow]
    tasks: Mapping[str, Task]
    split: Mapping[SplitName, Sequence[str]]
    bypassed: Sequence[str] = ()
    """What passed by the recording, in sentences."""

    @property
    def changed(self) -> bool:
        """The best text is another one than the baseline's."""
        return self.best["content_hash"] != self.baseline["content_hash"]

    @property
    def is_provisional(self) -> bool:
        """The run has not come to its end, and what is best may change."""
        return not is_finalizing(self.run) and self.run["status"] != RunStatus.COMPLETED

    @property
    def confidence(self) -> float | None:
        """How sure of its lift the run asks to be, where it asks."""
        return self.config.get("confidence")

    @property
    def least_lift(self) -> float | None:
        """The holdout lift that the run asks for, where it asks."""
        return self.config.get("min_holdout_improvement")

    def trials_of(self, candidate: CandidateRow, split: str) -> list[NumberedTrial]:
        """Final trials of a candidate's text on a split, with a score or without."""
        wanted = (candidate["content_hash"], split)
        return [trial for trial in self.trials if (trial["candidate_hash"], trial["split"]) == wanted]

    def scores(self, candidate: CandidateRow, split: str) -> list[float]:
        """The scores of a candidate on a split, one per scored trial, each in [0, 1]."""
        return [score for trial in self.trials_of(candidate, split) if (score := trial["score"]) is not None]


def gather(store: Store, run: RunRow) -> Evidence:
    """The evidence of the newest attempt of `run`, a row of `reads.run()`; of one that has not ended, what it has.

    Raises `InputError` where nothing has been evaluated yet.
    """
    if run["baseline_candidate_id"] is None:
        msg = f"run {run['id']} has evaluated nothing yet; start it with `rollout optimize run {run['id']}`"
        raise InputError(msg)
    best = reads.best_so_far(store, run)
    assert best is not None, "a run that has a baseline has a best"
    stored = StoredRun(run)
    return Evidence(
        run=run,
        config=stored.written,
        target=reads.target(store, run["target_row_id"]),
        baseline=reads.candidate(store, run["baseline_candidate_id"]),
        best=reads.candidate(store, best),
        trials=reads.final_trials(store, run["id"], run["attempt"]),
        calls=reads.phase_calls(store, run["id"], run["attempt"]),
        tasks=tasks_of(store, run),
        split=stored.written_split,
        bypassed=reads.messages_about(store, run["id"], run["attempt"], BYPASS),
    )


def is_finalizing(run: RunRow) -> bool:
    """The run is writing its report."""
    return run["status"] == RunStatus.RUNNING and run["phase"] == Phase.FINALIZE


def tasks_of(store: Store, run: RunRow) -> dict[str, Task]:
    """The tasks of a run by name: those of its dataset, and of its val dataset where it has one."""
    datasets = [run["val_dataset_id"], run["dataset_id"]]
    loaded = [catalog.load_dataset(store, dataset) for dataset in datasets if dataset is not None]
    return {name: task for dataset in loaded for name, task in dataset.by_name.items()}


def texts_of(candidate: CandidateTexts) -> dict[str, str]:
    """The texts of a candidate by component."""
    texts: dict[str, str] = json.loads(candidate["components_json"])
    return texts
