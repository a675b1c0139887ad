"""`--on-end`: a command, or a URL that is posted to, told how a run ended or why it waits.

It is the caller's own and is not stored with the run: nobody's file can have one run.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import click

from rollout_local.reports.escape import first_line, visible

if TYPE_CHECKING:
    from rollout_local.store.schema import Store

LONGEST = 30.0
"""Seconds that it has."""
on_end_flag = click.option(
    "--on-end", metavar="COMMAND|URL",
    help="Tell it how the run ended: JSON on stdin (ROLLOUT_RUN, ROLLOUT_STATUS and ROLLOUT_VERDICT in the "
    "environment), or posted to an http(s) URL. What it does changes no exit code.",
)  # fmt: skip


def tell(command: str | None, store: Store, run_id: str) -> None:
    """Tell `command` how the run stands; a command that fails is a warning."""
    if command is None:
        return
    document = told(store, run_id)
    try:
        if command.startswith(("http://", "https://")):
            _post(command, document)
        else:
            _run(command, document)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        click.echo(visible(f"warning: --on-end {command}: {first_line(str(error), 200)}"), err=True)


def told(store: Store, run_id: str) -> dict[str, str | float | None]:
    """What is said of a run: how it ended, and what its report concludes."""
    from rollout_local.reports.standing import standing
    from rollout_local.store import reads
    from rollout_local.store.stored_run import StoredRun

    row = reads.run(store, run_id)
    report = standing(store, run_id, row["attempt"], StoredRun(row).config)
    verdict = report["verdict"] if report is not None else None
    return {
        "run_id": run_id, "name": row["name"], "target": row["target_id"], "status": row["status"],
        "stop_reason": row["stop_reason"], "message": row["message"],
        "verdict": verdict["outcome"] if verdict else None, "sentence": verdict["sentence"] if verdict else None,
        "lift": report["holdout"]["lift"] if report is not None else None,
    }  # fmt: skip


def _run(command: str, document: dict[str, str | float | None]) -> None:
    said = {f"ROLLOUT_{name}": str(document[key] or "") for name, key in _VARIABLES.items()}
    subprocess.run(  # noqa: S603 - the caller's own command
        ["/bin/sh", "-c", command], input=json.dumps(document) + "\n", text=True, timeout=LONGEST, check=True,
        env={**os.environ, **said}, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def _post(url: str, document: dict[str, str | float | None]) -> None:
    body, headers = json.dumps(document).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - http(s), as `tell` looked
    with urllib.request.urlopen(request, timeout=LONGEST):  # noqa: S310
        pass


_VARIABLES = {"RUN": "run_id", "STATUS": "status", "VERDICT": "verdict"}
