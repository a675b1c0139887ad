"""Runs side by side: what differs in their set-up, their scores, score against calls, tasks, prompts.

    runs                [{id, name, status, stop_reason, best, calls, budget, lift, interval, train, val, holdout}],
                        where a split is {baseline, best, n}; scores are means in [0, 1]
    differs             {field: [a value per run]}: only fields that are not the same in all runs; unset is null
    series              per run [[search calls spent, best val mean], …]
    tasks               [{task, runs: [{baseline, best, lift} or null]}]: holdout, the widest spread of lift first
    prompts             [components of the best candidate per run]
    same_prompts        all runs ended with one text

Runs over different datasets can be compared; then `tasks` has what they share by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from rollout_local.domain.identity import content_hash
from rollout_local.errors import InputError
from rollout_local.reports import pairing
from rollout_local.reports.blocks import Block, Grid, Heading, Say, diff
from rollout_local.reports.escape import one_line
from rollout_local.reports.evidence import Evidence, gather, texts_of
from rollout_local.reports.render import blocks_as_text
from rollout_local.reports.statistics import mean, paired
from rollout_local.reports.wording import number, signed, spread
from rollout_local.store import catalog, reads
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store
from rollout_local.store.stored_run import StoredRun

TASKS_SHOWN = 20
_PATHS = frozenset({"log_dir", "recording", "name", "run_ref"})
"""Of the config: what names a run instead of deciding it."""


class SplitScores(TypedDict):
    """Means of both on a split, and how many the best one's is over."""

    baseline: float | None
    best: float | None
    n: int


class ComparedRun(TypedDict):
    """A run as it is compared."""

    id: str
    name: str | None
    status: str
    stop_reason: str | None
    best: int
    calls: int
    budget: int
    lift: float | None
    interval: tuple[float, float] | None
    train: SplitScores
    val: SplitScores
    holdout: SplitScores


class TaskScores(TypedDict):
    """A holdout task in a run."""

    baseline: float
    best: float
    lift: float


class ComparedTask(TypedDict):
    """A holdout task in every run; None where a run has no score for it."""

    task: str
    runs: list[TaskScores | None]


class Comparison(TypedDict):
    """Runs side by side."""

    runs: list[ComparedRun]
    differs: dict[str, list[Any]]
    series: list[list[list[float]]]
    tasks: list[ComparedTask]
    prompts: list[dict[str, str]]
    same_prompts: bool


def compare(store: Store, runs: Sequence[RunRow]) -> Comparison:
    """The newest attempts of two or more runs, rows of `reads.run()`, in the order given.

    Raises `InputError` for fewer than two, and where one has evaluated nothing yet.
    """
    if len(runs) < 2:
        msg = "compare takes two runs or more; `rollout optimize list` shows what there is"
        raise InputError(msg)
    found = [gather(store, run) for run in runs]
    prompts = [texts_of(evidence.best) for evidence in found]
    return {
        "runs": [_run(evidence) for evidence in found],
        "differs": _differing([_set_up(store, evidence) for evidence in found]),
        "series": [_series(store, run) for run in runs],
        "tasks": _tasks(found),
        "prompts": prompts,
        "same_prompts": all(prompt == prompts[0] for prompt in prompts),
    }


def _run(evidence: Evidence) -> ComparedRun:
    run = evidence.run
    holdout = paired([pair.lift for pair in pairing.pairs(evidence, "holdout")], evidence.confidence or 0.95)
    return {
        "id": run["id"],
        "name": run["name"],
        "status": run["status"],
        "stop_reason": run["stop_reason"],
        "best": evidence.best["number"],
        "calls": run["metric_calls"],
        "budget": run["metric_call_budget"],
        "lift": holdout.lift,
        "interval": holdout.interval,
        "train": _split(evidence, "train"),
        "val": _split(evidence, "val"),
        "holdout": _split(evidence, "holdout"),
    }


def _split(evidence: Evidence, split: str) -> SplitScores:
    after = evidence.scores(evidence.best, split)
    return {"baseline": mean(evidence.scores(evidence.baseline, split)), "best": mean(after), "n": len(after)}


def _set_up(store: Store, evidence: Evidence) -> dict[str, object]:
    """Every input of a run by name, large ones by their hash."""
    run = evidence.run
    datasets = {
        row["id"]: f"{row['slug']}@{row['version']} {row['content_hash']}" for row in catalog.list_datasets(store)
    }
    specs = StoredRun(run).verifiers(store)
    return {
        **{name: value for name, value in evidence.config.items() if name not in _PATHS},
        "dataset": datasets[run["dataset_id"]],
        "val_dataset": None if run["val_dataset_id"] is None else datasets[run["val_dataset_id"]],
        "splits": content_hash(evidence.split),
        "verifiers": [f"{spec.id} {spec.content_hash}" for spec in specs],
        "target": evidence.target["id"],
        "target_source": evidence.target["source_hash"],
        "baseline": evidence.baseline["content_hash"],
        "budget": run["metric_call_budget"],
    }


def _differing(set_ups: Sequence[Mapping[str, object]]) -> dict[str, list[object]]:
    """The fields that are not the same everywhere, with a value per run."""
    fields = dict.fromkeys(field for set_up in set_ups for field in set_up)
    values = {field: [set_up.get(field) for set_up in set_ups] for field in fields}
    return {field: of for field, of in values.items() if any(value != of[0] for value in of)}


def _series(store: Store, run: RunRow) -> list[list[float]]:
    return [[step, value] for step, value in reads.series(store, run["id"], run["attempt"], "best_val")]


def _tasks(found: Sequence[Evidence]) -> list[ComparedTask]:
    per_run = [{pair.task: pair for pair in pairing.pairs(evidence, "holdout")} for evidence in found]
    rows: list[ComparedTask] = [
        {"task": task, "runs": [_task(pairs.get(task)) for pairs in per_run]}
        for task in {t for p in per_run for t in p}
    ]
    return sorted(rows, key=lambda row: (-_spread(row["runs"]), row["task"]))


def _task(pair: pairing.Pair | None) -> TaskScores | None:
    return None if pair is None else {"baseline": pair.before, "best": pair.after, "lift": pair.lift}


def _spread(runs: Sequence[TaskScores | None]) -> float:
    lifts = [run["lift"] for run in runs if run is not None]
    return round(max(lifts) - min(lifts), 12)


def as_text(found: Comparison, width: int = 100, color: bool = False) -> str:
    """The comparison for a terminal. Runs are A, B, C… in the order given."""
    letters = [chr(ord("A") + place % 26) + str(place // 26 or "") for place in range(len(found["runs"]))]
    blocks: list[Block] = [Heading("Runs compared", level=1)]
    for part in (_runs_told, _differs_told, _series_told, _tasks_told, _prompts_told):
        blocks += part(found, letters)
    return blocks_as_text(blocks, width, color=color)


def _runs_told(found: Comparison, letters: Sequence[str]) -> list[Block]:
    rows = [
        [letter, run["id"], str(run["calls"]), _scores(run["val"]), _scores(run["holdout"]),
         signed(run["lift"]), spread(run["interval"])]
        for letter, run in zip(letters, found["runs"], strict=True)
    ]  # fmt: skip
    return [Grid(("", "run", "calls", "val", "holdout", "lift", "interval"), rows, "llrrrrl")]


def _scores(split: SplitScores) -> str:
    return f"{number(split['baseline'])} to {number(split['best'])}"


def _differs_told(found: Comparison, letters: Sequence[str]) -> list[Block]:
    if not found["differs"]:
        return [Say("Their set-ups are the same.")]
    rows = [[field, *(_value(value) for value in values)] for field, values in found["differs"].items()]
    return [Heading("What differs in set-up"), Grid(("", *letters), rows, "l" * (len(letters) + 1))]


def _value(value: object) -> str:
    if value is None:
        return "–"
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 40)


def _series_told(found: Comparison, letters: Sequence[str]) -> list[Block]:
    lines = [
        Say(f"{letter}: " + ", ".join(f"{number(value)} after {step}" for step, value in series))
        for letter, series in zip(letters, found["series"], strict=True)
        if series
    ]
    return [Heading("Best val mean against calls"), *lines] if lines else []


def _tasks_told(found: Comparison, letters: Sequence[str]) -> list[Block]:
    if not found["tasks"]:
        return []
    rows = [[t["task"], *(signed(run["lift"]) if run else "–" for run in t["runs"])] for t in found["tasks"]]
    blocks: list[Block] = [
        Heading("Lift by holdout task"),
        Grid(("", *letters), rows[:TASKS_SHOWN], "l" + "r" * len(letters)),
    ]
    if len(rows) > TASKS_SHOWN:
        blocks.append(Say(f"… and {len(rows) - TASKS_SHOWN} more; --json has all of them."))
    return blocks


def _prompts_told(found: Comparison, letters: Sequence[str]) -> list[Block]:
    if found["same_prompts"]:
        return [Heading("Prompts"), Say("All ended with the same text.")]
    first, *others = zip(letters, found["prompts"], strict=True)
    return [Heading("Prompts"), *(diff(first[1], texts, (first[0], letter)) for letter, texts in others)]
