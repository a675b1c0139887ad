"""`rollout db`: look after the database file."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from rollout_local.cli.options import common, database, print_json, sign_with, signed_by
from rollout_local.errors import InputError


@click.group()
def db() -> None:
    """Check, back up and mend the database file."""


@db.command()
@click.option(
    "--seal",
    "heads",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="What `rollout db seal` wrote: every journal in it must go on from where it was.",
)
@signed_by
@common
def check(
    *, heads: Path | None, public: Path | None, db_path: Path, as_json: bool, quiet: bool, no_color: bool  # noqa: ARG001
) -> int:  # fmt: skip
    """Is the file whole? Exit 1 if not.

    Asked are SQLite's pages, the tables and triggers as they were made, references, the chain over every run's
    journal (trials, reflections, candidates, proposals, events, reports, the set-up), contents against the hashes
    that name them, the roll-ups, and the end of each journal against the run's log_dir.

    Not noticed are edits of: times, marks of the owner (name, tags, note, archive), projects, places of files,
    messages, the sum of a run's cost, how its attempts ended, its place in the queue; names, versions and sizes of
    datasets and verifiers, the order of tasks; the modules and the source text kept of a target; steps of traces,
    points of series, leases, the list of deleted runs. A chain has no key: it finds accidents, not forgers.
    Against forgers, `rollout db seal --sign-with KEY` and keep its file elsewhere.
    """
    from rollout_local.afterwards import journal_heads
    from rollout_local.afterwards.audit import audit

    if public is not None and heads is None:
        msg = "--signed-by is about the file of --seal; give both"
        raise InputError(msg)
    sealed = journal_heads.read(heads, public) if heads is not None else None
    with database(db_path, reads=True) as store:
        found = audit(store, Path.cwd(), sealed)
    if as_json:
        print_json({"ok": not found.problems, "problems": found.problems, "notes": found.notes})
    else:
        click.echo("\n".join([*(found.problems or [f"{db_path} is whole."]), *found.notes]))
    return int(bool(found.problems))


@db.command()
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option(
    "-o",
    "--out",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("rollout.seal.json"),
    show_default=True,
    help="The new file to write.",
)
@sign_with
@common
def seal(runs: tuple[str, ...], file: Path, key: Path | None, db_path: Path, as_json: bool, **_options: object) -> None:
    """Write where each run's journal ends (of every run, or of those named) to a file to be kept elsewhere.

    `rollout db check --seal FILE` then finds a journal that was written anew, chain and all, or lost its end; with
    a signature (FILE.sig), also a FILE that was written anew.
    """
    from rollout_local import signatures
    from rollout_local.afterwards import journal_heads
    from rollout_local.clock import now

    signer = signatures.private_key(key) if key is not None else None
    with database(db_path, reads=True) as store:
        made = journal_heads.write(store, runs, file, now())
    signature = signatures.sign(file, signer) if signer is not None else None
    if as_json:
        print_json({"file": str(file), "signature": signature and str(signature), **made.model_dump(mode="json")})
        return
    click.echo(f"{file}: the ends of {len(made.runs)} journals" + (f", signed in {signature}" if signature else ""))
    click.echo(f"Keep it elsewhere. Compare with it by:\n  rollout db check --seal {shlex.quote(str(file))}")


@db.command()
@common
def rebuild(*, db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """Make the roll-ups anew from the trials."""
    from rollout_local.store import rollups

    with database(db_path) as store:
        wrong = rollups.rebuild(store)
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

    with database(db_path, reads=True) as store:
        library.backup(store, file)
    if as_json:
        print_json({"file": str(file), "bytes": file.stat().st_size})
    else:
        click.echo(f"Copied {db_path} to {file} ({file.stat().st_size} bytes).")


@db.command()
@click.option("--off", is_flag=True, help="Take the index away.")
@common
def index(*, off: bool, db_path: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """Full-text search over outputs, feedback and errors: build it, or build it anew. It keeps up from then on.

    The pages search with it (without it they look through the newest 5,000 trials), and so does Datasette. Every
    trial then takes a little longer to write. Runs that write to the file wait while it is built.
    """
    from rollout_local.store import trial_index

    with database(db_path) as store:
        if off:
            was_on, trials = trial_index.remove(store), 0
        else:
            was_on, trials = trial_index.is_on(store), trial_index.build(store)
    said = "The index is gone." if was_on else "There was no index."
    if as_json:
        print_json({"on": not off, "was_on": was_on, "trials": trials})
    else:
        click.echo(said if off else f"{trials:,} trials can be searched by their words.")


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
