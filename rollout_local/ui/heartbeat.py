"""How alive a running run is: live, quiet, stale (nobody was heard for a minute), or gone (its process ended).

On the machine of the runner a dead process is told at once; elsewhere only silence tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from rollout_local.domain.run import Phase, RunStatus
from rollout_local.store.holders import Holder


class Heard(TypedDict):
    """The part of a run's row that says when it was heard."""

    status: str
    phase: str | None
    heartbeat_at: str | None
    last_event_at: str | None
    started_at: str | None


LIVE_S = 15.0
QUIET_S = 60.0


@dataclass(frozen=True)
class Heartbeat:
    """`state` is live, quiet, stale, gone or rest (nothing is to be heard); `age_s` since it was last heard."""

    state: str
    text: str
    age_s: float | None = None


def seconds(at: str) -> float:
    """Unix seconds of an `_at` column; 0 where it holds no time, which only a hand-made row does."""
    try:
        return datetime.fromisoformat(at).timestamp()
    except ValueError:
        return 0.0


def heartbeat(run: Heard, holder: Holder | None, now: float) -> Heartbeat:
    """The heartbeat of a run at `now` (Unix seconds); `holder` is who runs it, as far as the file says."""
    if run["status"] != RunStatus.RUNNING:
        return Heartbeat("rest", "")
    heard = [seconds(at) for at in (run["heartbeat_at"], run["last_event_at"], run["started_at"]) if at]
    age = max(0.0, now - max(heard)) if heard else None
    if holder is not None and holder.is_gone():
        return Heartbeat("gone", f"Its process {holder.pid} on {holder.host} has ended.", age)
    if age is None or age < LIVE_S:
        return Heartbeat("live", "Live", age)
    if age < QUIET_S:
        waiting = "the reflection model may be writing" if run["phase"] == Phase.SEARCH else "waiting for the runner"
        return Heartbeat("quiet", f"Quiet for {duration(age)}: {waiting}.", age)
    return Heartbeat("stale", f"Not heard from the runner for {duration(age)}.", age)


def duration(value: float) -> str:
    """`8 s`, `4 min`, `2 h 5 min`, `3 d 2 h`."""
    if value < 90:
        return f"{value:.0f} s"
    minutes = int(value // 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
