"""The one place that tells Datasette 0.65 from Datasette 1.0: who may act, and what is shown beside our tables.

0.65 asks plugins with hooks of its own (`permission_allowed`, `get_metadata`, `canned_queries`). 1.0 has none of the
three: a plugin registers its action and allows it by SQL, and writes descriptions and queries into Datasette's internal
database when it starts. What Datasette's own configuration says goes before ours under both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasette.app import Datasette

ACTION = "rollout-write"
SQL = "execute-sql"
_CONFIG = ("sort_desc", "hidden")
"""What 0.65 reads as metadata of a table, and 1.0 as its configuration."""


async def may_act(datasette: Datasette, actor: object) -> bool:
    """Whether this actor may ask things of runs. Anonymous is read only."""
    if not actor:
        return False
    if hasattr(datasette, "permission_allowed"):
        return bool(await datasette.permission_allowed(actor, ACTION, default=False))
    return bool(await datasette.allowed(action=ACTION, actor=actor))


def is_root(actor: Any, action: str, *, launched: bool) -> bool:
    """Whether this comes by the sign-in link, for what `root` may: our action, and SQL where we have `launched` it.

    Of others, and of SQL elsewhere, Datasette's configuration decides.
    """
    asked = action == ACTION or (launched and action == SQL)
    return asked and bool(actor) and actor.get("id") == "root"


def actions() -> list[object]:
    """Our action, as 1.0 wants it registered."""
    from datasette.permissions import Action

    return [Action(name=ACTION, description="Ask things of optimization runs")]


def allowance() -> object:
    """The SQL by which 1.0 is told that an action is allowed."""
    from datasette.permissions import PermissionSQL

    return PermissionSQL.allow(reason="came by the sign-in link of rollout ui")


def judged(scope: Mapping[str, Any]) -> Mapping[str, object]:
    """A request that our door let in, as Datasette is to see it.

    1.0 judges origins too, but knows no trusted host: behind a proxy it would refuse what was already let in. It goes
    by this header, which browsers of today send themselves.
    """
    names = {name.lower() for name, _ in scope["headers"]}
    if b"origin" not in names or b"sec-fetch-site" in names:
        return scope
    return {**scope, "headers": [*scope["headers"], (b"sec-fetch-site", b"same-origin")]}


async def describe(datasette: Datasette, name: str, database: Mapping[str, Any], queries: Mapping[str, Any]) -> None:
    """Tell 1.0 about a database of ours; 0.65 asks by itself."""
    if not hasattr(datasette, "add_query"):
        return
    if "description" not in await datasette.get_database_metadata(name):
        await datasette.set_database_metadata(name, "description", database["description"])
    for table, told in database["tables"].items():
        await _describe_table(datasette, name, table, told)
    for query, given in queries.items():
        if await datasette.get_query(name, query) is None:
            await datasette.add_query(name, query, given["sql"], title=given["title"])


async def _describe_table(datasette: Datasette, name: str, table: str, told: Mapping[str, Any]) -> None:
    tables = datasette.config.setdefault("databases", {}).setdefault(name, {}).setdefault("tables", {})
    for key in _CONFIG:
        if key in told:
            tables.setdefault(table, {}).setdefault(key, told[key])
    if "description" in told and "description" not in await datasette.get_resource_metadata(name, table):
        await datasette.set_resource_metadata(name, table, "description", told["description"])
    for column, text in told.get("columns", {}).items():
        if "description" not in await datasette.get_column_metadata(name, table, column):
            await datasette.set_column_metadata(name, table, column, "description", text)
