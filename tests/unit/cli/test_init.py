from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from rollout_local.cli.init import COMMANDS, STARTER
from rollout_local.cli.main import cli
from rollout_local.datasets import check_leakage, make_split, read_folder, read_splits
from rollout_local.domain.target import AgentResult, Candidate, Target
from rollout_local.errors import InputError
from rollout_local.models import keep_libraries_offline, set_dummy_keys
from rollout_local.simulator import Simulator, load_script
from rollout_local.targets.registry import clear_optimization_targets, get_optimization_target, load_modules
from rollout_local.verifiers import grade, read_spec, validate
from tests.conftest import fresh_targets

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["init", *arguments])
    assert result.exception is None, result.output
    return result.stdout


def refusal(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["init", *arguments])
    assert isinstance(result.exception, InputError)
    assert result.stdout == ""
    return str(result.exception)


def test_it_writes_every_file_of_the_starter_and_nothing_else(folder: Path) -> None:
    start("demo")
    written = {str(file.relative_to(folder / "demo")) for file in (folder / "demo").rglob("*") if file.is_file()}
    assert {
        "target.py",
        "endpoint.py",
        "verifier.json",
        "splits.json",
        "README.md",
        "datasets/support/dataset.toml",
    } <= written
    assert len(written) == 6 + 24
    assert not any("__pycache__" in name for name in written)


def test_it_prints_the_commands_that_come_next_ready_to_be_pasted() -> None:
    assert start("my demo").splitlines()[-3:] == ["cd 'my demo'", *COMMANDS]


def test_without_a_folder_it_writes_here(folder: Path) -> None:
    assert start().splitlines()[-2:] == list(COMMANDS)
    assert (folder / "target.py").exists()


def test_as_json_it_lists_the_files_and_the_commands(folder: Path) -> None:
    found = json.loads(start("demo", "--json"))
    assert found["next"] == ["cd demo", *COMMANDS]
    assert all((folder / "demo" / name).is_file() for name in found["files"])


def test_the_readme_has_the_same_commands() -> None:
    lines = (STARTER / "README.md").read_text().splitlines()
    assert all(command in lines for command in COMMANDS)


def test_a_folder_that_holds_something_is_refused_by_name_and_left_alone(folder: Path) -> None:
    (folder / "demo").mkdir()
    (folder / "demo" / "mine.txt").write_text("mine")
    assert f"{folder / 'demo'} is not empty" in refusal("demo")
    assert [file.name for file in (folder / "demo").iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_taken(folder: Path) -> None:
    (folder / "demo").mkdir()
    start("demo")
    assert (folder / "demo" / "splits.json").exists()


def test_a_file_in_the_place_is_refused(folder: Path) -> None:
    (folder / "demo").write_text("")
    assert "is a file" in refusal("demo")


def test_a_place_that_cannot_be_written_is_one_line_and_exit_code_2(folder: Path) -> None:
    (folder / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "rollout_local", "init", "file/demo"],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "rollout: the starter cannot be written to file/demo: Not a directory; give another folder\n"


def test_the_splits_are_12_6_6_and_leak_nothing() -> None:
    dataset = read_folder(STARTER / "datasets" / "support")
    split = make_split(dataset, 0, read_splits(STARTER / "splits.json"))
    check_leakage(dataset, split)
    assert split.sizes() == {"train": 12, "val": 6, "holdout": 6}


def test_the_verifier_fits_every_task() -> None:
    dataset = read_folder(STARTER / "datasets" / "support")
    spec = read_spec(STARTER / "verifier.json")
    validate([spec], dataset.tasks)
    assert all("expectations" in task.metadata for task in dataset.tasks)


@pytest.fixture
def target(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    """The target of a new starter, its model served by the simulator."""
    start("demo")
    keep_libraries_offline()
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    set_dummy_keys([])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with Simulator(load_script()) as simulator:
        monkeypatch.setenv("ROLLOUT_GEPA_STUDENT_MODEL", "openai/sim-student")
        monkeypatch.setenv("ROLLOUT_GEPA_STUDENT_MODEL_API_BASE", simulator.url)
        monkeypatch.delitem(sys.modules, "target", raising=False)
        load_modules(["target"], folder / "demo")
        yield get_optimization_target("support-reply")
        sys.modules["target"].client(simulator.url).close()
    clear_optimization_targets()
    sys.modules.pop("target", None)


def test_the_target_is_weak_as_it_is_and_good_with_the_rules_of_the_shop(target: Target, folder: Path) -> None:
    dataset = read_folder(folder / "demo" / "datasets" / "support")
    spec = read_spec(folder / "demo" / "verifier.json")
    holdout = [dataset.by_name[name] for name in read_splits(folder / "demo" / "splits.json")["holdout"]]
    rules = [
        'When the message mentions "refund": mention "30 days" and "original payment method".',
        'When the message mentions "parcel": mention "tracking link".',
        'When the message mentions "account": mention "reset link".',
        'When the message mentions "mail": mention "spam folder".',
        'When the message mentions "invoice": mention "Billing page".',
        'When the message mentions "company": mention "VAT number".',
        'Never say "guarantee". Never say "as an AI".',
    ]
    better = Candidate(components={"instructions": "\n".join([target.baseline.text, *rules])})

    def mean(candidate: Candidate) -> float:
        scores = [grade([spec], task, target.run(task, candidate)).score for task in holdout]
        return sum(scores) / len(scores)

    assert mean(target.baseline) < 0.7
    assert mean(better) > 0.95


def test_a_reply_of_yours_can_be_graded_as_the_readme_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start("demo")
    monkeypatch.chdir(folder / "demo")
    monkeypatch.setattr(sys, "path", list(sys.path))
    line = next(
        line for line in Path("README.md").read_text().splitlines() if line.startswith("rollout verifiers test")
    )
    assert CliRunner().invoke(cli, shlex.split(line)[1:]).exit_code == 0


def test_a_helpful_reply_passes_the_verifier() -> None:
    dataset = read_folder(STARTER / "datasets" / "support")
    reply = "You can have your refund for thirty days; we pay it to the original payment method."
    task = dataset.by_name["refund-cracked-teapot"]
    assert grade([read_spec(STARTER / "verifier.json")], task, AgentResult(output=reply)).passed


# -- around a table of the user's

TOPICS = ("Bug", "Feature", "Question")
ROWS = "".join(
    f"{number},{' '.join(f'word{number * 7 + place}' for place in range(6))},{TOPICS[number % 3]}\n"
    for number in range(30)
)


def table(folder: Path, header: str = "id,text,label", rows: str = ROWS, name: str = "tickets.csv") -> str:
    (folder / name).write_text(f"{header}\n{rows}", encoding="utf-8")
    return name


def test_a_starter_is_written_around_a_table_and_its_commands_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = start("mine", "--from", table(folder))
    assert 'The question is the column "text", the expected answer "label", which has 3 labels' in said
    assert {file.name for file in (folder / "mine").iterdir()} == {
        "tickets.csv", "target.py", "verifier.json", "splits.json", "README.md",
    }  # fmt: skip
    assert (folder / "mine" / "tickets.csv").read_bytes() == (folder / "tickets.csv").read_bytes()
    lines = [line for line in said.splitlines() if line.startswith("rollout ")]
    readme = (folder / "mine" / "README.md").read_text(encoding="utf-8")
    assert "$" not in readme
    assert all(f"   {line}\n" in readme for line in lines)
    monkeypatch.chdir(folder / "mine")
    parts = read_splits("splits.json")
    assert {name: len(names) for name, names in parts.items()} == {"train": 18, "val": 6, "holdout": 6}
    there = ["--task-api-base", "http://127.0.0.1:9/v1", "--reflection-api-base", "http://127.0.0.1:9/v1"]
    with fresh_targets(folder / "mine"):
        result = CliRunner().invoke(cli, [*shlex.split(lines[0])[1:], *there])
    assert result.exit_code == 0, result.output
    assert "train 18, val 6, holdout 6" in result.output


def test_the_baseline_names_the_labels_and_the_verifier_wants_one_of_them(folder: Path) -> None:
    start("mine", "--from", table(folder))
    assert 'BASELINE = "Answer with the label of the message: one of Bug, Feature, Question."' in (
        folder / "mine" / "target.py"
    ).read_text(encoding="utf-8")
    spec = read_spec(folder / "mine" / "verifier.json")
    assert [check.type for check in spec.checks] == ["equals", "contains"]


def test_answers_that_do_not_come_again_are_compared_by_likeness(folder: Path) -> None:
    rows = "".join(json.dumps({"question": f"why {n} {n * n}?", "answer": f"because {n}"}) + "\n" for n in range(12))
    (folder / "asked.jsonl").write_text(rows, encoding="utf-8")
    start("mine", "--from", "asked.jsonl")
    assert [check.type for check in read_spec(folder / "mine" / "verifier.json").checks] == ["contains", "similarity"]


def test_columns_that_are_named_are_taken(folder: Path) -> None:
    said = start("mine", "--from", table(folder, "id,a,b"), "--instruction", "a", "--expected", "b")
    assert '"a", the expected answer "b"' in said
    said = start("other", "--from", table(folder, "id,a,b"))
    assert '"a", the expected answer "b"' in said  # by what is in them


@pytest.mark.parametrize(
    ("header", "rows", "arguments", "said"),
    [
        ("id,a,b", "".join(f"{n},x{n},y{n}\n" for n in range(9)), [],
         "which column is the question and which the expected answer cannot be told from the columns (id, a, b); give"),
        ("id,text,label", ROWS, ["--expected", "lable"], 'has no column "lable"; the columns are id, text, label'),
        ("id,text,label", "1,one,A\n2,two,B\n", [], "has 2 rows; a search needs 6 at least"),
        ("id,text,label", "", [], "has no rows"),
        ("id,text,label", ROWS + "31,,Bug\n", [], 'tickets.csv:32: has neither "instruction" nor "input"'),
    ],
)  # fmt: skip
def test_a_table_that_makes_no_starter_is_refused_and_nothing_is_written(
    folder: Path, header: str, rows: str, arguments: list[str], said: str
) -> None:
    assert said in refusal("mine", "--from", table(folder, header, rows), *arguments)
    assert not (folder / "mine").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "gone.csv"], "gone.csv does not exist; give a file of csv, json, jsonl, parquet, tsv"),
        (["--from", "notes.md"], "notes.md is no table; give a file of csv"),
        (["--expected", "label"], "--instruction and --expected name columns of a table; give it with --from TABLE"),
    ],
)
def test_what_is_no_table_is_refused(folder: Path, arguments: list[str], said: str) -> None:
    (folder / "notes.md").write_text("# notes\n", encoding="utf-8")
    assert said in refusal("mine", *arguments)
