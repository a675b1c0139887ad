"""What a run is good for afterwards: the best outputs of a task, the winning program, an ensemble of the frontier."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollout_local.domain.target import Candidate
from rollout_local.errors import InputError, NotFound
from rollout_local.planning import environment, trust
from rollout_local.planning.target import find_again
from rollout_local.reports.evidence import texts_of
from rollout_local.store import reads
from rollout_local.store.row_types import CandidateRow, RunRow
from rollout_local.store.schema import Store, open_store
from rollout_local.store.stored_run import StoredRun
from rollout_local.targets.program import ProgramTarget, ensemble_of, saved


@dataclass(frozen=True)
class BestOutput:
    """One of a task's best outputs. `score` in [0, 1]; `candidate` is its number in the run."""

    output: Any
    score: float
    candidate: int
    feedback: str
    split: str


def best_of(run: str, task: str, k: int = 3, *, db: str | Path = "rollout.db") -> list[BestOutput]:
    """The `k` best different outputs of a task over all candidates of a run, from the file alone.

    `run` is an id, a unique prefix of one, or `latest`. Raises `NotFound` for a run or a task that is not there.
    """
    with open_store(Path(db), create=False) as store:
        row = reads.run(store, run)
        found: dict[str, BestOutput] = {}
        for trial in reads.outputs_of_task(store, row["id"], row["attempt"], task, 10_000):
            output = json.loads(trial["output"] or "null") if trial["output_kind"] == "json" else trial["output"]
            kept = BestOutput(output, trial["score"], trial["candidate"], trial["feedback"], trial["split"])
            found.setdefault(trial["output"] or "", kept)
        if not found:
            msg = f"run {row['id']} has no scored trial of a task {task!r}; `rollout datasets show` lists the tasks"
            raise NotFound(msg)
    return list(found.values())[: max(k, 0)]


def ensemble(
    run: str,
    *,
    db: str | Path = "rollout.db",
    folder: str | Path | None = None,
    reduce_fn: Callable[..., object] | None = None,
    size: int | None = None,
) -> object:
    """A `dspy.Ensemble` of the programs on the Pareto frontier of a run: those best on at least one val task.

    `reduce_fn` makes one prediction of theirs (such as `dspy.majority`); `size` asks so many of them, drawn at
    random. Raises `InputError` where the target is no DSPy program.
    """
    with open_store(Path(db), create=False) as store:
        row = reads.run(store, run)
        target = _program(store, row, Path(folder) if folder is not None else Path.cwd())
        on_it = reads.frontier(store, row["id"], row["attempt"])
        rows = [found for found in reads.candidates(store, row["id"], row["attempt"]) if found["number"] in on_it]
    candidates = [Candidate(components=json.loads(found["components_json"])) for found in rows]
    return ensemble_of(target, candidates, reduce_fn, size)


def program_of(store: Store, run: RunRow, candidate: CandidateRow, folder: Path, modules: Sequence[str] = ()) -> str:
    """A candidate of a program as the JSON that `program.load` reads, checked by loading it.

    `modules` register the program where the run does not say which do.
    """
    target = _program(store, run, folder, modules)
    return saved(target, Candidate(components=texts_of(candidate)))


def _program(store: Store, run: RunRow, folder: Path, modules: Sequence[str] = ()) -> ProgramTarget:
    config = StoredRun(run).config
    named = {"modules": tuple(modules)} if modules else {}
    config = config.model_copy(update=named)
    trust.require(store, run, {**named, "record_mode": "none"})
    with environment.for_target(config, offline_keys=True):
        source = reads.target(store, run["target_row_id"])["source"]
        target = find_again(config, source, config.target_url, folder, store)
    if not isinstance(target, ProgramTarget):
        msg = f"target {target.id!r} is no DSPy program; `rollout optimize export {run['id']}` gives its text"
        raise InputError(msg)
    return target
