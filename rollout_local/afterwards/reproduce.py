"""`optimize reproduce RUN`: replay a past run from its recording in a scratch database and compare digests.

No socket, no keys. What the run was set up with comes from its rows, the calls from its recording; the target is
imported as it is now, and a target that has changed is named before anything else is looked at.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rollout_local.domain.run import RunStatus
from rollout_local.errors import InputError
from rollout_local.planning import environment
from rollout_local.planning.setup import check_unchanged, insert, load
from rollout_local.reports import promotion
from rollout_local.reports.differences import first_difference
from rollout_local.reports.digest import digest_of, rows
from rollout_local.reports.report import parse
from rollout_local.runs.progress import Watch
from rollout_local.runs.runner import Outcome, execute
from rollout_local.store import reads
from rollout_local.store.journal import STRAY
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store, open_store
from rollout_local.store.stored_run import StoredRun


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
    note: str = ""
    """What the comparison left out, where it did, and what the replay could not answer."""

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
    ignore_fields: Sequence[str] = (),
    modules: Sequence[str] = (),
    watch: Watch | None = None,
) -> Reproduced:
    """Replay a completed run strictly: every recorded call is asked for, and nothing else is.

    The target is imported from `folder`, or from `source` where that is given (what came with an imported run): who
    names it has looked at it. Otherwise raises `NotConfirmed` for a run from elsewhere that names code. `modules`
    register the target where the run does not say which ones do.

    Raises `InputError` where the run is not completed, was not recorded, or its target has changed;
    `RecordingError` where the recording cannot be used.
    """
    run = reads.run(store, reference)
    cassette = recording or run["recording"]
    if run["status"] != RunStatus.COMPLETED or cassette is None:
        why = "was not recorded" if run["status"] == RunStatus.COMPLETED else f"is {run['status']}, not completed"
        msg = f"run {run['id']} {why}; there is nothing to reproduce"
        raise InputError(msg)
    changes: dict[str, object] = {
        "recording": str((folder / cassette).resolve()), "record_mode": "none", "no_recording": False,
    }  # fmt: skip
    if concurrency is not None:
        changes["concurrency"] = concurrency
    if modules:
        changes["modules"] = tuple(modules)
    if ignore_fields:
        changes["ignore_fields"] = tuple(ignore_fields)
    if source is not None and not source.is_dir():
        msg = f"there is no folder {source}; give the one that the target's source is in"
        raise InputError(msg)
    with tempfile.TemporaryDirectory(prefix="rollout-") as scratch:
        return _replay(store, run, folder, source, changes, Path(scratch), watch)


def _replay(
    store: Store,
    run: RunRow,
    folder: Path,
    source: Path | None,
    changes: Mapping[str, object],
    scratch: Path,
    watch: Watch | None,
) -> Reproduced:
    config = StoredRun(run).config.model_copy(update=dict(changes))
    folder = source or folder
    log_dir = str(scratch / "log")
    with environment.for_target(config, offline_keys=True):
        setup = load(store, run, folder, {**changes, "log_dir": log_dir}, trusted=source is not None)
        check_unchanged(store, run, setup, ())
    with open_store(scratch / "replay.db") as copy:
        copied = insert(copy, setup, run_id=run["id"])
        outcome = execute(copy, copied["id"], folder=folder, watch=watch, strict=True)
        return _compare(store, run, copy, outcome)


def _compare(store: Store, run: RunRow, copy: Store, outcome: Outcome) -> Reproduced:
    made_as = _report_format(store, run)
    older = made_as is not None and made_as != promotion.FORMAT
    original, digest = rows(store, run, reckon_report=older), digest_of(rows(store, run)).digest
    if outcome.status is not RunStatus.COMPLETED:
        stopped = f"the replay stopped: {outcome.message}"
        if (reused := reads.reused_trials(store, run["id"], run["attempt"])) > 0:
            stopped += f" {reused} trials were taken over from other runs, whose recordings have their calls."
        return Reproduced(run["id"], digest, None, stopped, 0)
    seen = rows(copy, reads.run(copy, run["id"]))
    notes = reads.messages_about(copy, run["id"], reads.run(copy, run["id"])["attempt"], STRAY)
    if older:
        notes.append(f"its report is of format {made_as}; compared is what format {promotion.FORMAT} makes of its rows")
    return Reproduced(
        run["id"], digest, digest_of(seen).digest, first_difference(original, seen), reads.trials_without_a_call(copy),
        "; ".join(notes),
    )  # fmt: skip


def _report_format(store: Store, run: RunRow) -> int | None:
    """The format of the report that a run wrote, or None where it wrote none. Those without a number are older."""
    written = reads.newest_report(store, run["id"], run["attempt"])
    return None if written is None else parse(written).get("format", 0)
