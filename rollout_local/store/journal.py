"""Trials, candidates, proposals, reflections and events of one attempt: append only.

A finished trial is committed, with its trace, before its result is used; asking for the same key again is
answered from here. What is written has no secrets in it (`Store.redactor`), and what is used is what is written:
`clean` and `add_reflection` give it back, so that a run, its resume and its replay see one text. A trial that ended
without a score may be followed by another under the same key, which supersedes it; nothing is edited.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rollout_local.domain.identity import canonical_json, text_hash, well_formed
from rollout_local.domain.run import CandidateStatus, Phase, TrialKey, TrialOutcome
from rollout_local.domain.target import Candidate
from rollout_local.redaction import Redactor
from rollout_local.store import chain
from rollout_local.store.group_commit import GroupCommit
from rollout_local.store.row_types import NewProposal, TrialRow
from rollout_local.store.schema import Store
from rollout_local.store.selected_types import AnswerText, HighestStep, ReplyText

BYPASS = "bypass"
"""What an event is about that tells of requests which the recording does not see."""
STRAY = "stray"
"""What an event is about that tells of requests which a replay did not find, and no trial made."""


@dataclass(frozen=True)
class SpanRecord:
    """One step of an execution. `input` is a list of JSON texts, each stored once however often it recurs."""

    id: str
    type: str
    name: str
    input: Sequence[str]
    output: str | None
    started_at: str
    duration_s: float
    parent_id: str | None = None
    model: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_usd: float | None = None
    error: str | None = None
    replayed: bool = False


@dataclass(frozen=True)
class TraceRecord:
    """One execution and its steps."""

    id: str
    name: str
    started_at: str
    duration_s: float
    spans: Sequence[SpanRecord] = ()
    attributes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialRecord:
    """One candidate on one task, ended. `score` in [0, 1] where the outcome is `scored`, None otherwise.

    `output_kind` says how `output` (text) is to be read: `text` as it is, `json` parsed, `repr` not at all.
    """

    key: TrialKey
    phase: Phase
    outcome: TrialOutcome
    score: float | None
    feedback: str
    output: str | None
    created_at: str
    output_kind: str = "text"
    passed: bool | None = None
    error: str | None = None
    error_kind: str | None = None
    checks_json: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    latency_ms: float | None = None
    cost_usd: float | None = None
    reused: bool = False
    tries: int = 1
    trace_id: str | None = None
    step: int = 0
    answer: Mapping[str, Any] | None = None
    """What a DSPy program answered, as JSON."""


class Journal:
    """What one attempt of one run has done so far. Safe to use from many threads."""

    def __init__(self, store: Store, run_id: str, attempt: int) -> None:
        self.store = store
        self.run_id = run_id
        self.attempt = attempt
        self._candidates: dict[str, int] = {}
        self._group = GroupCommit(store)

    @property
    def _redactor(self) -> Redactor:
        return self.store.redactor

    # -- candidates

    def add_candidate(
        self, candidate: Candidate, status: CandidateStatus, parents: Sequence[int], created_at: str, number: int
    ) -> int:
        """Return the row id of candidate `number`, writing it (with its parents) if it is not there yet."""
        with self.store.write() as db:
            row = db.execute(
                "SELECT id FROM candidates WHERE run_id = ? AND attempt = ? AND number = ?",
                (self.run_id, self.attempt, number),
            ).fetchone()
            row_id = int(row[0]) if row else self._insert_candidate(db, candidate, status, parents, created_at, number)
        self._candidates[candidate.content_hash] = row_id
        return row_id

    def _insert_candidate(
        self,
        db: sqlite3.Connection,
        candidate: Candidate,
        status: CandidateStatus,
        parents: Sequence[int],
        created_at: str,
        number: int,
    ) -> int:
        text = "\n\n".join(candidate.components.values())
        row_id = db.execute(
            "INSERT INTO candidates (run_id, attempt, number, status, text, components_json, content_hash, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self.run_id, self.attempt, number, status, self._redactor.text(text),
                self._redactor.json_text(canonical_json(candidate.components)),
                candidate.content_hash, created_at,
            ),
        ).lastrowid  # fmt: skip
        assert row_id is not None
        chain.append(db, self.run_id, "candidates", row_id)
        db.executemany(
            "INSERT OR IGNORE INTO candidate_parents VALUES (?, ?)", [(row_id, parent) for parent in parents]
        )
        return row_id

    def candidate_id(self, content_hash: str) -> int:
        """The row of the newest candidate with this content; `KeyError` if none was added in this session."""
        return self._candidates[content_hash]

    def judge(self, candidate_id: int, status: CandidateStatus) -> None:
        """Say what became of a proposed candidate."""
        with self.store.write() as db:
            changed = db.execute(
                "UPDATE candidates SET status = ? WHERE id = ? AND status != ?", (status, candidate_id, status)
            ).rowcount
            if changed:
                chain.append(db, self.run_id, "candidates", candidate_id)

    # -- trials

    def find(self, key: TrialKey) -> TrialRow | None:
        """The final trial under this key, or None."""
        return self.store.first(
            TrialRow,
            f"SELECT * FROM trials WHERE {_OF_KEY} AND superseded_by IS NULL",
            (self.run_id, key.attempt, key.candidate, key.task, key.split, key.occurrence),
        )

    def find_alike(self, key: TrialKey) -> TrialRow | None:
        """The oldest scored trial of another attempt or run that may stand in for this one, or None.

        Alike are the candidate, the task, the target's source, the verifiers and the task model.
        """
        return self.store.first(
            TrialRow,
            "SELECT t.* FROM candidates c JOIN trials t ON t.candidate_id = c.id JOIN runs r ON r.id = t.run_id"
            " JOIN targets g ON g.row_id = r.target_row_id, runs me JOIN targets mine ON mine.row_id = me.target_row_id"
            " WHERE me.id = ?1 AND c.content_hash = ?2 AND t.task_name = ?3 AND t.score IS NOT NULL AND NOT t.reused"
            " AND t.superseded_by IS NULL AND g.source_hash = mine.source_hash AND r.dataset_id = me.dataset_id"
            " AND r.val_dataset_id IS me.val_dataset_id AND r.verifier_ids_json = me.verifier_ids_json"
            " AND json_extract(r.config_json, '$.task_model') IS json_extract(me.config_json, '$.task_model')"
            " AND json_extract(r.config_json, '$.task_params') = json_extract(me.config_json, '$.task_params')"
            " AND NOT (t.run_id = ?1 AND t.attempt = ?4) ORDER BY t.id LIMIT 1",
            (self.run_id, key.candidate, key.task, key.attempt),
        )

    def find_answer(self, trial_id: int) -> dict[str, object] | None:
        """What the program of this trial answered, as JSON, or None where it was not kept."""
        sql = "SELECT answer_json FROM program_answers WHERE trial_id = ?"
        row = self.store.first(AnswerText, sql, (trial_id,))
        answer: dict[str, object] | None = json.loads(row["answer_json"]) if row else None
        return answer

    def clean(self, trial: TrialRecord) -> TrialRecord:
        """The trial without secrets, as it is written: what of it goes on to the search is taken from this."""
        redactor = self._redactor
        output = trial.output
        if output is not None:
            output = redactor.json_text(output) if trial.output_kind == "json" else redactor.text(output)
        return replace(
            trial,
            feedback=redactor.text(trial.feedback),
            output=output,
            error=trial.error and redactor.text(trial.error),
            checks_json=trial.checks_json and redactor.json_text(trial.checks_json),
            metadata=redactor.document(trial.metadata, by_name=True),
            answer=None if trial.answer is None else redactor.document(trial.answer),
        )

    def add_trial(self, trial: TrialRecord, trace: TraceRecord | None) -> int:
        """Commit a finished trial with its trace; a trial without a score under the same key is superseded."""
        cleaned = self.clean(trial)
        return self._group.write(lambda db: self._insert_trial(db, cleaned, trace))

    def _insert_trial(self, db: sqlite3.Connection, trial: TrialRecord, trace: TraceRecord | None) -> int:
        trial_id = int(db.execute("SELECT coalesce(max(id), 0) + 1 FROM trials").fetchone()[0])
        key = trial.key
        db.execute(
            f"UPDATE trials SET superseded_by = ? WHERE {_OF_KEY} AND superseded_by IS NULL AND score IS NULL",
            (trial_id, self.run_id, key.attempt, key.candidate, key.task, key.split, key.occurrence),
        )
        _insert(db, "trials", self._trial_row(trial_id, trial))
        chain.append(db, self.run_id, "trials", trial_id)
        if trial.answer is not None:
            text = json.dumps(trial.answer, ensure_ascii=False)  # the order of fields is shown to the reflection
            answer = {"trial_id": trial_id, "run_id": self.run_id, "answer_json": text}
            _insert(db, "program_answers", answer)
        if trace is not None:
            _insert_trace(db, trace, self.run_id, trial_id, self._redactor)
        return trial_id

    def _trial_row(self, trial_id: int, trial: TrialRecord) -> dict[str, object]:
        key = trial.key
        return {
            "id": trial_id, "run_id": self.run_id, "attempt": key.attempt,
            "candidate_id": self._candidates[key.candidate], "candidate_hash": key.candidate,
            "task_name": key.task, "split": key.split, "phase": trial.phase, "occurrence": key.occurrence,
            "outcome": trial.outcome, "score": trial.score,
            "passed": None if trial.passed is None else int(trial.passed), "feedback": trial.feedback,
            "output": trial.output, "output_kind": trial.output_kind, "error": trial.error,
            "error_kind": trial.error_kind, "checks_json": trial.checks_json,
            "metadata_json": canonical_json(trial.metadata), "latency_ms": trial.latency_ms,
            "cost_usd": trial.cost_usd, "reused": int(trial.reused), "tries": trial.tries,
            "trace_id": trial.trace_id, "created_at": trial.created_at, "step": trial.step,
        }  # fmt: skip

    def has_trials(self) -> bool:
        """Something was done in this attempt before."""
        sql = "SELECT 1 FROM trials WHERE run_id = ? AND attempt = ? LIMIT 1"
        return self.store.has(sql, (self.run_id, self.attempt))

    def last_step(self) -> int:
        """The highest step that any trial or reflection of this attempt was made at."""
        row = self.store.first(
            HighestStep,
            "SELECT max(step) AS step FROM (SELECT step FROM trials WHERE run_id = ?1 AND attempt = ?2"
            " UNION ALL SELECT step FROM reflections WHERE run_id = ?1 AND attempt = ?2)",
            (self.run_id, self.attempt),
        )
        return int((row and row["step"]) or 0)

    # -- reflections and proposals

    def find_reflection(self, input_hash: str, occurrence: int) -> object | None:
        """The reply that was recorded for this reflection, or None."""
        row = self.store.first(
            ReplyText,
            "SELECT reply_json FROM reflections WHERE run_id = ? AND attempt = ? AND input_hash = ? AND occurrence = ?",
            (self.run_id, self.attempt, input_hash, occurrence),
        )
        return json.loads(row["reply_json"]) if row else None

    def add_reflection(
        self, input_hash: str, occurrence: int, reply: object, trace: TraceRecord | None, created_at: str, step: int = 0
    ) -> object:
        """Commit a finished reflection with its trace before its text is used. Returns the reply as it is written."""
        reply = self._redactor.document(reply)
        with self.store.write() as db:
            row = {
                "run_id": self.run_id, "attempt": self.attempt, "input_hash": input_hash, "occurrence": occurrence,
                "reply_json": canonical_json(reply), "trace_id": trace.id if trace else None, "created_at": created_at,
                "step": step,
            }  # fmt: skip
            chain.append(db, self.run_id, "reflections", _insert(db, "reflections", row))
            if trace is not None:
                _insert_trace(db, trace, self.run_id, None, self._redactor)
                spent = [span.cost_usd for span in trace.spans if span.cost_usd is not None]
                if spent:
                    added = "UPDATE runs SET cost_usd = coalesce(cost_usd, 0) + ? WHERE id = ?"
                    db.execute(added, (sum(spent), self.run_id))
        return reply

    def add_proposal(self, row: NewProposal) -> int:
        """Write one reflection's outcome, once: the row of the same iteration, component and candidate is kept."""
        with self.store.write() as db:
            found = db.execute(
                "SELECT id FROM proposals WHERE run_id = ? AND attempt = ? AND iteration = ? AND component = ?"
                " AND candidate_id IS ?",
                (self.run_id, self.attempt, row["iteration"], row["component"], row["candidate_id"]),
            ).fetchone()
            if found:
                return int(found[0])
            texts = {"feedback_json": self._redactor.json_text(row["feedback_json"])}
            if row.get("reason"):
                texts["reason"] = self._redactor.text(row["reason"])
            row_id = _insert(db, "proposals", {"run_id": self.run_id, "attempt": self.attempt, **row, **texts})
            chain.append(db, self.run_id, "proposals", row_id)
            return row_id

    def judge_proposal(
        self, proposal_id: int, *, accepted: bool, reason: str, before: float | None, after: float | None
    ) -> None:
        """Say whether a proposal was accepted, why, and the means of its minibatch before and after."""
        with self.store.write() as db:
            changed = db.execute(
                "UPDATE proposals SET accepted = ?, reason = ?, minibatch_before = ?, minibatch_after = ?"
                " WHERE id = ? AND accepted IS NULL",
                (int(accepted), self._redactor.text(reason), before, after, proposal_id),
            ).rowcount
            if changed:
                chain.append(db, self.run_id, "proposals", proposal_id)

    # -- events and series

    def add_event(self, at: str, level: str, message: str, data: Mapping[str, object] | None = None) -> None:
        """Append one line to the run's log."""
        row = {
            "run_id": self.run_id, "attempt": self.attempt, "at": at, "level": level,
            "message": self._redactor.text(message), "data_json": self._redactor.json_text(canonical_json(data or {})),
        }  # fmt: skip
        with self.store.write() as db:
            chain.append(db, self.run_id, "events", _insert(db, "events", row))

    def add_point(self, name: str, step: int, value: float, at: str) -> None:
        """Append one point to a series; a point that is there already stays."""
        with self.store.write() as db:
            db.execute(
                "INSERT OR IGNORE INTO metrics (run_id, attempt, name, step, value, at) VALUES (?, ?, ?, ?, ?, ?)",
                (self.run_id, self.attempt, name, step, value, at),
            )


_OF_KEY = (
    "candidate_id IN (SELECT id FROM candidates WHERE run_id = ? AND attempt = ? AND content_hash = ?)"
    " AND task_name = ? AND split = ? AND occurrence = ?"
)


def _insert(db: sqlite3.Connection, table: str, row: Mapping[str, object]) -> int:
    columns = ", ".join(row)
    marks = ", ".join("?" * len(row))
    values = well_formed(tuple(row.values()))
    return int(db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values).lastrowid or 0)


def _insert_trace(
    db: sqlite3.Connection, trace: TraceRecord, run_id: str, trial_id: int | None, redactor: Redactor
) -> None:
    row = {
        "id": trace.id, "name": trace.name, "run_id": run_id, "trial_id": trial_id,
        "attributes_json": canonical_json(redactor.document(trace.attributes, by_name=True)),
        "started_at": trace.started_at, "duration_s": trace.duration_s,
    }  # fmt: skip
    _insert(db, "traces", row)
    for span in trace.spans:
        texts = [well_formed(redactor.json_text(text)) for text in span.input]
        hashes = [text_hash(text) for text in texts]
        db.executemany("INSERT OR IGNORE INTO texts VALUES (?, ?)", list(zip(hashes, texts, strict=True)))
        _insert(db, "span_records", _span_row(span, trace.id, hashes, redactor))


def _span_row(span: SpanRecord, trace_id: str, hashes: Sequence[str], redactor: Redactor) -> dict[str, object]:
    return {
        "id": span.id, "trace_id": trace_id, "parent_id": span.parent_id, "type": span.type,
        "name": redactor.text(span.name), "model": span.model, "input_hashes_json": json.dumps(list(hashes)),
        "output": span.output and redactor.json_text(span.output),
        "tokens_in": span.tokens_in, "tokens_out": span.tokens_out, "cost_usd": span.cost_usd,
        "started_at": span.started_at, "duration_s": span.duration_s,
        "error": span.error and redactor.text(span.error), "replayed": int(span.replayed),
    }  # fmt: skip
