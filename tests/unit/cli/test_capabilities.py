from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rollout_local.cli.capabilities import capabilities, promote
from rollout_local.domain.dataset import Dataset, Task
from rollout_local.domain.identity import canonical_json
from rollout_local.domain.run import CandidateStatus, Phase, RunConfig, RunStatus, TrialKey, TrialOutcome
from rollout_local.domain.target import Candidate
from rollout_local.domain.verdict import CheckSpec, VerifierSpec
from rollout_local.errors import InputError, NotFound, Refused, RolloutError, StoreError
from rollout_local.store import catalog, lifecycle
from rollout_local.store.journal import Journal, TrialRecord
from rollout_local.store.schema import Store, open_store
from rollout_local.targets.capability import CapabilityTarget

AT = "2026-01-01T00:00:00.000Z"
MANIFEST = "schema: 1\nname: support\nversion: 1.0.0\ndescription: Sorts messages.\nauthor: Ada\n"
AGENT = "---\ntools: {lookup: false}\n---\nSort it.\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROLLOUT_DB", raising=False)
    write(tmp_path / "support")
    open_store(tmp_path / "rollout.db").close()
    return tmp_path


def write(folder: Path, version: str = "1.0.0", agent: str = AGENT) -> None:
    (folder / "agents").mkdir(parents=True, exist_ok=True)
    (folder / "tools").mkdir(exist_ok=True)
    (folder / "capability.yaml").write_text(MANIFEST.replace("1.0.0", version))
    (folder / "agents" / "triage.md").write_text(agent)
    (folder / "tools" / "orders.py").write_text("def lookup(order: str) -> str:\n    return order\n")


def invoke(command: Any, *arguments: object) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments)])


def run(*arguments: object, command: Any = capabilities) -> Result:
    result = invoke(command, *arguments)
    assert result.exception is None, result.output
    return result


def document(*arguments: object, command: Any = capabilities) -> Any:
    return json.loads(run(*arguments, "--json", command=command).stdout)


def refusal(*arguments: object, command: Any = capabilities) -> RolloutError:
    result = invoke(command, *arguments)
    assert isinstance(result.exception, RolloutError), result.output
    return result.exception


def test_publishing_says_what_it_keeps_and_that_it_has_it_already() -> None:
    first, second = run("publish", "support").stdout, run("publish", "support").stdout
    assert first.startswith("Published support@1.0.0 · 1 agents · 1 tool files · 3 files · sha256:")
    assert second.endswith("is published already (unchanged)\n")
    assert document("publish", "support")["is_new"] is False


def test_warnings_go_to_stderr_and_into_the_document(folder: Path) -> None:
    (folder / "support" / ".env").write_text("KEY=1")
    result = run("publish", "support")
    assert result.stderr == "warning: .env is left out: a published version would keep its secrets\n"
    assert len(document("publish", "support")["warnings"]) == 1


def test_other_content_under_a_version_is_refused_with_exit_code_1(folder: Path) -> None:
    run("publish", "support")
    write(folder / "support", agent="Other.")
    problem = refusal("publish", "support")
    assert isinstance(problem, Refused)
    assert problem.exit_code == 1


def test_a_list_shows_the_newest_version(folder: Path) -> None:
    run("publish", "support")
    write(folder / "support", version="1.1.0")
    run("publish", "support")
    header, line = run("list").stdout.splitlines()
    assert header.split()[:4] == ["name", "newest", "versions", "agents"]
    assert line.split()[:4] == ["support", "1.1.0", "2", "triage"]
    assert document("list")[0]["versions"] == ["1.0.0", "1.1.0"]


def test_show_has_agents_tools_and_files() -> None:
    run("publish", "support")
    shown = run("show", "support").stdout
    for part in ("support@1.0.0 · Sorts messages.", "by Ada", "lookup: no", "tools: tools/orders.py", "skills: none"):
        assert part in shown
    assert document("show", "support@1.0.0")["agents"][0]["body"] == "Sort it."
    assert isinstance(refusal("show", "desk"), NotFound)


def test_a_diff_is_unified_and_says_when_there_is_none(folder: Path) -> None:
    run("publish", "support")
    write(folder / "support", version="1.0.1", agent="---\n---\nSort it well.\n")
    run("publish", "support")
    assert "-Sort it.\n+Sort it well.\n" in run("diff", "support@1.0.0", "support@1.0.1").stdout
    found = document("diff", "support@1.0.0", "support@1.0.1")
    assert found["changed"] == ["agents/triage.md", "capability.yaml"]
    assert run("diff", "support", "support").stdout == "support@1.0.1 and support@1.0.1 are equal\n"


def test_an_export_writes_the_folder_again(folder: Path) -> None:
    run("publish", "support")
    assert run("export", "support@1.0.0", "--out", "out").stdout == "Wrote out: support@1.0.0 · 3 files\n"
    assert (folder / "out" / "agents" / "triage.md").read_text() == AGENT
    assert document("export", "support", "--out", "again")["files"] == sorted(
        ["agents/triage.md", "capability.yaml", "tools/orders.py"]
    )
    assert isinstance(refusal("export", "support", "--out", "out"), InputError)


def test_looking_without_a_database_makes_none(folder: Path) -> None:
    assert isinstance(refusal("list", "--db", "absent.db"), StoreError)
    assert not (folder / "absent.db").exists()


@pytest.fixture
def finished(folder: Path) -> str:
    """A completed run of the agent, which found a better text."""
    run("publish", "support")
    with open_store(folder / "rollout.db") as store:
        return write_run(store, "Sort it well.")


def write_run(store: Store, text: str) -> str:
    from rollout_local.capabilities import get

    target = CapabilityTarget(get(store, "support"), task_model="openai/m")
    tasks = tuple(Task(name=f"t{n}", input={"goal": f"q{n}"}) for n in range(8))
    split = {"train": ["t0"], "val": ["t1"], "holdout": [f"t{n}" for n in range(2, 8)]}
    spec = VerifierSpec(id="v", name="v", checks=(CheckSpec(id="c", type="contains"),))
    config = {**RunConfig().model_dump(), "capability": "support@1.0.0"}
    row = {
        "id": "opt_1", "project": "default", "tags_json": "[]", "status": RunStatus.COMPLETED, "target_id": target.id,
        "target_row_id": catalog.sync_target(store, target, (), AT),
        "dataset_id": catalog.import_dataset(store, Dataset(name="D", slug="d", tasks=tasks), AT)["id"],
        "verifier_ids_json": json.dumps([catalog.add_verifier(store, spec, AT)["id"]]), "optimizer": "gepa",
        "split_json": json.dumps(split), "seed": 0, "config_json": canonical_json(config), "fingerprint": "f",
        "fingerprint_json": "{}", "metric_call_budget": 1, "created_at": AT,
    }  # fmt: skip
    lifecycle.insert_run(store, row)
    journal = Journal(store, "opt_1", lifecycle.begin_attempt(store, "opt_1", pid=1, host="h", at=AT))
    ids = []
    for number, body in enumerate(("Sort it.", text)):
        candidate = Candidate.model_validate({"text": body})
        ids.append(journal.add_candidate(candidate, CandidateStatus.ACCEPTED, [], AT, number))
        for task in split["holdout"]:
            key = TrialKey(attempt=1, candidate=candidate.content_hash, task=task, split="holdout", occurrence=0)
            trial = TrialRecord(
                key=key, phase=Phase.BEST, outcome=TrialOutcome.SCORED, score=float(number), feedback="", output="",
                created_at=AT,
            )  # fmt: skip
            journal.add_trial(trial, None)
    lifecycle.set_candidates(store, "opt_1", baseline=ids[0], best=ids[1])
    return "opt_1"


def test_promote_shows_the_difference_and_publishes_and_takes_back(finished: str) -> None:
    tried = run(finished, "--dry-run", command=promote).stdout
    assert "-Sort it.\n+Sort it well.\n" in tried
    assert tried.endswith("Would publish support@1.0.1\n")
    assert run(finished, "-q", command=promote).stdout == "Published support@1.0.1\n"
    assert "+Sort it well." in run("diff", "support@1.0.0", "support@1.0.1").stdout
    done = document(finished, "--revert", "--reason", "worse", "--actor", "bob", command=promote)
    assert (done["preview"], done["destination"]) == (None, "support@1.0.2")


def test_promote_as_json_is_one_document(finished: str) -> None:
    done = document(finished, "--version", "2.0.0", command=promote)
    assert done["destination"] == done["preview"]["destination"] == "support@2.0.0"
    assert [gate["met"] for gate in done["preview"]["gates"]] == [True, True, True, True]


def test_a_forced_promotion_says_that_it_was(finished: str, folder: Path) -> None:
    with open_store(folder / "rollout.db") as store, store.write() as db:
        db.execute("UPDATE runs SET config_json = json_set(config_json, '$.confidence', 0.99)")
    assert isinstance(refusal(finished, command=promote), Refused)
    shown = run(finished, "--force", "--reason", "we know", command=promote).stdout
    assert shown.endswith("Published support@1.0.1 (forced)\n")
