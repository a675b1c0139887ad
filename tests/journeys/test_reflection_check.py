"""A budget that buys no proposal still shows that the reflection model answers: one call, before all others."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from rollout_local.simulator import Simulator
from tests.conftest import Project

Make = Callable[..., Project]
Simulate = Callable[..., Simulator]
ANSWERS = "the reflection model openai/sim-reflection was asked, and answers"


def told(project: Project, run: str = "latest") -> list[str]:
    return [event["message"] for event in project.document("optimize", "logs", run)]


@pytest.fixture
def small(make_project: Make, simulate: Simulate) -> tuple[Project, Simulator]:
    simulator = simulate()
    return make_project(simulator.url, train=3, val=1, holdout=1), simulator


def test_it_is_asked_once_recorded_counted_and_replayed(small: tuple[Project, Simulator]) -> None:
    project, simulator = small
    price = ("--price", "sim-reflection=1,1", "--price", "sim-student=0,0")
    done = project.rollout("optimize", "run", *project.flags, "--max-metric-calls", "2", *price)
    assert done.returncode == 0
    assert "buys no proposal: the reflection model is asked once whether it answers" in done.stderr
    assert simulator.calls()["by_model"]["sim-reflection"] == 1
    assert any(ANSWERS in message for message in told(project))
    assert project.document("optimize", "show", "latest")["cost_usd"] > 0
    assert project.document("optimize", "reproduce", "latest")["identical"]
    assert project.document("optimize", "run", "latest")["executed"] == 0
    assert simulator.calls()["by_model"]["sim-reflection"] == 1


def test_a_model_that_does_not_answer_stops_the_run_before_anything_else_is_asked(
    small: tuple[Project, Simulator],
) -> None:
    project, simulator = small
    flags = [flag.replace("sim-reflection", "no-such-model") for flag in project.flags]
    done = project.document("optimize", "run", *flags, "--max-metric-calls", "2", code=3)
    assert done["message"].startswith("the reflection model was asked whether it answers: the provider does not know")
    assert simulator.calls()["total"] == 1


def test_it_is_not_asked_where_the_search_asks_it(small: tuple[Project, Simulator]) -> None:
    project, simulator = small
    done = project.rollout("optimize", "run", *project.flags, "--max-metric-calls", "3")
    assert "there is nothing left to try its text with" in done.stderr
    assert simulator.calls()["by_model"]["sim-reflection"] == 1  # the proposal
    assert not any(ANSWERS in message for message in told(project))


def test_nor_where_a_proposer_of_the_users_own_is_asked_in_its_place(small: tuple[Project, Simulator]) -> None:
    project, simulator = small
    (project.folder / "own.py").write_text("def propose(candidate, dataset, names):\n    return {}\n")
    flags = [*project.flags, "--max-metric-calls", "2", "--arg", "instruction_proposer=own:propose"]
    assert project.rollout("optimize", "run", *flags).returncode == 0
    assert "sim-reflection" not in simulator.calls()["by_model"]


def test_nor_where_it_cannot_be_reached_offline(small: tuple[Project, Simulator]) -> None:
    project, simulator = small
    flags = [*project.flags, "--max-metric-calls", "2", "--offline"]
    flags[flags.index("--reflection-api-base") + 1] = "http://models.example/v1"
    assert project.document("optimize", "run", *flags)["status"] == "completed"
    assert not any(ANSWERS in message for message in told(project))
    assert "sim-reflection" not in simulator.calls()["by_model"]


def test_a_recording_without_it_replays_as_it_did(small: tuple[Project, Simulator]) -> None:
    project, _ = small
    done = project.document("optimize", "run", *project.flags, "--max-metric-calls", "2", "--recording", "r.yaml")
    plain = project.folder / "plain.json"
    project.rollout("recordings", "export", "r.yaml", "--format", "json", "--out", str(plain))
    document = json.loads(plain.read_text())
    asked = [one for one in document["interactions"] if "sim-reflection" not in str(one["request"]["body"])]
    assert len(asked) == len(document["interactions"]) - 1
    plain.write_text(json.dumps({**document, "interactions": asked}))
    again = project.document("optimize", "reproduce", done["run_id"], "--recording", "plain.json")
    assert again["identical"], again
    assert again["replayed_digest"] == done["digest"]
