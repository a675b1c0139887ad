"""Folders and files with blanks and letters beyond ASCII in their names: what a run does there, and elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from rollout_local.simulator import Simulator
from tests.conftest import Project


def test_a_starter_in_a_folder_with_a_blank_and_an_umlaut_goes_all_the_way(
    tmp_path: Path, simulate: Callable[..., Simulator]
) -> None:
    outside = Project(tmp_path, simulate().url)
    made = outside.document("init", "mein prüf ordner")
    assert shlex.split(made["next"][0]) == ["cd", "mein prüf ordner"]
    project = Project(tmp_path / "mein prüf ordner", outside.url)
    (project.folder / "datasets" / "support").rename(project.folder / "datasets" / "für später")
    (project.folder / "läufe neu").mkdir()
    flags = [
        "--module", "target", "--dataset", "datasets/für später", "--verifier", "verifier.json",
        "--splits-file", "splits.json", "--reflection-model", "openai/sim-reflection", "--task-model",
        "openai/sim-student", "--reflection-api-base", outside.url, "--task-api-base", outside.url,
        "--max-metric-calls", "20", "--name", "läuft gut", "--recording", "läufe neu/auf nahme.yaml",
    ]  # fmt: skip
    db = ["--db", "läufe neu/meine läufe.db"]
    done = project.document("optimize", "run", *flags, *db)
    assert done["status"] == "completed"
    assert (project.folder / "läufe neu" / "auf nahme.yaml").exists()
    assert project.document("optimize", "reproduce", "läuft gut", *db)["identical"]
    assert project.rollout("recordings", "verify", "läufe neu/auf nahme.yaml").returncode == 0
    assert project.document("db", "check", *db)["ok"]
    said = project.rollout("optimize", "export", "latest", "--bundle", "läufe neu/bün del.zip", *db).stdout
    assert said.endswith("rollout import bundle 'bün del.zip'\n")
    there = Project(tmp_path / "an ders wö", outside.url)
    there.folder.mkdir()
    carried = there.document("import", "bundle", "../mein prüf ordner/läufe neu/bün del.zip", *["--db", "ü 2.db"])
    again = ["optimize", "reproduce", "latest", "--source", carried["source"], "--db", "ü 2.db"]
    assert there.document(*again)["digest"] == done["digest"]
    there.document("experiments", "new", "für mich", "--from-run", "latest", "--db", "ü 2.db")
    assert there.document("experiments", "reproduce", "experiments/für mich")[0]["identical"]


def test_the_commands_that_are_printed_can_be_typed_as_they_are(
    make_project: Callable[..., Project], simulate: Callable[..., Simulator]
) -> None:
    project = make_project(simulate().url)
    db = ["--db", "meine läufe.db"]
    created = project.document("optimize", "create", *project.flags, "--max-metric-calls", "4", *db)
    done = project.rollout(*shlex.split(created["command"])[1:], "--json")
    assert done.returncode == 0, done.stderr
