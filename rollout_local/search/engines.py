"""The table of optimizers. Each entry imports its engine when it is asked for: DSPy takes a while to load."""

from __future__ import annotations

from collections.abc import Callable

from rollout_local.search.engine import Engine


def engine_named(name: str) -> Engine:
    """The engine behind `--optimizer NAME`; `KeyError` for a name that is not in `ENGINES`."""
    return ENGINES[name]()


def _gepa() -> Engine:
    from rollout_local.search.gepa import search

    return search


ENGINES: dict[str, Callable[[], Engine]] = {
    "gepa": _gepa,
}
"""Optimizers by name."""
