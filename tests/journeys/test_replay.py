"""Recording a run and replaying it: the same digest, no socket, at any number of threads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from rollout_local.simulator import Simulator
from tests.children import Nursery
from tests.conftest import Project

Make = Callable[..., Project]
Simulate = Callable[..., Simulator]


def duplicate_tasks(project: Project) -> None:
    """Give every task a twin with the very same question, in the same split."""
    folder = project.folder / "dataset"
    splits = json.loads((project.folder / "splits.json").read_text())
    for name in [name for part in splits.values() for name in part]:
        shutil.copytree(folder / name, folder / f"{name}-twin")
        with (folder / "dataset.toml").open("a") as manifest:
            manifest.write(f'[[tasks]]\nname = "{name}-twin"\npath = "{name}-twin"\n')
    doubled = {part: [twin for name in names for twin in (name, f"{name}-twin")] for part, names in splits.items()}
    (project.folder / "splits.json").write_text(json.dumps(doubled))


@pytest.mark.parametrize(
    ("budget", "counts"), [(20, (1, 32)), pytest.param(50, (1, 4, 8, 16, 32), marks=pytest.mark.long)]
)
def test_identical_tasks_under_changing_answers_replay_alike_at_any_number_of_threads(
    make_project: Make, simulate: Simulate, budget: int, counts: tuple[int, ...]
) -> None:
    simulator = simulate(vary_sightings=True, latency_ms=2)
    project = make_project(simulator.url)
    duplicate_tasks(project)
    flags = [*project.flags, "--max-metric-calls", str(budget), "--concurrency", "8"]
    recorded = project.document("optimize", "run", *flags)
    calls = simulator.calls()["total"]
    for threads in counts:
        again = project.document("optimize", "reproduce", recorded["run_id"], "--concurrency", str(threads))
        assert again["identical"], again["difference"]
        assert again["replayed_digest"] == recorded["digest"]
    assert simulator.calls()["total"] == calls


def test_a_replay_needs_no_key_and_no_server(make_project: Make, simulate: Simulate, nursery: Nursery) -> None:
    simulator = simulate()
    project = make_project(simulator.url)
    recorded = project.document("optimize", "run", *project.flags, "--max-metric-calls", "20")
    simulator.stop()
    done = nursery.run(project, "optimize", "reproduce", recorded["run_id"], "--json")
    assert done.code == 0, done.stderr
    assert done.document["identical"]
    assert "bypassed" not in project.document("optimize", "report", recorded["run_id"])["volatile"]


def test_what_passes_by_the_recording_is_said_in_the_run_and_its_report_and_stops_a_replay(
    make_project: Make, simulate: Simulate
) -> None:
    simulator = simulate()
    project = make_project(simulator.url)
    target = project.folder / "target.py"
    connect = f"    __import__('socket').create_connection(('127.0.0.1', {urlsplit(simulator.url).port})).close()\n"
    target.write_text(target.read_text().replace("    base = os", connect + "    base = os"))
    done = project.rollout("optimize", "run", *project.flags, "--max-metric-calls", "8")
    said = "with a client that recordings do not cover, so it is neither recorded, counted nor limited"
    assert done.stderr.count(said) == 1
    assert f"Not all is recorded: the target reached 127.0.0.1:{urlsplit(simulator.url).port} {said}" in (
        project.rollout("optimize", "report", "latest", "--format", "md").stdout.replace("\n", " ")
    )
    assert "A replay opens no sockets" in project.rollout("optimize", "reproduce", "latest").stdout


def test_a_byte_changed_in_the_recording_is_refused_with_its_line(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    recorded = project.document("optimize", "run", *project.flags, "--max-metric-calls", "10")
    recording = project.folder / ".rollout" / recorded["run_id"] / "recording.yaml"
    text = recording.read_text()
    recording.write_text(text.replace("Thanks for", "Thanks fur", 1))
    refused = project.rollout("optimize", "reproduce", recorded["run_id"])
    assert refused.returncode == 2
    assert "recording.yaml:" in refused.stderr


def test_a_changed_target_is_named_and_not_replayed(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    recorded = project.document("optimize", "run", *project.flags, "--max-metric-calls", "10")
    target = project.folder / "target.py"
    target.write_text(target.read_text().replace('"role": "user"', '"role": "assistant"'))
    refused = project.rollout("optimize", "reproduce", recorded["run_id"])
    assert refused.returncode == 2
    assert "the target changed" in refused.stderr
    assert '"role": "assistant"' in refused.stderr


def test_a_request_that_was_not_recorded_pauses_the_replay_and_shows_the_nearest(
    make_project: Make, simulate: Simulate
) -> None:
    project = make_project(simulate().url)
    project.document("optimize", "run", *project.flags, "--max-metric-calls", "10", "--recording", "r.yaml")
    target = project.folder / "target.py"
    target.write_text(target.read_text().replace("task.instruction", "task.instruction + '!'"))
    done = project.document("optimize", "run", *project.flags, "--max-metric-calls", "10", "--replay", "r.yaml", code=3)
    assert done["status"] == "paused"
    assert "Not recorded" in done["message"]
    assert "0.0" not in str(done["report"])


def test_a_run_that_was_not_recorded_cannot_be_reproduced(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    done = project.document("optimize", "run", *project.flags, "--max-metric-calls", "5", "--no-recording")
    refused = project.rollout("optimize", "reproduce", done["run_id"])
    assert refused.returncode == 2
    assert "was not recorded" in refused.stderr


def test_trials_that_made_no_recorded_call_are_said_to_be_executed_again(
    make_project: Make, simulate: Simulate
) -> None:
    project = make_project(simulate().url)
    (project.folder / "target.py").write_text(
        "import rollout_local as rollout\n"
        "@rollout.optimize(id='inside', baseline='Say hello.')\n"
        "def run(task, candidate):\n    return candidate.text + task.name\n"
    )
    done = project.document("optimize", "run", *project.flags, "--max-metric-calls", "6")
    again = project.document("optimize", "reproduce", done["run_id"])
    assert again["identical"]
    assert again["reexecuted"] > 0


def test_an_offline_run_reaches_loopback_and_nothing_else(make_project: Make, simulate: Simulate) -> None:
    project = make_project(simulate().url)
    flags = [*project.flags, "--max-metric-calls", "5", "--offline"]
    assert project.document("optimize", "run", *flags)["status"] == "completed"
    project.url = "http://models.example:8080/v1"
    refused = project.document("optimize", "run", *project.flags, "--max-metric-calls", "5", "--offline", code=3)
    assert "models.example" in refused["message"]
