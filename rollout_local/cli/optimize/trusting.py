"""The step before anything of a run from elsewhere is contacted: what it names is shown, and somebody says yes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from rollout_local.reports.escape import visible

trust_flag = click.option(
    "--trust", is_flag=True, help="Say yes to the code, servers, models and variables that a RUN from elsewhere names."
)


def confirmed(store: Any, reference: str, *, trusted: bool, changes: Mapping[str, Any]) -> None:
    """Name what a run from elsewhere will reach for, and keep the yes: by the flag, or by the answer at a terminal.

    Without either nothing is changed: what comes next refuses the run.
    """
    from rollout_local.planning import trust
    from rollout_local.store import reads

    run = reads.run(store, reference)
    found = trust.unconfirmed(store, run, changes)
    if not found:
        return
    at_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    if trusted or at_terminal:
        click.echo(f"Run {run['id']} was not made on this machine by this user. It will", err=True)
        for contact in found:
            click.echo(visible(f"  {contact.sentence}"), err=True)
    if trusted or (at_terminal and click.confirm("Do you want that?", err=True)):
        trust.confirm(store, run)
