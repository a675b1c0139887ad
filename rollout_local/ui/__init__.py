"""The pages of runs, as a Datasette plugin: live run, candidates, lineage, promotion, and the tables beneath.

An entry point loads this into every Datasette of the environment, so each hook first looks whether a database of
ours is attached and otherwise stays silent. The pages have their own templates, style and threads; Datasette serves
the same file beside them for every question that they do not answer.

Reading order: `routes` (addresses), `visit` (what a view gets), `views/` (one module a page), `draw/` (SVG),
`guard` (who is let in), `readers` (how a file is read that another process writes).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from datasette import hookimpl

from rollout_local.ui import describe, guard
from rollout_local.ui.links import Links
from rollout_local.ui.permission import ACTION
from rollout_local.ui.routes import routes
from rollout_local.ui.state import state_of

Hook = TypeVar("Hook", bound=Callable[..., Any])


def _hook(function: Hook) -> Hook:
    """Mark a hook; run after those of others, so that our door is the outermost."""
    hookimpl(function, trylast=True)
    return function


@_hook
def register_routes() -> list[tuple[str, Any]]:
    """Our addresses, all under `/-/rollout/`."""
    return routes()


@_hook
def asgi_wrapper(datasette: Any) -> Any:
    """The door: hosts, origins, headers."""
    return guard.wrapper(lambda: state_of(datasette), datasette.setting("base_url"))


@_hook
def menu_links(datasette: Any) -> list[dict[str, str]]:
    """A way from Datasette's pages to ours."""
    if not state_of(datasette).is_active:
        return []
    return [{"href": Links(datasette.setting("base_url")).jobs(), "label": "Optimization runs"}]


@_hook
def database_actions(datasette: Any, database: str) -> list[dict[str, str]]:
    """The same from the page of a database."""
    if database not in state_of(datasette).sources:
        return []
    return [{"href": Links(datasette.setting("base_url")).jobs(), "label": "Show as optimization runs"}]


@_hook
def canned_queries(datasette: Any, database: str) -> dict[str, Any]:
    """What people ask first."""
    return describe.QUERIES if database in state_of(datasette).sources else {}


@_hook
def get_metadata(datasette: Any) -> dict[str, Any]:
    """Descriptions of tables and columns."""
    return {"databases": dict.fromkeys(state_of(datasette).sources, describe.DATABASE)}


@_hook
def permission_allowed(actor: Any, action: str) -> bool | None:
    """`root` may act; what others may is for Datasette's configuration to say."""
    return True if action == ACTION and actor and actor.get("id") == "root" else None
