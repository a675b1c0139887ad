"""What a new user does with a small target of their own, through the command line."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable

import httpx
import pytest

from rollout_local.simulator import Simulator
from rollout_local.store.schema import open_store
from tests.conftest import Project

Make = Callable[..., Project]
Simulate = Callable[..., Simulator]


def test_create_then_the_printed_command_then_report_and_digest(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    created = project.rollout("optimize", "create", *project.flags, "--max-metric-calls", "60")
    assert created.returncode == 0, created.stderr
    command = created.stdout.strip().splitlines()[-1].strip()
    assert command.startswith("rollout optimize run opt_")
    ran = project.rollout(*shlex.split(command)[1:])
    assert ran.returncode == 0, ran.stderr
    report = project.document("optimize", "report", "latest")
    assert report["holdout"]["lift"] > 0
    assert "30 days" in report["best"]["text"]
    digest = project.rollout("optimize", "digest", "latest").stdout.strip()
    assert digest in ran.stdout


def test_one_shot_gives_the_digest_of_create_and_run_and_of_the_replay(make_project: Make, simulate: Simulate) -> None:
    simulator = simulate()
    project = make_project(simulator.url)
    flags = [*project.flags, "--max-metric-calls", "60"]
    created = project.document("optimize", "create", *flags)
    first = project.document("optimize", "run", created["run_id"])
    second = project.document("optimize", "run", *flags, "--recording", "copy.yaml")
    assert first["digest"] == second["digest"]
    before = httpx.get(simulator.url.removesuffix("/v1") + "/-/calls").json()
    replayed = project.document("optimize", "run", *flags, "--replay", "copy.yaml")
    assert replayed["digest"] == first["digest"]
    assert httpx.get(simulator.url.removesuffix("/v1") + "/-/calls").json() == before


def test_a_finished_run_is_served_from_its_journal_without_a_call(make_project: Make, simulate: Simulate) -> None:
    simulator = simulate()
    project = make_project(simulator.url)
    first = project.document("optimize", "run", *project.flags, "--max-metric-calls", "40")
    calls = simulator.calls()["total"]
    again = project.rollout("optimize", "run", first["run_id"])
    assert again.returncode == 0, again.stderr
    assert "served from its journal: 0 calls" in again.stdout
    assert first["digest"] in again.stdout
    assert simulator.calls()["total"] == calls


def test_a_fresh_attempt_pays_again_and_keeps_the_old_evidence(make_project: Make, simulate: Simulate) -> None:
    simulator = simulate()
    project = make_project(simulator.url)
    first = project.document("optimize", "run", *project.flags, "--max-metric-calls", "20")
    calls = simulator.calls()["total"]
    fresh = project.document("optimize", "run", first["run_id"], "--fresh")
    assert fresh["executed"] == first["executed"]
    assert simulator.calls()["total"] == 2 * calls
    assert project.document("optimize", "show", "latest")["attempt"] == 2


def test_budgets_are_never_passed_as_counted_at_the_provider(make_project: Make, simulate: Simulate) -> None:
    simulator = simulate()
    project = make_project(simulator.url)
    for budget in (2, 7, 50):
        simulator.reset()
        done = project.document("optimize", "run", *project.flags, "--max-metric-calls", str(budget))
        assert done["status"] == "completed"
        report = done["report"]
        baseline, best = 18, 0 if report["best"]["number"] == 0 else 6
        students = simulator.calls()["by_model"]["sim-student"]
        assert students - baseline - best <= budget
        assert report["calls"]["searching"]["spent"] if budget > 2 else True
        assert students == sum(phase["spent"] for phase in report["calls"].values())


def test_lists_and_shows_runs_as_tables_and_as_documents(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    done = project.document("optimize", "run", *project.flags, "--max-metric-calls", "30", "--tag", "nightly")
    listed = project.document("optimize", "list", "--tag", "nightly")
    assert [run["id"] for run in listed] == [done["run_id"]]
    assert project.document("optimize", "list", "--tag", "other") == []
    table = project.rollout("optimize", "list").stdout
    assert "completed" in table
    shown = project.document("optimize", "show", done["run_id"][:9])
    assert shown["status"] == "completed"
    assert shown["candidates"][0]["status"] == "baseline"
    assert "opt_" in project.rollout("optimize", "show", "latest").stdout


def test_dry_run_calls_no_model_and_says_what_the_budget_buys(make_project: Make, simulate: Simulate) -> None:
    simulator = simulate()
    project = make_project(simulator.url)
    found = project.document("optimize", "dry-run", *project.flags, "--max-metric-calls", "60")
    assert found["ok"]
    assert found["calls"] == {"baseline": 18, "search": 60, "best": 6}
    assert {check["check"] for check in found["checks"]} >= {"target", "dataset", "splits", "verifier", "keys", "calls"}
    created = project.document("optimize", "create", *project.flags, "--max-metric-calls", "60")
    assert project.document("optimize", "dry-run", created["run_id"])["ok"]
    assert simulator.calls()["total"] == 0
    assert not (project.folder / ".rollout").exists()


def test_every_trial_has_a_trace_with_its_model_calls(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    price = ["--price", "sim-student=1,2"]
    project.document("optimize", "run", *project.flags, "--max-metric-calls", "10", *price)
    with open_store(project.folder / "rollout.db", create=False) as store:
        trials = store.rows("SELECT * FROM trials")
        spans = store.rows("SELECT s.* FROM spans s JOIN traces t ON t.id = s.trace_id WHERE t.trial_id IS NOT NULL")
    assert len(trials) == len(spans)
    assert all(json.loads(span["input"])[0]["role"] == "system" for span in spans)
    assert all(span["tokens_in"] and span["cost_usd"] and span["model"] == "sim-student" for span in spans)
    assert all(trial["cost_usd"] for trial in trials)


def test_a_cost_that_is_not_known_is_no_zero_anywhere(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    done = project.document("optimize", "run", *project.flags, "--max-metric-calls", "10")
    shown = project.document("optimize", "show", done["run_id"])
    assert shown["cost_usd"] is None
    assert {phase["cost_usd"] for phase in shown["calls"].values()} == {None}
    assert project.document("optimize", "list")[0]["cost_usd"] is None
    assert done["report"]["volatile"]["cost"]["total_usd"] is None
    assert re.search(r"cost_usd +unknown", project.rollout("optimize", "show", "latest").stdout)
    with open_store(project.folder / "rollout.db", create=False) as store:
        assert [row["cost_usd"] for row in store.rows("SELECT cost_usd FROM run_summary")] == [None]
    assert "whole" in project.rollout("db", "check").stdout


def test_a_reflection_model_that_answers_in_plain_text_still_improves_the_prompt(
    make_project: Make, simulate: Simulate
) -> None:
    project = make_project(simulate().url)
    flags = [*project.flags, "--max-metric-calls", "60", "--reflection-model", "openai/sim-reflection-plain"]
    assert project.document("optimize", "run", *flags)["report"]["holdout"]["lift"] > 0


def test_a_reflection_model_that_answers_rubbish_ends_with_no_proposals(make_project: Make, simulate: Simulate) -> None:
    simulator = simulate()
    project = make_project(simulator.url)
    flags = [*project.flags, "--max-metric-calls", "60", "--reflection-model", "openai/sim-reflection-rubbish"]
    done = project.document("optimize", "run", *flags, code=1)
    assert (done["status"], done["stop_reason"]) == ("completed", "no_proposals")
    assert simulator.calls()["by_model"]["sim-reflection-rubbish"] == 3


@pytest.mark.usefixtures("hasty")
def test_rate_limits_change_neither_winner_nor_scores(make_project: Make, simulate: Simulate) -> None:
    flags = ["--max-metric-calls", "40"]
    project = make_project(simulate().url)
    calm = project.document("optimize", "run", *project.flags, *flags)
    project.url = simulate(faults="429:0.3:retry-after=0.01").url
    stormy = project.document("optimize", "run", *project.flags, *flags)
    assert stormy["digest"] == calm["digest"]
    with open_store(project.folder / "rollout.db", create=False) as store:
        assert store.rows("SELECT 1 FROM trials WHERE outcome != 'scored' AND superseded_by IS NULL") == []


@pytest.mark.usefixtures("hasty")
def test_a_provider_that_only_refuses_pauses_the_run_and_it_can_go_on(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate(faults="429:1:retry-after=0.01").url)
    flags = [*project.flags, "--max-metric-calls", "20"]
    paused = project.document("optimize", "run", *flags, code=3)
    assert paused["status"] == "paused"
    assert "limits the rate" in paused["message"]
    base = ["--task-api-base", simulate().url, "--reflection-api-base", simulate().url]
    assert project.document("optimize", "run", paused["run_id"], *base)["status"] == "completed"


@pytest.mark.usefixtures("hasty")
def test_a_reflection_model_that_hangs_pauses_the_run_and_names_its_limit(
    make_project: Make, simulate: Simulate
) -> None:
    simulator = simulate(faults="hang:1:model=sim-reflection")
    project = make_project(simulator.url)
    flags = ["--max-metric-calls", "20", "--reflection-timeout", "0.3"]
    paused = project.document("optimize", "run", *project.flags, *flags, code=3)
    assert "reflection: the provider did not answer in time (timeout)" in paused["message"]
    address = simulator.url.removesuffix("/v1")
    assert f"{address} was asked; one answer may take 0.3 s (--reflection-timeout)" in paused["message"]


def test_a_refused_key_stops_at_once(make_project: Make, simulate: Simulate) -> None:
    simulator = simulate(faults="401:1")
    project = make_project(simulator.url)
    done = project.document("optimize", "run", *project.flags, "--concurrency", "2", code=3)
    assert "refused the key" in done["message"]
    assert simulator.calls()["total"] <= 2


def test_reuse_lets_the_trials_of_an_earlier_run_stand_in(make_project: Make, simulate: Simulate) -> None:
    simulator = simulate()
    project = make_project(simulator.url)
    flags = [*project.flags, "--max-metric-calls", "10"]
    first = project.document("optimize", "run", *flags)
    students = simulator.calls()["by_model"]["sim-student"]
    again = project.document("optimize", "run", *flags, "--reuse")
    assert again["digest"] == first["digest"]
    assert again["executed"] == 0
    assert simulator.calls()["by_model"]["sim-student"] == students
    assert project.document("optimize", "show", again["run_id"])["metric_calls"] == 0
    assert again["report"]["calls"]["searching"]["spent"] == 0
