"""The pages of runs, as a Datasette plugin: live run, candidates, lineage, promotion, and the tables beneath.

An entry point loads this into every Datasette of the environment, so each hook first looks whether a database of
ours is attached and otherwise stays silent. The pages have their own templates, style and threads; Datasette serves
the same file beside them for every question that they do not answer.

Reading order: `routes` (addresses), `visit` (what a view gets), `views/` (one module a page), `draw/` (SVG), `guard`
(who is let in), `cells` (from Datasette's tables back to ours), `datasettes` (0.65 and 1.0), `readers` (how a file is
read that another process writes).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from datasette import hookimpl
from markupsafe import Markup

from rollout_local.ui import cells, datasettes, describe, guard, readers
from rollout_local.ui.links import Links
from rollout_local.ui.routes import routes
from rollout_local.ui.state import state_of

if TYPE_CHECKING:
    from datasette.app import Datasette


Hook = TypeVar("Hook", bound=Callable[..., Any])


def _hook(function: Hook) -> Hook:
    """Mark a hook; run after those of others, so that our door is the outermost."""
    hookimpl(function, trylast=True)
    return function


@_hook
def register_routes() -> list[tuple[str, object]]:
    """Our addresses, all under `/-/rollout/`."""
    return routes()


@_hook
def asgi_wrapper(datasette: Datasette) -> object:
    """The door: hosts, origins, headers."""
    return guard.wrapper(lambda: state_of(datasette), datasette.setting("base_url"))


@_hook
def menu_links(datasette: Datasette) -> list[dict[str, str]]:
    """A way from Datasette's pages to ours."""
    if not state_of(datasette).is_active:
        return []
    return [{"href": Links(datasette.setting("base_url")).jobs(), "label": "Optimization runs"}]


@_hook
def database_actions(datasette: Datasette, database: str) -> list[dict[str, str]]:
    """The same from the page of a database."""
    if database not in state_of(datasette).sources:
        return []
    return [{"href": Links(datasette.setting("base_url")).jobs(), "label": "Show as optimization runs"}]


@_hook
def render_cell(
    row: Any, value: object, column: str, table: str | None, database: str, datasette: Datasette
) -> Markup | None:
    """Ids in Datasette's tables lead back to our pages."""
    if database not in state_of(datasette).sources:
        return None
    return cells.link(Links(datasette.setting("base_url")), database, table, column, dict(row), value)


@_hook
def canned_queries(datasette: Datasette, database: str) -> dict[str, Any]:
    """What people ask first."""
    return describe.QUERIES if database in state_of(datasette).sources else {}


@_hook
def get_metadata(datasette: Datasette) -> dict[str, object]:
    """Descriptions of tables and columns."""
    return {"databases": dict.fromkeys(state_of(datasette).sources, describe.DATABASE)}


@_hook
def permission_allowed(datasette: Datasette, actor: object, action: str) -> bool | None:
    """`root` may act; what others may is for Datasette's configuration to say."""
    launched = state_of(datasette).options.launched
    return True if datasettes.is_root(actor, action, launched=launched) else None


@_hook
def prepare_connection(conn: Any, database: str, datasette: Datasette) -> None:
    """What statements of Datasette's, and of its readers, may not do to this machine."""
    if database in state_of(datasette).sources:
        readers.restrict(conn, readers.LONGEST_SHOWN)


# Datasette 1.0 asks for the three above in other ways


@_hook
def startup(datasette: Datasette) -> Callable[[], Awaitable[None]]:
    """Descriptions and queries."""

    async def describing() -> None:
        for name in state_of(datasette).sources:
            await datasettes.describe(datasette, name, describe.DATABASE, describe.QUERIES)

    return describing


@_hook
def register_actions() -> list[object]:
    """What `root` may do."""
    return datasettes.actions()


@_hook
def permission_resources_sql(datasette: Datasette, actor: object, action: str) -> object:
    """That `root` may do it."""
    launched = state_of(datasette).options.launched
    return datasettes.allowance() if datasettes.is_root(actor, action, launched=launched) else None
