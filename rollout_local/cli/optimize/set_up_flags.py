"""Flags beside the id of a run: some change how it goes on this time, the others may say what it has already."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from rollout_local.cli.flags import config_of
from rollout_local.errors import InputError

if TYPE_CHECKING:
    from rollout_local.store.schema import Store

module_flag = click.option(
    "--module", "modules", multiple=True, help="Module that registers the target, where RUN does not say (repeatable)."
)


def changes_for(fields: Mapping[str, object], store: Store, reference: str) -> dict[str, Any]:
    """The flags that change how a run goes on. One that decides what it finds may be given as the run has it."""
    from rollout_local.domain.run import BUDGETS, DEFAULT_AUTO, OPERATIONAL
    from rollout_local.store import reads
    from rollout_local.store.stored_run import StoredRun

    run = reads.run(store, reference)
    stored = dict(StoredRun(run).written)
    if not any(stored[budget] for budget in BUDGETS):
        stored["auto"] = DEFAULT_AUTO
    free = OPERATIONAL if stored["modules"] else OPERATIONAL | {"modules"}  # made in Python, by a script of no module
    for name in sorted(by_hand(fields) - free):
        told = config_of({name: fields[name]}).model_dump(mode="json")[name]
        if told != stored.get(name):
            here, there = (json.dumps(value, ensure_ascii=False) for value in (told, stored.get(name)))
            there = "none" if there == "null" else there
            msg = (
                f"{_flag_of(name)} decides what run {run['id']} finds: it was created with {there}, not with {here}; "
                "leave it out, or create another run"
            )
            raise InputError(msg)
    changes = {name: value for name, value in fields.items() if name in free}
    return config_of(changes).model_dump(include=set(changes))


def _flag_of(name: str) -> str:
    flags = (param.opts[0] for param in click.get_current_context().command.params if param.name == name)
    return next(flags, f"--{name}")


def by_hand(fields: Mapping[str, object]) -> set[str]:
    """The fields that were given as flags, not through the environment."""
    context = click.get_current_context()
    environment = click.core.ParameterSource.ENVIRONMENT
    return {name for name in fields if context.get_parameter_source(name) is not environment}
