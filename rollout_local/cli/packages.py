"""What `rollout doctor` says of the packages around us: those that we ask for, and whose command `rollout` is.

Everything is read from the metadata of what is installed: nothing that is looked at is imported, however broken it is.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

OURS, COMMAND, PACKAGE = "rollout-local", "rollout", b"rollout_local"


class Finding(NamedTuple):
    """One line: `status` is `ok`, `warn` or `fail`."""

    check: str
    status: str
    detail: str


def packages(distribution: str = OURS) -> Iterator[Finding]:
    """A line for each package that a distribution asks for, and one for each unmet wish of those in their turn."""
    try:
        required = _required(distribution)
    except metadata.PackageNotFoundError:
        yield Finding(distribution, "warn", "not installed, so that what it needs cannot be told; pip install it")
        return
    own = [_finding(requirement, None) for requirement in required]
    yield from own
    yield from _extras(distribution, {canonicalize_name(one.name) for one in required})
    told, seen = {one.check for one in own if one.status == "fail"}, {f"{canonicalize_name(distribution)}[]"}
    for finding in (one for requirement in required for one in _unmet_below(requirement, seen)):
        if finding.check not in told:
            told.add(finding.check)
            yield finding


def _required(distribution: str, extra: str = "") -> list[Requirement]:
    """What a distribution asks for here: its own, or what one of its extras adds to that."""
    declared = [Requirement(line) for line in metadata.requires(distribution) or ()]
    if not extra:
        return [one for one in declared if one.marker is None or one.marker.evaluate({"extra": ""})]
    return [
        one
        for one in declared
        if one.marker is not None and one.marker.evaluate({"extra": extra}) and not one.marker.evaluate({"extra": ""})
    ]


def _extras(distribution: str, shown: set[str]) -> Iterator[Finding]:
    """What there is of the extras' packages; one that is absent was not asked for."""
    for extra in metadata.metadata(distribution).get_all("Provides-Extra") or ():
        for requirement in _required(distribution, extra):
            name = canonicalize_name(requirement.name)
            if name not in {*shown, canonicalize_name(distribution)} and _version(requirement.name) is not None:
                shown.add(name)
                yield _finding(requirement, extra)


def _unmet_below(requirement: Requirement, seen: set[str]) -> Iterator[Finding]:
    """What is unmet of the wishes of a package that is there, and of theirs."""
    asking = canonicalize_name(requirement.name)
    version = _version(requirement.name)
    for extra in ("", *sorted(requirement.extras)):
        key = f"{asking}[{extra}]"
        if key in seen or version is None:
            continue
        seen.add(key)
        for below in _required(requirement.name, extra):
            if _problem(below):
                yield Finding(below.name, "fail", f"{_problem(below)} ({asking} {version} asks for it)")
            yield from _unmet_below(below, seen)


def _finding(requirement: Requirement, extra: str | None) -> Finding:
    problem, only = _problem(requirement), f" (for [{extra}] alone)" if extra else ""
    if problem:
        return Finding(requirement.name, "warn" if extra else "fail", problem + only)
    return Finding(requirement.name, "ok", f"{_version(requirement.name)}{only}")


def _problem(requirement: Requirement) -> str:
    """What is wrong with the package that is asked for, with the command that mends it; empty if nothing is."""
    version, asked = _version(requirement.name), f"{requirement.name}{requirement.specifier}"
    if version is None:
        return f"not installed; pip install '{asked}'"
    try:
        fits = requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        fits = False
    return "" if fits else f"{version}; needed is {requirement.specifier}: pip install '{asked}'"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def command(found: str | None, scripts: Path | None = None) -> Finding:
    """Whether `rollout`, as the shell finds it, is the command of this very environment."""
    own = (scripts or Path(sysconfig.get_path("scripts"))) / COMMAND
    others = _other_owners()
    if not _is_ours(own):
        whose = f"{own} belongs to {others or 'another program'}" if own.exists() else f"{own} is not there"
        first = f"uninstall {others} and " if others else ""
        return Finding("command", "fail", f"{whose}; say `rollout-local`, or {first}install rollout-local again")
    if found is None:
        advice = f"put {own.parent} on PATH, or say `{sys.executable} -m rollout_local`"
        return Finding("command", "warn", f"`rollout` is not on PATH; {advice}")
    if not (Path(found).exists() and Path(found).samefile(own)):
        whose = "of another environment" if _is_ours(Path(found)) else "another program"
        return Finding(
            "command", "fail", f"`rollout` is {found}, {whose}; put {own.parent} first on PATH, or say {own}"
        )
    if others:
        detail = f"{own}; {others} has a command of this name, too: uninstalling it removes ours, `rollout-local` stays"
        return Finding("command", "warn", detail)
    return Finding("command", "ok", str(own))


def _is_ours(script: Path) -> bool:
    try:
        return PACKAGE in script.read_bytes()
    except OSError:
        return False


def _other_owners() -> str:
    """The other distributions here that have a command of this name."""
    owners = {
        f"{entry.dist.name} {entry.dist.version}"
        for entry in metadata.entry_points(group="console_scripts", name=COMMAND)
        if entry.dist is not None and canonicalize_name(entry.dist.name) != OURS
    }
    return ", ".join(sorted(owners))
