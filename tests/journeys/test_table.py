"""From a table to a report in one command."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rollout_local.simulator import Simulator
from tests.conftest import TOPICS, Project

WORDS = ("red", "green", "blue", "white", "black", "brown", "grey", "pink")


@pytest.fixture
def project(simulate: Callable[..., Simulator], make_project: Callable[..., Project]) -> Project:
    """A project with a table of 40 tickets, 8 of which repeat an earlier one; its own dataset is gone."""
    made = make_project(simulate().url)
    rows = []
    for n in range(32):
        topic, phrase = TOPICS[n % len(TOPICS)]
        color, other = WORDS[n % 8], WORDS[n // 8]
        rows.append(f"The {color} one: {topic.format(n=n)} and my {other} {color}{n} bag,{phrase}")
    text = "\n".join(["message,phrase", *rows, *rows[:8]])
    (made.folder / "tickets.csv").write_text(text + "\n")
    return made


def models(project: Project) -> list[str]:
    return project.flags[project.flags.index("--allow-constant-score") :]


TABLE = ("--module", "target", "--dataset", "tickets.csv", "--instruction", "message", "--metadata", "phrase")
CHECK = ("--verifier", "contains from_metadata=phrase")


def test_a_table_and_a_check_by_name_are_a_run_with_a_report(project: Project) -> None:
    typed = [*TABLE, *CHECK, *models(project), "--max-metric-calls", "20"]
    done = project.rollout("optimize", "run", *typed)
    assert done.returncode == 0, done.stderr
    assert "tickets.csv: 40 tasks, kept in the database as dataset tickets" in done.stderr
    assert "warning: 8 of 40 tasks ask what an earlier one asks; a split keeps them together" in done.stderr
    assert "Run opt_" in done.stdout
    shown = project.document("datasets", "list")
    assert [(row["slug"], row["task_count"]) for row in shown] == [("tickets", 40)]
    again = project.document("optimize", "run", "latest")
    assert again["executed"] == 0, "a stored run needs the table no more"


def test_duplicates_are_left_out_where_that_is_asked(project: Project) -> None:
    typed = [*TABLE, "--drop-duplicates", *CHECK, *models(project), "--max-metric-calls", "4"]
    done = project.rollout("optimize", "create", *typed)
    assert "tickets.csv: 32 tasks" in done.stderr
    assert "ask what an earlier one asks" not in done.stderr


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (["--instruction", "text"], 'has no column "text"; it has "message", "phrase"'),
        (["--dataset", "tickets.tsv"], "tickets.tsv does not exist"),
        (["--dataset", "dataset"], "columns are named, but --dataset is no table"),
        (["--verifier", "equalz"], "equalz"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_written(project: Project, changed: list[str], sentence: str) -> None:
    typed = [*TABLE, *CHECK, *models(project), "--max-metric-calls", "4", *changed]
    done = project.rollout("optimize", "create", *typed)
    assert (done.returncode, (project.folder / "rollout.db").exists()) == (2, False)
    assert sentence in done.stderr
