"""`rollout simulate`: a scripted model provider on this machine, in the place of a real one.

It is no model, and says so. SIGINT and SIGTERM are waited for, not handled: they are blocked before the first thread
starts, so that none can strike between two lines and each ends the command in the same, quiet way.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from rollout_local.cli.options import plain
from rollout_local.errors import InputError
from rollout_local.reports.escape import visible

if TYPE_CHECKING:
    from rollout_local.simulator import Script, Simulator

LOOPBACK = ("127.0.0.1", "localhost")
STOP = (signal.SIGINT, signal.SIGTERM)


class ServeOptions(TypedDict):
    """Options of `serve` that decide what is answered."""

    seed: int
    latency: int
    vary_sightings: bool
    faults: str
    no_color: bool


@click.group()
def simulate() -> None:
    """Serve a scripted stand-in for a model provider: it knows no task, and answers by rules."""


@simulate.command()
@click.option("--script", type=click.Path(path_type=Path), metavar="FILE", help="What the models know, as JSON.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0: any free one.")
@click.option("--host", default=LOOPBACK[0], show_default=True, help="This machine only.")
@click.option("--latency", type=click.IntRange(0, 600_000), default=0, metavar="MS", help="Wait before each answer.")
@click.option("--faults", default="", metavar="SPEC", help="Trouble on purpose, such as 429:0.3,hang:0.01.")
@click.option("--vary-sightings", is_flag=True, help="Another answer each time the same request comes.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides answers and faults.")
@plain
def serve(
    script: Path | None, host: str, port: int, as_json: bool, quiet: bool, **options: Unpack[ServeOptions]
) -> None:
    """Serve OpenAI's chat completions on loopback until Ctrl-C; counters at GET /-/calls."""
    rules, simulator = _made(script, host, port, options)
    with _until_stopped() as wait, simulator:
        _announce(simulator.url, rules, as_json=as_json, quiet=quiet)
        wait()


def _made(script: Path | None, host: str, port: int, options: ServeOptions) -> tuple[Script, Simulator]:
    from rollout_local.simulator import Settings, Simulator, load_script

    if host not in LOOPBACK:
        msg = f"--host {host}: the simulator serves this machine only, on {LOOPBACK[0]}; leave --host out"
        raise InputError(msg)
    settings = Settings(
        seed=options["seed"],
        latency_ms=options["latency"],
        vary_sightings=options["vary_sightings"],
        faults=options["faults"],
    )
    rules = load_script(script)
    return rules, Simulator(rules, settings, port)


@contextmanager
def _until_stopped() -> Iterator[Callable[[], object]]:
    """Hand out a function that returns when the process is asked to stop."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    try:
        yield lambda: signal.sigwait(STOP)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _announce(url: str, rules: Script, *, as_json: bool, quiet: bool) -> None:
    """Flushed at once: who starts the simulator reads the address from the first line."""
    if as_json:
        click.echo(json.dumps({"url": url, "models": list(rules.models)}))
        return
    click.echo(f"Simulator at {url}")
    click.echo(visible(f"models: {', '.join(rules.models)} (scripted rules, not a language model)"))
    if not quiet:
        click.echo("Use it with `rollout optimize run …` and")
        click.echo(f"  --reflection-api-base {url} --task-api-base {url}")
        click.echo(visible(f"  {_model_flags(rules)}"))


def _model_flags(rules: Script) -> str:
    """The flags that name this script's models; a pattern gives its beginning as a name."""
    flags = {"reflection": "--reflection-model", "student": "--task-model"}
    first: dict[str, str] = {}
    for name, model in rules.models.items():
        first.setdefault(model.role, name.replace("*", ""))
    return " ".join(f"{flag} openai/{first[role]}" for role, flag in flags.items() if role in first)
