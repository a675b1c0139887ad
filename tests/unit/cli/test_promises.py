"""What is promised is there: every command in the README, in the help, under fifteen lines of its own."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from rollout_local.cli.main import NOUNS, cli
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
LONGEST = 30
"""Lines of a command's function, its signature and docstring included."""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command with its words."""
    context = click.Context(cli)
    for noun in NOUNS:
        found = cli.get_command(context, noun)
        assert found is not None
        if isinstance(found, click.Group):
            for verb in found.list_commands(context):
                command = found.get_command(context, verb)
                assert command is not None
                yield f"{noun} {verb}", command
        else:
            yield noun, found


COMMANDS = dict(commands())


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_is_in_the_readme(words: str) -> None:
    noun, _, verb = words.partition(" ")
    rows = re.findall(rf"`rollout {noun}\b([^`]*)`", README)
    assert any(re.search(rf"(^|[ ·]){verb}($|[ ·])", row) for row in rows), f"README.md does not name `rollout {words}`"


def test_every_command_of_the_readmes_table_is_there() -> None:
    told = {
        f"{noun} {verb.strip()}".strip()
        for row in re.findall(r"^\| (`rollout .*?) \| ", README, re.MULTILINE)
        for noun, verbs in re.findall(r"`rollout ([\w-]+)([^`]*)`", row)
        for verb in verbs.split(" · ")
    }
    assert told
    assert told - set(COMMANDS) == set()


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_says_what_it_does_in_a_sentence(words: str) -> None:
    assert (COMMANDS[words].help or "").split("\n\n")[0].rstrip().endswith(".")


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_parses_calls_one_function_and_prints(words: str) -> None:
    function = inspect.unwrap(COMMANDS[words].callback)  # type: ignore[arg-type]
    assert len(inspect.getsource(function).split("def ", 1)[1].splitlines()) <= LONGEST


@pytest.mark.parametrize(
    "words", [words for words in COMMANDS if words.split()[-1] in {"list", "show", "report", "run"}]
)
def test_what_lists_shows_or_reports_has_json(words: str) -> None:
    assert any("--json" in parameter.opts for parameter in COMMANDS[words].params)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['rollout', '--help']\n"
        "from rollout_local.cli.main import run; run(['--help'])\n"
        "heavy = {'pydantic', 'rich', 'dspy', 'litellm', 'sqlite_utils', 'vcr', 'yaml', 'scipy', 'datasette'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
