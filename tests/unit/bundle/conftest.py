"""A log_dir of real `dspy.GEPA` over an engine in this process, and a run that has a row in every table."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy import lm15

from rollout_local.domain.dataset import Dataset, Task
from rollout_local.domain.identity import canonical_json
from rollout_local.domain.run import CandidateStatus, Phase, RunConfig, RunStatus, TrialKey, TrialOutcome
from rollout_local.domain.target import Candidate, TargetKind
from rollout_local.domain.verdict import CheckSpec, VerifierSpec
from rollout_local.store import catalog, lifecycle
from rollout_local.store.journal import Journal, SpanRecord, TraceRecord, TrialRecord
from rollout_local.store.schema import Store

AT = "2026-01-01T00:00:00.000Z"


# -- plain GEPA


class Engine:
    """A reflection model: its n-th answer is a text of its own."""

    def __init__(self) -> None:
        self.asked = 0

    def complete(self, request: Any) -> Any:
        self.asked += 1
        said = json.dumps({"new_instruction": f"Answer better, try {self.asked}."})
        return lm15.Response(
            id=None, model="m", message=lm15.Message.assistant(said), finish_reason="stop", usage=lm15.Usage()
        )


class Agent(dspy.Module):  # type: ignore[misc]
    """A program whose score is a function of its texts and the question."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        for name in names:
            setattr(self, name, dspy.Predict(dspy.Signature("question -> answer", f"Answer ({name}).")))

    def forward(self, question: str) -> Any:
        text = " ".join(predictor.signature.instructions for predictor in self.predictors())
        score = hashlib.sha256((text + question).encode()).digest()[0] / 255
        prediction = dspy.Prediction(answer=f"{question}!", score=score)
        if dspy.settings.trace is not None:
            dspy.settings.trace.extend((one, {"question": question}, prediction) for one in self.predictors())
        return prediction


def grade(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
    return dspy.Prediction(score=pred.score, feedback="more")


def examples(split: str, size: int) -> list[Any]:
    return [dspy.Example(question=f"{split} {n}").with_inputs("question") for n in range(size)]


def search(folder: Path, names: tuple[str, ...] = ("predict",), budget: int = 60, **arguments: Any) -> Any:
    """Run plain GEPA with this log_dir; returns what it says it found."""
    optimizer = dspy.GEPA(
        arguments.pop("metric", grade), max_metric_calls=budget, num_threads=1, seed=0, log_dir=str(folder),
        reflection_lm=dspy.LM("fake/model", engine=Engine(), cache=False), track_stats=True, **arguments,
    )  # fmt: skip
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            program = optimizer.compile(Agent(names), trainset=examples("train", 6), valset=examples("val", 4))
    finally:
        logging.disable(logging.NOTSET)
    return program.detailed_results


# -- a run of ours


class WrittenTarget:
    """A target that is only looked at."""

    id, kind, description, source_hash = "support", TargetKind.PROMPT, "Answers.", "sha256:s"
    source = 'def run():\n    return "ü"\n'
    baseline = Candidate(text="Text 0 — “ü”")

    def run(self, task: Any, candidate: Any) -> Any:
        raise AssertionError("nothing is run here")


def dataset(slug: str = "refunds") -> Dataset:
    tasks = (Task(name="a", instruction="A", input={"n": 1}), Task(name="b", instruction="B", expected_output="x"))
    return Dataset(name="Refunds", slug=slug, tasks=tasks)


SPEC = VerifierSpec(id="quality", name="Quality", checks=(CheckSpec(id="c", type="contains", params={"value": "x"}),))


class Written:
    """A run in `folder` with a row in every table; `records` writes two attempts, traces, a corrected trial."""

    def __init__(self, store: Store, folder: Path, run_id: str = "opt_carried", **columns: Any) -> None:
        self.store, self.folder, self.run_id = store, folder, run_id
        log_dir = folder / "logs"
        log_dir.mkdir(exist_ok=True)
        (log_dir / "recording-2.yaml").write_bytes(b"interactions:\n- {}\n\xff\n")
        (log_dir / "run.json").write_text('{"format": 1}\n')
        config = RunConfig(log_dir="logs", name="carried", tags=("nightly",), reflection_model="openai/m")
        row = {
            "id": run_id, "project": "default", "tags_json": '["nightly"]', "status": RunStatus.COMPLETED,
            "target_id": "support", "target_row_id": catalog.sync_target(store, WrittenTarget(), ["app"], AT),
            "dataset_id": catalog.import_dataset(store, dataset(), AT)["id"],
            "val_dataset_id": catalog.import_dataset(store, dataset("val"), AT)["id"],
            "verifier_ids_json": json.dumps([catalog.add_verifier(store, SPEC, AT)["id"]]),
            "split_json": '{"train":["a"],"val":["a","b"],"holdout":["b"]}', "optimizer": "gepa", "seed": 0,
            "config_json": canonical_json(config.model_dump()), "fingerprint": "sha256:f", "fingerprint_json": "{}",
            "metric_call_budget": 10, "created_at": AT, "log_dir": "logs", "recording": "logs/recording-2.yaml",
        }  # fmt: skip
        lifecycle.insert_run(store, row | columns)
        for _ in range(2):
            self._attempt()
        with store.write() as db:
            db.execute("UPDATE runs SET status = ?, recording = ? WHERE id = ?", (
                columns.get("status", "completed"), columns.get("recording", row["recording"]), run_id))  # fmt: skip

    def _attempt(self) -> None:
        number = lifecycle.begin_attempt(self.store, self.run_id, pid=7, host="secret-host", at=AT)
        self.journal = journal = Journal(self.store, self.run_id, number)
        ids = [
            journal.add_candidate(Candidate(text=f"Text {n} — “ü”"), status, parents, AT, n)
            for n, status, parents in ((0, CandidateStatus.BASELINE, ()), (1, CandidateStatus.ACCEPTED, ()))
        ]
        with self.store.write() as db:
            db.execute("INSERT INTO candidate_parents VALUES (?, ?)", (ids[1], ids[0]))
        for n in range(2):
            for task in "ab":
                self.trial(n, task, None, number)
                self.trial(n, task, 0.1 * (n + 1) + 0.3, number, phase=Phase.BASELINE if n == 0 else Phase.SEARCH)
        self.trial(0, "a", None, number, split="train")
        journal.add_reflection("sha256:in", 0, {"text": "new"}, self._trace(f"refl{number}"), AT, 3)
        proposal = journal.add_proposal(
            {"iteration": 0, "parent_candidate_id": ids[0], "component": "instructions", "candidate_id": ids[1],
             "feedback_json": "[]", "created_at": AT}
        )  # fmt: skip
        journal.judge_proposal(proposal, accepted=True, reason="better", before=0.25, after=1.0)
        journal.add_event(AT, "info", "line\u2028one\nline two", {"n": 1})
        journal.add_point("best_val", 2, 0.5, AT)
        lifecycle.set_candidates(self.store, self.run_id, baseline=ids[0], best=ids[1])
        lifecycle.add_report(
            self.store, self.run_id, number, '{"calls":{},"budget":{"asked":10},"gates":[],"verdict":{}}', AT
        )
        lifecycle.end_attempt(self.store, self.run_id, number, RunStatus.COMPLETED, AT)

    def trial(
        self, candidate: int, task: str, score: float | None, attempt: int, split: Any = "val", phase: Any = None
    ) -> None:
        """A trial with its trace; without a score the provider failed, and the next one under its key corrects it."""
        tried = self.store.rows("SELECT count(*) AS n FROM trials")[0]["n"]
        trace = self._trace(f"{self.run_id}-{tried}")
        content = Candidate(text=f"Text {candidate} — “ü”").content_hash
        key = TrialKey(attempt=attempt, candidate=content, task=task, split=split, occurrence=0)
        said = {"output": "x"} if score is not None else {"output": None, "error": "429", "error_kind": "rate_limit"}
        outcome = TrialOutcome.SCORED if score is not None else TrialOutcome.PROVIDER_ERROR
        self.journal.add_trial(
            TrialRecord(
                key=key, phase=phase or Phase.SEARCH, outcome=outcome, score=score, feedback="f", created_at=AT,
                cost_usd=0.25, latency_ms=1.0, trace_id=trace.id, checks_json="[]", answer={"b": 1, "a": "ü"}, **said,
            ),
            trace,
        )  # fmt: skip

    def _trace(self, name: str) -> TraceRecord:
        span = SpanRecord(f"sp-{self.run_id}-{name}", "model", "m", ['"shared prompt"', f'"{name}"'], "out", AT, 0.5,
                          cost_usd=0.5)  # fmt: skip
        return TraceRecord(f"tr-{self.run_id}-{name}", "trial", AT, 1.0, [span], {"k": [1]})


@pytest.fixture
def written(store: Store, tmp_path: Path) -> Callable[..., Written]:
    """`written(**columns)`: a run in the database and the folder of the test."""
    return lambda **columns: Written(store, tmp_path, **columns)


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes | None]]:
    """Everything below a folder, to be compared before and after."""

    def look(folder: Path) -> dict[str, bytes | None]:
        paths = sorted(folder.rglob("*"))
        return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in paths}

    return look
