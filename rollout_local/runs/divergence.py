"""A resumed run asks again, step by step, what it asked before; where it asks something else, it has diverged.

A step is a batch of trials or a reflection; they follow one another, and a replay repeats their order. So a
question that the journal does not know, at a step before the last one that it holds, was never asked then: the
target, the data or a library decides otherwise now. That is said before anything is paid for.
"""

from __future__ import annotations

from rollout_local.errors import Paused


class History:
    """How far the journal goes; `last_step` is its highest step when the run was started."""

    def __init__(self, last_step: int) -> None:
        self.last_step = last_step

    def require_new(self, step: int, what: str) -> None:
        """Raise `Paused` where the journal goes beyond this step and yet does not hold what is asked."""
        if step < self.last_step:
            msg = (
                f"history diverged at step {step}: {what} was not asked there before, but the journal goes on to step "
                f"{self.last_step}; something that decides the search has changed (a target that is not a function of "
                "its input, a library): begin anew with --fresh"
            )
            raise Paused(msg, reason="error")
