"""Cancel, pause, Ctrl-C, SIGTERM and limits: within one call in flight per worker, with the right code, resumable."""

from __future__ import annotations

import signal
import sqlite3
from typing import Any

import pytest

from rollout_local.simulator import Simulator
from tests.children import BUDGET, Child, Make, Nursery, until
from tests.conftest import Project
from tests.faults.conftest import KILLED, Calm, Simulate, checked, settled

PRICE = ["--price", "sim-student=1000,10", "--price", "sim-reflection=0,0"]


def running(
    nursery: Nursery, make_one: Make, simulate: Simulate, *flags: str, calls: int = 8
) -> tuple[Simulator, Project, str, Child]:
    """A run in the middle of its work."""
    simulator = simulate(latency_ms=60)
    project = make_one(simulator.url)
    run_id = nursery.create(project, *BUDGET, *flags)
    child = nursery.start(project, "optimize", "run", run_id, "--json")
    until(lambda: simulator.calls()["total"] >= calls)
    return simulator, project, run_id, child


def show(project: Project, run_id: str) -> Any:
    return project.document("optimize", "show", run_id)


@pytest.mark.parametrize("action", ["cancel", "pause"])
def test_asked_from_another_process_a_run_stops_within_a_call_per_worker(
    action: str, nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    simulator, project, run_id, child = running(nursery, make_one, simulate, "--concurrency", "2")
    asked = project.document("optimize", action, run_id)
    paid = simulator.calls()["total"]
    assert f"asked the runner of {run_id} to {action}" in asked["message"]
    ended = child.wait()
    assert settled(simulator) <= paid + 2
    assert ended.code == {"cancel": 1, "pause": 3}[action], ended.stderr
    row = show(project, run_id)
    assert row["status"] == {"cancel": "cancelled", "pause": "paused"}[action]
    assert row["stop_reason"] == {"cancel": "cancelled", "pause": None}[action]
    again = project.rollout("optimize", action, run_id)
    checked(project)
    if action == "pause":
        assert again.returncode == 1
        assert "there is nothing to pause" in again.stderr
        assert nursery.run(project, "optimize", "run", run_id, "--json").document["digest"] == calm.digest
    else:
        assert again.returncode == 0
        assert "is cancelled already" in again.stdout
        refused = project.rollout("optimize", "run", run_id)
        assert refused.returncode == 1
        assert "--fresh" in refused.stderr


def test_asked_twice_it_is_asked_once(nursery: Nursery, make_one: Make, simulate: Simulate) -> None:
    _, project, run_id, child = running(nursery, make_one, simulate)
    child.stop(project)
    for _ in range(3):
        project.document("optimize", "cancel", run_id)
    child.signal(signal.SIGCONT)
    assert child.wait().code == 1
    db = sqlite3.connect(project.folder / "rollout.db")
    assert db.execute("SELECT action, note FROM run_commands").fetchall() == [("cancel", "heard by the runner")]
    db.close()


def test_a_run_that_only_waits_is_cancelled_at_once(nursery: Nursery, make_one: Make, simulate: Simulate) -> None:
    project = make_one(simulate().url)
    run_id = nursery.create(project, *BUDGET)
    assert project.rollout("optimize", "pause", run_id).returncode == 1
    assert project.document("optimize", "cancel", run_id)["status"] == "cancelled"
    assert project.document("optimize", "cancel", run_id)["status"] == "cancelled"
    row = show(project, run_id)
    assert (row["status"], row["stop_reason"]) == ("cancelled", "cancelled")
    assert row["finished_at"]


def test_a_run_whose_runner_was_killed_is_paused_or_cancelled_at_once(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    project = make_one(simulate().url)
    run_id = nursery.create(project, *BUDGET)
    assert nursery.run(project, "optimize", "run", run_id, die={"call": 7, "when": "after"}).code == KILLED
    assert project.document("optimize", "pause", run_id)["status"] == "paused"
    assert nursery.run(project, "optimize", "run", run_id, die={"call": 7, "when": "after"}).code == KILLED
    assert project.document("optimize", "cancel", run_id)["status"] == "cancelled"
    fresh = nursery.run(project, "optimize", "run", run_id, "--fresh", "--json")
    assert fresh.document["digest"] == calm.digest


def test_a_request_that_a_dead_runner_never_heard_does_not_stop_the_next_one(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    _, project, run_id, child = running(nursery, make_one, simulate)
    child.stop(project)
    project.document("optimize", "pause", run_id)
    child.signal(signal.SIGKILL)
    assert child.wait().code == KILLED
    done = nursery.run(project, "optimize", "run", run_id, "--json")
    assert done.code == 0, done.stderr
    assert done.document["digest"] == calm.digest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_pauses_with_130_and_goes_on_to_the_same_digest(
    number: int, nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    simulator, project, run_id, child = running(nursery, make_one, simulate)
    child.signal(number)
    ended = child.wait()
    assert ended.code == 130, ended.stderr
    assert "pausing" in ended.stderr
    assert ended.document["status"] == "paused"
    assert show(project, run_id)["status"] == "paused"
    done = nursery.run(project, "optimize", "run", run_id, "--json")
    assert done.document["digest"] == calm.digest
    assert settled(simulator) <= calm.calls  # what was in flight was waited for, and kept
    checked(project)


def test_interrupted_twice_it_ends_at_once(nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm) -> None:
    simulator = simulate(faults="hang:1:after=6:first=20:seconds=86400")
    project = make_one(simulator.url)
    run_id = nursery.create(project, *BUDGET)
    child = nursery.start(project, "optimize", "run", run_id)
    until(lambda: simulator.calls()["total"] == 8)  # 5 of train, 3 of val, of which 2 hang
    child.signal(signal.SIGINT)
    until(lambda: "pausing" in child.said())
    child.signal(signal.SIGINT)
    assert child.wait().code == 130
    checked(project)
    base = ["--task-api-base", (mended := simulate().url), "--reflection-api-base", mended]
    assert nursery.run(project, "optimize", "run", run_id, *base, "--json").document["digest"] == calm.digest


def test_a_limit_of_cost_is_never_passed_and_can_be_raised(make_one: Make, simulate: Simulate, calm: Calm) -> None:
    simulator = simulate()
    project = make_one(simulator.url)
    one = [*PRICE, "--concurrency", "1", "--max-cost"]
    paused = project.document("optimize", "run", *project.flags, *BUDGET, *one, "0.4", code=3)
    assert (paused["status"], paused["stop_reason"]) == ("paused", "cost_limit")
    assert "--max-cost 0.4" in paused["message"]
    spent = [show(project, paused["run_id"])["cost_usd"]]
    assert 0 < spent[0] <= 0.4
    limits = ("0.4", "0.6", "0.8", "60")
    for limit in limits:
        done = project.rollout("optimize", "run", paused["run_id"], "--max-cost", limit)
        spent.append(show(project, paused["run_id"])["cost_usd"])
        assert done.returncode == (0 if limit == "60" else 3), done.stderr
        assert spent[-1] <= float(limit)
    assert spent == sorted(spent)
    assert project.document("optimize", "run", paused["run_id"])["digest"] == calm.digest
    assert simulator.calls()["total"] == calm.calls


def test_the_unknown_price_of_a_model_that_only_the_target_names_is_said_and_not_guessed(
    make_one: Make, simulate: Simulate
) -> None:
    project = make_one(simulate().url)
    target = project.folder / "target.py"
    named = 'os.environ["ROLLOUT_GEPA_STUDENT_MODEL"].removeprefix("openai/")'
    target.write_text(target.read_text().replace(named, '"sim-student"'))
    flags = ["--task-model", "openai/gpt-4.1-nano", "--price", "sim-reflection=0,0", "--max-cost", "0.01"]
    done = project.rollout("optimize", "run", *project.flags, *BUDGET, *flags)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the price of sim-student is not known") == 1
    assert "--price sim-student=IN,OUT" in done.stderr


def test_a_limit_of_cost_that_no_price_can_keep_is_refused_before_anything_is_spent(
    make_one: Make, simulate: Simulate
) -> None:
    simulator = simulate()
    project = make_one(simulator.url)
    refused = project.rollout("optimize", "create", *project.flags, *BUDGET, "--max-cost", "1")
    assert refused.returncode == 2
    assert (
        "--max-cost 1 cannot be kept: no price is known for openai/sim-reflection, openai/sim-student" in refused.stderr
    )
    created = project.document("optimize", "create", *project.flags, *BUDGET)
    again = project.rollout("optimize", "run", created["run_id"], "--max-cost", "1", "--price", "sim-student=1,2")
    assert again.returncode == 2
    assert "no price is known for openai/sim-reflection; give --price openai/sim-reflection=IN,OUT" in again.stderr
    assert simulator.calls()["total"] == 0
    assert show(project, created["run_id"])["status"] == "created"


def test_a_replay_spends_nothing_and_needs_no_price(make_one: Make, simulate: Simulate) -> None:
    project = make_one(simulate().url)
    ran = project.document("optimize", "run", *project.flags, *BUDGET, "--recording", "it.yaml")
    replay = ["--replay", "it.yaml", "--max-cost", "1"]
    assert project.document("optimize", "run", *project.flags, *BUDGET, *replay)["digest"] == ran["digest"]


def test_a_limit_of_time_pauses_and_counts_over_resumes(make_one: Make, simulate: Simulate, calm: Calm) -> None:
    simulator = simulate(latency_ms=50)
    project = make_one(simulator.url)
    limit = ["--max-seconds", "0.5", "--concurrency", "2"]
    paused = project.document("optimize", "run", *project.flags, *BUDGET, *limit, code=3)
    assert (paused["status"], paused["stop_reason"]) == ("paused", "time_limit")
    calls = simulator.calls()["total"]
    again = project.rollout("optimize", "run", paused["run_id"])
    assert again.returncode == 3
    assert simulator.calls()["total"] <= calls + 2, "the time that has passed still counts"
    done = project.document("optimize", "run", paused["run_id"], "--max-seconds", "60")
    assert done["digest"] == calm.digest
    assert simulator.calls()["total"] <= calm.calls


def test_no_improvement_ends_the_search_and_counts_over_resumes(
    nursery: Nursery, make_one: Make, simulate: Simulate
) -> None:
    flags = ["--max-metric-calls", "400", "--no-improvement", "2"]
    project = make_one(simulate().url)
    whole = project.document("optimize", "run", *project.flags, *flags)
    assert (whole["status"], whole["stop_reason"]) == ("completed", "no_improvement")
    run_id = nursery.create(project, *flags)
    for _ in range(60):
        done = nursery.run(project, "optimize", "run", run_id, "--json", die={"call": 9, "when": "after"})
        if done.code == 0:
            break
    assert done.document["stop_reason"] == "no_improvement"
    assert done.document["digest"] == whole["digest"]


def test_a_target_that_closes_the_files_of_the_run_pauses_it_in_a_sentence(
    nursery: Nursery, make_one: Make, simulate: Simulate, calm: Calm
) -> None:
    simulator = simulate()
    project = make_one(simulator.url)
    run_id = nursery.create(project, *BUDGET)
    target = (project.folder / "target.py").read_text()
    once = "    if not os.path.exists('struck'): open('struck', 'w').close(); os.closerange(3, 256)\n"
    head, mark, tail = target.partition("    base = os.environ")
    (project.folder / "target.py").write_text(head + once + mark + tail)
    done = nursery.run(project, "optimize", "run", run_id, "--accept-changed", "target")
    assert done.code == 3, done.stderr
    said = f"Run {run_id} is paused: the target closed what the run has open (recording.yaml and"
    assert said in done.stdout + done.stderr  # the way back to stdout is one of the files
    again = nursery.run(project, "optimize", "run", run_id, "--json")
    assert again.document["digest"] == calm.digest, again.stderr
