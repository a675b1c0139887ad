"""The log of a run: each line is an event in the database, and is told to whoever watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollout_local.clock import now
from rollout_local.runs.progress import Watch
from rollout_local.store.journal import Journal


@dataclass(frozen=True)
class RunLog:
    """Writes lines of one attempt. Safe to use from many threads."""

    journal: Journal
    watch: Watch

    def tell(self, message: str, **data: object) -> None:
        """Append a line on how the run goes on, without what must not be written down."""
        self._add("info", message, data)

    def caution(self, message: str, **data: object) -> None:
        """Append a warning: a line on what somebody should look at."""
        self._add("warning", message, data)

    def _add(self, level: str, message: str, data: Mapping[str, object]) -> None:
        message = self.journal.store.redactor.text(message)
        self.journal.add_event(now(), level, message, data)
        self.watch.note(level, message)
