"""A form for a new job, from the targets, datasets and verifiers that the file already holds.

`rollout_local.runs.setup.insert_from_rows(store, fields)` writes the run, as the command line would; a worker takes
it up. Where that function is absent the form is not offered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rollout_local.domain.run import RunStatus
from rollout_local.errors import InputError
from rollout_local.store import lifecycle
from rollout_local.store.schema import Store, open_store
from rollout_local.ui import queries
from rollout_local.ui.visit import Answer, Page, Redirect, Visit

Creator = Callable[[Store, Mapping[str, Any]], Mapping[str, Any]]


def creator() -> Creator | None:
    """What creates a run from rows, or None."""
    from rollout_local.runs import setup

    return getattr(setup, "insert_from_rows", None)


def show(visit: Visit) -> Page:
    """The form."""
    return Page("new.html", {"title": "New job", "choices": choices(visit), "offered": creator() is not None})


def choices(visit: Visit) -> list[dict[str, Any]]:
    """What each open file has to build a job from."""
    return [
        {"db": source.name, **queries.parts_of_jobs(visit.open(source))}
        for source in visit.sources.values()
        if not source.immutable
    ]


def submit(visit: Visit) -> Answer:
    """Create the job and queue it."""
    made = creator()
    if made is None:
        msg = "This version cannot create a job here; type `rollout optimize submit`."
        raise InputError(msg)
    source = visit.sources.get(visit.form.get("db", ""))
    if source is None:
        msg = "Choose a database that is open here."
        raise InputError(msg)
    with open_store(source.path, create=False) as store:
        run = create(store, made, visit.form)
    return Redirect(visit.links.run(source.name, run))


def create(store: Store, made: Creator, form: Mapping[str, str]) -> str:
    """Hand the form's fields to `made` and queue what it created. Returns the run's id."""
    run = str(made(store, fields(form))["id"])
    lifecycle.move(store, run, [RunStatus.CREATED], RunStatus.QUEUED)
    return run


def fields(form: Mapping[str, str]) -> dict[str, Any]:
    """The form as named fields; raises `InputError` naming what is missing or wrong."""
    found: dict[str, Any] = {name: form[name].strip() for name in _TEXTS if form.get(name, "").strip()}
    for name, label in _NUMBERS.items():
        value = form.get(name, "").strip()
        if value and not (value.isascii() and value.isdecimal() and len(value) < 10):
            msg = f"{label} takes a whole number, not {value[:40]!r}."
            raise InputError(msg)
        if value:
            found[name] = int(value)
    for name in ("target_row_id", "dataset_id", "verifier_id", "reflection_model"):
        if name not in found:
            msg = f"The form lacks the {name.removesuffix('_row_id').removesuffix('_id').replace('_', ' ')}."
            raise InputError(msg)
    return found


_TEXTS = ("name", "reflection_model", "reflection_api_base", "task_model", "task_api_base")
_NUMBERS = {
    "target_row_id": "The target", "dataset_id": "The dataset", "verifier_id": "The verifier",
    "max_metric_calls": "The budget", "seed": "The seed",
}  # fmt: skip
