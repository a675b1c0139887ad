"""What a run from elsewhere reaches for is named, and waits for a yes; what was made here does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout_local.afterwards import rebuild
from rollout_local.clock import now
from rollout_local.domain.run import RunConfig, RunStatus
from rollout_local.domain.verdict import CheckSpec, VerifierSpec
from rollout_local.errors import NotConfirmed
from rollout_local.planning import setup, trust
from rollout_local.runs import worker
from rollout_local.simulator import Simulator
from rollout_local.stop import StopFlag
from rollout_local.store import queue, reads, seals
from rollout_local.store.schema import Store, open_store
from tests.conftest import Project

JUDGE = CheckSpec(
    id="j", type="llm_judge",
    params={"model": "openai/judge", "prompt": "?", "api_base": "http://judge.example", "parameters": {"k": "$JKEY"}},
)  # fmt: skip
OWN = CheckSpec(id="o", type="python", params={"function": "checks:grade"})
SPEC = VerifierSpec(id="v", name="v", checks=(JUDGE, OWN))
REACHES: list[tuple[dict[str, Any], tuple[str, str]]] = [
    ({"modules": ("app.targets",)}, ("module", "app.targets")),
    ({"target_url": "http://target.example"}, ("address", "http://target.example")),
    ({"target_headers": ("X-Key: $MY_TOKEN",)}, ("variable", "MY_TOKEN")),
    ({"target_bearer_env": "BEARER"}, ("variable", "BEARER")),
    ({"capability": "support@1.0.0"}, ("tools", "support@1.0.0")),
    ({"reflection_model": "openai/r"}, ("model", "openai/r")),
    ({"task_model": "openai/t"}, ("model", "openai/t")),
    ({"reflection_api_base": "http://r.example"}, ("address", "http://r.example")),
    ({"task_api_base": "http://$HOST_OF.example"}, ("variable", "HOST_OF")),
    ({"task_params": {"api_key": "$TEAM_KEY"}}, ("variable", "TEAM_KEY")),
    ({"reflection_params": {"extra": [{"proxy": "http://p.example"}]}}, ("address", "http://p.example")),
    ({"arguments": {"use_mlflow": True}}, ("tracker", "mlflow")),
    ({"arguments": {"gepa_kwargs": {"mlflow_tracking_uri": "http://m.example"}}}, ("address", "http://m.example")),
    ({"arguments": {"instruction_proposer": "my.proposers:Best"}}, ("function", "my.proposers:Best")),
    ({"log_dir": "/elsewhere"}, ("file", "/elsewhere")),
    ({"recording": "/elsewhere.yaml"}, ("file", "/elsewhere.yaml")),
]


@pytest.mark.parametrize(("settings", "contact"), REACHES, ids=lambda given: str(given)[:60])
def test_everything_that_settings_reach_for_is_named(settings: dict[str, Any], contact: tuple[str, str]) -> None:
    found = trust.of_config(RunConfig(**settings), ())
    assert trust.Contact(*contact) in found
    assert trust.Contact(*contact).sentence in trust.said(found)


def test_everything_that_a_verifier_reaches_for_is_named() -> None:
    assert [(one.kind, one.value) for one in trust.of_verifier(SPEC)] == [
        ("address", "http://judge.example"), ("function", "checks:grade"), ("model", "openai/judge"),
        ("variable", "JKEY"),
    ]  # fmt: skip


def test_a_seal_fits_what_it_was_made_of_and_nothing_else() -> None:
    made = seals.seal("run", "opt_1", [["module", "app"]])
    assert seals.fits(made, "run", "opt_1", [["module", "app"]])
    for given, *values in ((made, "run", "opt_2", [["module", "app"]]), (made, "run", "opt_1", []), (None, "run"),
                           ("ü", "run"), ("", "run")):  # fmt: skip
        assert not seals.fits(given, *values)


def test_another_machine_or_user_has_another_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def key(machine: str | None, user: int) -> bytes:
        if machine is not None:
            (tmp_path / "machine-id").write_text(machine)
        monkeypatch.setattr(seals, "_MACHINE_IDS", (tmp_path / "none", tmp_path / ("machine-id" if machine else "no")))
        monkeypatch.setattr("os.getuid", lambda: user)
        return seals._key.__wrapped__()

    keys = {key("a" * 32 + "\n", 1), key("b" * 32, 1), key("b" * 32, 2), key(None, 1), key("", 1)}
    assert len(keys) == 4
    assert key(None, 1) == key("\n", 1)
    monkeypatch.setenv(seals.VARIABLE, " shared by two containers ")
    assert key("a" * 32, 1) == key("b" * 32, 2)
    assert key("a" * 32, 1) not in keys


@pytest.fixture
def project(simulate: Callable[..., Simulator], make_project: Callable[..., Project]) -> Project:
    """A project with a run that was created, in a file that was handed over: nobody here has confirmed it."""
    made = make_project(simulate().url, train=2, val=2, holdout=2)
    made.document("optimize", "create", *made.flags, "--max-metric-calls", "2")
    with open_store(made.folder / "rollout.db") as opened, opened.write() as db:
        db.execute("UPDATE runs SET confirmed = ?", ("0" * 64,))
    return made


@pytest.fixture
def opened(project: Project) -> Iterator[Store]:
    with open_store(project.folder / "rollout.db", create=False) as store:
        yield store


@pytest.mark.parametrize("command", ["run", "dry-run"])
def test_no_command_touches_what_a_run_from_elsewhere_names_before_a_yes(
    project: Project, opened: Store, command: str
) -> None:
    (project.folder / "target.py").write_text("raise SystemExit('it was imported')")
    before = list(opened._connection.iterdump())
    done = project.rollout("optimize", command, "latest")
    assert done.returncode == 1
    for words in ('import the module "target"', f'send requests to "{project.url}"', 'ask the model "openai/sim-',
                  "say so with --trust"):  # fmt: skip
        assert words in done.stderr
    assert list(opened._connection.iterdump()) == before


def test_with_a_yes_all_of_it_is_named_and_the_yes_is_kept(project: Project, opened: Store) -> None:
    done = project.rollout("optimize", "dry-run", "latest", "--trust")
    assert done.returncode == 0, done.stderr
    assert f'send requests to "{project.url}"' in done.stderr
    assert trust.unconfirmed(opened, reads.run(opened, "latest")) == []
    again = project.rollout("optimize", "dry-run", "latest")
    assert (again.returncode, again.stderr) == (0, "")


def test_what_was_changed_after_the_yes_is_asked_for_anew(project: Project, opened: Store) -> None:
    trust.confirm(opened, reads.run(opened, "latest"))
    with opened.write() as db:
        db.execute("UPDATE runs SET config_json = json_set(config_json, '$.task_api_base', 'http://other.example')")
    with pytest.raises(NotConfirmed, match=r"other\.example"):
        trust.require(opened, reads.run(opened, "latest"))


def test_what_is_typed_for_this_time_needs_no_yes_and_a_replay_reaches_for_code_alone(opened: Store) -> None:
    run = reads.run(opened, "latest")
    typed = trust.unconfirmed(opened, run, {"reflection_api_base": "http://mine.example"})
    assert "mine" not in trust.said(typed)
    assert {one.kind for one in trust.unconfirmed(opened, run, {"record_mode": "none"})} == {"module"}


def test_a_worker_lets_a_run_from_elsewhere_wait_and_runs_it_where_it_is_told_to(
    project: Project, opened: Store, simulate: Callable[..., Simulator]
) -> None:
    run_id = reads.run(opened, "latest")["id"]
    queue.enqueue(opened, run_id, RunStatus.CREATED, now())
    (outcome,) = worker.work(opened.path, project.folder, StopFlag(), once=True)
    assert outcome.status is RunStatus.PAUSED
    row = reads.run(opened, run_id)
    assert (row["status"], row["attempt"], row["trial_count"]) == ("paused", 0, 0)
    assert 'import the module "target"' in row["message"]
    queue.enqueue(opened, run_id, RunStatus.PAUSED, now())
    done = project.rollout("worker", "--once", "--trust")
    assert reads.run(opened, run_id)["status"] == "completed", done.stderr
    assert f"run {run_id} was made elsewhere and will " in done.stderr


def test_a_finished_run_from_elsewhere_that_may_not_be_tried_anew_stays_finished(
    project: Project, opened: Store
) -> None:
    run_id = reads.run(opened, "latest")["id"]
    with opened.write() as db:
        db.execute("UPDATE runs SET status = 'completed'")
    refused = project.rollout("optimize", "retry", run_id)
    assert refused.returncode == 1
    assert 'import the module "target"' in refused.stderr
    assert reads.run(opened, run_id)["status"] == "completed"
    assert project.rollout("optimize", "retry", run_id, "--trust").returncode == 0
    assert reads.run(opened, run_id)["status"] == "queued"


def test_a_verifier_from_elsewhere_is_named_and_used_only_once_it_is_registered_here(
    project: Project, opened: Store
) -> None:
    from rollout_local.store import catalog

    catalog.add_verifier(opened, SPEC, now())
    assert setup.find_spec("v", project.folder, opened) == SPEC
    with opened.write() as db:
        db.execute("UPDATE verifiers SET confirmed = NULL")
    with pytest.raises(NotConfirmed, match=r"judge\.example"):
        setup.find_spec("v", project.folder, opened)
    catalog.add_verifier(opened, SPEC, now())
    assert setup.find_spec("v", project.folder, opened) == SPEC


def test_a_log_dir_from_elsewhere_is_not_made_a_run_of_ours(project: Project, tmp_path: Path) -> None:
    project.document("optimize", "run", *project.flags, "--max-metric-calls", "2", "--log-dir", "log")
    file = project.folder / "log" / "run.json"
    file.write_text(file.read_text().replace("sim-reflection", "other-model"))
    with open_store(tmp_path / "new.db") as store, pytest.raises(NotConfirmed, match="openai/other-model"):
        rebuild.run_of(store, project.folder / "log", project.folder)
