"""A form for a new job, from the targets, datasets and verifiers that the file already holds.

`runs.from_rows` writes the run as the command line would, without importing anybody's code; a worker takes it up.
What is wrong is said above the form, which keeps what was entered; nothing is written then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollout_local.documents import parse_json
from rollout_local.errors import InputError, RolloutError
from rollout_local.planning import from_rows
from rollout_local.runs import worker
from rollout_local.ui.actions import db_flag
from rollout_local.ui.choices import choices
from rollout_local.ui.readers import writing
from rollout_local.ui.visit import Answer, Page, Redirect, Visit


def show(visit: Visit) -> Page:
    """The form."""
    return Page("new.html", {"title": "New job", "tab": "new", **form_of(visit)})


def form_of(visit: Visit) -> dict[str, object]:
    """What the form is drawn from: the parts in each open file; nothing for those who may not use it."""
    open_here = [source for source in visit.sources.values() if not source.immutable] if visit.may_act else []
    parts = [
        {"db": source.name, "file": source.path.name, "flag": db_flag(source), **choices(visit.open(source))}
        for source in open_here
    ]
    return {"parts_of": parts, "given": _EMPTY, "problem": ""}


def submit(visit: Visit) -> Answer:
    """Create the job and queue it."""
    try:
        return Redirect(visit.links.run(visit.form["db"], _create(visit)))
    except RolloutError as error:
        refused = {**form_of(visit), "given": {**_EMPTY, **visit.form}, "problem": str(error)}
        return Page("new.html", {"title": "New job", "tab": "new", **refused}, 400)


def _create(visit: Visit) -> str:
    source = visit.sources.get(visit.form.get("db", ""))
    if source is None or source.immutable:
        msg = "Choose a database that is open here and can be written."
        raise InputError(msg)
    wanted = fields(visit.form)
    with writing(source.path) as store:
        run = str(from_rows.insert_from_rows(store, wanted)["id"])
        worker.submit(store, run)
    return run


def fields(form: Mapping[str, str]) -> dict[str, Any]:
    """The form as the fields of `insert_from_rows`; raises `InputError` naming what is missing or wrong."""
    given = {name: value.strip() for name, value in form.items() if value.strip()}
    found: dict[str, Any] = {name: given[name] for name in _TEXTS if name in given}
    for name, (label, least) in _NUMBERS.items():
        if name in given:
            found[name] = _number(given[name], label, least)
    if "chosen_val_dataset" in given:
        found["val_dataset_id"] = _number(given["chosen_val_dataset"], "The validation dataset")
    if "tags" in given:
        found["tags"] = tuple(dict.fromkeys(tag for part in given["tags"].split(",") if (tag := part.strip())))
    if "reward_params" in given:
        found["reward_params"] = _object(given["reward_params"])
    for name, (by_row, by_name) in _CHOSEN.items():
        value = given.get(f"chosen_{name}")
        if value is None:
            msg = f"Choose a {name}."
            raise InputError(msg)
        found |= {by_row: _number(value, f"The {name}")} if value.isdecimal() or not by_name else {by_name: value}
    if "reflection_model" not in found:
        msg = "Name a reflection model: it writes the new prompts."
        raise InputError(msg)
    return found


def _object(text: str) -> dict[str, object]:
    found = parse_json(text, "The reward's parameters")
    if not isinstance(found, dict):
        msg = f'The reward\'s parameters are a JSON object, such as {{"needle": "30 days"}}, not {text[:40]!r}.'
        raise InputError(msg)
    return found


def _number(value: str, label: str, least: int = 1) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) < 10):
        msg = f"{label} takes a whole number, not {value[:40]!r}."
        raise InputError(msg)
    if int(value) < least:
        msg = f"{label} must be {least} or more, not {value}."
        raise InputError(msg)
    return int(value)


_TEXTS = (
    "name", "reflection_model", "reflection_api_base", "task_model", "task_api_base", "splits", "objective", "project",
    "run_ref",
)  # fmt: skip
_READ = ("chosen_val_dataset", "tags", "reward_params")
"""Fields that become something else than a text or a number."""
_NUMBERS = {"max_metric_calls": ("The number of search calls", 1), "seed": ("The seed", 0)}
"""What each is called, and the least that it may be."""
_CHOSEN = {
    "target": ("target_row_id", "agent"), "dataset": ("dataset_id", ""), "verifier": ("verifier_id", "reward"),
}  # fmt: skip
"""A choice by the number of its row, or by its name. Its field is `chosen_…`: a form has a `target` of its own."""
_EMPTY = dict.fromkeys(("db", *_TEXTS, *_READ, *_NUMBERS, *(f"chosen_{name}" for name in _CHOSEN)), "")
