"""The group that the commands of `rollout optimize` belong to."""

from __future__ import annotations

import click


@click.group()
def optimize() -> None:
    """Create, run, look at and report optimization runs."""
