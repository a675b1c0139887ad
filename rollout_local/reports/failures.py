"""Trials in which the target itself failed: they score 0, as they must, and are counted where the scores are shown.

A search can mend what its text brings about, so such a trial is no error of the run. But a mean over zeros that no
output stands behind says little of a text, and a baseline that never gave an output says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollout_local.domain.dataset import SPLITS
from rollout_local.domain.run import TARGET_FAILED, UNREADABLE
from rollout_local.reports.escape import first_line
from rollout_local.reports.report import TargetFailures
from rollout_local.store.selected_types import NumberedTrial

SHOWN = 200
"""Characters of the first error that are shown."""


def of_trials(
    trials: Sequence[NumberedTrial], kinds: Sequence[str] = (TARGET_FAILED, UNREADABLE)
) -> TargetFailures | None:
    """`{trials, of, first: {candidate, split, task, error}}` over final trials, or None where there is none."""
    failed = [trial for trial in trials if trial["error_kind"] in kinds]
    if not failed:
        return None
    first = min(failed, key=_place)
    return {
        "trials": len(failed), "of": len(trials),
        "first": {
            "candidate": first["candidate_number"], "split": first["split"], "task": first["task_name"],
            "error": first_line(first["error"] or "", SHOWN),
        },
    }  # fmt: skip


def sentence(found: TargetFailures) -> str:
    """What the report and the log say of them."""
    first = found["first"]
    return (
        f"In {found['trials']} of {found['of']} trials the target itself failed, which scores 0; the first, "
        f"{first['task']} ({first['split']}, candidate {first['candidate']}): {first['error']}"
    )


def of_every_task(found: TargetFailures) -> str:
    """Why a run ends before its search, and what to do."""
    first = found["first"]
    return (
        f"the target itself failed on all {found['of']} tasks of the baseline, so nothing was searched; the first, "
        f"{first['task']}: {first['error']}. Mend it and start a new run, or, where only another text can mend it, "
        "go on with --allow-failing-baseline"
    )


def _place(trial: NumberedTrial) -> tuple[int, int, str, int]:
    order = next((place for place, split in enumerate(SPLITS) if split == trial["split"]), len(SPLITS))
    return trial["candidate_number"], order, trial["task_name"], trial["occurrence"]
