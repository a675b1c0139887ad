"""The command `rollout`: a table of nouns, and the one boundary that turns errors into exit codes."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import NoReturn

import click

from rollout_local.errors import RolloutError, StopSearch

GRACE = 10.0
"""Seconds that threads of a target's have to end after the command."""
NOUNS: dict[str, tuple[str, str]] = {
    "init": ("rollout_local.cli.init:init", "Make a working starter folder."),
    "optimize": ("rollout_local.cli.optimize:optimize", "Create, run, look at and report optimization runs."),
    "worker": ("rollout_local.cli.worker:worker", "Run what is queued."),
    "datasets": ("rollout_local.cli.datasets:datasets", "Import, convert, split and check datasets."),
    "verifiers": ("rollout_local.cli.verifiers:verifiers", "Register, try and explain verifiers."),
    "recordings": ("rollout_local.cli.recordings:recordings", "List, show, verify, scan and convert recordings."),
    "capabilities": ("rollout_local.cli.capabilities:capabilities", "Publish, compare and export capabilities."),
    "experiments": ("rollout_local.cli.experiments:experiments", "Runs that can be repeated."),
    "import": ("rollout_local.cli.import_:import_", "Read a log of plain GEPA, or a run from a bundle."),
    "db": ("rollout_local.cli.db:db", "Check, back up and mend the database file."),
    "ui": ("rollout_local.cli.ui:ui", "Pages over the file: live runs, promotion, lineage, and Datasette."),
    "simulate": ("rollout_local.cli.simulate:simulate", "A scripted model provider on loopback."),
    "doctor": ("rollout_local.cli.doctor:doctor", "Check versions, SQLite, keys and air-gap readiness."),
}
"""Where each command lives and its one line of help, so that `--help` imports none of them."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The nouns, in the order of the table."""
        return list(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a noun."""
        if cmd_name not in NOUNS:
            return None
        module, _, attribute = NOUNS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The noun; of a word that is none, the nearest command at any level is named."""
        if args and args[0] not in NOUNS and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}{_near(args[0])}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table, as help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in NOUNS.items()])


def _near(word: str) -> str:
    """The command that a word may have meant: a verb of `optimize`, or a noun."""
    from rollout_local.cli.optimize import optimize
    from rollout_local.documents import near

    whole = {**{verb: f"optimize {verb}" for verb in optimize.commands}, **{noun: noun for noun in NOUNS}}
    found = next((whole[one] for one in [word, *near(word, whole)] if one in whole), None)
    return f"; did you mean `rollout {found}`?" if found else ""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rollout-local", message="%(package)s %(version)s")
@click.option("--db", "db_path", type=click.Path(path_type=Path), metavar="FILE", help="The database file.")
@click.pass_context
def cli(context: click.Context, db_path: Path | None) -> None:
    """Optimize an agent's prompt by evolution, offline, in one SQLite file."""
    if db_path is None or context.invoked_subcommand is None:
        return
    noun = context.invoked_subcommand
    command = cli.get_command(context, noun)
    verbs = command.commands if isinstance(command, click.Group) else {}
    here = {"db_path": db_path}
    context.default_map = {noun: {**here, **dict.fromkeys(verbs, here)}}


def main() -> NoReturn:
    """The entry point: pin the hash seed where a search may follow, run the command, leave with its code."""
    _pin_hash_seed()
    code = run(sys.argv[1:])
    _leave_in_time(code)
    sys.exit(code)


def _leave_in_time(code: int) -> None:
    """Let no thread that a target left behind keep the process: all is written, and Python would wait for ever."""
    left = [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]

    def end() -> None:
        time.sleep(GRACE)
        alive = ", ".join(thread.name for thread in left if thread.is_alive())
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"rollout: all is written; threads that the target left running end here ({alive})\n")
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)

    if left:
        threading.Thread(target=end, daemon=True, name="rollout-leaving").start()


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; errors become one or two lines on stderr, never a traceback."""
    try:
        result = cli.main(arguments, prog_name="rollout", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        return _say_usage(error)
    except (RolloutError, StopSearch) as error:
        return _say(error, error.exit_code, arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - the boundary: a fault of ours is still one line
        return _say(error, 1, arguments, prefix=f"{type(error).__name__}: ")
    return result if isinstance(result, int) else 0


def _say_usage(error: click.ClickException) -> int:
    """A command that was typed wrongly: what is wrong, and where its flags are explained; a bare noun asks for help."""
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()
        return error.exit_code
    click.echo(f"rollout: {' '.join(error.format_message().split())}", err=True)
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None:
        click.echo(f"Try `{context.command_path} --help`.", err=True)
    return error.exit_code


def _say(error: BaseException, code: int, arguments: list[str], prefix: str = "") -> int:
    if "-v" in arguments or "--verbose" in arguments:
        traceback.print_exception(error, file=sys.stderr)
    from rollout_local.redaction import Redactor

    click.echo(f"rollout: {Redactor(os.environ).text(f'{prefix}{error}')}", err=True)
    return code


def _pin_hash_seed() -> None:
    """A target that walks a set of strings walks it in the same order in every process; GEPA's own are ordered."""
    if os.environ.get("PYTHONHASHSEED") != "0" and _is_search(sys.argv[1:]):
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "rollout_local", *sys.argv[1:]])  # noqa: S606 - ourselves


def _is_search(arguments: list[str]) -> bool:
    options = {at + 1 for at, argument in enumerate(arguments) if argument == "--db"}
    words = [one for at, one in enumerate(arguments) if not one.startswith("-") and at not in options]
    return "--help" not in arguments and words[:1] in (["optimize"], ["experiments"], ["worker"])
