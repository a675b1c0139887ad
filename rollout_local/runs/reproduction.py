"""`optimize reproduce RUN`: replay a past run from its recording in a scratch database and compare digests.

No socket, no keys. What the run was set up with comes from its rows, the calls from its recording; the target is
imported as it is now, and a target that has changed is named before anything else is looked at.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollout_local.domain.run import RunConfig, RunStatus
from rollout_local.errors import InputError
from rollout_local.reports.differences import first_difference
from rollout_local.reports.digest import digest_of, rows
from rollout_local.runs import environment
from rollout_local.runs.lifecycle import Outcome, execute
from rollout_local.runs.setup import check_unchanged, insert, load
from rollout_local.runs.watch import Watch
from rollout_local.store import reads
from rollout_local.store.schema import Store, open_store


@dataclass(frozen=True)
class Reproduced:
    """A run beside its replay. `difference` is a sentence, or None where they are identical.

    `reexecuted` counts trials that made no recorded call: a model inside the process, or none at all.
    """

    run_id: str
    digest: str
    replayed_digest: str | None
    difference: str | None
    reexecuted: int

    @property
    def identical(self) -> bool:
        """Every row that counts is the same."""
        return self.difference is None


def reproduce(
    store: Store,
    reference: str,
    *,
    folder: Path,
    recording: str | None = None,
    concurrency: int | None = None,
    source: Path | None = None,
    watch: Watch | None = None,
) -> Reproduced:
    """Replay a completed run strictly: every recorded call is asked for, and nothing else is.

    The target is imported from `folder`, or from `source` where that is given (what came with an imported run).

    Raises `InputError` where the run is not completed, was not recorded, or its target has changed;
    `RecordingError` where the recording cannot be used.
    """
    run = reads.run(store, reference)
    cassette = recording or run["recording"]
    if run["status"] != RunStatus.COMPLETED or cassette is None:
        why = "was not recorded" if run["status"] == RunStatus.COMPLETED else f"is {run['status']}, not completed"
        msg = f"run {run['id']} {why}; there is nothing to reproduce"
        raise InputError(msg)
    changes: dict[str, Any] = {
        "recording": str((folder / cassette).resolve()), "record_mode": "none", "no_recording": False,
    }  # fmt: skip
    if concurrency is not None:
        changes["concurrency"] = concurrency
    if source is not None and not source.is_dir():
        msg = f"there is no folder {source}; give the one that the target's source is in"
        raise InputError(msg)
    with tempfile.TemporaryDirectory(prefix="rollout-") as scratch:
        return _replay(store, run, source or folder, changes, Path(scratch), watch)


def _replay(
    store: Store, run: Mapping[str, Any], folder: Path, changes: Mapping[str, Any], scratch: Path, watch: Watch | None
) -> Reproduced:
    config = RunConfig.model_validate_json(run["config_json"])
    log_dir = str(scratch / "log")
    with environment.for_target(config, offline_keys=True):
        setup = load(store, run, folder, {**changes, "log_dir": log_dir})
        check_unchanged(store, run, setup, ())
    with open_store(scratch / "replay.db") as copy:
        copied = insert(copy, setup, run_id=run["id"])
        outcome = execute(copy, copied["id"], folder=folder, watch=watch, strict=True)
        return _compare(store, run, copy, outcome)


def _compare(store: Store, run: Mapping[str, Any], copy: Store, outcome: Outcome) -> Reproduced:
    original = rows(store, run)
    if outcome.status is not RunStatus.COMPLETED:
        return Reproduced(run["id"], digest_of(original).digest, None, f"the replay stopped: {outcome.message}", 0)
    seen = rows(copy, reads.run(copy, run["id"]))
    silent = copy.row(
        "SELECT count(*) AS n FROM trials t WHERE superseded_by IS NULL AND NOT EXISTS"
        " (SELECT 1 FROM span_records s WHERE s.trace_id = t.trace_id AND s.replayed)"
    )
    return Reproduced(
        run["id"], digest_of(original).digest, digest_of(seen).digest, first_difference(original, seen),
        silent["n"] if silent else 0,
    )  # fmt: skip
