"""Reports, blame, compare, rescore, export, experiments: through the command line, on real runs."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rollout_local.simulator import Settings, Simulator, load_script
from tests.children import Nursery, until
from tests.conftest import ROOT, Project, project_in, write_dataset

Make = Callable[..., Project]
Simulate = Callable[..., Simulator]


@pytest.fixture(scope="module")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, str]]:
    """A project with a finished run, and the provider it asked."""
    with Simulator(load_script(None), Settings()) as simulator:
        project = project_in(tmp_path_factory.mktemp("finished"), simulator.url)
        yield project, project.document("optimize", "run", *project.flags, "--max-metric-calls", "60")["run_id"]


@pytest.fixture
def finished(one_run: tuple[Project, str], tmp_path: Path) -> tuple[Project, str]:
    """A project with a finished run, of the test's own."""
    project, run = one_run
    return Project(shutil.copytree(project.folder, tmp_path / "project"), project.url), run


def test_a_report_has_every_form_and_names_where_each_line_came_from(finished: tuple[Project, str]) -> None:
    project, run = finished
    document = project.document("optimize", "report", run)
    assert document["simulated"]
    assert document["blame"]["lines"][0]["text"] == "Answer the customer."
    for form, mark in (("text", "Promotion report"), ("md", "# "), ("html", "<!doctype html>")):
        printed = project.rollout("optimize", "report", run, "--format", form)
        assert printed.returncode == 0
        assert mark.lower() in printed.stdout.lower()
        assert "simulat" in printed.stdout.lower()


def test_the_check_of_a_report_follows_its_gates(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    flags = [*project.flags, "--max-metric-calls", "60"]
    easy = project.document("optimize", "run", *flags, "--min-holdout-improvement", "0.1")["run_id"]
    hard = project.document("optimize", "run", *flags, "--min-holdout-improvement", "1")["run_id"]
    assert project.rollout("optimize", "report", easy, "--check").returncode == 0
    assert project.rollout("optimize", "report", hard, "--check").returncode == 1


def test_blame_compare_logs_and_export_speak_of_the_run(finished: tuple[Project, str]) -> None:
    project, run = finished
    best = project.document("optimize", "report", run)["best"]
    blamed = project.document("optimize", "blame", run)
    assert [line["text"] for line in blamed["lines"]] == best["text"].splitlines()
    assert "feedback" in project.rollout("optimize", "blame", run).stdout
    assert project.document("optimize", "compare", run, run)["differs"] == {}
    assert run in project.rollout("optimize", "compare", run, run).stdout
    assert project.rollout("optimize", "export", run).stdout.rstrip("\n") == best["text"].rstrip("\n")
    assert project.document("optimize", "export", run, "--format", "json")["components"] == best["components"]
    assert any("completed" in line["message"] for line in project.document("optimize", "logs", run))
    assert "searching" in project.rollout("optimize", "logs", run).stdout


def test_a_rescore_makes_a_new_report_without_a_call_and_leaves_the_run_alone(finished: tuple[Project, str]) -> None:
    project, run = finished
    digest = project.document("optimize", "digest", run)["digest"]
    (project.folder / "other.json").write_text(json.dumps({"checks": [{"type": "max_length", "value": 10}]}))
    again = project.document("optimize", "rescore", run, "--verifier", "other.json")
    assert again["rescored_from"] == {"run_id": run, "verifiers": ["other"], "splits_file": None}
    assert (
        again["best"]["holdout"]["mean"] == 0.0 < project.document("optimize", "report", run)["best"]["holdout"]["mean"]
    )
    assert project.document("optimize", "digest", run)["digest"] == digest


def test_a_past_run_becomes_an_experiment_that_reproduces(finished: tuple[Project, str]) -> None:
    project, run = finished
    made = project.document("experiments", "new", "mine", "--from-run", run)
    assert {"experiment.toml", "target.py", "verifier.json", "splits.json", "recording.yaml"} <= set(made["files"])
    again = project.document("experiments", "reproduce", "experiments/mine")
    assert again[0]["identical"]
    listed = project.document("experiments", "list")
    assert [row["name"] for row in listed] == ["mine"]
    assert project.rollout("experiments", "new", "mine").returncode == 2


def test_a_past_run_with_a_val_dataset_becomes_an_experiment_that_reproduces(
    make_project: Make, simulate: Simulate
) -> None:
    project = make_project(simulate().url)
    write_dataset(project.folder / "val", 4)
    for task in (project.folder / "val").glob("*/task.json"):
        task.write_text(task.read_text().replace("Customer asks", "Somebody asks"))
    flags = [*project.flags, "--val-dataset", "val", "--max-metric-calls", "20", "--max-tasks", "3"]
    run = project.document("optimize", "run", *flags)["run_id"]
    project.document("experiments", "new", "mine", "--from-run", run)
    assert project.document("experiments", "reproduce", "experiments/mine")[0]["identical"]
    assert len(list((project.folder / "experiments" / "mine" / "datasets" / "val").glob("*/task.json"))) == 3


def test_a_past_run_of_a_capability_becomes_an_experiment_that_reproduces(
    make_project: Make, simulate: Simulate
) -> None:
    shipped = ROOT / "experiments" / "capability-support"
    project = make_project(simulate(shipped / "simulator.json").url)
    project.document("capabilities", "publish", str(shipped / "capability"))
    run = project.document(
        "optimize", "run", "--capability", "support", "--agent", "triage", "--dataset", str(shipped / "dataset"),
        "--reward", "exact_match_v1", "--splits-file", str(shipped / "splits.json"), "--max-tasks", "4",
        "--max-metric-calls", "20", *project.flags[8:],
    )  # fmt: skip
    made = project.document("experiments", "new", "mine", "--from-run", run["run_id"])
    assert "capability/capability.yaml" in made["files"]
    again = project.document("experiments", "reproduce", "experiments/mine")
    assert (again[0]["identical"], again[0]["digest"]) == (True, run["digest"])


def test_an_experiment_that_is_broken_off_while_it_is_made_leaves_nothing(
    finished: tuple[Project, str], nursery: Nursery
) -> None:
    project, run = finished
    folder = project.folder / "experiments"
    for number, code in ((signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)):
        child = nursery.start(project, "experiments", "new", "mine", "--from-run", run)
        until(lambda: (folder / ".mine.new" / "experiment.toml").exists())
        child.signal(number)
        assert child.wait().code == code
        assert not (folder / "mine").exists()
        assert (folder / ".mine.new").exists() is (number == signal.SIGKILL)
    assert project.document("experiments", "list") == []
    made = project.document("experiments", "new", "mine", "--from-run", run)
    assert {"experiment.lock", "experiment.rows"} <= set(made["files"])
    assert [path.name for path in folder.iterdir()] == ["mine"]


def test_an_experiment_that_cannot_be_laid_out_leaves_nothing(finished: tuple[Project, str]) -> None:
    project, run = finished
    (project.folder / project.document("optimize", "show", run)["recording"]).unlink()
    refused = project.rollout("experiments", "new", "mine", "--from-run", run)
    assert refused.returncode == 2
    assert "its recording to be there" in refused.stderr
    assert list((project.folder / "experiments").iterdir()) == []


def test_an_empty_experiment_reads_back_whatever_its_name(make_project: Make) -> None:
    project = make_project("http://127.0.0.1:9/v1")
    made = project.document("experiments", "new", 'mine "ü"')
    assert made == {"folder": 'experiments/mine "ü"', "files": ["experiment.toml"]}
    assert [row["name"] for row in project.document("experiments", "list")] == ['mine "ü"']


def test_reruns_show_how_the_lift_spreads_and_go_on_where_they_stopped(
    finished: tuple[Project, str], simulate: Simulate
) -> None:
    project, run_id = finished
    project.rollout("experiments", "new", "mine", "--from-run", run_id)
    simulator = simulate()
    servers = ["--task-api-base", simulator.url, "--reflection-api-base", simulator.url]
    first = project.document("experiments", "rerun", "experiments/mine", "--times", "2", *servers)
    locked = project.document("experiments", "list")[0]
    lifts = [one["lift"] for one in first["reruns"]]
    assert len(set(lifts)) == 1, "a simulator says the same again"
    assert first["spread"] == {
        "n": 2, "lift_mean": lifts[0], "lift_sd": 0.0, "lift_least": lifts[0], "lift_most": lifts[0],
        "locked_lift": pytest.approx(lifts[0]),
    }  # fmt: skip
    assert [(one["texts"], one["texts_of_the_lock"]) for one in first["reruns"]] == [
        (one["texts"],) * 2 for one in first["reruns"]
    ]
    asked = simulator.calls()["total"]
    second = project.document("experiments", "rerun", "experiments/mine", "--times", "3", *servers)
    assert [one["run_id"] for one in second["reruns"]][:2] == [one["run_id"] for one in first["reruns"]]
    assert simulator.calls()["total"] == asked + asked // 2
    assert project.document("experiments", "list")[0] == locked, "what is shipped is left alone"
    said = project.rollout("experiments", "rerun", "experiments/mine", *servers).stdout
    assert f"over 3 live reruns: mean {lifts[0]:+.3f}, from {lifts[0]:+.3f} to {lifts[0]:+.3f} (sd 0.000)" in said
    assert simulator.calls()["total"] == asked + asked // 2
    refused = project.rollout("experiments", "rerun", "experiments/mine", "--times", "0", *servers)
    assert refused.returncode == 2
    assert "--times 0 is not from 1 to 100" in refused.stderr


def test_a_sweep_runs_every_cell_once_and_shows_the_spread(finished: tuple[Project, str]) -> None:
    project, run = finished
    project.document("experiments", "new", "mine", "--from-run", run)
    manifest = project.folder / "experiments/mine/experiment.toml"
    manifest.write_text(manifest.read_text() + "\n[sweep]\nseed = [0, 1]\nmax_metric_calls = [10, 20]\n")
    servers = ["--reflection-api-base", project.url, "--task-api-base", project.url]
    first = project.document("experiments", "sweep", "experiments/mine", *servers)
    assert len(first["cells"]) == 4
    assert [group["n"] for group in first["summary"]] == [2, 2]
    second = project.document("experiments", "sweep", "experiments/mine", *servers)
    assert second == first
    assert "seed" in project.rollout("experiments", "sweep", "experiments/mine", *servers).stdout
