"""Help of the commands that make a run, near names at every level, and --db before the noun."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from rollout_local.cli.flags import EXAMPLE, FLAGS, SECTIONS
from rollout_local.cli.main import cli, run


def names_of_flags() -> set[str]:
    command = click.Command("c", callback=lambda **_given: None)
    for flag in FLAGS:
        command = flag(command)
    return {str(param.name) for param in command.params}


def test_every_flag_of_a_run_stands_in_one_section() -> None:
    placed = [name for names in SECTIONS.values() for name in names]
    assert sorted(placed) == sorted(names_of_flags())


@pytest.mark.parametrize("verb", ["run", "create", "submit", "dry-run", "advise"])
def test_help_is_in_sections_with_an_example(verb: str) -> None:
    said = CliRunner().invoke(cli, ["optimize", verb, "--help"]).output
    places = [said.index(f"{title}:".splitlines()[0][:60]) for title in SECTIONS]
    assert places == sorted(places)
    assert said.index("--module TEXT") < said.index("--seed INTEGER") < said.index("This command:")
    assert EXAMPLE.splitlines()[0] in said


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("run", "optimize run"), ("optimise", "optimize"), ("reprot", "optimize report"), ("dataset", "datasets")],
)
def test_a_word_that_is_no_command_names_the_nearest(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([typed, "x"]) == 2
    assert f"there is no command '{typed}'; did you mean `rollout {meant}`?" in capsys.readouterr().err


def test_a_word_near_to_none_is_said_to_be_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["zzz"]) == 2
    assert "there is no command 'zzz'\n" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--db", "a.db", "optimize", "list"], ["--db", "a.db", "db", "check"]])
def test_the_file_may_be_named_before_the_command(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    assert "a.db" in capsys.readouterr().err
    assert run([*arguments, "--db", "b.db"]) == 2
    assert "b.db" in capsys.readouterr().err


def test_engines_says_what_each_argument_is_for_and_may_be() -> None:
    said = CliRunner().invoke(cli, ["optimize", "engines", "gepa", "--json"])
    arguments = {one["name"]: one for one in json.loads(said.output)["optimizers"]["gepa"]["arguments"]}
    size = arguments["reflection_minibatch_size"]
    assert (size["default"], size["values"]) == ("3", "a whole number from 1")
    assert "reflection" in size["says"]
    assert arguments["use_merge"]["values"] == "true | false"
    assert "pareto | current_best" in arguments["candidate_selection_strategy"]["values"]
    assert "module:function" in arguments["component_selector"]["values"]
    assert "](" not in arguments["component_selector"]["says"]
    assert sum(bool(one["says"]) for one in arguments.values()) > 20
