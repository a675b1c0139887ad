"""`rollout doctor`: what this machine has, and what of it stands in the way.

Nothing heavy is imported and nothing is asked of the network. Keys are named, never shown. `fail` means that runs will
not work; `warn`, that something deserves a look.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from rollout_local.cli.options import common, print_json, print_table
from rollout_local.cli.packages import COMMAND, Finding, command, packages
from rollout_local.errors import StoreError

PYTHON = (3, 11)
STRICT_SINCE = "3.37"
NETWORK = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "afs", "ceph", "lustre", "glusterfs", "fuse.glusterfs")
"""How the types of network file systems begin. SQLite's locks cannot be trusted there (sqlite.org/faq.html#q5)."""


@click.command()
@click.option(
    "--server", metavar="URL", help="Ask a model's server, such as http://127.0.0.1:8080/v1, and nothing else."
)
@click.option("--model", metavar="NAME", help="The model to ask there (default: the first that the server lists).")
@common
@click.pass_context
def doctor(
    context: click.Context, /, server: str | None, model: str | None, db_path: Path, as_json: bool, no_color: bool,
    **_options: object,
) -> None:  # fmt: skip
    """Check versions, SQLite, the database, keys and air-gap readiness; exit 1 where something fails.

    With --server a model's server is looked at in their place: what it lists and holds, how fast it is, whether it
    says the same thing twice. It is asked eleven short questions.
    """
    if model is not None and server is None:
        msg = "--model names a model of the --server; give that, too"
        raise click.UsageError(msg)
    findings = list(examine(db_path, os.environ) if server is None else _of_server(server, model))
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        print_table(Finding._fields, findings, color=not no_color)
    context.exit(1 if any(finding.status == "fail" for finding in findings) else 0)


def _of_server(base: str, model: str | None) -> Iterator[Finding]:
    from rollout_local.domain.run import is_address
    from rollout_local.runs.preflight import of_server

    if not is_address(base):
        msg = f"--server {base}: must be a URL such as http://127.0.0.1:8080/v1"
        raise click.UsageError(msg)
    yield from (Finding(check, status, detail) for check, status, detail in of_server(base, model))


def examine(db_path: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Everything that is found, in the order of the table."""
    yield python(sys.version_info[:3])
    yield from packages()
    yield command(shutil.which(COMMAND, path=environment.get("PATH", "")))
    yield from _looked_at("sqlite", sqlite)
    yield from _looked_at("database", lambda: [database_file(db_path)])
    yield from _looked_at("wal", lambda: wal(db_path))
    yield file_system(db_path, _mounts())
    yield from _looked_at("keys", lambda: keys(environment))
    yield from _looked_at("offline switches", lambda: [switches(environment)])
    yield from air_gap(shutil.which("unshare"))
    yield hash_seed(environment)


def _looked_at(check: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What is found; where a broken package keeps our own code from looking, that."""
    try:
        yield from look()
    except Exception as error:  # noqa: BLE001 - a broken package raises anything when it is imported
        said = " ".join(f"{type(error).__name__}: {error}".split())
        yield Finding(check, "fail", f"cannot be looked at ({said}); mend the packages that fail above")


def python(version: tuple[int, ...]) -> Finding:
    """Whether this Python is new enough."""
    shown, needed = ".".join(map(str, version)), ".".join(map(str, PYTHON))
    if version >= PYTHON:
        return Finding("python", "ok", shown)
    return Finding("python", "fail", f"{shown}; install Python {needed} or newer")


def sqlite() -> Iterator[Finding]:
    """What SQLite can do, by making a database of ours in a scratch folder."""
    from rollout_local.store import check
    from rollout_local.store.schema import open_store

    try:
        with TemporaryDirectory() as scratch, open_store(Path(scratch) / "probe.db") as store:
            version = check.sqlite_version(store)
            check.require_json(store)
    except Exception as error:  # noqa: BLE001 - sqlite3's own errors are known in store alone
        yield Finding("sqlite", "fail", f"no database can be made: {error}; needed is SQLite {STRICT_SINCE} or newer")
        return
    yield sqlite_version(version)
    yield Finding("sqlite STRICT", "ok", f"STRICT tables (since {STRICT_SINCE}) and triggers work")
    yield Finding("sqlite JSON", "ok", "JSON functions work")


def sqlite_version(version: str) -> Finding:
    """Whether this SQLite is free of the fault by which several writers can lose commits."""
    from rollout_local.store.schema import WAL_FAULT_FIXED_IN

    fixed = ".".join(map(str, WAL_FAULT_FIXED_IN))
    if _numbers(version) >= WAL_FAULT_FIXED_IN:
        return Finding("sqlite", "ok", version)
    return Finding(
        "sqlite",
        "warn",
        f"{version}: before {fixed}, commits can be lost where several processes write (its WAL-reset fault);"
        " our writes are serialised by a file lock, other programs should only read",
    )


def database_file(path: Path) -> Finding:
    """Whether the database, where there is one, can be opened and is whole."""
    from rollout_local.store import check
    from rollout_local.store.schema import open_store

    if not path.exists():
        return Finding("database", "ok", f"none at {path} yet")
    try:
        with open_store(path, create=False) as store:
            problems, application_id = check.quick_check(store), check.application_id(store)
    except StoreError as error:
        return Finding("database", "fail", str(error))
    except Exception as error:  # noqa: BLE001 - sqlite3's own errors are known in store alone
        return Finding("database", "fail", f"{path} is damaged ({error}); go back to a backup")
    if problems != ["ok"]:
        return Finding("database", "fail", f"{path} is damaged ({problems[0]}); go back to a backup")
    return Finding("database", "ok", f"{path} is whole (quick_check; application id 0x{application_id:08X})")


def wal(path: Path) -> Iterator[Finding]:
    """What is in the WAL of the database, where there is one, and who keeps it from being moved into the file."""
    from rollout_local.store.schema import open_store
    from rollout_local.store.wal import look

    if not path.exists():
        return
    try:
        with open_store(path, create=False, reads=True) as store:
            found = look(store)
    except StoreError:
        return  # told of already
    readers = " and ".join(reader.words for reader in found.readers)
    size = f"{found.size / 1000:,.0f} kB"
    if found.waiting:
        who = readers or "a reader that cannot be told from here: another program, container or machine"
        detail = (
            f"{size}, of which {found.waiting} of {found.pages} pages wait for the end of a read transaction of {who}; "
            "it grows with each commit until that ends"
        )
        yield Finding("wal", "warn", detail)
    elif found.waiting is None:
        yield Finding("wal", "ok", f"{size}; another process writes just now" + (f", {readers} reads" * bool(readers)))
    else:
        reads = f"; a read transaction is open, of {readers}" if readers else ""
        yield Finding("wal", "ok", f"{size}, all of it in the file{reads}")


def file_system(path: Path, mounts: str) -> Finding:
    """Whether the database lies (or would lie) on a network file system; `mounts` as in /proc/mounts."""
    if not mounts:
        return Finding("file system", "ok", "cannot be told on this system; keep the database on a local disk")
    place = path.resolve().parent
    points = [(_unescaped(point), kind) for _, point, kind, *_ in map(str.split, mounts.splitlines())]
    over = [pair for pair in points if place.is_relative_to(pair[0])]
    point, kind = max(over, key=lambda pair: len(pair[0]), default=("/", "an unknown file system"))
    if kind.startswith(NETWORK):
        detail = f"{place} is on {kind} (mounted at {point}), where SQLite can lose data; put --db on a local disk"
        return Finding("file system", "warn", detail)
    return Finding("file system", "ok", f"{place} is on {kind}")


def keys(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Which providers' keys are there, by name alone."""
    from rollout_local.models import KEY_VARIABLES

    for name in KEY_VARIABLES.values():
        yield Finding(f"key {name}", "ok", "set" if environment.get(name) else "not set")


def switches(environment: Mapping[str, str]) -> Finding:
    """Whether anything in the environment turns a library's fetching on again."""
    from rollout_local.models import SWITCHES

    against = [name for name, value in SWITCHES.items() if environment.get(name, value) != value]
    if against:
        detail = f"set otherwise in your environment, so that libraries may fetch: {', '.join(against)}; unset them"
        return Finding("offline switches", "warn", detail)
    return Finding("offline switches", "ok", f"{len(SWITCHES)}, set in every run: no library fetches for itself")


def air_gap(unshare: str | None) -> Iterator[Finding]:
    """Whether DSPy is on this machine, and whether a run can be locked away from every network to prove it."""
    here = find_spec("dspy") is not None
    detail = (
        "on this machine; with these switches, importing it asks nothing of a network"
        if here
        else "not on this machine"
    )
    yield Finding("dspy offline", "ok" if here else "fail", detail)
    if unshare is None:
        detail = "not there (it is Linux's); replays refuse sockets all the same"
    elif subprocess.run([unshare, "-rn", "true"], capture_output=True, check=False).returncode:  # noqa: S603 - `true`, nothing else
        detail = "there, but not permitted here; replays refuse sockets all the same"
    else:
        detail = "works: `unshare -rn rollout …` runs without any network"
    yield Finding("unshare", "ok", detail)


def hash_seed(environment: Mapping[str, str]) -> Finding:
    """What decides the order in which a target of the user's walks a set of strings."""
    if environment.get("PYTHONHASHSEED") == "0":
        return Finding("PYTHONHASHSEED", "ok", "0")
    return Finding(
        "PYTHONHASHSEED",
        "ok",
        "not 0; `rollout optimize` starts itself with 0; a script whose target walks sets sets it",
    )


def _mounts(table: Path = Path("/proc/mounts")) -> str:
    try:
        return table.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _unescaped(point: str) -> str:
    r"""A mount point as it is: /proc/mounts writes a space as `\040`."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)


def _numbers(version: str) -> tuple[int, ...]:
    """`3.4.1rc2` as (3, 4, 1): enough to compare releases."""
    found: Iterable[str] = re.findall(r"\d+", re.split(r"[^\d.]", version)[0])
    return tuple(int(number) for number in found)
