"""`optimize judge RUN`: one candidate of a run, ended or not, against the baseline on the holdout, as a run of its own.

The run that the candidate comes from stays as it is, and goes on to the result it would have had. The new run has its
target, tasks, split and verifiers.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rollout_local.errors import InputError
from rollout_local.planning import environment
from rollout_local.planning.setup import insert, load
from rollout_local.reports.evidence import texts_of
from rollout_local.search import given
from rollout_local.search.optimizers import GIVEN
from rollout_local.store import reads
from rollout_local.store.row_types import CandidateRow, RunRow
from rollout_local.store.schema import Store
from rollout_local.store.stored_run import StoredRun


def judgement(store: Store, run: RunRow, folder: Path, number: int | None = None, *, reuse: bool = True) -> RunRow:
    """Create the run that judges the best candidate so far, or the one with this number. Returns its row.

    With `reuse` it takes over what the run has executed already; without, all is executed and recorded anew, and can be
    reproduced from its own recording.

    Raises `NotFound` for a number that there is not, `InputError` where there is nothing to compare: nothing was
    evaluated yet, or the text is the baseline's.
    """
    candidate = _candidate(store, run, number)
    config = StoredRun(run).config
    changes = {
        "optimizer": GIVEN.name, "arguments": {given.COMPONENTS: texts_of(candidate)}, "strategy": None,
        "auto": None, "max_full_evals": None, "no_improvement": None, "stop_at": None, "reuse": reuse,
        "max_metric_calls": len(StoredRun(run).split.val), "log_dir": None, "recording": None,
        "record_mode": "new_episodes", "allow_constant_score": True, "allow_failing_baseline": True,
        "name": f"candidate {candidate['number']} of {run['id']}",
    }  # fmt: skip
    with environment.for_target(config, offline_keys=False):
        setup = load(store, run, folder, changes)
    return insert(store, replace(setup, budget=len(setup.split.val)))


def _candidate(store: Store, run: RunRow, number: int | None) -> CandidateRow:
    best = reads.best_so_far(store, run)
    if best is None:
        msg = f"run {run['id']} has evaluated nothing yet (status {run['status']}), so there is nothing to judge"
        raise InputError(msg)
    found = reads.candidate(store, best) if number is None else reads.candidate_numbered(store, run, number)
    baseline = reads.candidate_numbered(store, run, 0)
    if found["content_hash"] == baseline["content_hash"]:
        what = "no candidate does better than the baseline so far" if number is None else "that is the baseline's text"
        msg = f"{what}, so there is nothing to compare; give --candidate N (`rollout optimize show {run['id']}`)"
        raise InputError(msg)
    return found
