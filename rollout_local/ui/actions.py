"""The buttons of a run, and the commands that do the same: a page may be read where nobody is listening."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from rollout_local.domain.run import RunStatus
from rollout_local.ui.commands import OFFERED
from rollout_local.ui.visit import RunVisit

_LABELS = {"start": "Queue", "cancel": "Cancel", "pause": "Pause", "retry": "Retry", "promote": "Promote"}


@dataclass(frozen=True)
class Action:
    """A button and the command that does the same."""

    name: str
    label: str
    command: str


def offered(run: RunVisit) -> list[Action]:
    """What may be asked of the run now, the usual thing first."""
    return [
        Action(name, _LABELS[name], command(run, name))
        for name in (OFFERED[RunStatus(run.row["status"])] if run.is_newest else ())
    ]


def command(run: RunVisit, name: str) -> str:
    """What to type instead; `run` goes on with a run that waits."""
    path = run.visit.source.path
    flag = "" if path.name == "rollout.db" else f" --db {shlex.quote(str(path))}"
    verb = "run" if name == "start" else name
    return f"rollout optimize {verb} {shlex.quote(run.id)}{flag}"
