"""`rollout experiments`: runs that can be repeated."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from rollout_local.cli.options import console, plain, print_json, print_table
from rollout_local.cli.watching import shown
from rollout_local.errors import RolloutError


@click.group()
def experiments() -> None:
    """Runs that can be repeated: a manifest, a recording, a lock."""


@experiments.command("list")
@click.argument("root", type=click.Path(path_type=Path, file_okay=False), default="experiments")
@plain
def list_(*, root: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """Experiments under a folder."""
    from rollout_local import experiments as library

    rows: list[dict[str, Any]] = []
    for folder in library.found_in(root):
        manifest, lock = library.read_manifest(folder), library.read_lock(folder)
        rows.append({"folder": str(folder), "name": manifest.name, "description": manifest.description,
                     "simulated": manifest.simulated, "digest": lock.digest if lock else None})  # fmt: skip
    if as_json:
        print_json(rows)
    else:
        print_table(["folder", "description", "digest"],
                    [[r["folder"], r["description"], (r["digest"] or "not locked")[:19]] for r in rows])  # fmt: skip


@experiments.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--keep", type=click.Path(path_type=Path, dir_okay=False), help="Keep the database here (replaced).")
@click.option("--report", "with_report", is_flag=True, help="Print the promotion report too.")
@plain
def reproduce(
    *, folders: tuple[Path, ...], keep: Path | None, with_report: bool, as_json: bool, quiet: bool, no_color: bool
) -> int:
    """Replay experiments from their recordings, offline, and compare them with their locks."""
    results = [_one(folder, keep, quiet=quiet or as_json, color=not no_color) for folder in folders]
    if as_json:
        print_json([_document(folder, result) for folder, result in zip(folders, results, strict=True)])
    else:
        for folder, result in zip(folders, results, strict=True):
            _say(folder, result, with_report=with_report, color=not no_color)
    return max(_code(result) for result in results)


@experiments.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@plain
def lock(*, folder: Path, as_json: bool, quiet: bool, no_color: bool) -> None:
    """Replay an experiment and write its lock."""
    from rollout_local import experiments as library

    with _scratch(None) as path, shown(quiet=quiet or as_json, color=not no_color) as watch:
        result = library.lock(folder, path, watch)
    if as_json:
        print_json(_document(folder, result))
    else:
        click.echo(f"{folder / library.LOCK}: {result.digest}")


def _one(folder: Path, keep: Path | None, *, quiet: bool, color: bool) -> Any:
    from rollout_local import experiments as library

    try:
        with _scratch(keep) as path, shown(quiet=quiet, color=color) as watch:
            return library.reproduce(folder, path, watch)
    except RolloutError as error:
        return error


@contextmanager
def _scratch(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.parent.mkdir(parents=True, exist_ok=True)
        for suffix in ("", "-wal", "-shm"):
            keep.with_name(keep.name + suffix).unlink(missing_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="rollout-") as folder:
        yield Path(folder) / "rollout.db"


def _code(result: Any) -> int:
    if isinstance(result, RolloutError):
        return result.exit_code
    return 0 if result.identical else 1


def _document(folder: Path, result: Any) -> dict[str, Any]:
    if isinstance(result, RolloutError):
        return {"folder": str(folder), "identical": False, "error": str(result)}
    return {
        "folder": str(folder), "identical": result.identical, "digest": result.digest, "tables": result.tables,
        "differences": result.differences, "version_changes": result.version_changes, "report": result.report,
    }  # fmt: skip


def _say(folder: Path, result: Any, *, with_report: bool, color: bool) -> None:
    if isinstance(result, RolloutError):
        click.echo(f"{folder}: cannot be reproduced: {result}")
        return
    if with_report:
        from rollout_local.reports import render

        screen = console(color=color)
        click.echo(render.as_text(result.report, width=min(screen.width, 100), color=color and screen.is_terminal))
    verdict = "identical" if result.identical else "not locked yet" if not result.locked else "different"
    click.echo(f"{folder}: {verdict}, digest {result.digest}")
    for line in (*result.differences, *result.version_changes):
        click.echo(f"  {line}")
    if result.simulated:
        click.echo("  The models in this recording were a scripted simulator, not real models.")
