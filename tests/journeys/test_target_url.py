"""A target behind a URL: whole runs, replays without the server, trouble on the way, and what is refused."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import rollout_local as rollout
from rollout_local.simulator import Simulator
from tests.children import Nursery, until
from tests.conftest import ROOT, Project
from tests.endpoint import ROUTER, SUPPORT, Endpoint, error, helpful

Make = Callable[..., Project]
Simulate = Callable[..., Simulator]
TOKEN = "tok-4f9a8b7c6d5e"
TEAM = "blue-7f6e5d4c3b2a"


@pytest.fixture
def project(make_project: Make, simulate: Simulate) -> Project:
    return make_project(simulate().url, train=4, val=3, holdout=3)


def flags(project: Project, endpoint: Endpoint, *more: str, budget: int = 20) -> list[str]:
    """What `create` needs: neither --module nor a task model, which is the endpoint's own business."""
    return [*project.flags[2:-4], "--target-url", endpoint.url, "--max-metric-calls", str(budget), *more]


def trials(project: Project) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(project.folder / "rollout.db")) as db:
        return db.execute("SELECT outcome, score, feedback, error FROM trials WHERE superseded_by IS NULL").fetchall()


@pytest.fixture
def finished(project: Project, endpoint: Endpoint) -> tuple[Project, dict[str, Any]]:
    """A completed run, and a server that is gone."""
    document = project.document("optimize", "run", *flags(project, endpoint), "--log-dir", "log")
    endpoint.stop()
    return project, document


def test_a_whole_run_improves_the_prompt_and_says_where_its_target_is(project: Project, endpoint: Endpoint) -> None:
    done = project.document("optimize", "run", *flags(project, endpoint))
    assert done["status"] == "completed"
    assert done["report"]["holdout"]["lift"] > 0
    assert done["executed"] == len(endpoint.runs)
    assert endpoint.url in project.rollout("optimize", "show", "latest").stdout
    assert project.document("optimize", "show", "latest")["config"]["target_url"] == endpoint.url


def test_a_replay_into_another_database_asks_nobody_and_is_equal(
    finished: tuple[Project, dict[str, Any]], endpoint: Endpoint
) -> None:
    project, live = finished
    asked = len(endpoint.asked)
    command = [*flags(project, endpoint), "--replay", "log/recording.yaml", "--db", "other.db", "--log-dir", "log2"]
    replayed = project.document("optimize", "run", *command)
    assert replayed["digest"] == live["digest"]
    again = project.document("optimize", "reproduce", live["run_id"])
    assert again["identical"], again["difference"]
    assert len(endpoint.asked) == asked


def test_a_finished_run_is_served_without_the_server_and_without_its_token(
    project: Project, endpoint: Endpoint
) -> None:
    command = flags(project, endpoint, "--target-bearer-env", "AGENT_TOKEN", budget=4)
    live = project.document("optimize", "run", *command, AGENT_TOKEN=TOKEN)
    endpoint.stop()
    again = project.document("optimize", "run", live["run_id"])
    assert (again["digest"], again["executed"]) == (live["digest"], 0)
    assert project.document("optimize", "reproduce", live["run_id"])["identical"]


def test_a_lost_database_is_rebuilt_from_the_log_dir_without_the_server(
    finished: tuple[Project, dict[str, Any]],
) -> None:
    project, live = finished
    (project.folder / "rollout.db").unlink()
    assert project.document("optimize", "run", "--log-dir", "log")["digest"] == live["digest"]


def test_a_bundle_reproduces_elsewhere_without_the_server(
    finished: tuple[Project, dict[str, Any]], tmp_path: Path
) -> None:
    project, live = finished
    assert project.rollout("optimize", "export", live["run_id"], "--bundle", "run.zip").returncode == 0
    elsewhere = Project(tmp_path / "elsewhere", project.url)
    elsewhere.folder.mkdir()
    shutil.move(project.folder / "run.zip", elsewhere.folder)
    assert elsewhere.rollout("import", "bundle", "run.zip").returncode == 0
    said = json.loads((elsewhere.folder / ".rollout" / live["run_id"] / "target.json").read_text())
    assert said == {"protocol": "rollout-target/1", **SUPPORT}
    assert elsewhere.document("optimize", "reproduce", live["run_id"])["identical"]


def test_a_past_run_becomes_an_experiment_that_reproduces_without_the_server(
    finished: tuple[Project, dict[str, Any]],
) -> None:
    project, run = finished
    project.document("experiments", "new", "mine", "--from-run", run["run_id"])
    (again,) = project.document("experiments", "reproduce", "experiments/mine")
    assert again["identical"]
    assert again["digest"] == run["digest"]


def test_an_experiment_is_recorded_from_another_address(project: Project, endpoint: Endpoint) -> None:
    run = project.document("optimize", "run", *flags(project, endpoint, budget=4))
    project.document("experiments", "new", "mine", "--from-run", run["run_id"])
    endpoint.stop()
    moved = Endpoint()
    servers = ["--target-url", moved.url, "--reflection-api-base", project.url]
    again = project.document("experiments", "run", "experiments/mine", *servers)
    moved.stop()
    assert again["status"] == "completed"
    assert len(moved.runs) > 0
    assert project.document("experiments", "lock", "experiments/mine")["digest"] == run["digest"]


@pytest.mark.parametrize("at", [9, *(pytest.param(number, marks=pytest.mark.long) for number in (1, 17))])
def test_killed_at_any_execution_it_goes_on_to_the_same_digest(
    project: Project, endpoint: Endpoint, nursery: Nursery, at: int
) -> None:
    whole = project.document("optimize", "run", *flags(project, endpoint), "--db", "whole.db", "--log-dir", "whole")
    run_id = project.document("optimize", "create", *flags(project, endpoint))["run_id"]
    before = len(endpoint.runs)
    child = nursery.start(project, "optimize", "run", run_id)

    def deadly(question: Mapping[str, Any]) -> dict[str, Any]:
        if len(endpoint.runs) == before + at:
            child.signal(signal.SIGKILL)
        return helpful(question)

    endpoint.replies["run"] = deadly
    assert child.wait().code == -signal.SIGKILL
    endpoint.replies["run"] = helpful
    done = project.document("optimize", "run", run_id)
    assert done["digest"] == whole["digest"]
    assert len(endpoint.runs) - before <= whole["executed"] + 4  # what was in flight is asked again
    assert project.document("optimize", "reproduce", run_id)["identical"]
    assert project.rollout("db", "check").returncode == 0


def test_a_worker_runs_what_was_submitted_with_the_token_of_its_own_environment(
    project: Project, endpoint: Endpoint
) -> None:
    command = flags(project, endpoint, "--target-bearer-env", "AGENT_TOKEN", budget=4)
    run_id = project.document("optimize", "submit", *command, AGENT_TOKEN=TOKEN)["run_id"]
    assert project.rollout("worker", "--once", AGENT_TOKEN=TOKEN).returncode == 0
    assert project.document("optimize", "show", run_id)["status"] == "completed"
    assert {seen["authorization"] for seen in endpoint.headers_seen} == {f"Bearer {TOKEN}"}


def test_a_run_from_python_takes_a_url_too(project: Project, endpoint: Endpoint) -> None:
    result = rollout.run(
        "support", dataset="dataset", verifier="verifier.json", splits_file="splits.json", folder=project.folder,
        reflection_model="openai/sim-reflection", reflection_api_base=project.url, max_metric_calls=20,
        target_url=endpoint.url, allow_constant_score=True,
    )  # fmt: skip
    assert result.status == "completed"
    assert result.best is not None
    assert "30 days" in result.best.text


def test_the_endpoint_of_the_starter_works(project: Project) -> None:
    code = (ROOT / "rollout_local" / "cli" / "starter" / "endpoint.py").read_text(encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-c", code.replace("3000", str(port))], stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}/"
        until(lambda: _listens(port))
        command = [*project.flags[2:-4], "--target-url", url, "--max-metric-calls", "4"]
        done = project.document("optimize", "run", *command)
        assert done["status"] == "completed"
    finally:
        server.kill()
        server.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# trouble


@pytest.mark.usefixtures("hasty")
def test_what_passes_is_tried_again_and_leaves_no_mark(project: Project, endpoint: Endpoint) -> None:
    calm = project.document("optimize", "run", *flags(project, endpoint, "--log-dir", "calm"), "--db", "calm.db")
    troubles = [(503, b"starting"), (429, b""), error(retryable=True), (500, b"Traceback")]
    first: set[tuple[str, str]] = set()

    def shaky(question: Mapping[str, Any]) -> Any:
        what = (question["task"]["name"], question["candidate"]["text"])
        if what in first:
            return helpful(question)
        first.add(what)
        return troubles[len(first) % len(troubles)]

    endpoint.replies["run"] = shaky
    endpoint.answer_headers["Retry-After"] = "0.01"
    done = project.document("optimize", "run", *flags(project, endpoint))
    assert done["digest"] == calm["digest"]
    assert {outcome for outcome, *_ in trials(project)} == {"scored"}
    assert project.document("optimize", "reproduce", done["run_id"])["identical"]


def test_an_endpoint_that_is_gone_pauses_the_run_and_nothing_is_scored(project: Project, endpoint: Endpoint) -> None:
    whole = project.document("optimize", "run", *flags(project, endpoint, "--log-dir", "whole"), "--db", "whole.db")
    run_id = project.document("optimize", "create", *flags(project, endpoint, "--concurrency", "1"))["run_id"]
    before = len(endpoint.runs)
    endpoint.replies["run"] = lambda asked: helpful(asked) if len(endpoint.runs) - before <= 5 else (401, b"who?")
    paused = project.document("optimize", "run", run_id, code=3)
    assert (paused["status"], paused["stop_reason"]) == ("paused", "error")
    assert "the target's endpoint refused the key (HTTP 401: who?)" in paused["message"]
    assert all(score is not None for outcome, score, *_ in trials(project) if outcome == "scored")
    assert not any(score == 0.0 and outcome != "scored" for outcome, score, *_ in trials(project))
    endpoint.replies["run"] = helpful
    assert project.document("optimize", "run", run_id)["digest"] == whole["digest"]


def test_a_server_that_moved_is_named_on_resume(project: Project, endpoint: Endpoint) -> None:
    run_id = project.document("optimize", "create", *flags(project, endpoint, budget=4))["run_id"]
    endpoint.stop()
    moved = Endpoint()
    wrong = project.rollout("optimize", "run", run_id, "--target-url", moved.url + "/v2")
    done = project.document("optimize", "run", run_id, "--target-url", moved.url)
    moved.stop()
    assert wrong.returncode == 2
    assert "the path is part of what was recorded; serve the target at /rollout" in wrong.stderr
    assert done["status"] == "completed"
    assert project.document("optimize", "reproduce", run_id)["identical"]


@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_failure_of_the_targets_own_is_scored_0_with_its_words(
    project: Project, endpoint: Endpoint, status: int
) -> None:
    endpoint.replies["run"] = lambda asked: (
        (status, error(retryable=False)) if asked["task"]["name"] == "task-00" else helpful(asked)
    )
    done = project.document("optimize", "run", *flags(project, endpoint, budget=4))
    assert done["status"] == "completed"
    assert ("scored", 0.0, *["the target failed: ValueError: no such order"] * 2) in trials(project)
    assert project.document("optimize", "reproduce", done["run_id"])["identical"]


# what changed


def test_a_target_that_says_something_else_of_itself_is_refused_before_anything_is_asked(
    project: Project, endpoint: Endpoint
) -> None:
    run_id = project.document("optimize", "create", *flags(project, endpoint, budget=4))["run_id"]
    endpoint.describe(baseline="Answer nobody.")
    for command in (["run"], ["dry-run"]):
        done = project.rollout("optimize", *command, run_id)
        assert done.returncode == 2
        assert "the target changed since this run began" in done.stderr
        assert '+  "baseline": "Answer nobody."' in done.stderr
    assert not endpoint.runs
    assert project.document("optimize", "show", run_id)["status"] == "created"


def test_a_change_of_the_target_may_be_accepted(project: Project, endpoint: Endpoint) -> None:
    paused = project.document("optimize", "run", *flags(project, endpoint, "--max-seconds", "0.000001"), code=3)
    endpoint.describe(description="Answers customers. v2")
    done = project.document("optimize", "run", paused["run_id"], "--max-seconds", "600", "--accept-changed", "target")
    assert done["status"] == "completed"


def test_an_endpoint_that_no_longer_has_the_target_is_an_error_with_those_it_has(
    project: Project, endpoint: Endpoint
) -> None:
    run_id = project.document("optimize", "create", *flags(project, endpoint))["run_id"]
    endpoint.replies["describe"] = {"targets": [ROUTER]}
    done = project.rollout("optimize", "run", run_id)
    assert done.returncode == 2
    assert "describes no target 'support' (it describes: router); check --target" in done.stderr


# secrets


def test_secrets_of_headers_reach_the_endpoint_and_no_file(project: Project, endpoint: Endpoint) -> None:
    endpoint.replies["run"] = lambda asked: {"output": f"{helpful(asked)['output']} ({TOKEN}, {TEAM})"}
    headers = [
        "--target-bearer-env",
        "AGENT_BEARER",
        "--target-header",
        "X-Team: $TEAM_NAME",
        "--target-header",
        "X-Env: test",
    ]
    done = project.document(
        "optimize", "run", *flags(project, endpoint, *headers, budget=4), AGENT_BEARER=TOKEN, TEAM_NAME=TEAM
    )
    seen = {(one["authorization"], one["x-team"], one["x-env"]) for one in endpoint.headers_seen}
    assert seen == {(f"Bearer {TOKEN}", TEAM, "test")}
    for path in project.folder.rglob("*"):
        if path.is_file():
            assert TOKEN.encode() not in path.read_bytes(), path
            assert TEAM.encode() not in path.read_bytes(), path
    config = project.document("optimize", "show", done["run_id"])["config"]
    assert config["target_headers"] == ["X-Team: $TEAM_NAME", "X-Env: test"]
    assert project.document("optimize", "reproduce", done["run_id"])["identical"]


# refusals


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--module", "target"], "--target-url is in place of --module; leave one of them out"),
        (["--target", "sales"], "describes no target 'sales' (it describes: support, router); check --target"),
        ([], "describes support, router; name one with --target"),
        (["--capability", "a@1.0.0"], "--capability is a target of its own"),
        (["--target-header", "X-Api-Key: abc"], "--target-header X-Api-Key: its value may be a secret"),
        (["--target-bearer-env", "NOT_THERE"], "reads the environment variable NOT_THERE, which is not set"),
        (["--replay", "none.yaml"], "there is no recording none.yaml"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_nothing_is_written(
    project: Project, endpoint: Endpoint, more: list[str], says: str
) -> None:
    endpoint.replies["describe"] = {"targets": [SUPPORT, ROUTER]}
    for command in ("create", "dry-run", "run", "submit"):
        done = project.rollout("optimize", command, *flags(project, endpoint), *more)
        assert done.returncode == 2
        assert says in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert "abc" not in done.stderr
    assert not (project.folder / "rollout.db").exists()


@pytest.mark.parametrize(
    ("url", "more", "says"),
    [
        ("https://a.test/", ["--offline"], "--offline forbids --target-url https://a.test/; give --allow-host a.test"),
        ("agents.test/x", [], "--target-url agents.test/x is no http or https URL"),
        ("https://me:pass-word@agents.test/", [], "--target-url for agents.test holds a credential"),
        ("http://127.0.0.1:9/x", [], "refused); start the target's server, or correct --target-url"),
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_asked_is_one_sentence(project: Project, url: str, more: list[str], says: str) -> None:
    done = project.rollout("optimize", "create", *project.flags[2:-4], "--target-url", url, *more)
    assert done.returncode == 2
    assert says in done.stderr
    assert "pass-word" not in done.stderr


def test_headers_without_a_url_are_refused(project: Project) -> None:
    done = project.rollout("optimize", "create", *project.flags, "--target-bearer-env", "AGENT_TOKEN")
    assert done.returncode == 2
    assert "--target-header and --target-bearer-env go to --target-url" in done.stderr


def test_a_run_of_a_module_goes_to_no_url_on_resume(project: Project, endpoint: Endpoint) -> None:
    run_id = project.document("optimize", "create", *project.flags)["run_id"]
    done = project.rollout("optimize", "run", run_id, "--target-url", endpoint.url)
    assert done.returncode == 2
    assert "--target-url is in place of --module" in done.stderr


def test_the_recording_of_another_target_is_refused(project: Project, endpoint: Endpoint) -> None:
    project.document("optimize", "run", *project.flags, "--max-metric-calls", "4", "--recording", "other.yaml")
    done = project.rollout("optimize", "run", *flags(project, endpoint), "--replay", "other.yaml")
    assert done.returncode == 2
    assert f"other.yaml does not hold what {endpoint.url} says of itself" in done.stderr


# before a run


def test_a_dry_run_names_the_url_and_the_variables_and_calls_nothing(project: Project, endpoint: Endpoint) -> None:
    found = project.document(
        "optimize", "dry-run", *flags(project, endpoint, "--target-bearer-env", "AGENT_TOKEN"), AGENT_TOKEN=TOKEN
    )
    said = [check["detail"] for check in found["checks"] if check["check"] == "target"]
    assert any(detail == f"behind {endpoint.url}, with headers from AGENT_TOKEN" for detail in said)
    assert not endpoint.runs
    assert TOKEN not in json.dumps(found)
