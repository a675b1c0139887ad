"""A log_dir of plain `dspy.GEPA` as a run of ours, to browse and to compare.

GEPA's log knows candidates, their parents and their scores on the validation tasks, by position; it knows no
texts of tasks, no feedback and no holdout. Those are not made up: tasks are named `val-<id>` and say so, and the run
has neither a holdout nor a report. The run's id is a hash of the log, so the same log is one run.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rollout_local.bundle.archives import name_problem
from rollout_local.bundle.gepa_state import STATE, GepaState, read_state
from rollout_local.bundle.transfer import Imported, imported
from rollout_local.clock import iso
from rollout_local.domain.dataset import Dataset, Split, Task
from rollout_local.domain.identity import canonical_json, content_hash, make_id, text_hash, well_formed
from rollout_local.domain.run import CandidateStatus, Phase, RunConfig, RunStatus, TrialOutcome
from rollout_local.domain.target import Candidate, TargetKind
from rollout_local.errors import InputError
from rollout_local.store import reads, run_tables
from rollout_local.store.schema import Store

TARGET = "gepa-log"
OUTPUTS = "generated_best_outputs_valset"
MAX_OUTPUT_BYTES = 16 << 20


def import_gepa_log(store: Store, folder: Path, *, scale: float = 1.0) -> Imported:
    """Write the search in `folder` as a completed run; scores are divided by `scale`, the metric's maximum.

    Raises `InputError` where the folder is no log_dir of GEPA, holds anything but plain values, or has scores
    outside [0, 1]. The same log again changes nothing.
    """
    state, data = read_state(folder)
    run_id = make_id("opt", hashlib.sha256(data + repr(float(scale)).encode("ascii")).digest()[:6])
    if reads.is_there(store, run_id):
        return imported(store, run_id, is_new=False)
    log = _Log(folder, state, run_id, iso((folder / STATE).stat().st_mtime), _checked(scale, state))
    tables = log.tables()
    with store.write() as db:
        run_tables.insert(store, db, tables)
    return imported(store, run_id, is_new=True)


def _checked(scale: float, state: GepaState) -> float:
    """The scale, where it brings every score into [0, 1]."""
    if not math.isfinite(scale) or scale <= 0:
        msg = f"--scale is the metric's maximum, a number above 0, not {scale:g}"
        raise InputError(msg)
    for number, scores in enumerate(state.scores):
        for task, score in scores.items():
            if not 0 <= score / scale <= 1:
                msg = (
                    f"candidate {number} has the score {score:g} on val-{task}; scores here are in [0, 1]: "
                    "give the metric's maximum with --scale"
                )
                raise InputError(msg)
    return scale


@dataclass(frozen=True)
class _Log:
    """One log on its way into rows, numbered from 1 as `run_tables.insert` takes them."""

    folder: Path
    state: GepaState
    run_id: str
    at: str
    scale: float

    def tables(self) -> run_tables.Tables:
        """All rows of the run."""
        dataset, trials, events = self._dataset(), list(self._trials()), [self._event()]
        tables: run_tables.Tables = {table.name: [] for table in run_tables.TABLES}
        tables |= {
            "datasets": [_dataset_row(dataset, self.at)],
            "tasks": [_task_row(place, task) for place, task in enumerate(dataset.tasks, 1)],
            "targets": [self._target()],
            "runs": [self._run(dataset)],
            "attempts": [{"run_id": self.run_id, "number": 1, "started_at": self.at, "ended_at": self.at,
                          "outcome": RunStatus.COMPLETED}],
            "candidates": [self._candidate(number) for number in range(len(self.state.candidates))],
            "candidate_parents": [{"candidate_id": number + 1, "parent_id": parent + 1}
                                  for number, parents in enumerate(self.state.parents) for parent in parents],
            "proposals": list(self._proposals()),
            "trials": trials,
            "events": events,
            "metrics": list(self._metrics()),
        }  # fmt: skip
        return well_formed(tables)  # type: ignore[no-any-return]

    @property
    def task_ids(self) -> list[str]:
        """Every validation task that any candidate was scored on, in order of appearance."""
        return list(dict.fromkeys(task for scores in self.state.scores for task in scores))

    @property
    def best(self) -> int:
        """The candidate that GEPA would return: highest mean, then most tasks, then the first."""
        means = [(_mean(scores), len(scores)) for scores in self.state.scores]
        return means.index(max(means))

    def _dataset(self) -> Dataset:
        tasks = [
            Task(name=f"val-{task}", instruction=f"Validation task {task}; GEPA's log does not hold its text.")
            for task in self.task_ids
        ]
        slug = f"gepa-log-{self.run_id.partition('_')[2]}"
        return Dataset(name=f"Validation tasks of {self.folder.resolve().name}", slug=slug, tasks=tuple(tasks))

    def _target(self) -> run_tables.Row:
        seed = self.state.candidates[0]
        return {
            "row_id": 1, "id": TARGET, "kind": TargetKind.PROMPT, "baseline": "\n\n".join(seed.values()),
            "description": "A program that plain dspy.GEPA optimized; its log does not hold its source.",
            "baseline_json": canonical_json(seed), "source": "", "source_hash": text_hash(""), "modules_json": "[]",
            "synced_at": self.at,
        }  # fmt: skip

    def _run(self, dataset: Dataset) -> run_tables.Row:
        name = self.folder.resolve().name
        split = Split(train=(), val=tuple(task.name for task in dataset.tasks), holdout=(), note="from GEPA's log")
        config = RunConfig(target=TARGET, name=name, no_recording=True)
        inputs = {"gepa_log": content_hash([self.state.candidates, self.state.parents, self.state.scores])}
        calls = max(0, self.state.metric_calls - len(self.state.scores[0]))
        return {
            "id": self.run_id, "name": name, "project": config.project, "tags_json": "[]",
            "status": RunStatus.COMPLETED, "message": "imported from a log_dir of plain dspy.GEPA",
            "target_id": TARGET, "target_row_id": 1, "dataset_id": 1, "val_dataset_id": None,
            "verifier_ids_json": "[]", "split_json": canonical_json(split.model_dump()), "optimizer": "gepa",
            "seed": config.seed, "config_json": canonical_json(config.model_dump()),
            "fingerprint": content_hash(inputs), "fingerprint_json": canonical_json(inputs),
            "metric_call_budget": calls, "metric_calls": calls, "trial_count": sum(map(len, self.state.scores)),
            "attempt": 1, "baseline_candidate_id": 1, "best_candidate_id": self.best + 1, "created_at": self.at,
            "started_at": self.at, "finished_at": self.at, "last_event_at": self.at, "log_dir": str(self.folder),
        }  # fmt: skip

    def _candidate(self, number: int) -> run_tables.Row:
        candidate = Candidate(components=well_formed(self.state.candidates[number]))
        return {
            "id": number + 1, "run_id": self.run_id, "attempt": 1, "number": number,
            "status": CandidateStatus.ACCEPTED if number else CandidateStatus.BASELINE,
            "text": "\n\n".join(candidate.components.values()),
            "components_json": canonical_json(candidate.components), "content_hash": candidate.content_hash,
            "created_at": self.at,
        }  # fmt: skip

    def _trials(self) -> Iterator[run_tables.Row]:
        """Each candidate on each validation task; a text that came twice is another occurrence."""
        number, seen = 0, Counter[tuple[str, str]]()
        for place, scores in enumerate(self.state.scores):
            candidate, outputs = self._candidate(place), self._outputs(place)
            for task, score in scores.items():
                key = (candidate["content_hash"], task)
                number += 1
                yield _TRIAL | {
                    "id": number, "run_id": self.run_id, "candidate_id": candidate["id"],
                    "candidate_hash": candidate["content_hash"], "task_name": f"val-{task}",
                    "phase": Phase.SEARCH if place else Phase.BASELINE, "occurrence": seen[key],
                    "score": score / self.scale, "output": outputs.get(task),
                    "output_kind": "json" if task in outputs else "text", "created_at": self.at,
                }  # fmt: skip
                seen[key] += 1

    def _outputs(self, number: int) -> dict[str, str]:
        """What GEPA wrote beside its state for tasks on which a candidate was the best so far, as JSON text."""
        found: dict[str, str] = {}
        for task in self.state.scores[number]:
            name = f"task_{task}"
            if "/" in name or name_problem(name):
                continue
            for file in sorted((self.folder / OUTPUTS / name).glob(f"iter_*_prog_{number}.json")):
                if file.is_file() and file.stat().st_size <= MAX_OUTPUT_BYTES:
                    found[task] = file.read_text(encoding="utf-8", errors="replace")
        return found

    def _proposals(self) -> Iterator[run_tables.Row]:
        for place, proposal in enumerate(self.state.proposals, 1):
            yield {
                "id": place, "run_id": self.run_id, "attempt": 1, "iteration": proposal.iteration,
                "parent_candidate_id": proposal.parent + 1, "component": self._changed(proposal.parent, proposal.child),
                "candidate_id": None if proposal.child is None else proposal.child + 1,
                "accepted": int(proposal.child is not None), "reason": "as GEPA's log says", "feedback_json": "[]",
                "minibatch_before": proposal.before / self.scale, "minibatch_after": proposal.after / self.scale,
                "created_at": self.at,
            }  # fmt: skip

    def _changed(self, parent: int, child: int | None) -> str:
        """The components that a proposal rewrote; a rejected text is not in the log, and with it not its component."""
        if child is None:
            return ""
        before, after = self.state.candidates[parent], self.state.candidates[child]
        return ", ".join(name for name in after if before.get(name) != after[name])

    def _metrics(self) -> Iterator[run_tables.Row]:
        """The series that a run of ours has: every candidate's mean, and the best one against calls spent."""
        points, best = [], -1.0
        for number, scores in enumerate(self.state.scores):
            mean = _mean(scores) / self.scale
            points.append(("val_mean", number, mean))
            if mean > best:
                best = mean
                spent = max(0, self.state.discovered_at[number] - (len(self.state.scores[0]) if number else 0))
                points.append(("best_val", spent, mean))
        unique = {(name, step): value for name, step, value in points}
        for place, ((name, step), value) in enumerate(unique.items(), 1):
            yield {"id": place, "run_id": self.run_id, "attempt": 1, "name": name, "step": step, "value": value,
                   "at": self.at}  # fmt: skip

    def _event(self) -> run_tables.Row:
        message = f"imported {len(self.state.candidates)} candidates from a log_dir of plain dspy.GEPA"
        return {"id": 1, "run_id": self.run_id, "attempt": 1, "at": self.at, "level": "info", "message": message,
                "data_json": "{}"}  # fmt: skip


_TRIAL: run_tables.Row = {
    "attempt": 1, "split": "val", "step": 0, "outcome": TrialOutcome.SCORED, "passed": None, "feedback": "",
    "error": None, "error_kind": None, "metadata_json": "{}", "tries": 1, "reused": 0,
    "superseded_by": None,
}  # fmt: skip
"""What every imported trial has in common."""


def _dataset_row(dataset: Dataset, at: str) -> run_tables.Row:
    return {"id": 1, "slug": dataset.slug, "name": dataset.name, "content_hash": dataset.content_hash,
            "task_count": len(dataset.tasks), "created_at": at}  # fmt: skip


def _task_row(place: int, task: Task) -> run_tables.Row:
    return {"id": place, "dataset_id": 1, "position": place - 1, "name": task.name, "instruction": task.instruction,
            "input_json": json.dumps(task.input), "metadata_json": json.dumps(task.metadata)}  # fmt: skip


def _mean(scores: dict[str, float]) -> float:
    return math.fsum(scores.values()) / len(scores) if scores else -1.0
