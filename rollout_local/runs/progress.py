"""Who watches a run: told of progress and of what is worth a line; decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rollout_local.domain.run import Phase


@dataclass(frozen=True)
class Progress:
    """Where a run stands. `done` of `total` executions of this phase; scores are means in [0, 1]."""

    phase: Phase
    done: int
    total: int
    baseline: float | None
    best: float | None
    cost_usd: float | None
    errors: int


class Watch(Protocol):
    """A listener; called from any thread."""

    def progress(self, progress: Progress) -> None:
        """The run moved."""
        ...

    def note(self, level: str, message: str) -> None:
        """Something happened: `level` is debug, info, warning or error."""
        ...


class Silent:
    """Watches nothing."""

    def progress(self, progress: Progress) -> None:
        """Ignored."""

    def note(self, level: str, message: str) -> None:
        """Ignored."""
