"""Trials of a run, to be read: question, expected and output side by side; searched, filtered, sorted by links."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypedDict

from rollout_local.domain.dataset import SPLITS
from rollout_local.store import trial_index, trial_list
from rollout_local.store.trial_list import ReadTrial, Sought
from rollout_local.ui.visit import Page, RunVisit, Visit, run_visit

LONGEST_SEARCH = 200
"""Characters of a search."""
SCORES = {
    "": "any", "errors": "none: an error", "zero": "0", "low": "below 0.5", "full": "1",
}  # fmt: skip
HEADS = {"score": "Score", "task": "Question", "candidate": "Candidate"}
"""Heads that sort: what each is called in the address, and on the page."""
_ORDERS = {
    "": "newest first",
    "score": "lowest score first",
    "-score": "highest score first",
    "task": "by task",
    "-task": "by task, backwards",
    "candidate": "by candidate",
    "-candidate": "by candidate, backwards",
}


class AskedTrial(ReadTrial):
    """A trial with its question and what was expected as people read them."""

    question: str
    expected: str


class SortHead(TypedDict):
    """A head that sorts: its word, where it leads, and how the list is sorted by it now."""

    name: str
    href: str
    sorted: str


def show(visit: Visit) -> Page:
    """`?search=`, `?task=`, `?candidate=`, `?split=`, `?score=` narrow it, `?sort=` orders it; `?before=`, `?page=`."""
    run = run_visit(visit)
    wanted = {
        "search": visit.first("search").strip()[:LONGEST_SEARCH], "task": visit.first("task"),
        "candidate": str(number) if (number := visit.number("candidate")) is not None else "",
        "split": visit.choice("split", dict.fromkeys(SPLITS), ""), "score": visit.choice("score", SCORES, ""),
        "sort": visit.choice("sort", trial_list.SORTS, ""),
    }  # fmt: skip
    page = max(1, visit.number("page") or 1)
    found = trial_list.find(run.store, _sought(run, wanted, visit.number("before"), page))
    return Page("trials.html", {
        "title": "Trials", "run": run, "tab": "trials", "trials": asked(found.trials), "wanted": wanted,
        "filtered": any(value for name, value in wanted.items() if name != "sort"),
        "scores": SCORES, "splits": SPLITS, "candidates": [row["number"] for row in run.candidates],
        "heads": {name: _head(run, name, wanted) for name in HEADS}, "orders": _ORDERS,
        "looked_at": found.looked_at, "indexed": trial_index.is_on(run.store), **_around(run, wanted, found, page),
    })  # fmt: skip


def asked(trials: Sequence[ReadTrial]) -> list[AskedTrial]:
    """Trials with their questions. An instruction that all of several tasks share tells none from another: left out."""
    tasks = {row["task_name"] for row in trials}
    shared = len(tasks) > 1 and len({row["instruction"] for row in trials}) == 1
    return [
        {
            **row,
            "question": question(row["instruction"], row["input_json"], told=not shared),
            "expected": _plain(row["expected_output_json"]),
        }
        for row in trials
    ]


def _sought(run: RunVisit, wanted: Mapping[str, str], before: int | None, page: int) -> Sought:
    candidate = None
    if wanted["candidate"]:
        row = next((row for row in run.candidates if str(row["number"]) == wanted["candidate"]), None)
        candidate = row["id"] if row else -1  # of no candidate there is no trial
    return Sought(
        run.id, run.attempt, candidate, wanted["task"], wanted["split"], wanted["score"], wanted["search"],
        wanted["sort"], before, page,
    )  # fmt: skip


def _head(run: RunVisit, name: str, wanted: Mapping[str, str]) -> SortHead:
    """One click sorts upwards, the next downwards, the third by time again."""
    following = {name: f"-{name}", f"-{name}": ""}.get(wanted["sort"], name)
    now = {name: "ascending", f"-{name}": "descending"}.get(wanted["sort"], "")
    return {"name": HEADS[name], "href": run.link("trials", **{**wanted, "sort": following}), "sorted": now}


def _around(run: RunVisit, wanted: Mapping[str, str], found: trial_list.Found, page: int) -> dict[str, object]:
    """Where the pages before and after are; those by time go on from an id, and back to the newest."""
    if not wanted["sort"]:
        begun = run.visit.number("before") is not None
        older = run.link("trials", **wanted, before=found.older) if found.older is not None else ""
        return {"newer": run.link("trials", **wanted) if begun else "", "older": older, "go_on": not found.more}
    newer = run.link("trials", **wanted, page=page - 1) if page > 1 else ""
    return {"newer": newer, "older": run.link("trials", **wanted, page=page + 1) if found.more else "", "go_on": False}


def question(instruction: str | None, input_json: str | None, *, told: bool) -> str:
    """What was asked, as people read it; with the instruction where it is `told`, or is all that there is."""
    try:
        given = json.loads(input_json or "{}")
    except ValueError:  # it was cut
        given = input_json
    parts = [instruction or ""] if told or not given else []
    if isinstance(given, dict):
        parts += [_text(value) if len(given) == 1 else f"{name}: {_text(value)}" for name, value in given.items()]
    elif given:
        parts.append(_text(given))
    return "\n".join(part for part in parts if part)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _plain(text: str | None) -> str:
    """A JSON text as people write it: a text without its quotation marks."""
    try:
        return "" if text is None else _text(json.loads(text))
    except ValueError:
        return text or ""
