"""Reproduce an experiment: replay its recording offline and hold what comes out against its lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rollout_local.domain.experiment import Lock, differences
from rollout_local.domain.run import RunStatus
from rollout_local.errors import Paused, Refused
from rollout_local.experiments.live import prepared
from rollout_local.experiments.locking import (
    abridged,
    headline,
    input_hashes,
    lock_of,
    read_lock,
    read_rows,
    write_lock,
)
from rollout_local.experiments.manifest import config_of, read_manifest
from rollout_local.planning.fingerprint import versions
from rollout_local.planning.setup import insert
from rollout_local.reports.differences import first_difference
from rollout_local.reports.digest import Digest, Rows, digest_of, rows
from rollout_local.reports.report import Report, parse
from rollout_local.runs.progress import Watch
from rollout_local.runs.runner import execute
from rollout_local.stop import StopFlag
from rollout_local.store import reads
from rollout_local.store.schema import open_store


@dataclass(frozen=True)
class Reproduction:
    """A replayed experiment beside its lock. `differences` are sentences; empty means identical."""

    name: str
    run_id: str
    simulated: bool
    models: tuple[str, ...]
    """The models that were recorded, as far as the run named them."""
    digest: Digest
    inputs: dict[str, str]
    report: Report
    rows: Rows
    differences: tuple[str, ...]
    version_changes: tuple[str, ...]
    locked: bool

    @property
    def identical(self) -> bool:
        """The replay gave what the lock says."""
        return self.locked and not self.differences


def reproduce(folder: Path, database: Path, watch: Watch | None = None, stop: StopFlag | None = None) -> Reproduction:
    """Replay an experiment strictly into `database` (new) and compare it with its lock.

    Raises `InputError` or `RecordingError` where the experiment cannot be replayed at all, `Refused` where the
    replay did not get to its end, `Paused` where `stop` ended it.
    """
    manifest, lock = read_manifest(folder), read_lock(folder)
    config = config_of(manifest, folder).model_copy(update={"log_dir": str(database.resolve().parent / "log")})
    with open_store(database) as store:
        setup = prepared(store, config, folder, offline=True)
        inputs = input_hashes(setup, folder / manifest.recording)
        run_id = insert(store, setup)["id"]
        outcome = execute(store, run_id, folder=folder, watch=watch, stop=stop, strict=True)
        if outcome.interrupted:
            msg = f"the replay of {manifest.name} was interrupted; begin it again"
            raise Paused(msg, interrupted=True)
        if outcome.status is not RunStatus.COMPLETED:
            raise Refused(_stopped(manifest.name, outcome.message, lock, inputs))
        run = reads.run(store, run_id)
        found = rows(store, run)
        report = parse(reads.newest_report(store, run_id, run["attempt"]) or "{}")
    seen = digest_of(found)
    return Reproduction(
        name=manifest.name, run_id=run_id, simulated=manifest.simulated, models=tuple(setup.models),
        digest=seen, inputs=inputs, report=report,
        rows=found, differences=tuple(_differences(folder, lock, seen, inputs, report, found)),
        version_changes=tuple(_changes("version of", lock.versions, versions())) if lock else (),
        locked=lock is not None,
    )  # fmt: skip


def lock(folder: Path, database: Path, watch: Watch | None = None, stop: StopFlag | None = None) -> Reproduction:
    """Replay an experiment and write what it gave as its lock."""
    found = reproduce(folder, database, watch, stop)
    write_lock(folder, lock_of(found.digest.digest, found.digest.tables, found.inputs, found.report), found.rows)
    return found


def _stopped(name: str, message: str, lock: Lock | None, inputs: Mapping[str, str]) -> str:
    changed = [key for key, _, _ in differences(lock.inputs, inputs)] if lock else []
    cause = f" (changed since it was locked: {', '.join(changed)})" if changed else ""
    return f"the replay of {name} did not get to its end{cause}: {message}"


def _differences(
    folder: Path,
    lock: Lock | None,
    seen: Digest,
    inputs: Mapping[str, str],
    report: Report,
    found: Rows,
) -> list[str]:
    if lock is None:
        return []
    changed = [f"input {name} is not what was locked" for name, _, _ in differences(lock.inputs, inputs)]
    if lock.digest == seen.digest:
        return changed
    before = read_rows(folder)
    first = first_difference(before, abridged(found)) if before is not None else None
    return [
        *changed,
        *([first] if first else []),
        *_changes("result", lock.result, headline(report)),
        *(f"table {name}: its digest differs from the lock's" for name, _, _ in differences(lock.tables, seen.tables)),
    ]


def _changes(what: str, locked: Mapping[str, object], seen: Mapping[str, object]) -> list[str]:
    return [f"{what} {name}: locked {was}, now {now}" for name, was, now in differences(locked, seen)]
