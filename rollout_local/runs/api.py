"""`rollout.run(...)`: what `optimize run` calls, for Python."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rollout_local.domain.run import RunConfig, RunStatus
from rollout_local.domain.target import Candidate
from rollout_local.errors import InputError
from rollout_local.runs import environment
from rollout_local.runs.lifecycle import execute
from rollout_local.runs.setup import Setup, insert, prepare, require_runnable
from rollout_local.runs.watch import Silent, Watch
from rollout_local.search.arguments import by_name
from rollout_local.search.task_model import connection_of
from rollout_local.store import reads
from rollout_local.store.schema import Store, open_store
from rollout_local.targets.program import ProgramTarget


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
    reflection_model: str | None = None,
    dataset: str | Path | None = None,
    verifier: str | Path | Sequence[str | Path] = (),
    db: str | Path = "rollout.db",
    module: str | Sequence[str] = (),
    splits_file: str | Path | None = None,
    folder: str | Path | None = None,
    watch: Watch | None = None,
    gepa: Mapping[str, Any] | None = None,
    **settings: Any,
) -> RunResult:
    """Create a run and execute it: baseline, search, best on the holdout, report.

    `target` is the id of a target that is registered already or by `module`; `settings` are the fields of
    `RunConfig` (`max_metric_calls=200`, `task_model=…`). `gepa` takes keyword arguments of `dspy.GEPA` as they are
    written for it: budget, seed, threads, `log_dir` and `reflection_lm` become the run's own settings. Paths are
    relative to `folder` (default: the working directory). A DSPy program with examples and a metric of its own
    needs neither `dataset` nor `verifier`.

    Raises `InputError` with a sentence where something is wrong; nothing is written then. A search in which GEPA
    may merge candidates needs a Python that was started with PYTHONHASHSEED set: merges iterate sets of names.
    """
    root = Path(folder) if folder is not None else Path.cwd()
    verifiers = [verifier] if isinstance(verifier, str | Path) else list(verifier)
    settings = {**settings, **_of_gepa(gepa or {}, settings)}
    fields = {
        "modules": [module] if isinstance(module, str) else list(module),
        "target": target,
        "dataset": _text(dataset),
        "verifiers": [str(item) for item in verifiers],
        **({"reflection_model": reflection_model} if reflection_model is not None else {}),
        "splits_file": _text(splits_file),
        **settings,
        "arguments": {name: by_name(value) for name, value in settings.get("arguments", {}).items()},
    }
    try:
        config = RunConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"{'.'.join(str(part) for part in first['loc']) or 'settings'}: {first['msg']}"
        raise InputError(msg) from error
    with environment.for_target(config, offline_keys=config.record_mode == "none"):
        setup = prepare(config, root, None)
    require_runnable(setup, root)
    _require_metric((gepa or {}).get("metric"), setup)
    _require_hash_seed(setup)
    for _, sentence in setup.warnings:
        (watch or Silent()).note("warning", sentence)
    with open_store(root / db) as store:
        run_id = insert(store, setup)["id"]
        outcome = execute(store, run_id, folder=root, watch=watch)
        return _result(store, run_id, outcome.status, outcome.stop_reason, outcome.message)


SETTINGS_OF_GEPA = {
    "auto": "auto", "max_full_evals": "max_full_evals", "max_metric_calls": "max_metric_calls", "seed": "seed",
    "num_threads": "concurrency", "log_dir": "log_dir",
}  # fmt: skip
"""Arguments of `dspy.GEPA` that are settings of a run here, where they keep their promises."""


def _of_gepa(given: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that keyword arguments of `dspy.GEPA` mean."""
    if not isinstance(given, Mapping):
        msg = f"gepa is a dict of dspy.GEPA's keyword arguments, not {given!r}"
        raise InputError(msg)
    others = {name: value for name, value in given.items() if name != "metric"}
    lm = others.pop("reflection_lm", None)
    found = {} if lm is None else connection_of(lm)
    for name, setting in SETTINGS_OF_GEPA.items():
        value = others.pop(name, None)
        if value is not None:
            found[setting] = value
    return found | {"arguments": {**settings.get("arguments", {}), **others}}


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)


def _require_metric(metric: Any, setup: Setup) -> None:
    own = setup.target.metric if isinstance(setup.target, ProgramTarget) else None
    if metric is not None and (own is None or own.function is not metric):
        msg = f"target {setup.target.id!r} is graded as it was registered; leave gepa's metric out, or give the same"
        raise InputError(msg)


def _require_hash_seed(setup: Setup) -> None:
    if len(setup.target.baseline.components) > 1 and sys.flags.hash_randomization and _merges(setup.config):
        msg = (
            "this search may merge candidates, and Python's hashes differ from one start to the next: start Python "
            "with PYTHONHASHSEED=0, use `rollout optimize run` (which does), or give gepa={'use_merge': False}"
        )
        raise InputError(msg)


def _merges(config: RunConfig) -> bool:
    if config.optimizer == "gepa":
        return bool(config.arguments.get("use_merge", True))
    return config.optimizer == "bettertogether" and bool(config.arguments.get("gepa", {}).get("use_merge", True))


def _result(store: Store, run_id: str, status: RunStatus, stop_reason: str | None, message: str) -> RunResult:
    row = reads.run(store, run_id)
    report = reads.newest_report(store, run_id, row["attempt"])
    best = None
    if row["best_candidate_id"] is not None:
        components = json.loads(reads.candidate(store, row["best_candidate_id"])["components_json"])
        best = Candidate(components=components)
    return RunResult(run_id, status, stop_reason, message, best, json.loads(report) if report else None)
