from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rollout_local.cli.main import cli
from rollout_local.datasets import write_folder
from rollout_local.domain.dataset import Dataset, Task
from rollout_local.errors import RolloutError
from rollout_local.verifiers import CHECKS

ROOT = Path(__file__).parents[3]
SPEC = {
    "id": "refund",
    "name": "Refund quality",
    "passThreshold": 0.5,
    "checks": [
        {"id": "says", "type": "task_expectations", "weight": 3},
        {"type": "max_length", "value": 40},
        {"id": "calm", "type": "must_not_contain", "value": "!", "required": True},
    ],
}
EXPECTATIONS = {"mustMention": [{"text": "30 days", "message": "the window"}]}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "v.json").write_text(json.dumps(SPEC))
    tasks = [Task(name=f"t{n}", instruction=f"Ask {n}", metadata={"expectations": EXPECTATIONS}) for n in range(7)]
    write_folder(Dataset(name="d", slug="d", tasks=tuple(tasks)), tmp_path / "d")
    return tmp_path


def invoke(*arguments: object) -> Result:
    result = CliRunner().invoke(cli, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def run(*arguments: object) -> Result:
    return invoke("verifiers", *arguments)


def refusal(*arguments: object) -> str:
    result = CliRunner().invoke(cli, ["verifiers", *map(str, arguments)])
    assert isinstance(result.exception, RolloutError), result.output
    assert result.exception.exit_code == 2
    assert result.stdout == ""
    return str(result.exception)


def test_creating_a_verifier_twice_is_one_and_says_so() -> None:
    assert run("create", "v.json").stdout == "Created verifier refund · pass_threshold 0.5\n"
    assert run("create", "v.json").stdout == "Verifier refund is registered already (unchanged)\n"
    assert len(json.loads(run("list", "--json").stdout)) == 1


def test_create_as_json_names_the_verifier_and_its_hash() -> None:
    found = json.loads(run("create", "v.json", "--json").stdout)
    assert (found["id"], found["check_count"], found["pass_threshold"], found["is_new"]) == ("refund", 3, 0.5, True)
    assert found["content_hash"].startswith("sha256:")


def test_a_list_is_a_table_for_people() -> None:
    run("create", "v.json")
    header, line = run("list").stdout.splitlines()
    assert header.split()[:3] == ["id", "name", "checks"]
    assert line.split()[:5] == ["refund", "Refund", "quality", "3", "0.500"]


def test_show_has_a_line_for_every_check() -> None:
    run("create", "v.json")
    shown = run("show", "refund").stdout
    assert shown.startswith("refund · Refund quality · passes from 0.5\nsha256:")
    calm = next(line for line in shown.splitlines() if line.startswith("calm"))
    assert calm.split() == ["calm", "not_contains", "1", "yes", 'value="!"']


def test_show_as_json_has_the_whole_verifier() -> None:
    run("create", "v.json")
    shown = json.loads(run("show", "refund", "--json").stdout)
    assert [check["type"] for check in shown["checks"]] == ["task_expectations", "max_length", "not_contains"]
    assert shown["content_hash"].startswith("sha256:")


def test_show_names_what_there_is_where_the_reference_is_wrong() -> None:
    run("create", "v.json")
    assert "refund" in refusal("show", "quality")


def test_an_output_that_passes_ends_with_exit_code_0() -> None:
    result = run("test", "v.json", "--task", "d/t0/task.json", "--output", "You have 30 days.")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "Passed · score 1.000 (passes from 0.5)"


def test_an_output_that_does_not_pass_ends_with_exit_code_1_and_says_why() -> None:
    result = run("test", "v.json", "--task", "d/t0", "--output", "Never!")
    assert result.exit_code == 1
    assert 'missing: the window (expected "30 days")' in " ".join(result.stdout.split())
    assert result.stdout.splitlines()[-2:] == [
        "Not passed · score 0.200 (passes from 0.5)",
        "Required, but not met: calm",
    ]


def test_a_verdict_as_json_is_one_document_with_every_check() -> None:
    result = run("test", "v.json", "--task", "d/t0", "--output", "30 days!", "--json")
    verdict = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (verdict["verifier"], verdict["task"], verdict["passed"]) == ("refund", "t0", False)
    assert [check["score"] for check in verdict["checks"]] == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("dataset", ["d", "./d", "d@1"])
def test_a_task_is_found_by_name_in_a_folder_or_an_imported_dataset(dataset: str) -> None:
    invoke("datasets", "import", "d")
    assert run("test", "v.json", "--task", "t3", "--dataset", dataset, "--output", "30 days").exit_code == 0


def test_a_registered_verifier_is_tried_by_its_id() -> None:
    run("create", "v.json")
    assert run("test", "refund", "--task", "d/t0", "--output", "30 days").exit_code == 0


def test_a_check_that_finds_nothing_to_grade_against_is_pointed_out(folder: Path) -> None:
    (folder / "task.json").write_text('{"instruction": "Hi", "expectedOutput": null}')
    result = run("test", "v.json", "--task", "task.json", "--output", "x")
    assert result.stderr.startswith("note: verifier refund: ")
    assert run("test", "v.json", "--task", "task.json", "--output", "x", "-q").stderr == ""


def test_a_check_of_your_own_is_found_in_the_current_folder(folder: Path) -> None:
    (folder / "my_own_checks.py").write_text("def polite(task, output):\n    return 'please' in output\n")
    spec = {"checks": [{"type": "python", "function": "my_own_checks:polite"}]}
    (folder / "own.json").write_text(json.dumps(spec))
    assert run("test", "own.json", "--task", "d/t0", "--output", "please").exit_code == 0
    assert run("test", "own.json", "--task", "d/t0", "--output", "now").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["v.json", "--task", "nowhere"], "there is no task at nowhere"),
        (["v.json", "--task", "d"], "task.json does not exist"),
        (["v.json", "--task", "list.json"], "list.json: is a list; a task is an object"),
        (["v.json", "--task", "typed.json"], 'typed.json: "instruction": '),
        (["v.json", "--task", "unknown.json"], 'unknown.json: "hint": '),
        (["v.json", "--task", "broken.json"], "broken.json:1:2: not valid JSON"),
        (["v.json", "--task", "t9", "--dataset", "d"], "d has no task 't9'; it has 7: t0, t1, t2, t3, t4 …"),
        (["v.json", "--task", "only2", "--dataset", "small"], "small has no task 'only2'; it has 1: only"),
        (["v.json", "--task", "t0", "--dataset", "gone"], "the dataset folder gone does not exist"),
        (["gone.json", "--task", "d/t0"], "gone.json does not exist"),
        (["gone", "--task", "d/t0"], "gone does not exist"),
    ],
)
def test_what_cannot_be_tried_is_one_clear_sentence(folder: Path, arguments: list[str], says: str) -> None:
    (folder / "list.json").write_text("[1]")
    (folder / "typed.json").write_text('{"instruction": 3}')
    (folder / "unknown.json").write_text('{"hint": "x"}')
    (folder / "broken.json").write_text("{")
    small = Dataset(name="small", slug="small", tasks=(Task(name="only", instruction="Hi"),))
    write_folder(small, folder / "small")
    assert says in refusal("test", *arguments, "--output", "x")
    assert not (folder / "rollout.db").exists()


def test_every_type_of_check_is_listed_with_its_parameters() -> None:
    types = {entry["type"]: entry for entry in json.loads(run("checks", "--json").stdout)}
    assert list(types) == list(CHECKS)
    assert all(set(types[name]["params"]) == set(check.params) for name, check in CHECKS.items())
    assert types["not_contains"]["aliases"] == ["must_not_contain"]
    assert types["json_keys"]["params"]["keys"]["required"] is True
    assert types["contains"]["params"]["case_sensitive"]["default"] is False
    assert "default" not in types["json_keys"]["params"]["keys"]


def test_the_table_of_checks_marks_what_is_required_and_what_excludes_what() -> None:
    text = " ".join(run("checks").stdout.split())
    assert "pattern*" in text
    assert "[value |" in text
    assert "case_sensitive=false" in text
    assert all(name in text for name in CHECKS)
    assert "paths into the task's metadata and expected output, such as a.b[0]; $ is all of it" in text
    assert "$ is all of it" in " ".join(run("checks", "--help").stdout.split())


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    ("arguments", "code", "lines"),
    [
        (["test", "v.json", "--task", "d/t0", "--output", "30 days"], 0, 0),
        (["test", "v.json", "--task", "d/t0", "--output", "no"], 1, 0),
        (["test", "v.json", "--task", "nowhere", "--output", "no"], 2, 1),
        (["create", "broken.json"], 2, 1),
        (["create", "unknown.json"], 2, 1),
    ],
)
def test_exit_codes_as_a_shell_sees_them(folder: Path, arguments: list[str], code: int, lines: int) -> None:
    (folder / "broken.json").write_text("{")
    (folder / "unknown.json").write_text('{"checks": [{"type": "vibes"}]}')
    done = subprocess.run(
        [sys.executable, "-m", "rollout_local", "verifiers", *arguments],
        capture_output=True, text=True, env=environment(), check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == lines
    assert not (folder / "rollout.db").exists()


def test_the_documents_of_this_command_are_json(folder: Path) -> None:
    run("create", "v.json")
    documents: list[Any] = [
        json.loads(run(*words, "--json").stdout) for words in (["list"], ["show", "refund"], ["checks"])
    ]
    assert [type(found) for found in documents] == [list, dict, list]
