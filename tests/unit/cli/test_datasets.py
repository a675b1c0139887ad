from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rollout_local.cli.main import cli
from rollout_local.datasets import read_folder, write_folder
from rollout_local.domain.dataset import Dataset, Task
from rollout_local.errors import InputError, NotFound, RolloutError, StoreError

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refunds(folder: Path) -> Path:
    write(folder / "refunds", 10)
    return folder / "refunds"


def write(folder: Path, count: int, **more: Any) -> None:
    tasks = tuple(Task(name=f"t{number}", input={"message": f"question {number}"}, **more) for number in range(count))
    write_folder(Dataset(name="Refund questions", slug="refunds", tasks=tasks), folder)


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(cli, ["datasets", *map(str, arguments)])
    assert result.exception is None, result.output
    return result


def document(*arguments: object) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


def refusal(*arguments: object) -> RolloutError:
    result = CliRunner().invoke(cli, ["datasets", *map(str, arguments)])
    assert isinstance(result.exception, RolloutError), result.output
    assert result.exception.exit_code == 2
    assert result.stdout == ""
    return result.exception


def test_importing_a_folder_twice_is_one_version_and_says_so(refunds: Path) -> None:
    first, second = run("import", refunds).stdout, run("import", refunds).stdout
    short = read_folder(refunds).content_hash[:19]
    assert first == f"Imported refunds@1 · 10 tasks · {short}\n"
    assert second == f"refunds@1 · 10 tasks · {short} is imported already (unchanged)\n"
    assert [row["version"] for row in document("list")] == [1]


def test_one_changed_byte_is_another_version(refunds: Path) -> None:
    run("import", refunds)
    file = refunds / "t0" / "task.json"
    file.write_text(file.read_text().replace("question 0", "question O"))
    row = document("import", refunds)
    assert (row["slug"], row["version"], row["task_count"], row["is_new"]) == ("refunds", 2, 10, True)
    assert [r["version"] for r in document("list")] == [1, 2]


def test_a_list_is_a_table_for_people(refunds: Path) -> None:
    run("import", refunds)
    header, line = run("list").stdout.splitlines()
    assert header.split()[:4] == ["slug", "version", "name", "tasks"]
    assert line.split()[:5] == ["refunds", "1", "Refund", "questions", "10"]


def test_the_database_is_the_one_that_is_named(refunds: Path, folder: Path) -> None:
    run("import", refunds, "--db", folder / "other.db")
    assert not (folder / "rollout.db").exists()
    assert len(document("list", "--db", folder / "other.db")) == 1


def test_show_has_a_line_for_every_task(folder: Path) -> None:
    long = "word " * 40
    tasks = (
        Task(name="long", instruction=long, metadata={"difficulty": "hard", "expectations": {}}),
        Task(name="both", instruction="Answer.", input={"message": "Hi?"}, expected_output="Yes."),
        Task(name="many", input={"a": 1, "b": [2]}, expected_output={"label": "x"}),
    )
    write_folder(Dataset(name="Mixed", slug="mixed", tasks=tasks), folder / "mixed")
    run("import", "mixed")
    shown = run("show", "mixed").stdout
    assert "mixed@1 · Mixed · 3 tasks" in shown
    assert "Answer. · Hi?" in shown
    assert '{"a": 1, "b": [2]}' in shown
    assert "difficulty, expectations" in shown
    assert "…" in shown
    assert long not in shown


def test_show_as_json_has_everything_that_the_tasks_say(refunds: Path) -> None:
    run("import", refunds)
    shown = document("show", "refunds@1")
    assert shown["slug"] == "refunds"
    assert [Task(**task) for task in shown["tasks"]] == list(read_folder(refunds).tasks)


def test_control_characters_of_a_task_do_not_reach_the_terminal(folder: Path) -> None:
    write_folder(Dataset(name="n", slug="n", tasks=(Task(name="t", instruction="a\x1b[31mb"),)), folder / "n")
    run("import", "n")
    assert "\x1b" not in run("show", "n").stdout


def test_show_names_what_there_is_where_the_reference_is_wrong(refunds: Path) -> None:
    run("import", refunds)
    problem = refusal("show", "returns")
    assert isinstance(problem, NotFound)
    assert "refunds@1" in str(problem)


def test_listing_without_a_database_makes_none(folder: Path) -> None:
    assert isinstance(refusal("list"), StoreError)
    assert not list(folder.iterdir())


def test_a_folder_that_is_no_dataset_writes_no_database(folder: Path) -> None:
    (folder / "empty").mkdir()
    assert "dataset.toml" in str(refusal("import", "empty"))
    assert not (folder / "rollout.db").exists()


CSV = 'id,question,label,order\n1,"Where, please?",yes,17\n2,When?,no,18\n3,Why?,yes,19\n'


def pull(*more: str) -> list[str]:
    return ["pull", "csv:table.csv", "--instruction", "question", "--out", "asked", *more]


def test_pull_makes_a_dataset_of_a_table(folder: Path) -> None:
    (folder / "table.csv").write_text(CSV)
    result = run(
        *pull(
            "--input", "order=order", "--metadata", "gold=label", "--name", "id", "--expected", "label", "--limit", "2"
        )
    )
    assert result.stdout == "Wrote asked: asked · 2 tasks\n"
    assert result.stderr == "Next: rollout datasets split asked\n"
    task = read_folder(folder / "asked").tasks[0]
    assert task == Task(
        name="1", instruction="Where, please?", input={"order": "17"}, metadata={"gold": "yes"}, expected_output="yes"
    )


def test_pull_as_json_says_what_was_written(folder: Path) -> None:
    (folder / "table.csv").write_text(CSV)
    found = document(*pull())
    assert found["path"] == "asked"
    assert found["task_count"] == 3
    assert found["content_hash"] == read_folder(folder / "asked").content_hash


def test_quiet_leaves_the_hint_out(folder: Path) -> None:
    (folder / "table.csv").write_text(CSV)
    assert run(*pull("-q")).stderr == ""


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--input", "=order"], "--input takes KEY=COLUMN, not '=order'"),
        (["--metadata", "=label"], "--metadata takes KEY=COLUMN, not '=label'"),
        (["--metadata", "gold="], "--metadata takes KEY=COLUMN, not 'gold='"),
        (["--input", "a=order", "--input", "a=label"], "--input gives 'a' twice, from 'order' and 'label'; keep one"),
        (["--input", "a=price"], 'table.csv has no column "price"'),
        (["--limit", "0"], "--limit 0 leaves no rows"),
    ],
)
def test_pull_refuses_columns_that_make_no_sense_and_writes_nothing(folder: Path, more: list[str], says: str) -> None:
    (folder / "table.csv").write_text(CSV)
    assert says in str(refusal(*pull(*more)))
    assert not (folder / "asked").exists()


def test_validate_says_what_a_folder_is(folder: Path) -> None:
    write(folder / "refunds", 3, expected_output="x", metadata={"expectations": {"mustMention": ["x"]}})
    assert run("validate", "refunds").stdout.splitlines() == [
        "refunds · Refund questions · 3 tasks",
        read_folder("refunds").content_hash,
        "3 with an expected output, 3 with expectations",
    ]
    assert not (folder / "rollout.db").exists()


def test_validate_checks_a_splits_file_and_counts_its_tasks(refunds: Path, folder: Path) -> None:
    splits = {"train": ["t0", "t1", "t2"], "val": ["t3"], "holdout": ["t4", "t5"]}
    (folder / "s.json").write_text(json.dumps(splits))
    line = run("validate", refunds, "--splits-file", "s.json").stdout.splitlines()[-1]
    assert line == "s.json: train 3 · val 1 · holdout 2, 4 in none; no question stands in two splits"
    found = document("validate", refunds, "--splits-file", "s.json")["splits"]
    assert found == {"path": "s.json", "train": 3, "val": 1, "holdout": 2, "unused": 4, "note": ""}


def test_validate_says_how_val_is_made_where_the_file_names_none(refunds: Path, folder: Path) -> None:
    (folder / "s.json").write_text(json.dumps({"train": ["t0", "t1", "t2"], "holdout": ["t4"]}))
    assert "No val was given" in run("validate", refunds, "--splits-file", "s.json").stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ({"train": ["t0", "gone"], "holdout": ["t1"]}, "gone"),
        ({"train": ["t0", "t1"], "holdout": ["t1"]}, "overlap"),
        ({"train": ["t0"], "holdout": []}, "empty"),
        ({"train": ["t0", "t2"], "holdout": ["twin"]}, "the same question"),
    ],
)
def test_validate_refuses_a_split_that_leaks_or_does_not_fit(folder: Path, splits: Any, says: str) -> None:
    questions = {"t0": "a", "t1": "b", "t2": "c", "twin": "a"}
    tasks = tuple(Task(name=name, instruction=text) for name, text in questions.items())
    write_folder(Dataset(name="d", slug="d", tasks=tasks), folder / "d")
    (folder / "s.json").write_text(json.dumps(splits))
    assert says in str(refusal("validate", "d", "--splits-file", "s.json"))


def test_split_writes_the_file_beside_the_dataset_and_says_where(refunds: Path) -> None:
    file = refunds / "splits.json"
    done = run("split", refunds)
    assert done.stdout == f"Wrote {file}: train 6 · val 2 · holdout 2\n"
    assert done.stderr == f"Next: rollout optimize create … --splits-file {file}\n"
    written = json.loads(file.read_text())
    assert sorted(name for names in written.values() for name in names) == [f"t{n}" for n in range(10)]
    assert read_folder(refunds).slug == "refunds"


def test_splitting_again_in_the_same_way_changes_nothing(refunds: Path) -> None:
    run("split", refunds)
    assert run("split", refunds).stdout.startswith("Unchanged: ")
    assert document("split", refunds)["is_new"] is False


def test_a_split_that_says_something_else_is_replaced_only_by_force(refunds: Path) -> None:
    run("split", refunds)
    before = (refunds / "splits.json").read_text()
    problem = refusal("split", refunds, "--seed", 7)
    assert isinstance(problem, InputError)
    assert "--force" in str(problem)
    assert (refunds / "splits.json").read_text() == before
    run("split", refunds, "--seed", 7, "--force")
    assert (refunds / "splits.json").read_text() != before


def test_a_damaged_splits_file_is_not_replaced_in_silence(refunds: Path) -> None:
    (refunds / "splits.json").write_text("{")
    assert "--force" in str(refusal("split", refunds))


def test_split_takes_shares_seed_and_file(refunds: Path, folder: Path) -> None:
    found = document("split", refunds, "--train", ".5", "--val", "0", "--holdout", ".5", "--out", folder / "half.json")
    assert found["path"] == str(folder / "half.json")
    assert [len(found[name]) for name in ("train", "val", "holdout")] == [5, 0, 5]
    assert not (refunds / "splits.json").exists()


def test_split_refuses_shares_that_do_not_add_up(refunds: Path) -> None:
    assert "add up to 1" in str(refusal("split", refunds, "--train", ".9"))
    assert not (refunds / "splits.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["import", "nowhere"],
        ["list"],
        ["show", "nothing"],
        ["validate", "nowhere"],
        ["pull", "csv:nowhere.csv", "--instruction", "a", "--out", "x"],
    ],
)
def test_wrong_input_is_one_line_on_stderr_and_exit_code_2(folder: Path, arguments: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "rollout_local", "datasets", *arguments],
        capture_output=True, text=True, env=environment, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("rollout: ")
    assert len(done.stderr.splitlines()) == 1
    assert not list(folder.iterdir())


def test_a_folder_of_rows_is_taken_wherever_a_run_takes_it(folder: Path) -> None:
    (folder / "rows").mkdir()
    (folder / "rows" / "dataset.yaml").write_text("name: rows\n")
    rows = [{"goal": f"question {number}", "expected_output": "x"} for number in range(10)]
    (folder / "rows" / "rows.json").write_text(json.dumps(rows))
    assert document("validate", "rows")["task_count"] == 10
    assert document("import", "rows")["slug"] == "rows"
    assert run("split", "rows").exit_code == 0


def test_an_imported_dataset_is_named_as_a_run_names_it(refunds: Path) -> None:
    made = document("import", refunds)
    shutil.rmtree(refunds)
    assert document("validate", "refunds")["content_hash"] == made["content_hash"]
    assert document("validate", "refunds@1")["task_count"] == 10
    assert run("import", "refunds@1").stdout.endswith("is imported already (unchanged)\n")
    assert "there is no dataset 'nothing'" in str(refusal("validate", "nothing"))


def test_a_table_where_a_folder_belongs_is_told_how_it_becomes_one(folder: Path) -> None:
    (folder / "tickets.csv").write_text("text,label\na,b\n")
    assert str(refusal("import", "tickets.csv")) == (
        "tickets.csv is a file; give the folder that holds dataset.toml, or make one: "
        "rollout datasets pull csv:tickets.csv"
    )
