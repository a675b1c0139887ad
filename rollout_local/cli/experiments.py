"""`rollout experiments`: runs that can be repeated."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rollout_local.cli.optimize.output import print_brief
from rollout_local.cli.options import common, database, plain, print_json, print_table
from rollout_local.cli.watching import interruptible, shown
from rollout_local.errors import RolloutError
from rollout_local.reports import wording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollout_local.experiments.live import Cell
    from rollout_local.experiments.replay import Reproduction
    from rollout_local.experiments.rerun import Rerun, Spread
    from rollout_local.experiments.sweep import Group
    from rollout_local.runs.progress import Watch
    from rollout_local.stop import StopFlag
    from rollout_local.store.schema import Store

folder_argument = click.argument("folder", type=click.Path(path_type=Path, file_okay=False))


def servers(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that name what a live run asks; each is left as it is where it is not given."""
    for flag, what in (
        ("--target-url", "URL of the target, where it is behind one."),
        ("--task-api-base", "URL of a local server for the task model."),
        ("--reflection-api-base", "URL of a local server for the reflection model."),
    ):
        command = click.option(flag, help=what)(command)
    return command


def _only_folders(_context: click.Context, _parameter: click.Parameter, paths: tuple[Path, ...]) -> list[Path]:
    """`experiments/*` names README.md and the like too: with several paths, plain files are passed by."""
    return [path for path in paths if path.is_dir() or len(paths) == 1]


@click.group()
def experiments() -> None:
    """Runs that can be repeated: a manifest, a recording, a lock."""


@experiments.command()
@click.argument("name")
@click.option("--from-run", "run", help="Lay out this past run: target source, dataset, verifier, recording, lock.")
@click.option("--out", type=click.Path(path_type=Path), help="The folder (default experiments/NAME).")
@common
def new(
    *, name: str, run: str | None, out: Path | None, db_path: Path, as_json: bool, quiet: bool, no_color: bool
) -> None:  # fmt: skip
    """Make a folder for an experiment."""
    from rollout_local.experiments import layout

    folder = out or Path("experiments") / name
    with layout.drafted(folder) as draft:
        if run is None:
            layout.empty(draft, name)
        else:
            with shown(quiet=quiet or as_json, color=not no_color) as watch:
                _lay_out(draft, name, run, db_path, watch)
    files = layout.listing(folder)
    if as_json:
        print_json({"folder": str(folder), "files": files})
    else:
        click.echo(f"Made {folder} ({len(files)} files)." + (" Fill in experiment.toml." if run is None else ""))


@experiments.command()
@folder_argument
@servers
@common
def run(
    *, folder: Path, db_path: Path, as_json: bool, quiet: bool, no_color: bool, **servers: str | None
) -> int:  # fmt: skip
    """Run an experiment live, and record it anew in place of its recording."""
    from rollout_local.experiments import live

    with shown(quiet=quiet or as_json, color=not no_color) as watch:
        outcome = live.record(folder, db_path, _given(servers), watch)
    if as_json:
        print_json({"run_id": outcome.run_id, "status": outcome.status, "message": outcome.message})
    else:
        click.echo(f"Run {outcome.run_id} is {outcome.status}: {outcome.message}.")
    return int(outcome.exit_code)


@experiments.command()
@folder_argument
@servers
@common
def sweep(
    *, folder: Path, db_path: Path, as_json: bool, quiet: bool, no_color: bool, **servers: str | None
) -> int:  # fmt: skip
    """Run every cell of the manifest's [sweep], live; again to go on where it stopped."""
    from rollout_local.experiments import sweep as library

    with _live(db_path, quiet=quiet or as_json, color=not no_color) as (store, watch, stop):
        found = library.sweep(folder, store, _given(servers), watch, stop)
    if as_json:
        print_json({"cells": [vars(cell) for cell in found], "summary": library.summary(found)})
    else:
        _print_sweep(found, library.summary(found))
    return int(any(cell.lift is None for cell in found))


@experiments.command()
@folder_argument
@click.option("--times", metavar="K", type=int, default=3, show_default=True, help="How many reruns.")
@servers
@common
def rerun(
    *, folder: Path, times: int, db_path: Path, as_json: bool, quiet: bool, no_color: bool, **servers: str | None
) -> int:  # fmt: skip
    """Run an experiment live K times, and say how its lift spreads; again to go on where it stopped."""
    from rollout_local.experiments import rerun as library

    with _live(db_path, quiet=quiet or as_json, color=not no_color) as (store, watch, stop):
        found = library.rerun(folder, store, times, _given(servers), watch, stop)
    spread = library.spread(folder, found)
    if as_json:
        print_json({"reruns": [_rerun_document(one) for one in found], "spread": spread})
    else:
        _print_reruns(found, spread)
    return int(any(one.cell.lift is None for one in found))


@experiments.command()
@click.argument("folders", nargs=2, type=click.Path(path_type=Path, file_okay=False))
@plain
def compare(*, folders: tuple[Path, Path], as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """Two locked experiments side by side: only what differs."""
    from rollout_local.experiments.locking import compare as compare_locks

    rows = list(compare_locks(*folders))
    if as_json:
        print_json([{"what": what, "values": [a, b]} for what, a, b in rows])
    else:
        print_table(["what", str(folders[0]), str(folders[1])], [[w, str(a), str(b)] for w, a, b in rows])


@experiments.command("list")
@click.argument("root", type=click.Path(path_type=Path, file_okay=False), default="experiments")
@plain
def list_(*, root: Path, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """Experiments under a folder."""
    from rollout_local.experiments.locking import read_lock
    from rollout_local.experiments.manifest import found_in, read_manifest

    found = [(folder, read_manifest(folder), read_lock(folder)) for folder in found_in(root)]
    if as_json:
        print_json([
            {"folder": str(folder), "name": manifest.name, "description": manifest.description,
             "simulated": manifest.simulated, "digest": lock.digest if lock else None}
            for folder, manifest, lock in found
        ])  # fmt: skip
    else:
        print_table(["folder", "description", "digest"], [
            [str(folder), manifest.description, lock.digest[:19] if lock else "not locked"]
            for folder, manifest, lock in found
        ])  # fmt: skip


@experiments.command()
@click.argument(
    "folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True), callback=_only_folders
)
@click.option("--keep", type=click.Path(path_type=Path, dir_okay=False), help="Keep the database here (replaced).")
@click.option("--report", "with_report", is_flag=True, help="Print the promotion report too.")
@plain
def reproduce(
    *, folders: list[Path], keep: Path | None, with_report: bool, as_json: bool, quiet: bool, no_color: bool
) -> int:
    """Replay experiments from their recordings, offline, and compare them with their locks."""
    results = [_one(folder, keep, quiet=quiet or as_json, color=not no_color) for folder in folders]
    if as_json:
        print_json([_document(folder, result) for folder, result in zip(folders, results, strict=True)])
    else:
        for folder, result in zip(folders, results, strict=True):
            _say(folder, result, keep, with_report=with_report, color=not no_color)
    return max(_code(result) for result in results)


@experiments.command()
@folder_argument
@plain
def lock(*, folder: Path, as_json: bool, quiet: bool, no_color: bool) -> None:
    """Replay an experiment and write its lock."""
    from rollout_local.experiments import replay

    with _scratch(None) as path, shown(quiet=quiet or as_json, color=not no_color) as watch:
        result = replay.lock(folder, path, watch)
    if as_json:
        print_json(_document(folder, result))
    else:
        click.echo(f"{folder}: locked, digest {result.digest.digest}")


def _lay_out(draft: Path, name: str, run: str, db_path: Path, watch: Watch) -> None:
    """A past run as an experiment, with its lock; what stops it stops it between two calls."""
    from rollout_local.experiments import layout, replay
    from rollout_local.stop import StopFlag

    stop = StopFlag()
    with interruptible(stop):
        with database(db_path, reads=True) as store:
            layout.from_run(store, run, draft, name, Path.cwd())
        with _scratch(None) as path:
            replay.lock(draft, path, watch, stop)


def _one(folder: Path, keep: Path | None, *, quiet: bool, color: bool) -> Reproduction | RolloutError:
    from rollout_local.experiments import replay

    try:
        with _scratch(keep) as path, shown(quiet=quiet, color=color) as watch:
            return replay.reproduce(folder, path, watch)
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


def _code(result: Reproduction | RolloutError) -> int:
    if isinstance(result, RolloutError):
        return result.exit_code
    return 0 if result.identical else 1


def _document(folder: Path, result: Reproduction | RolloutError) -> dict[str, object]:
    if isinstance(result, RolloutError):
        return {"folder": str(folder), "identical": False, "error": str(result)}
    return {
        "folder": str(folder), "identical": result.identical, "digest": result.digest.digest,
        "tables": result.digest.tables,
        "differences": result.differences, "version_changes": result.version_changes, "report": result.report,
    }  # fmt: skip


def _say(
    folder: Path, result: Reproduction | RolloutError, keep: Path | None, *, with_report: bool, color: bool
) -> None:
    if isinstance(result, RolloutError):
        click.echo(f"{folder}: cannot be reproduced: {result}")
        return
    if with_report:
        rest = f"rollout optimize report latest --db {shlex.quote(str(keep))}" if keep else "--keep FILE keeps the run"
        print_brief(result.report, rest, color=color)
    verdict = "identical" if result.identical else "not locked yet" if not result.locked else "different"
    click.echo(f"{folder}: {verdict}, digest {result.digest.digest}")
    for line in (*result.differences, *result.version_changes):
        click.echo(f"  {line}")
    if result.simulated:
        click.echo("  The models in this recording were a scripted simulator, not real models.")
    elif result.models:
        click.echo(f"  Recorded with {' and '.join(result.models)}; this replay asked nobody.")


def _given(servers: Mapping[str, str | None]) -> dict[str, object]:
    """The operational settings that name local servers."""
    return {name: value for name, value in servers.items() if value is not None}


@contextmanager
def _live(db_path: Path, *, quiet: bool, color: bool) -> Iterator[tuple[Store, Watch, StopFlag]]:
    """What runs of one experiment after the other need; Ctrl-C stops between two calls."""
    from rollout_local.stop import StopFlag

    stop = StopFlag()
    with database(db_path, create=True) as store, interruptible(stop), shown(quiet=quiet, color=color) as watch:
        yield store, watch, stop


def _rerun_document(one: Rerun) -> dict[str, object]:
    return {**vars(one.cell), "texts": one.texts, "texts_of_the_lock": one.shared}


def _print_reruns(found: Sequence[Rerun], spread: Spread) -> None:
    cells = [one.cell for one in found]
    print_table(["rerun", "run", "status", "baseline", "best", "lift", "texts", "of them locked"], [
        [number, cell.run_id, cell.status, cell.baseline, cell.best, cell.lift, one.texts, one.shared]
        for number, (cell, one) in enumerate(zip(cells, found, strict=True), 1)
    ])  # fmt: skip
    mean, sd = (wording.signed(spread[name]) for name in ("lift_mean", "lift_sd"))
    least, most = (wording.signed(spread[name]) for name in ("lift_least", "lift_most"))
    locked = wording.signed(spread["locked_lift"])
    click.echo(
        f"\nLift on the holdout over {spread['n']} live reruns: mean {mean}, from {least} to {most} "
        f"(sd {sd.lstrip('+')}); the locked run had {locked}."
    )


def _print_sweep(found: Sequence[Cell], groups: Sequence[Group]) -> None:
    names = list(found[0].settings)
    rows = [
        [*(cell.settings[name] for name in names), cell.status, cell.baseline, cell.best, cell.lift] for cell in found
    ]
    print_table([*names, "status", "baseline", "best", "lift"], rows)
    click.echo()
    columns = ["settings", "runs", "best, mean", "sd", "lift, mean", "sd", ""]
    print_table(columns, [
        [", ".join(f"{k}={v}" for k, v in g["settings"].items()) or "all seeds", g["n"], g["best_mean"], g["best_sd"],
         g["lift_mean"], g["lift_sd"], "█" * round(20 * (g["best_mean"] or 0))]
        for g in groups
    ])  # fmt: skip
