"""A run with one attempt in an empty database, and short ways to write its rows."""

import pytest

from rollout_local.domain.dataset import Dataset, Task
from rollout_local.domain.run import CandidateStatus, Phase, RunStatus, TrialKey, TrialOutcome
from rollout_local.domain.target import Candidate, TargetKind
from rollout_local.store import catalog, lifecycle
from rollout_local.store.journal import Journal, TrialRecord

AT = "2025-01-01T00:00:00Z"


class WrittenTarget:
    """A target that is only looked at."""

    id, kind, description, source, source_hash = "support", TargetKind.PROMPT, "Answers.", "x = 1", "sha256:s"

    def __init__(self, **changes):
        self.baseline = Candidate(text="Be kind.")
        vars(self).update(changes)

    def run(self, task, candidate):
        raise AssertionError("nothing is run here")


def dataset(*tasks, slug="refunds", name="Refunds"):
    """A dataset of one task, or of these."""
    return Dataset(name=name, slug=slug, tasks=tasks or (Task(name="a", instruction="A"),))


@pytest.fixture
def add_run(store):
    """`add_run("opt_1", **columns)`: a created run without an attempt."""

    def add(id="opt_1", **columns):
        target = catalog.sync_target(store, WrittenTarget(), ["app"], AT)
        row = {
            "id": id, "project": "default", "tags_json": "[]", "status": RunStatus.CREATED, "target_id": "support",
            "target_row_id": target, "dataset_id": catalog.import_dataset(store, dataset(), AT)["id"],
            "verifier_ids_json": "[]", "split_json": '{"train":[],"val":[],"holdout":[]}',
            "optimizer": "gepa", "seed": 0, "config_json": "{}",
            "fingerprint": "sha256:f", "fingerprint_json": "{}", "metric_call_budget": 10, "created_at": AT,
        }  # fmt: skip
        lifecycle.insert_run(store, {**row, **columns})
        return id

    return add


@pytest.fixture
def journal(store, add_run):
    """The journal of the first attempt of `opt_1`."""
    return begin(store, add_run())


def begin(store, run_id):
    """The journal of the next attempt of a run."""
    return Journal(store, run_id, lifecycle.begin_attempt(store, run_id, pid=1, host="here", at=AT))


def add_candidate(journal, text="Be kind.", number=0, parents=(), status=CandidateStatus.BASELINE):
    """Write a candidate; returns `(row id, content hash)`."""
    candidate = Candidate(text=text)
    return journal.add_candidate(candidate, status, parents, AT, number), candidate.content_hash


def trial(candidate, score=0.5, *, task="a", split="val", occurrence=0, attempt=1, phase=Phase.SEARCH, **more):
    """A finished trial; without a score it failed at the provider."""
    key = TrialKey(attempt=attempt, candidate=candidate, task=task, split=split, occurrence=occurrence)
    said = {"output": None} if score is not None else {"output": None, "error": "429", "error_kind": "rate_limit"}
    return TrialRecord(
        key=key, phase=phase, outcome=TrialOutcome.SCORED if score is not None else TrialOutcome.PROVIDER_ERROR,
        score=score, feedback="", created_at=AT, **{**said, **more},
    )  # fmt: skip
