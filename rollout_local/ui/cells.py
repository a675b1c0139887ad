"""From a cell of Datasette's own pages back to ours: ids of runs, trials and traces, numbers of candidates, tasks.

A column is known by its name, wherever it stands, and an `id` by its table. Datasette draws a table's own key itself,
so there another column is the link. Only the newest attempt has pages, so a candidate's number is a link where the view
has no other one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from rollout_local.ui.links import Links

Row = Mapping[str, Any]
To = Callable[[Links, str, Row, Any], str | None]


def _run(links: Links, db: str, _row: Row, value: object) -> str:
    return links.run(db, str(value))


def _trial(links: Links, db: str, _row: Row, value: int) -> str:
    return links.trial(db, value)


def _trace(links: Links, db: str, _row: Row, value: object) -> str:
    return links.trace(db, str(value))


def _candidate(links: Links, db: str, row: Row, value: int) -> str:
    return links.candidate(db, str(_plain(row["run_id"])), value)


def _task(links: Links, db: str, row: Row, value: object) -> str | None:
    if not {"run_id", "split"} <= set(row):
        return None
    return links.task(db, str(_plain(row["run_id"])), str(value), str(row["split"]))


_COLUMNS: dict[str, To] = {
    "run_id": _run,
    "trial_id": _trial,
    "superseded_by": _trial,
    "last_trial_id": _trial,
    "trace_id": _trace,
    "task_name": _task,
}
_OF_TABLES: dict[tuple[str, str], To] = {
    ("runs", "status"): lambda links, db, row, _: links.run(db, row["id"]),
    ("traces", "name"): lambda links, db, row, _: links.trace(db, row["id"]),
    ("run_summary", "id"): _run,
    ("trial_feed", "id"): _trial,
    ("errors", "id"): _trial,
    ("leaderboard", "number"): _candidate,
}


def link(links: Links, db: str, table: str | None, column: str, row: Row, value: object) -> Markup | None:
    """The cell as a link to our page; None where it is none of ours, and Datasette shows it as it does."""
    to = _OF_TABLES.get((table or "", column)) or _COLUMNS.get(column)
    shown = _plain(value)
    if to is None or shown is None or (to in (_trial, _candidate) and not isinstance(shown, int)):
        return None
    href = to(links, db, row, shown)
    return None if href is None else Markup('<a href="{}">{}</a>').format(href, shown)


def _plain(value: Any) -> Any:
    """The value itself: Datasette has foreign keys with their label."""
    return value["value"] if isinstance(value, Mapping) else value
