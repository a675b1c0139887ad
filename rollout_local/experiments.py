"""A run you can repeat: people write `experiment.toml`, the tool writes `experiment.lock`.

Reproducing replays the experiment's recording with no socket in a fresh database and compares digests. Equal
digests are the same run: the same candidates, parents, proposals, trials and report.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rollout_local.documents import parse_toml, read_text
from rollout_local.domain.experiment import Lock, Manifest, differences
from rollout_local.domain.identity import content_hash
from rollout_local.domain.run import DEFAULT_REFLECTION_PARAMS, RunConfig, RunStatus
from rollout_local.errors import InputError, Refused
from rollout_local.reports.digest import digest
from rollout_local.runs import environment
from rollout_local.runs.fingerprint import versions
from rollout_local.runs.lifecycle import Outcome, execute
from rollout_local.runs.setup import Setup, insert, prepare
from rollout_local.runs.watch import Watch
from rollout_local.store import reads
from rollout_local.store.schema import Store, open_store

MANIFEST = "experiment.toml"
LOCK = "experiment.lock"


@dataclass(frozen=True)
class Reproduction:
    """A replayed experiment beside its lock. `differences` are sentences; empty means identical."""

    name: str
    run_id: str
    simulated: bool
    digest: str
    tables: dict[str, str]
    inputs: dict[str, str]
    report: dict[str, Any]
    differences: tuple[str, ...]
    version_changes: tuple[str, ...]
    locked: bool

    @property
    def identical(self) -> bool:
        """The replay gave what the lock says."""
        return self.locked and not self.differences


def read_manifest(folder: Path) -> Manifest:
    """The manifest in an experiment's folder; raises `InputError` with file, line and field."""
    path = folder / MANIFEST
    if not path.exists():
        msg = f"there is no {MANIFEST} in {folder}; give the folder of an experiment"
        raise InputError(msg)
    try:
        return Manifest.model_validate(parse_toml(read_text(path), path))
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"{path}: {'.'.join(str(part) for part in first['loc'])}: {first['msg'].lower()}"
        raise InputError(msg) from error


def config_of(manifest: Manifest, folder: Path) -> RunConfig:
    """The run that a manifest describes, replaying its recording."""
    verifiers = [manifest.verifier] if isinstance(manifest.verifier, str) else manifest.verifier
    values = {name.replace("-", "_"): value for name, value in manifest.run.items()}
    if "reflection_params" in values:
        values["reflection_params"] = {**DEFAULT_REFLECTION_PARAMS, **values["reflection_params"]}
    fields = {
        **values, "modules": [manifest.module], "target": manifest.target, "dataset": manifest.dataset,
        "verifiers": verifiers, "splits_file": manifest.splits, "recording": manifest.recording,
        "record_mode": "none", "simulated": manifest.simulated, "name": manifest.name,
    }  # fmt: skip
    try:
        return RunConfig.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"{folder / MANIFEST}: run.{'.'.join(str(part) for part in first['loc'])}: {first['msg'].lower()}"
        raise InputError(msg) from error


def read_lock(folder: Path) -> Lock | None:
    """The lock beside a manifest, or None where there is none yet; raises `InputError` for a damaged one."""
    path = folder / LOCK
    if not path.exists():
        return None
    try:
        return Lock.model_validate_json(path.read_bytes())
    except ValidationError as error:
        msg = f"{path} is damaged ({error.errors()[0]['msg'].lower()}); write it anew with `rollout experiments lock`"
        raise InputError(msg) from error


def reproduce(folder: Path, database: Path, watch: Watch | None = None) -> Reproduction:
    """Replay an experiment into `database` (new) and compare it with its lock.

    Raises `InputError` or `RecordingError` where the experiment cannot be replayed at all, `Refused` where the
    replay did not get to its end.
    """
    manifest, lock = read_manifest(folder), read_lock(folder)
    config = config_of(manifest, folder)
    with environment.for_target(config, offline_keys=True):
        setup = prepare(config, folder, None)
    with open_store(database) as store:
        run_id = insert(store, setup)["id"]
        outcome = execute(store, run_id, folder=folder, watch=watch)
        return _compared(store, outcome, manifest, lock, _input_hashes(setup, folder / manifest.recording))


def record(folder: Path, database: Path, changes: Mapping[str, Any], watch: Watch | None = None) -> Outcome:
    """Run an experiment live and record it anew in place of its recording; `changes` name the servers to ask."""
    manifest = read_manifest(folder)
    config = config_of(manifest, folder).model_copy(update={"record_mode": "all", **changes})
    with environment.for_target(config, offline_keys=False):
        setup = prepare(config, folder, None)
    with open_store(database) as store:
        return execute(store, insert(store, setup)["id"], folder=folder, watch=watch)


def lock(folder: Path, database: Path, watch: Watch | None = None) -> Reproduction:
    """Replay an experiment and write what it gave as its lock."""
    result = reproduce(folder, database, watch)
    written = Lock(
        schema=1, inputs=result.inputs, versions=versions(), digest=result.digest, tables=result.tables,
        result=headline(result.report),
    )  # fmt: skip
    text = json.dumps(written.model_dump(by_alias=True), indent=2, sort_keys=True, ensure_ascii=False)
    (folder / LOCK).write_text(text + "\n", encoding="utf-8")
    return result


def headline(report: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a report that a lock shows."""
    return {
        "baseline_holdout": report["baseline"]["holdout"]["mean"],
        "best_candidate": report["best"]["number"],
        "best_holdout": report["best"]["holdout"]["mean"],
        "lift": report["holdout"]["lift"],
        "stop_reason": report["stop_reason"],
    }


def found_in(root: Path) -> list[Path]:
    """Folders under `root` that hold an experiment, by name."""
    return sorted(path.parent for path in root.glob(f"*/{MANIFEST}"))


def _compared(
    store: Store, outcome: Outcome, manifest: Manifest, lock: Lock | None, inputs: dict[str, str]
) -> Reproduction:
    if outcome.status is not RunStatus.COMPLETED:
        msg = f"the replay of {manifest.name} did not get to its end: {outcome.message}"
        raise Refused(msg)
    run = reads.run(store, outcome.run_id)
    seen = digest(store, run)
    report = json.loads(reads.newest_report(store, run["id"], run["attempt"]) or "{}")
    return Reproduction(
        name=manifest.name, run_id=run["id"], simulated=manifest.simulated, digest=seen.digest, tables=seen.tables,
        inputs=inputs, report=report, differences=tuple(_differences(lock, seen.digest, seen.tables, inputs, report)),
        version_changes=tuple(_changes("version of", lock.versions, versions())) if lock else (),
        locked=lock is not None,
    )  # fmt: skip


def _differences(
    lock: Lock | None, seen: str, tables: Mapping[str, str], inputs: Mapping[str, str], report: Mapping[str, Any]
) -> list[str]:
    if lock is None:
        return []
    changed_inputs = _changes("input", lock.inputs, inputs)
    if lock.digest == seen:
        return changed_inputs
    return [
        *changed_inputs,
        *_changes("result", lock.result, headline(report)),
        *(f"table {name}: its digest differs from the lock's" for name, _, _ in differences(lock.tables, tables)),
    ]


def _changes(what: str, locked: Mapping[str, Any], seen: Mapping[str, Any]) -> list[str]:
    return [f"{what} {name}: locked {was}, now {now}" for name, was, now in differences(locked, seen)]


def _input_hashes(setup: Setup, recording: Path) -> dict[str, str]:
    named = {name: content_hash(value) for name, value in setup.inputs.items() if name != "versions"}
    return {**named, "recording": "sha256:" + hashlib.sha256(recording.read_bytes()).hexdigest()}
