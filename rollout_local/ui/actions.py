"""The buttons of a run, and the commands that do the same: a page may be read where nobody is listening."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from rollout_local.domain.run import RunStatus
from rollout_local.ui import queries
from rollout_local.ui.commands import OFFERED
from rollout_local.ui.readers import Source
from rollout_local.ui.visit import RunVisit

_LABELS = {"start": "Queue", "cancel": "Cancel", "pause": "Pause", "retry": "Retry", "promote": "Promote"}


@dataclass(frozen=True)
class Action:
    """A button and the command that does the same."""

    name: str
    label: str
    command: str


def asked(run: RunVisit) -> dict[str, object]:
    """For a page: what may be asked, what was asked and became of it, and what to type instead."""
    return {
        "actions": offered(run), "commands": queries.commands(run.store, run.id),
        "worker": f"rollout worker{db_flag(run.visit.source)}", "start": command(run, "start"),
        "judge": command(run, "judge"),
    }  # fmt: skip


def offered(run: RunVisit) -> list[Action]:
    """What may be asked of the run now, the usual thing first."""
    return [
        Action(name, _LABELS[name], command(run, name))
        for name in (OFFERED[RunStatus(run.row["status"])] if run.is_newest else ())
    ]


def command(run: RunVisit, name: str) -> str:
    """What to type instead; `run` goes on with a run that waits."""
    verb = "run" if name == "start" else name
    place = " --to FILE" if name == "promote" and not run.config.get("capability") else ""
    return f"rollout optimize {verb} {shlex.quote(run.id)}{place}{db_flag(run.visit.source)}"


def db_flag(source: Source) -> str:
    """The flag that names the file, where its name is not what commands look for."""
    return "" if source.path.name == "rollout.db" else f" --db {shlex.quote(str(source.path))}"
