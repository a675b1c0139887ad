"""`optimize engines`, `advise`: which optimizers there are, what they take, and which of them fits."""

from __future__ import annotations

from pathlib import Path

import click

from rollout_local.cli.flags import RunCommand, config_of, given, run_flags
from rollout_local.cli.optimize.group import optimize
from rollout_local.cli.options import common, plain, print_json, print_table

AUTO_SIZES = ((1, 10), (1, 20), (1, 50), (4, 20))
"""Predictors and val tasks that the presets are shown for."""


@optimize.command()
@click.argument("name", required=False)
@plain
def engines(*, name: str | None, as_json: bool, quiet: bool, no_color: bool) -> None:  # noqa: ARG001
    """The optimizers, every argument that `--arg` takes, those refused with the reason, and what `--auto` buys."""
    from rollout_local.reports.forecast import CANDIDATES_OF_AUTO, calls_of_budget
    from rollout_local.search.arguments import GIVEN_ABOVE
    from rollout_local.search.optimizers import OPTIMIZERS, optimizer_named

    tables = {one: optimizer_named(one).table().arguments() for one in ([name] if name else OPTIMIZERS)}
    presets = [
        {"predictors": n, "val": val}
        | {auto: calls_of_budget(auto=auto, train_n=0, val_n=val, components=n) for auto in CANDIDATES_OF_AUTO}
        for n, val in AUTO_SIZES
    ]
    if as_json:
        document = {one: {"arguments": [vars(argument) for argument in table]} for one, table in tables.items()}
        print_json({"optimizers": document, "auto": presets})
        return
    for one, table in tables.items():
        click.echo(f"--optimizer {one}: {optimizer_named(one).does}")
        taken = [argument for argument in table if argument.refused is None]
        rows = [[argument.name, argument.default, argument.values, argument.says] for argument in taken]
        print_table(["--arg", "default", "values", "what it is for"], rows, color=not no_color, whole=("--arg",))
        refused = [
            [argument.name, argument.refused] for argument in table if argument.refused not in (None, GIVEN_ABOVE)
        ]
        print_table(["refused", "because"], refused, color=not no_color)
        click.echo()
    click.echo("--auto in target executions beyond the baseline pass (--optimizer gepa)")
    print_table(list(presets[0]), [list(preset.values()) for preset in presets], color=not no_color)


@optimize.command(cls=RunCommand)
@common
@run_flags
def advise(*, db_path: Path, as_json: bool, quiet: bool, no_color: bool, **flags: object) -> None:  # noqa: ARG001
    """Which optimizer fits this target and metric, and why. Calls no model."""
    from rollout_local.planning import advice
    from rollout_local.store.schema import open_store

    config = config_of(given(flags))
    if db_path.exists():
        with open_store(db_path, create=False) as store:
            found = advice.advise(config, Path.cwd(), store)
    else:
        found = advice.advise(config, Path.cwd(), None)
    if as_json:
        print_json([vars(one) for one in found])
        return
    print_table(["optimizer", "", "why"], [[one.optimizer, one.verdict, one.why] for one in found], color=not no_color)
