"""`rollout db`: look after the database file."""

from __future__ import annotations

from pathlib import Path

import click

from rollout_local.cli.options import common, database, print_json


@click.group()
def db() -> None:
    """Check, back up and mend the database file."""


@db.command()
@common
def check(*, db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> int:  # noqa: ARG001
    """Is the file whole: pages, references, the chain over every journal, the roll-ups. Exit 1 if not."""
    from rollout_local.store import check as library

    with database(db_path) as store:
        found = list(library.problems(store))
    if as_json:
        print_json({"ok": not found, "problems": found})
    else:
        click.echo("\n".join(found) or f"{db_path} is whole.")
    return int(bool(found))


@db.command()
@common
def rebuild(*, db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """Make the roll-ups anew from the trials."""
    from rollout_local.store import check as library

    with database(db_path) as store:
        wrong = library.rebuild(store)
    if as_json:
        print_json({"mended": wrong})
    else:
        click.echo(f"Mended {wrong} roll-ups." if wrong else "All roll-ups were right.")


@db.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@common
def backup(*, file: Path, db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """Copy the database to FILE, also while it is in use (a plain copy would miss what is in its WAL)."""
    from rollout_local.store import check as library

    with database(db_path) as store:
        library.backup(store, file)
    if as_json:
        print_json({"file": str(file), "bytes": file.stat().st_size})
    else:
        click.echo(f"Copied {db_path} to {file} ({file.stat().st_size} bytes).")


@db.command()
@common
def vacuum(*, db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """Give free pages back to the file system."""
    from rollout_local.store import check as library

    with database(db_path) as store:
        library.vacuum(store)
    if as_json:
        print_json({"bytes": db_path.stat().st_size})
    else:
        click.echo(f"{db_path}: {db_path.stat().st_size} bytes.")
