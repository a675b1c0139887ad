"""Were the models steady: how often one text, asked the same task again, gave another output.

A search asks the tasks of train again and again, so a run measures by itself what a live rerun could differ by. A
replay differs by nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from rollout_local.reports.report import Repeats
from rollout_local.store.selected_types import NumberedTrial


def repeats_of(trials: Sequence[NumberedTrial]) -> Repeats:
    """Executions of a text on a task that it had been executed on before, and those that gave another output."""
    first: dict[tuple[str, str], str] = {}
    again = other = 0
    for trial in sorted(trials, key=lambda one: one["occurrence"]):
        if trial["output"] is None or trial["reused"]:
            continue
        key = (trial["candidate_hash"], trial["task_name"])
        if key not in first:
            first[key] = trial["output"]
            continue
        again += 1
        other += trial["output"] != first[key]
    return {"again": again, "other_output": other}


def sentence(found: Repeats) -> str:
    """What that says of a live rerun."""
    again, other = found["again"], found["other_output"]
    if not again:
        return "No text was asked a task twice, so how steady the models are is not known."
    asked = f"asked the same again {again} time{'s' * (again > 1)}, a text gave"
    if not other:
        return f"Steady in this run: {asked} the output of before. A live rerun may differ all the same, a replay not."
    return (
        f"Not steady: {asked} another output {other} time{'s' * (other > 1)}. A live rerun will differ, a replay not."
    )
