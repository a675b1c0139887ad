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
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import click

from rollout_local.cli.options import common, print_json, print_table
from rollout_local.errors import StoreError

PYTHON = (3, 11)
STRICT_SINCE = "3.37"
REQUIREMENTS: dict[str, tuple[str, str]] = {
    "dspy": ("3.4.1", "3.5"),
    "gepa": ("0.1.4", "0.1.5"),
    "litellm": ("1.100", "2"),
    "vcrpy": ("9.4", "10"),
    "datasette": ("0.65.5", "1.0"),
    "sqlite-utils": ("4.2", "5"),
}
"""Distribution → from this version on, below that one: as pyproject.toml has it, and for gepa as DSPy pins it."""
NETWORK = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "afs", "ceph", "lustre", "glusterfs", "fuse.glusterfs")
"""How the types of network file systems begin. SQLite's locks cannot be trusted there (sqlite.org/faq.html#q5)."""


class Finding(NamedTuple):
    """One line: `status` is `ok`, `warn` or `fail`."""

    check: str
    status: str
    detail: str


@click.command()
@common
@click.pass_context
def doctor(context: click.Context, /, db_path: Path, as_json: bool, no_color: bool, **_options: Any) -> None:
    """Check versions, SQLite, the database, keys and air-gap readiness; exit 1 where something fails."""
    findings = list(examine(db_path, os.environ))
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        print_table(Finding._fields, findings, color=not no_color)
    context.exit(1 if any(finding.status == "fail" for finding in findings) else 0)


def examine(db_path: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Everything that is found, in the order of the table."""
    yield python(sys.version_info[:3])
    for name in REQUIREMENTS:
        yield installed(name, metadata.version)
    yield from sqlite()
    yield database_file(db_path)
    yield file_system(db_path, _mounts())
    yield from keys(environment)
    yield switches(environment)
    yield from air_gap(shutil.which("unshare"))
    yield hash_seed(environment)


def python(version: tuple[int, ...]) -> Finding:
    """Whether this Python is new enough."""
    shown, needed = ".".join(map(str, version)), ".".join(map(str, PYTHON))
    if version >= PYTHON:
        return Finding("python", "ok", shown)
    return Finding("python", "fail", f"{shown}; install Python {needed} or newer")


def installed(name: str, version_of: Callable[[str], str]) -> Finding:
    """Whether a distribution is there, in a version that we were written for."""
    least, below = REQUIREMENTS[name]
    try:
        version = version_of(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "fail", f"not installed; pip install '{name}>={least},<{below}'")
    if _numbers(least) <= _numbers(version) < _numbers(below):
        return Finding(name, "ok", version)
    return Finding(name, "fail", f"{version}; needed is >={least},<{below}: pip install '{name}>={least},<{below}'")


def sqlite() -> Iterator[Finding]:
    """What SQLite can do, by making a database of ours in a scratch folder."""
    from rollout_local.store.schema import open_store

    try:
        with TemporaryDirectory() as scratch, open_store(Path(scratch) / "probe.db") as store:
            version = store.rows("SELECT sqlite_version() AS version")[0]["version"]
            store.rows("SELECT value FROM json_each('[1]')")
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
    from rollout_local.store.schema import open_store

    if not path.exists():
        return Finding("database", "ok", f"none at {path} yet")
    try:
        with open_store(path, create=False) as store:
            problems = [row["quick_check"] for row in store.rows("PRAGMA quick_check")]
            application_id = store.rows("PRAGMA application_id")[0]["application_id"]
    except StoreError as error:
        return Finding("database", "fail", str(error))
    except Exception as error:  # noqa: BLE001 - sqlite3's own errors are known in store alone
        return Finding("database", "fail", f"{path} is damaged ({error}); go back to a backup")
    if problems != ["ok"]:
        return Finding("database", "fail", f"{path} is damaged ({problems[0]}); go back to a backup")
    return Finding("database", "ok", f"{path} is whole (quick_check; application id 0x{application_id:08X})")


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
    """What decides the order of sets, and with it ties in GEPA's merges."""
    if environment.get("PYTHONHASHSEED") == "0":
        return Finding("PYTHONHASHSEED", "ok", "0")
    return Finding(
        "PYTHONHASHSEED", "ok", "not 0; `rollout optimize` starts itself with 0, set it for scripts of yours"
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
