"""What `rollout optimize` says at the end of a run, and how a report is printed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollout_local.cli.options import console, print_json
from rollout_local.reports.wording import words

if TYPE_CHECKING:
    from rollout_local.reports.report import Report
    from rollout_local.runs.runner import Outcome
    from rollout_local.store.row_types import RunRow
    from rollout_local.store.schema import Store


candidate_flag = click.option("--candidate", type=int, metavar="N", help="This candidate in place of the best.")


def db_flag(path: Path) -> str:
    """The flag that a printed command needs to find the same database."""
    return "" if path == Path("rollout.db") else f" --db {shlex.quote(str(path))}"


def say_outcome(store: Store, outcome: Outcome, *, as_json: bool, color: bool, db_path: Path) -> None:
    """The report, how the run stands, and what to type next."""
    from rollout_local.reports.digest import digest as digest_of
    from rollout_local.reports.standing import standing
    from rollout_local.store import reads
    from rollout_local.store.stored_run import StoredRun

    document = result = None
    if outcome.status == "completed":  # else nothing is read: it may have ended because that cannot be done any more
        row = reads.run(store, outcome.run_id)
        document = standing(store, row["id"], row["attempt"], StoredRun(row).config)
        result = None if document is None else digest_of(store, row)
    if as_json:
        print_json({
            "run_id": outcome.run_id, "status": outcome.status, "stop_reason": outcome.stop_reason,
            "message": outcome.message, "executed": outcome.executed, "digest": result.digest if result else None,
            "report": document,
        })  # fmt: skip
        return
    if document is not None:
        print_brief(document, f"rollout optimize report {outcome.run_id}{db_flag(db_path)}", color=color)
    click.echo(f"Run {outcome.run_id} is {outcome.status}: {outcome.message}.")
    if document is not None and outcome.executed == 0:
        click.echo("It was served from its journal: 0 calls.")
    if result is not None:
        click.echo(f"Digest {result.digest}")
    elif outcome.status == "paused":
        click.echo(f"Go on with:\n  rollout optimize run {outcome.run_id}{db_flag(db_path)}")
    if document is not None:
        click.echo(next_steps(outcome.run_id, document, db_flag(db_path)), err=True)


def next_steps(run_id: str, document: Report, place: str) -> str:
    """What one would type after a report, by its verdict."""
    steps = {
        "promote": [(f"promote {run_id} --to FILE{place}", "put it in its place (a capability needs no --to)")],
        "undecided": [(f"promote {run_id} --to FILE --force --reason TEXT{place}", "take it all the same, on record")],
        "do_not_promote": [(f"logs {run_id}{place}", "what the search did")],
    }[document["verdict"]["outcome"]]  # fmt: skip
    steps = [(f"export {run_id}{place}", "the best text"), *steps] if document["changed"] else steps
    commands = [*((f"optimize {command}", what) for command, what in steps), (f"ui{place}", "all of it as pages")]
    width = max(len(command) for command, _ in commands)
    return "Next:\n" + "\n".join(f"  rollout {command:<{width}}  {what}" for command, what in commands)


def print_brief(document: Report, rest: str, *, color: bool) -> None:
    """What fits on two screens of a report; `rest` is the command that shows all of it."""
    from rollout_local.reports import render

    screen = console(color=color)
    click.echo(render.as_brief_text(document, rest, width=min(screen.width, 100), color=color and screen.is_terminal))


def print_report(document: Report, form: str, *, color: bool) -> None:
    """A promotion report as text, Markdown, HTML or JSON."""
    from rollout_local.reports import render

    if form == "json":
        print_json(document)
    elif form == "md":
        click.echo(render.as_markdown(document))
    elif form == "html":
        click.echo(render.as_html(document))
    else:
        screen = console(color=color)
        click.echo(render.as_text(document, width=min(screen.width, 100), color=color and screen.is_terminal))


def _scores_so_far(store: Store, row: RunRow) -> str:
    """Baseline → best so far on validation; empty before there is any."""
    from rollout_local.store import reads

    best = reads.best_so_far(store, row)
    means = [reads.candidate(store, one)["val_mean"] for one in (row["baseline_candidate_id"], best) if one is not None]
    known = [f"{mean:.3f}" for mean in means if mean is not None]
    return f", val {' → '.join(known)}" if known else ""


def follow(store: Store, run_id: str, *, quiet: bool) -> str:
    """Show a run's moves, made by whoever runs it, until it has ended or waits."""
    from rollout_local.runs.worker import wait_for

    def show(row: RunRow) -> None:
        if not quiet:
            calls = f"{row['metric_calls']}/{row['metric_call_budget']} calls"
            scores = _scores_so_far(store, row)
            click.echo(f"{run_id} {row['status']} {words(row['phase'] or '')} {calls}{scores}", err=True)

    return wait_for(store, run_id, show, None)
