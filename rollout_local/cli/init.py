"""`rollout init`: a starter that works as it is written.

The commands it prints are the ones in the starter's README, and run as they are, one after the other.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import click

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
@plain
def init(folder: Path, as_json: bool, **_options: object) -> None:
    """Write a working starter into DIR: target, dataset, verifier, splits; try it with the simulator at once."""
    written = _written(folder)
    commands = [*([] if folder == Path() else [f"cd {shlex.quote(str(folder))}"]), *COMMANDS]
    if as_json:
        print_json({"folder": str(folder), "files": written, "next": commands})
        return
    click.echo(visible(f"Wrote a starter to {folder}: target.py, datasets/support (24 tasks), verifier.json,"))
    click.echo(
        "splits.json, endpoint.py, README.md. Next, with scripted models on this machine in the place of real ones:\n"
    )
    click.echo(visible("\n".join(commands)))


def _written(folder: Path) -> list[str]:
    """Copy the starter into a new or empty folder; the names of its files."""
    try:
        _require_empty(folder)
        files = sorted(file for file in STARTER.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        for file in files:
            copy = folder / file.relative_to(STARTER)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    except OSError as error:
        msg = f"the starter cannot be written to {folder}: {error.strerror or error}; give another folder"
        raise InputError(msg) from error
    return [str(file.relative_to(STARTER)) for file in files]


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        problem = "is not empty" if folder.is_dir() else "is a file"
        msg = f"{folder.resolve()} {problem}; give the name of a new folder: rollout init NAME"
        raise InputError(msg)
