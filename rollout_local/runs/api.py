"""`rollout.run(...)`: what `optimize run` calls, for Python."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rollout_local.domain.run import RunConfig, RunStatus
from rollout_local.domain.target import Candidate
from rollout_local.errors import InputError
from rollout_local.runs import environment
from rollout_local.runs.lifecycle import execute
from rollout_local.runs.setup import insert, prepare, require_runnable
from rollout_local.runs.watch import Silent, Watch
from rollout_local.store import reads
from rollout_local.store.schema import Store, open_store


@dataclass(frozen=True)
class RunResult:
    """How a run ended. `best` and `report` are None where it did not complete."""

    run_id: str
    status: RunStatus
    stop_reason: str | None
    message: str
    best: Candidate | None
    report: dict[str, Any] | None


def run(
    target: str,
    *,
    dataset: str | Path,
    verifier: str | Path | Sequence[str | Path],
    reflection_model: str,
    db: str | Path = "rollout.db",
    module: str | Sequence[str] = (),
    splits_file: str | Path | None = None,
    folder: str | Path | None = None,
    watch: Watch | None = None,
    **settings: Any,
) -> RunResult:
    """Create a run and execute it: baseline, search, best on the holdout, report.

    `target` is the id of a target that is registered already or by `module`; `settings` are the fields of
    `RunConfig` (`max_metric_calls=200`, `task_model=…`). Paths are relative to `folder` (default: the working
    directory). Raises `InputError` with a sentence where something is wrong; nothing is written then.
    """
    root = Path(folder) if folder is not None else Path.cwd()
    verifiers = [verifier] if isinstance(verifier, str | Path) else list(verifier)
    fields = {
        "modules": [module] if isinstance(module, str) else list(module), "target": target, "dataset": str(dataset),
        "verifiers": [str(item) for item in verifiers], "reflection_model": reflection_model,
        "splits_file": str(splits_file) if splits_file is not None else None, **settings,
    }  # fmt: skip
    try:
        config = RunConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"{'.'.join(str(part) for part in first['loc']) or 'settings'}: {first['msg']}"
        raise InputError(msg) from error
    with environment.for_target(config, offline_keys=config.record_mode == "none"):
        setup = prepare(config, root, None)
    require_runnable(setup, root)
    for _, sentence in setup.warnings:
        (watch or Silent()).note("warning", sentence)
    with open_store(root / db) as store:
        run_id = insert(store, setup)["id"]
        outcome = execute(store, run_id, folder=root, watch=watch)
        return _result(store, run_id, outcome.status, outcome.stop_reason, outcome.message)


def _result(store: Store, run_id: str, status: RunStatus, stop_reason: str | None, message: str) -> RunResult:
    row = reads.run(store, run_id)
    report = reads.newest_report(store, run_id, row["attempt"])
    best = None
    if row["best_candidate_id"] is not None:
        components = json.loads(reads.candidate(store, row["best_candidate_id"])["components_json"])
        best = Candidate(components=components)
    return RunResult(run_id, status, stop_reason, message, best, json.loads(report) if report else None)
