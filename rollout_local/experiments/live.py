"""Live runs of an experiment: recorded anew, or with some settings changed as runs of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rollout_local.capabilities import load, publish
from rollout_local.clock import now
from rollout_local.domain.run import RunConfig, RunStatus
from rollout_local.errors import NotFound, Paused
from rollout_local.experiments.manifest import config_of, read_manifest
from rollout_local.planning import environment
from rollout_local.planning.setup import Setup, insert, prepare
from rollout_local.runs.progress import Watch
from rollout_local.runs.runner import Outcome, execute
from rollout_local.stop import StopFlag
from rollout_local.store import reads
from rollout_local.store.schema import Store, open_store


@dataclass(frozen=True)
class Cell:
    """One such run. Scores are means in [0, 1], None where the run did not complete."""

    settings: Mapping[str, object]
    run_id: str
    status: str
    baseline: float | None
    best: float | None
    lift: float | None


def record(folder: Path, database: Path, changes: Mapping[str, object], watch: Watch | None = None) -> Outcome:
    """Run an experiment live and record it anew in place of its recording; `changes` name the servers to ask."""
    manifest = read_manifest(folder)
    update = {"record_mode": "all", "log_dir": str(database.resolve().parent / "log"), **changes}
    config = config_of(manifest, folder).model_copy(update=update)
    with open_store(database) as store:
        setup = prepared(store, config, folder, offline=False)
        return execute(store, insert(store, setup)["id"], folder=folder, watch=watch)


def prepared(store: Store, config: RunConfig, folder: Path, *, offline: bool) -> Setup:
    """The checked setup; a capability's folder is published first, since a run is of a published version."""
    if config.capability is not None:
        capability = load(folder / config.capability).capability
        publish(store, capability, now())
        config = config.model_copy(update={"capability": f"{capability.name}@{capability.version}"})
    with environment.for_target(config, offline_keys=offline):
        return prepare(config, folder, store)


def run_cell(
    folder: Path,
    store: Store,
    name: str,
    settings: Mapping[str, object],
    changes: Mapping[str, object],
    watch: Watch | None,
    stop: StopFlag | None,
) -> Cell:
    """Run the experiment as the run called `name`, unless that is completed. `changes` are operational settings.

    Raises `Paused` where `stop` ended it; called again, it goes on.
    """
    manifest = read_manifest(folder)
    varied = manifest.model_copy(update={"run": {**manifest.run, **settings}})
    update = {"record_mode": "new_episodes", "recording": None, "name": name, **changes}
    config = config_of(varied, folder).model_copy(update=update)
    try:
        run_id = reads.run(store, name)["id"]
    except NotFound:
        run_id = insert(store, prepared(store, config, folder, offline=False))["id"]
    if reads.run(store, run_id)["status"] != RunStatus.COMPLETED:
        outcome = execute(store, run_id, folder=folder, watch=watch, changes=dict(changes), stop=stop)
        if outcome.interrupted:
            msg = f"run {run_id} of {manifest.name} was interrupted; the same command goes on with it"
            raise Paused(msg, interrupted=True)
    return _cell(store, run_id, settings)


def _cell(store: Store, run_id: str, settings: Mapping[str, object]) -> Cell:
    row = reads.run(store, run_id)
    baseline, best = (_holdout(store, one) for one in (row["baseline_candidate_id"], row["best_candidate_id"]))
    if row["status"] != RunStatus.COMPLETED or baseline is None or best is None:
        return Cell(dict(settings), run_id, row["status"], baseline, None, None)
    return Cell(dict(settings), run_id, row["status"], baseline, best, best - baseline)


def _holdout(store: Store, candidate_id: int | None) -> float | None:
    return None if candidate_id is None else reads.candidate(store, candidate_id)["holdout_mean"]
