"""`dry-run --connect` and `doctor --server`: a run's models are asked a few questions before it is paid for."""

from __future__ import annotations

from collections.abc import Callable

from rollout_local.simulator import Simulator
from tests.conftest import Project

Make = Callable[..., Project]
Simulate = Callable[..., Simulator]


def test_a_dry_run_that_connects_asks_the_models_and_keeps_nothing(make_project: Make, simulate: Simulate) -> None:
    simulator = simulate()
    project = make_project(simulator.url)
    plain = project.document("optimize", "dry-run", *project.flags)
    assert simulator.calls()["total"] == 0
    found = project.document("optimize", "dry-run", *project.flags, "--connect")
    asked = [(one["status"], one["detail"]) for one in found["checks"] if one not in plain["checks"]]
    assert {status for status, _ in asked} == {"ok"}
    said = "\n".join(detail for _, detail in asked)
    assert "the task model openai/sim-student answers in" in said
    assert "10 equal requests at temperature 0, 4 at once: one answer" in said
    assert "the reflection model openai/sim-reflection keeps to JSON" in said
    assert simulator.calls()["by_model"] == {"sim-student": 11, "sim-reflection": 2}
    assert not (project.folder / "rollout.db").exists()
    assert not (project.folder / ".rollout").exists()


def test_a_server_that_is_not_there_or_says_other_things_each_time_is_told(
    make_project: Make, simulate: Simulate
) -> None:
    project = make_project("http://127.0.0.1:1/v1")
    found = project.document("optimize", "dry-run", *project.flags, "--connect", code=2)
    failed = [one["detail"] for one in found["checks"] if one["status"] == "fail"]
    assert failed[0].startswith("http://127.0.0.1:1/v1: no list of models (ConnectError")
    assert failed[0].endswith("start the server, or correct the address")
    assert len(failed) == 2, "one for each model, which is not asked then"
    unsteady = simulate(vary_sightings=True)
    flags = [flag.replace(project.url, unsteady.url) for flag in project.flags]
    found = project.document("optimize", "dry-run", *flags, "--connect")
    told = next(one for one in found["checks"] if one["check"] == "steady")
    assert told["status"] == "warn"
    assert "a live rerun will differ, a replay will not" in told["detail"]


def test_doctor_looks_at_a_server(make_project: Make, simulate: Simulate) -> None:
    project = make_project("")
    url = simulate().url
    found = project.document("doctor", "--server", url, "--model", "openai/sim-student")
    assert [one["status"] for one in found] == ["ok"] * 3
    assert "sim-student*" in found[0]["detail"]
    down = project.document("doctor", "--server", "http://127.0.0.1:1/v1", code=1)
    assert [one["status"] for one in down] == ["fail"]
    assert "must be a URL" in project.rollout("doctor", "--server", "here").stderr
