"""Who may act: whoever came by the sign-in link (`root`), or whom Datasette's own configuration allows."""

from __future__ import annotations

from typing import Any

ACTION = "rollout-write"


async def may_act(datasette: Any, actor: Any) -> bool:
    """Whether this actor may ask things of runs. Anonymous is read only."""
    if not actor:
        return False
    return bool(await datasette.permission_allowed(actor, ACTION, default=False))
