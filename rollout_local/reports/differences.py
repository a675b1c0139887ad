"""The first difference between two runs, said as a person would: what, which field, both values.

First means first in the run, not in the tables: a text before the trials on it, trials before the judgement on
them, the report last. What follows a difference differs because of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rollout_local.domain.dataset import SPLITS
from rollout_local.domain.identity import canonical_json
from rollout_local.reports.digest import Rows
from rollout_local.reports.escape import one_line

CUT = 200
_LEAD = 60
_JUDGEMENT = ("accepted", "reason", "minibatch_before", "minibatch_after")

Rank = tuple[float | str, ...]
Told = Iterator[tuple[Rank, tuple[str, Mapping[str, object]]]]
"""Everything that is told of a run, with the place where it comes to it and what it is called."""


def first_difference(a_rows: Rows, b_rows: Rows) -> str | None:
    """A sentence on the first difference of two runs' canonical rows (`a` as it was, `b` as it is), or None."""
    before, after = dict(_told(a_rows)), dict(_told(b_rows))
    for rank in sorted({*before, *after}):
        if rank not in after:
            return f"{before[rank][0]} is missing now"
        if rank not in before:
            return f"{after[rank][0]} was not there before"
        found = _first_in(before[rank][1], after[rank][1], "")
        if found is not None:
            return f"{before[rank][0]}: {_said(*found)}"
    return None


def _told(rows: Rows) -> Told:
    """Everything in `rows` under the place where a run comes to it."""
    yield from _candidates(rows)
    yield from _proposals(rows)
    for row in rows["trials"]:
        name = f"the trial of candidate {row['candidate']} on {row['split']} task {row['task']!r}"
        name += f", occurrence {row['occurrence']}" if row["occurrence"] else ""
        place = (SPLITS.index(row["split"]), row["task"], row["occurrence"])
        yield (row["candidate"], 3, *place), (name, row)
    for report in rows["report"]:
        yield (float("inf"), 9), ("the promotion report", report)


def _candidates(rows: Rows) -> Told:
    for row in rows["candidates"]:
        number = row["number"]
        name = f"candidate {number}"
        yield (number, 1), (name, {"components": row["components"], "content_hash": row["content_hash"]})
        parents = [edge["parent"] for edge in rows["parents"] if edge["child"] == number]
        yield (number, 2), (name, {"parents": parents})
        yield (number, 5), (name, {key: value for key, value in row.items() if key != "components"})


def _proposals(rows: Rows) -> Told:
    """What was asked of a proposal stands before its text, what was decided after its trials."""
    newest = 0
    for position, row in enumerate(rows["proposals"]):
        failed = row["candidate"] is None
        newest = max(newest, row["candidate"] or 0)
        name = f"the proposal of iteration {row['iteration']} for {row['component']!r}"
        name += " (no usable text)" if failed else f" (candidate {row['candidate']})"
        asked = {key: value for key, value in row.items() if key not in _JUDGEMENT}
        decided = {key: value for key, value in row.items() if key in _JUDGEMENT}
        place = (row["iteration"], row["component"], position if failed else 0)
        yield (newest, 6 if failed else 0, *place), (name, asked)
        yield (newest, 6 if failed else 4, *place, 1), (name, decided)


def _first_in(before: object, after: object, path: str) -> tuple[str, object, object] | None:
    """`(path, before, after)` of the first leaf that differs, or None."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = dict.fromkeys([*before, *after])
        found = (_first_in(before.get(k), after.get(k), f"{path}.{k}" if path else str(k)) for k in keys)
        return next((leaf for leaf in found if leaf is not None), None)
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        found = (_first_in(*pair, f"{path}[{i}]") for i, pair in enumerate(zip(before, after, strict=True)))
        return next((leaf for leaf in found if leaf is not None), None)
    return None if before == after else (path, before, after)


def _said(path: str, before: object, after: object) -> str:
    one, other = _plain(before), _plain(after)
    start = max(0, _parting(one, other) - _LEAD) if max(len(one), len(other)) > CUT else 0
    return f"{path} was {_cut(one, start)}, is {_cut(other, start)}"


def _plain(value: object) -> str:
    return one_line(canonical_json(value))


def _parting(one: str, other: str) -> int:
    """Where two texts part."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _cut(text: str, start: int) -> str:
    """At most `CUT` characters of `text` from `start` on, with dots where some were left out."""
    part = ("…" if start else "") + text[start:]
    return part if len(part) <= CUT else part[: CUT - 1] + "…"
