"""What every command shares: `--db`, `--json`, `-q`, `-v`, colour, and how a document or a table is printed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rollout_local.errors import StoreError
from rollout_local.reports.escape import visible

if TYPE_CHECKING:
    from rollout_local.store.schema import Store

Command = TypeVar("Command", bound=Callable[..., Any])

db_option = click.option(
    "--db", "db_path", type=click.Path(path_type=Path, dir_okay=False), default="rollout.db", envvar="ROLLOUT_DB",
    show_default=True, help="The database file.",
)  # fmt: skip
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else there.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress.")
color_option = click.option("--no-color", is_flag=True, envvar="NO_COLOR", help="Plain text.")

sign_with = click.option(
    "--sign-with",
    "key",
    metavar="KEY",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Sign the file with this ed25519 key (of `ssh-keygen -t ed25519`, or PEM); needs rollout-local[sign].",
)
signed_by = click.option(
    "--signed-by",
    "public",
    metavar="KEY.pub",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Go on only if FILE.sig is a signature of the file by the owner of this public key.",
)


def _verbose(_context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    return value


verbose_option = click.option(
    "-v", "--verbose", is_flag=True, expose_value=False, callback=_verbose, help="More detail; tracebacks."
)


def common(command: Command) -> Command:
    """`--db --json -q -v --no-color` on a command."""
    for option in (db_option, json_option, quiet_option, verbose_option, color_option):
        command = option(command)
    return command


def plain(command: Command) -> Command:
    """`--json -q -v --no-color` on a command that needs no database."""
    for option in (json_option, quiet_option, verbose_option, color_option):
        command = option(command)
    return command


@contextmanager
def database(path: Path, *, create: bool = False, reads: bool = False) -> Iterator[Store]:
    """Open the database for one command; first finish what a process that died has left half done.

    A command that only `reads` is given a file that cannot be written, too.
    """
    from rollout_local.store.releases import pending
    from rollout_local.store.schema import open_store

    def tell(words: str) -> None:
        click.echo(f"rollout: {words}", err=True)

    with open_store(path, create=create, tell=tell, reads=reads) as store:
        if not store.is_fixed and pending(store):
            from rollout_local.capabilities import finish

            with suppress(OSError):  # a folder that cannot be written now keeps nobody from reading
                finish(store)
        yield store


@contextmanager
def database_to_fill(path: Path) -> Iterator[Store]:
    """Open the database for a command that writes in one transaction: a file that was not there is gone if it fails."""
    is_new = not path.exists()
    try:
        with database(path, create=True) as store:
            yield store
    except BaseException:
        for suffix in ("", "-wal", "-shm", ".lock") if is_new else ():
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        raise


def print_json(document: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, default=str))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, color: bool = True, whole: Sequence[str] = ()
) -> None:
    """A table for people, as wide as the terminal; numbers to the right. Columns in `whole` are never broken."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold" if color else "", pad_edge=False)
    for position, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[position], int | float | None) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold", no_wrap=name in whole)
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console(color=color).print(table)


def console(*, color: bool = True, stderr: bool = False) -> Any:
    """A rich console on stdout or stderr; a pipe gets lines of 100 columns."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else int(os.environ.get("COLUMNS", "100"))
    return Console(file=stream, no_color=not color, width=width, highlight=False, soft_wrap=False)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    return visible(str(value))


def parse_pairs(values: Sequence[str], flag: str) -> dict[str, object]:
    """`KEY=VALUE` options as a dict; a value that reads as JSON is taken as JSON, otherwise as text."""
    pairs: dict[str, object] = {}
    for value in values:
        key, separator, text = value.partition("=")
        if not separator or not key:
            msg = f"{flag} takes KEY=VALUE, not {value!r}"
            raise click.UsageError(msg)
        try:
            pairs[key] = json.loads(text)
        except ValueError:
            pairs[key] = text
    return pairs


def json_columns(row: Mapping[str, object]) -> dict[str, object]:
    """A database row as a document: `x_json` columns become `x`, parsed. Raises `StoreError` where one is no JSON."""
    return {key.removesuffix("_json"): _parsed(key, value) for key, value in row.items()}


def _parsed(key: str, value: object) -> object:
    if not key.endswith("_json") or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        what = key.removesuffix("_json")
        msg = f"a {what} in the database cannot be read; `rollout db check` says what is not as it was"
        raise StoreError(msg) from error
