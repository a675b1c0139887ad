"""Recorded outputs under another verifier or split: a report of its own, without a call.

The run's own rows and reports stay as they are; what comes out names its source.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rollout_local.datasets.splits import make_split, read_splits
from rollout_local.domain.dataset import SPLITS, Split, Task
from rollout_local.domain.target import AgentResult
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import InputError
from rollout_local.planning.setup import find_spec
from rollout_local.reports import evidence, promotion
from rollout_local.reports.report import Report
from rollout_local.store import catalog, reads
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store
from rollout_local.store.selected_types import NumberedTrial
from rollout_local.store.stored_run import StoredRun
from rollout_local.verifiers.grade import grade, validate


def rescore(store: Store, reference: str, verifiers: Sequence[str], splits_file: str | None, folder: Path) -> Report:
    """The promotion report that a run would have had. Its best candidate stays the best: no search is repeated.

    Raises `InputError` where a verifier does not fit, or the split needs outputs that were never made.
    """
    run = reads.run(store, reference)
    found = evidence.gather(store, run)
    specs = [find_spec(name, folder, store) for name in verifiers]
    validate(specs, list(found.tasks.values()))
    split = _split(store, run, splits_file, folder)
    trials = [_regraded(trial, specs, found.tasks, split) for trial in found.trials]
    changed = replace(found, trials=trials, split={part: split.names(part) for part in SPLITS})
    report = promotion.assemble(changed)
    report["rescored_from"] = {
        "run_id": run["id"], "verifiers": [spec.id for spec in specs], "splits_file": splits_file,
    }  # fmt: skip
    return report


def _split(store: Store, run: RunRow, splits_file: str | None, folder: Path) -> Split:
    if splits_file is None:
        return StoredRun(run).split
    if run["val_dataset_id"] is not None:
        msg = f"run {run['id']} has a val dataset of its own; another split of it cannot be given"
        raise InputError(msg)
    dataset = catalog.load_dataset(store, run["dataset_id"])
    return make_split(dataset, run["seed"], read_splits(folder / splits_file))


def _regraded(
    trial: NumberedTrial, specs: Sequence[VerifierSpec], tasks: Mapping[str, Task], split: Split
) -> NumberedTrial:
    place = next((part for part in SPLITS if trial["task_name"] in split.names(part)), "unused")
    row: NumberedTrial = {**trial, "split": place}
    if trial["output"] is None or trial["score"] is None:
        return row
    output = json.loads(trial["output"]) if trial["output_kind"] == "json" else trial["output"]
    metadata = json.loads(trial["metadata_json"])
    if trial["error"]:
        return row
    verdict = grade(specs, tasks[trial["task_name"]], AgentResult(output=output, metadata=metadata))
    checks = json.dumps([check.model_dump() for check in verdict.checks])
    return {
        **row,
        "score": verdict.score,
        "passed": verdict.passed,
        "feedback": verdict.feedback,
        "checks_json": checks,
    }
