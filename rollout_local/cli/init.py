"""`rollout init`: a starter that works as it is written.

The commands it prints are the ones in the starter's README, and run as they are, one after the other. The starter is
a small web shop's, with the simulator in the place of models, or (`--from`) one around a table of the user's.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import click

from rollout_local.cli.init_table import table_starter
from rollout_local.cli.options import plain, print_json
from rollout_local.errors import InputError
from rollout_local.reports.escape import visible

STARTER = Path(__file__).with_name("starter")
URL = "http://127.0.0.1:8765/v1"
_RUN = (
    "rollout optimize run --module target --dataset datasets/support --verifier verifier.json --splits-file splits.json"
    f" --reflection-model openai/sim-reflection --reflection-api-base {URL}"
    f" --task-model openai/sim-student --task-api-base {URL} --max-metric-calls 120"
)
COMMANDS = ("rollout simulate serve --port 8765 &", _RUN)
"""What comes next, in the new folder."""


@click.command()
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "table",
    metavar="TABLE",
    type=click.Path(path_type=Path),
    help="Write it around a table of yours: csv, tsv, json, jsonl or parquet.",
)
@click.option("--instruction", metavar="COL", help="The table's column that holds the question (default: a guess).")
@click.option("--expected", metavar="COL", help="The table's column that holds the expected answer (default: a guess).")
@plain
def init(
    folder: Path, table: Path | None, instruction: str | None, expected: str | None, as_json: bool, **_options: object
) -> None:
    """Write a working starter into DIR: target, dataset, verifier, splits; try it with the simulator at once.

    With --from the starter is made around a table of yours, for real models: rollout init mine --from tickets.csv
    """
    if table is None and (instruction or expected):
        msg = "--instruction and --expected name columns of a table; give it with --from TABLE"
        raise InputError(msg)
    starter = _Shop() if table is None else table_starter(table, instruction, expected)
    made = _written(folder, starter.files)
    commands = [*([] if folder == Path() else [f"cd {shlex.quote(str(folder))}"]), *starter.commands]
    if as_json:
        print_json({"folder": str(folder), "files": made, "next": commands})
        return
    click.echo(visible("\n".join([f"Wrote a starter to {folder}: {starter.summary}", "", *commands])))


class _Shop:
    """The starter that comes with the package."""

    commands = COMMANDS
    summary = (
        "target.py, datasets/support (24 tasks), verifier.json, splits.json,\n"
        "endpoint.py, README.md. Next, with scripted models on this machine in the place of real ones:"
    )

    @property
    def files(self) -> Mapping[str, bytes]:
        files = sorted(file for file in STARTER.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        return {str(file.relative_to(STARTER)): file.read_bytes() for file in files}


def _written(folder: Path, files: Mapping[str, bytes]) -> list[str]:
    """Write files into a new or empty folder; their names."""
    try:
        _require_empty(folder)
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    except OSError as error:
        msg = f"the starter cannot be written to {folder}: {error.strerror or error}; give another folder"
        raise InputError(msg) from error
    return list(files)


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        problem = "is not empty" if folder.is_dir() else "is a file"
        msg = f"{folder.resolve()} {problem}; give the name of a new folder: rollout init NAME"
        raise InputError(msg)
