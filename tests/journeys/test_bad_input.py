"""Bad input gets one clear sentence, exit 2, and nothing is written."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Project

Make = Callable[..., Project]
NOWHERE = "http://127.0.0.1:9/v1"


def replaced(flags: list[str], flag: str, value: str | None) -> list[str]:
    """`flags` with another value for one flag, or without it."""
    at = flags.index(flag)
    return [*flags[:at], *([] if value is None else [flag, value]), *flags[at + 2 :]]


def refusal(project: Project, *arguments: str, **variables: str) -> str:
    """The sentence with which a command was refused; checks that nothing was written."""
    before = sorted(project.folder.rglob("*"))
    done = project.rollout(*arguments, **variables)
    assert done.returncode == 2, (done.stdout, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert "Traceback" not in done.stderr
    assert 1 <= len(lines) <= 2, done.stderr
    after = [path for path in project.folder.rglob("*") if "__pycache__" not in path.parts]
    assert sorted(path for path in after) == [path for path in before if "__pycache__" not in path.parts]
    return done.stderr


@pytest.fixture
def project(make_project: Make) -> Project:
    return make_project(NOWHERE)


def write(project: Project, name: str, text: str) -> None:
    (project.folder / name).write_text(text)


def test_a_module_that_is_missing(project: Project) -> None:
    said = refusal(project, "optimize", "create", *replaced(project.flags, "--module", "no_such_module"))
    assert "there is no module 'no_such_module'" in said


def test_a_module_that_raises_on_import_names_the_line(project: Project) -> None:
    write(project, "broken.py", "x = 1\nraise RuntimeError('no luck')\n")
    said = refusal(project, "optimize", "create", *replaced(project.flags, "--module", "broken"))
    assert "broken.py:2" in said
    assert "no luck" in said


def test_an_unknown_target_names_those_there_are(project: Project) -> None:
    said = refusal(project, "optimize", "create", *project.flags, "--target", "other")
    assert "no target 'other'" in said
    assert "support" in said


def test_an_unknown_check_type_lists_the_known_ones(project: Project) -> None:
    write(project, "bad.json", json.dumps({"checks": [{"type": "vibes"}]}))
    said = refusal(project, "optimize", "create", *replaced(project.flags, "--verifier", "bad.json"))
    assert "vibes" in said
    assert "task_expectations" in said


def test_malformed_files_are_named_with_their_line(project: Project) -> None:
    write(project, "bad.json", '{\n  "checks": [}\n')
    assert "bad.json:2" in refusal(project, "optimize", "create", *replaced(project.flags, "--verifier", "bad.json"))
    write(project, "dataset/dataset.toml", 'name = "x"\nslug = \n')
    assert "dataset.toml:2" in refusal(project, "optimize", "create", *project.flags)


def test_a_missing_task_folder_is_named(project: Project) -> None:
    (project.folder / "dataset/task-03/task.json").unlink()
    (project.folder / "dataset/task-03").rmdir()
    assert "task-03" in refusal(project, "optimize", "create", *project.flags)


def test_wrong_types_are_named_with_the_field(project: Project) -> None:
    write(project, "dataset/task-03/task.json", json.dumps({"instruction": ["not", "text"]}))
    said = refusal(project, "optimize", "create", *project.flags)
    assert "task-03" in said
    assert "instruction" in said


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ({"train": [], "holdout": ["task-01"]}, "train"),
        ({"train": ["task-01"], "holdout": []}, "holdout"),
        ({"train": ["task-01", "task-02"], "val": ["task-02"], "holdout": ["task-03"]}, "task-02"),
        ({"train": ["task-01", "task-99"], "val": ["task-02"], "holdout": ["task-03"]}, "task-99"),
    ],
)
def test_splits_that_are_empty_overlap_or_name_unknown_tasks(
    project: Project, splits: dict[str, list[str]], words: str
) -> None:
    write(project, "splits.json", json.dumps(splits))
    assert words in refusal(project, "optimize", "create", *project.flags)


def test_the_same_question_in_two_splits_is_a_leak(project: Project) -> None:
    same = (project.folder / "dataset/task-00/task.json").read_text()
    write(project, "dataset/task-17/task.json", same)
    said = refusal(project, "optimize", "create", *project.flags)
    assert "task-00" in said
    assert "task-17" in said


def test_a_verifier_that_fits_no_task(project: Project) -> None:
    for folder in (project.folder / "dataset").glob("task-*"):
        (folder / "task.json").write_text(json.dumps({"instruction": f"Say {folder.name}."}))
    write(project, "only.json", json.dumps({"checks": [{"type": "task_expectations"}]}))
    said = refusal(project, "optimize", "create", *replaced(project.flags, "--verifier", "only.json"))
    assert "fits no task" in said
    assert "expectations" in said


def test_a_missing_key_is_asked_for_only_without_a_local_server(project: Project) -> None:
    flags = replaced(project.flags, "--reflection-api-base", None)
    said = refusal(project, "optimize", "run", *flags)
    assert "OPENAI_API_KEY is not set" in said
    assert "--reflection-api-base" in said


def test_two_budgets(project: Project) -> None:
    said = refusal(project, "optimize", "create", *project.flags, "--auto", "light", "--max-metric-calls", "5")
    assert "--auto and --max-metric-calls" in said


def test_numbers_out_of_range_name_the_flag(project: Project) -> None:
    assert "--stop-at" in refusal(project, "optimize", "create", *project.flags, "--stop-at", "1.5")
    assert "--max-metric-calls" in refusal(project, "optimize", "create", *project.flags, "--max-metric-calls", "0")


def test_a_foreign_database_is_left_as_it_is(project: Project) -> None:
    path = project.folder / "theirs.db"
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE t (x)")
    theirs.close()
    before = path.read_bytes()
    said = refusal(project, "optimize", "create", *project.flags, "--db", "theirs.db")
    assert "another program" in said
    assert path.read_bytes() == before


def test_a_file_that_is_no_database(project: Project) -> None:
    write(project, "notes.db", "these are notes, not a database\n" * 200)
    assert "not a SQLite database" in refusal(project, "optimize", "create", *project.flags, "--db", "notes.db")


def test_a_database_that_cannot_be_written(project: Project, tmp_path: Path) -> None:
    said = refusal(project, "optimize", "create", *project.flags, "--db", str(tmp_path / "no" / "such" / "folder.db"))
    assert "does not exist" in said


def test_a_run_that_does_not_exist(project: Project) -> None:
    assert project.rollout("optimize", "create", *project.flags).returncode == 0
    for command in ("show", "report", "digest", "run", "dry-run"):
        assert "no run 'opt_nope'" in refusal(project, "optimize", command, "opt_nope")


def test_a_database_that_does_not_exist(project: Project) -> None:
    assert "there is no database" in refusal(project, "optimize", "show", "latest", "--db", "none.db")


def test_a_flag_that_decides_the_search_is_refused_beside_a_run(project: Project) -> None:
    created = project.document("optimize", "create", *project.flags)
    said = refusal(project, "optimize", "run", created["run_id"], "--seed", "7")
    assert "--seed" in said


def test_a_missing_recording_is_said_before_anything_runs(project: Project) -> None:
    for command in ("run", "create", "submit", "dry-run"):
        said = refusal(project, "optimize", command, *project.flags, "--replay", "none.yaml")
    assert "none.yaml" in said


def test_a_file_that_is_no_recording_is_said_before_anything_runs(project: Project) -> None:
    for name, text in (("notes.txt", "some notes\n"), ("list.yaml", "- 1\n"), ("empty.yaml", "")):
        write(project, name, text)
        said = refusal(project, "optimize", "create", *project.flags, "--replay", name)
        assert name in said
    assert "notes.txt" in refusal(project, "optimize", "create", *project.flags, "--recording", "notes.txt")
    assert "dataset" in refusal(project, "optimize", "create", *project.flags, "--replay", "dataset")


@pytest.mark.parametrize("flag", ["--task-api-base", "--reflection-api-base"])
@pytest.mark.parametrize(
    "address", ["foo", "127.0.0.1:8000", "ftp://host/x", "http://", "http://host:99999", "http://["]
)
def test_an_address_that_is_no_url_is_refused(project: Project, flag: str, address: str) -> None:
    said = refusal(project, "optimize", "create", *replaced(project.flags, flag, address))
    assert f"{flag} {address}: " in said


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("--concurrency", "1000000", "less than or equal to 1024"),
        ("--concurrency", "0", "greater than or equal to 1"),
        ("--name", "n" * 5000, "at most 200 characters"),
    ],
)
def test_what_is_out_of_bounds_is_refused_and_not_repeated_at_length(
    project: Project, flag: str, value: str, words: str
) -> None:
    said = refusal(project, "optimize", "create", *project.flags, flag, value)
    assert said.startswith(f"rollout: {flag} {value[:60]}")
    assert words in said
    assert len(said) < 200


def test_a_limit_of_cost_without_a_price_is_refused_and_names_what_to_give(project: Project) -> None:
    for command in ("create", "submit", "run", "dry-run"):
        said = refusal(project, "optimize", command, *project.flags, "--max-cost", "1", "--price", "sim-student=1,2")
        assert "no price is known for openai/sim-reflection" in said
        assert "--price openai/sim-reflection=IN,OUT" in said


def test_the_judge_of_a_verifier_needs_a_price_under_a_limit_of_cost(project: Project) -> None:
    judge = {"type": "llm_judge", "params": {"prompt": "Is it kind?", "model": "openai/our-judge"}}
    write(project, "judge.json", json.dumps({"checks": [judge]}))
    flags = [*replaced(project.flags, "--verifier", "judge.json"), "--max-cost", "1"]
    prices = ["--price", "sim-reflection=0,0", "--price", "sim-student=0,0"]
    assert "no price is known for openai/our-judge" in refusal(project, "optimize", "create", *flags, *prices)
    assert project.rollout("optimize", "create", *flags, *prices, "--price", "our-judge=1,2").returncode == 0


def test_a_price_of_a_model_that_the_run_does_not_name_is_warned_of(project: Project) -> None:
    done = project.rollout("optimize", "create", *project.flags, "--price", "gpt-9=1,2", "--price", "sim-student=1,2")
    assert done.returncode == 0
    assert done.stderr.count("warning: ") == 1
    assert "--price gpt-9: the run names no such model" in done.stderr
    found = project.document("optimize", "dry-run", *project.flags, "--price", "gpt-9=1,2")
    assert ("spend", "warn") in {(check["check"], check["status"]) for check in found["checks"]}


def test_a_split_that_the_hash_made_uneven_is_warned_of_with_what_to_do(project: Project) -> None:
    flags = [*replaced(project.flags, "--splits-file", None), "--seed", "5"]
    done = project.rollout("optimize", "create", *flags)
    assert done.returncode == 0, done.stderr
    assert "warning: the split by name hash has train 15, val 1, holdout 2; " in done.stderr
    assert "shares of the 18 tasks would be train 12, val 3, holdout 3" in done.stderr
    assert "rollout datasets split" in done.stderr
    assert "--splits-file" in done.stderr
    found = project.document("optimize", "dry-run", *flags)
    assert ("splits", "warn") in {(check["check"], check["status"]) for check in found["checks"]}
    assert "warning" not in project.rollout("optimize", "create", *project.flags).stderr


@pytest.mark.parametrize(
    "words", [["nope"], ["optimize", "shw"], ["optimize", "show"], ["optimize", "list", "--limit", "x"], ["--nope"]]
)
def test_a_command_that_is_typed_wrongly_gets_two_lines(project: Project, words: list[str]) -> None:
    said = refusal(project, *words).splitlines()
    assert said[0].startswith("rollout: ")
    assert said[1].startswith("Try `rollout")
    assert said[1].endswith(" --help`.")
