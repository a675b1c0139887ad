"""The table of optimizers. Each entry imports its engine when it is asked for: DSPy takes a while to load."""

from __future__ import annotations

from collections.abc import Callable

from rollout_local.errors import InputError
from rollout_local.search.arguments import Table
from rollout_local.search.engine import Engine


def engine_named(name: str) -> Engine:
    """The engine behind `--optimizer NAME`; `KeyError` for a name that is not in `ENGINES`."""
    return ENGINES[name]()


def _gepa() -> Engine:
    from rollout_local.search.gepa import search

    return search


def _mipro() -> Engine:
    from rollout_local.search.mipro import search

    return search


def _simba() -> Engine:
    from rollout_local.search.simba import search

    return search


def _together() -> Engine:
    from rollout_local.search.together import search

    return search


def arguments_of(name: str) -> Table:
    """The arguments of an optimizer; raises `InputError` for a name that is not in `ENGINES`."""
    require_known(name)
    return ARGUMENTS[name]()


def require_known(name: str) -> None:
    """Raise `InputError` naming the optimizers there are, where `name` is none of them."""
    if name not in ENGINES:
        msg = f"there is no optimizer {name!r}; use one of {', '.join(ENGINES)}"
        raise InputError(msg)


def _gepa_arguments() -> Table:
    from rollout_local.search.gepa_arguments import table

    return table()


def _mipro_arguments() -> Table:
    from rollout_local.search.optimizer_arguments import mipro_table

    return mipro_table()


def _simba_arguments() -> Table:
    from rollout_local.search.optimizer_arguments import simba_table

    return simba_table()


def _together_arguments() -> Table:
    from rollout_local.search.optimizer_arguments import together_table

    return together_table()


ENGINES: dict[str, Callable[[], Engine]] = {
    "gepa": _gepa,
    "mipro": _mipro,
    "simba": _simba,
    "bettertogether": _together,
}
"""Optimizers by name."""

ARGUMENTS: dict[str, Callable[[], Table]] = {
    "gepa": _gepa_arguments,
    "mipro": _mipro_arguments,
    "simba": _simba_arguments,
    "bettertogether": _together_arguments,
}
"""The tables of their arguments."""
