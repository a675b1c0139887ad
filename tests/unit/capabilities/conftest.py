"""A capability in a folder; a store that has its tables; a run of its agent, written row by row as a runner would."""

import json
from dataclasses import dataclass

import pytest

from rollout_local.capabilities import load, publish
from rollout_local.domain.dataset import Dataset, Task
from rollout_local.domain.identity import canonical_json
from rollout_local.domain.run import CandidateStatus, Phase, RunConfig, RunStatus, TrialKey, TrialOutcome
from rollout_local.domain.target import AgentResult, Candidate, TargetKind
from rollout_local.domain.verdict import CheckSpec, VerifierSpec
from rollout_local.store import catalog, lifecycle, reads
from rollout_local.store.journal import Journal, TrialRecord
from rollout_local.store.schema import open_store
from rollout_local.targets.capability import CapabilityTarget

AT = "2026-01-01T00:00:00.000Z"
BODY = "You sort messages.\nAnswer with one word."
BETTER = "You sort messages.\nAnswer with the name of the team."

FILES = {
    "capability.yaml": """\
# our desk
schema: 1
name: support
version: "1.0.0"   # bumped by promote
description: Sorts and answers messages.
author:
  name: Ada
  url: https://example.com
""",
    "agents/triage.md": f"""\
---
name: triage     # a comment that stays
description: 'Sorts messages.'
model: inherit
tools:
  "*": false
  LOOKUP_*: true
skills: [tone]
---

{BODY}
""",
    "agents/writer.md": "---\ndescription: Writes answers.\nmodel: openai/sim-writer\n---\nYou write answers.\n",
    "tools/orders.py": '''\
"""Orders of the shop."""
from __future__ import annotations


def lookup_order(order_id: str) -> dict[str, str]:
    """Where an order is, by its number."""
    return {"order": order_id, "status": "on its way"}


def cancel_order(order_id: str, sure: bool = False) -> str:
    """Cancel an order."""
    return "cancelled" if sure else "not sure"


def _private() -> None: ...
''',
    "skills/tone/SKILL.md": "---\nname: tone\ndescription: How we sound.\n---\nKindly.\n",
    "README.md": "A capability.\n",
}


def write(folder, files=None, **changes):
    """Write the capability; `changes` are more files by path (None: left out)."""
    for path, text in {**(FILES if files is None else files), **changes}.items():
        if text is None:
            continue
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "support")


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "rollout.db") as opened:
        yield opened


@pytest.fixture
def published(store, folder):
    loaded = load(folder)
    publish(store, loaded.capability, AT)
    return loaded.capability


@dataclass
class CodeTarget:
    """A decorated function, as the catalog needs it."""

    baseline: Candidate
    id: str = "desk"
    kind: TargetKind = TargetKind.PROMPT
    description: str = ""
    source: str = "def run(): ..."
    source_hash: str = "sha256:source"

    def run(self, task, candidate):
        return AgentResult(output="")


SPLIT = {"train": ["t0", "t1"], "val": ["t2"], "holdout": [f"t{n}" for n in range(3, 9)], "note": ""}


def write_run(
    store, target, texts, *, config=None, status=RunStatus.COMPLETED, lift=1.0, split=SPLIT, run_id="opt_run",
    unscored=False, searched_holdout=False, attempt=True,
):  # fmt: skip
    """A run of `target` whose last text is best, with the holdout scores 0 and `lift`; returns its row."""
    tasks = tuple(Task(name=f"t{n}", input={"goal": f"message {n}"}, expected_output="x") for n in range(6))
    dataset = catalog.import_dataset(store, Dataset(name="D", slug="d", tasks=tasks), AT)["id"]
    spec = VerifierSpec(id="v", name="v", checks=(CheckSpec(id="c", type="contains"),))
    known = {name: value for name, value in (config or {}).items() if name in RunConfig.model_fields}
    row = {
        "id": run_id, "project": "default", "tags_json": "[]", "status": status, "target_id": target.id,
        "target_row_id": catalog.sync_target(store, target, (), AT), "dataset_id": dataset,
        "verifier_ids_json": json.dumps([catalog.add_verifier(store, spec, AT)["id"]]),
        "split_json": json.dumps(split), "optimizer": "gepa", "seed": 0,
        "config_json": canonical_json({**RunConfig(**known).model_dump(), **(config or {})}),
        "fingerprint": "sha256:f", "fingerprint_json": "{}", "metric_call_budget": 10, "created_at": AT,
    }  # fmt: skip
    lifecycle.insert_run(store, row)
    if not attempt:
        return reads.run(store, run_id)
    journal = Journal(store, run_id, lifecycle.begin_attempt(store, run_id, pid=1, host="here", at=AT))
    ids = []
    for number, text in enumerate(texts):
        candidate = Candidate(components=text) if isinstance(text, dict) else Candidate(text=text)
        status_of = CandidateStatus.ACCEPTED if number else CandidateStatus.BASELINE
        ids.append(journal.add_candidate(candidate, status_of, ids[:1], AT, number))
        for task in split["holdout"] if not number or text != texts[0] else ():
            phase = Phase.SEARCH if searched_holdout else Phase.BEST
            key = TrialKey(attempt=1, candidate=candidate.content_hash, task=task, split="holdout", occurrence=0)
            score = None if unscored and number else lift * number
            outcome = TrialOutcome.PROVIDER_ERROR if score is None else TrialOutcome.SCORED
            trial = TrialRecord(
                key=key, phase=phase, outcome=outcome, score=score, feedback="", output="x", created_at=AT
            )
            journal.add_trial(trial, None)
    lifecycle.set_candidates(store, run_id, baseline=ids[0], best=ids[-1])
    return reads.run(store, run_id)


@pytest.fixture
def agent_run(store, published):
    """`agent_run(**changes)`: a run of the agent triage that found `BETTER`."""

    def make(text=BETTER, **changes):
        target = CapabilityTarget(published, "triage", task_model="openai/sim-student")
        config = {"capability": published.reference, "agent": "triage", **changes.pop("config", {})}
        return write_run(store, target, [target.baseline.text, text], config=config, **changes)

    return make


@pytest.fixture
def code_run(store):
    """`code_run(**changes)`: a run of a target in code that found `BETTER`."""

    def make(former=BODY, text=BETTER, **changes):
        baseline = Candidate(components=former) if isinstance(former, dict) else Candidate(text=former)
        return write_run(store, CodeTarget(baseline), [former, text], **changes)

    return make
