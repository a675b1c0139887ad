"""A small run in a real store, written row by row as a runner would."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from rollout_local.domain.dataset import Dataset, Split, Task
from rollout_local.domain.identity import canonical_json
from rollout_local.domain.run import CandidateStatus, Phase, RunConfig, RunStatus, TrialKey, TrialOutcome
from rollout_local.domain.target import AgentResult, Candidate, TargetKind
from rollout_local.domain.verdict import CheckSpec, VerifierSpec
from rollout_local.store import catalog, lifecycle, reads
from rollout_local.store.journal import Journal, TrialRecord
from rollout_local.store.schema import open_store

AT = "2026-01-01T00:00:00Z"


@dataclass
class WrittenTarget:
    """A target as the catalog needs it."""

    baseline: Candidate
    id: str = "support-agent"
    kind: TargetKind = TargetKind.PROMPT
    description: str = ""
    source: str = "def run(): ..."
    source_hash: str = "sha256:source"

    def run(self, task, candidate):
        return AgentResult(output="")


def tasks(split, n):
    return [
        Task(
            name=f"{split}-{i}", instruction="Answer.", input={"text": f"{split} question {i}"}, expected_output=f"a{i}"
        )
        for i in range(n)
    ]


@dataclass
class RunBuilder:
    """Writes one run. Every method that writes returns what a test needs to refer to."""

    store: Any
    run_id: str = "opt_test"
    texts: dict[str, str] = field(default_factory=lambda: {"instructions": "Answer the question."})
    sizes: tuple[int, int, int] = (6, 4, 8)
    config: dict[str, Any] = field(default_factory=dict)
    dataset: Dataset | None = None
    budget: int = 60
    source_hash: str = "sha256:source"
    status: RunStatus = RunStatus.COMPLETED
    stamp: str = AT

    def __post_init__(self):
        names = dict(zip(("train", "val", "holdout"), self.sizes, strict=True))
        made = [task for split, n in names.items() for task in tasks(split, n)]
        self.dataset = self.dataset or Dataset(name="Made", slug="made", tasks=tuple(made))
        self.split = Split(**{s: tuple(t.name for t in self.dataset.tasks if t.name.startswith(s)) for s in names})
        self.candidates: dict[int, Candidate] = {}
        self.ids: dict[int, int] = {}
        self._insert()
        self.attempt = lifecycle.begin_attempt(self.store, self.run_id, pid=1, host="here", at=AT)
        self.journal = Journal(self.store, self.run_id, self.attempt)
        self.candidate(0, self.texts, (), CandidateStatus.BASELINE)
        lifecycle.set_candidates(self.store, self.run_id, baseline=self.ids[0], best=self.ids[0])

    def _insert(self):
        target = WrittenTarget(Candidate(components=self.texts), source_hash=self.source_hash)
        spec = VerifierSpec(id="v", name="v", checks=(CheckSpec(id="c", type="contains"),))
        config = RunConfig(**{k: v for k, v in self.config.items() if k in RunConfig.model_fields})
        verifier = catalog.add_verifier(self.store, spec, AT)["id"]
        row = {
            "id": self.run_id, "project": "default", "tags_json": "[]", "status": self.status,
            "target_id": target.id, "target_row_id": catalog.sync_target(self.store, target, (), AT),
            "dataset_id": catalog.import_dataset(self.store, self.dataset, AT)["id"],
            "verifier_ids_json": json.dumps([verifier]), "split_json": canonical_json(self.split.model_dump()),
            "optimizer": "gepa", "seed": 0, "config_json": canonical_json({**config.model_dump(), **self.config}),
            "fingerprint": "sha256:f", "fingerprint_json": "{}", "metric_call_budget": self.budget,
            "created_at": self.stamp,
        }  # fmt: skip
        lifecycle.insert_run(self.store, row)

    @property
    def row(self):
        return reads.run(self.store, self.run_id)

    def candidate(self, number, texts, parents=(0,), status=CandidateStatus.ACCEPTED):
        texts = {"instructions": texts} if isinstance(texts, str) else texts
        self.candidates[number] = Candidate(components=texts)
        parent_ids = [self.ids[parent] for parent in parents]
        self.ids[number] = self.journal.add_candidate(self.candidates[number], status, parent_ids, self.stamp, number)
        return self.ids[number]

    def best(self, number):
        lifecycle.set_candidates(self.store, self.run_id, best=self.ids[number])

    def trial(self, number, task, score, *, split=None, occurrence=0, phase=Phase.BASELINE, **fields):
        split = split or task.split("-")[0]
        key = TrialKey(
            attempt=self.attempt, candidate=self.candidates[number].content_hash, task=task, split=split,
            occurrence=occurrence,
        )  # fmt: skip
        fields.setdefault("outcome", TrialOutcome.SCORED if score is not None else TrialOutcome.PROVIDER_ERROR)
        fields.setdefault("feedback", "fine" if score == 1 else f"expected more of {task}")
        fields.setdefault("output", f"output of {number} on {task}")
        fields.setdefault("created_at", self.stamp)
        return self.journal.add_trial(TrialRecord(key=key, phase=phase, score=score, **fields), None)

    def scores(self, number, split, scores, **fields):
        for i, score in enumerate(scores):
            self.trial(number, f"{split}-{i}", score, **fields)

    def proposal(self, iteration, number, *, component="instructions", parent=0, feedback=(), accepted=True, **judged):
        row_id = self.journal.add_proposal(
            {
                "iteration": iteration, "parent_candidate_id": self.ids[parent], "component": component,
                "candidate_id": self.ids.get(number), "feedback_json": canonical_json(list(feedback)),
                "created_at": self.stamp,
            }
        )  # fmt: skip
        judged = {"reason": "its minibatch improved", "before": 0.25, "after": 0.5} | judged
        self.journal.judge_proposal(row_id, accepted=accepted, **judged)
        return row_id


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "rollout.db") as opened:
        yield opened


@pytest.fixture
def make_run(store):
    def make(**fields):
        return RunBuilder(fields.pop("store", store), **fields)

    return make


BEFORE = [0.0, 0.25, 0.5, 0.5, 0.25, 0.0, 0.5, 1.0]
AFTER = [1.0, 1.0, 0.75, 1.0, 1.0, 0.5, 1.0, 0.75]


@pytest.fixture
def improve():
    """Fill a builder with a run whose candidate 1 is better on most of the holdout."""

    def fill(builder):
        builder.scores(0, "train", [0.5, 0.25, 0.5, 0.0, 0.5, 0.25])
        builder.scores(0, "val", [0.5, 0.5, 0.25, 0.25])
        checks = canonical_json([{"id": "tone", "type": "contains", "score": 0.0}])
        builder.scores(0, "holdout", BEFORE, latency_ms=100.0, cost_usd=0.002, checks_json=checks)
        builder.candidate(1, "Answer the question.\nName the policy in one sentence.")
        feedback = [{"task": "train-0", "inputs": {}, "output": "x", "feedback": "name the policy"}]
        builder.proposal(1, 1, feedback=feedback)
        builder.scores(1, "train", [1.0, 0.75, 0.5], occurrence=1, phase=Phase.SEARCH)
        builder.scores(1, "val", [1.0, 0.75, 0.5, 0.5], phase=Phase.SEARCH)
        checks = canonical_json([{"id": "tone", "type": "contains", "score": 1.0}])
        builder.scores(1, "holdout", AFTER, phase=Phase.BEST, latency_ms=150.0, cost_usd=0.004, checks_json=checks)
        builder.best(1)
        return builder

    return fill


@pytest.fixture
def improved(make_run, improve):
    return improve(make_run())
