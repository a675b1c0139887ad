"""A folder becomes a `Capability`: read once, completely, or refused with file, line and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rollout_local.capabilities import folder
from rollout_local.capabilities.agents import read_agent, read_skill
from rollout_local.capabilities.manifest import MANIFEST, read
from rollout_local.errors import InputError
from rollout_local.targets.agent_files import Agent, Capability, Skill
from rollout_local.targets.tools import check_syntax


@dataclass(frozen=True)
class Loaded:
    """A capability and what its author should know about it."""

    capability: Capability
    warnings: tuple[str, ...]


def load(path: Path | str) -> Loaded:
    """The capability in a folder.

    Raises `InputError` for a folder without a manifest, anything that is malformed or leads out of it, two agents of
    one name, and tools that are no Python (nothing is executed here: that is for a run to do).
    """
    root = Path(path)
    found = folder.read(root)
    if MANIFEST not in found.files:
        msg = f"{root} has no {MANIFEST}; a capability is a folder with {MANIFEST} and agents/*.md"
        raise InputError(msg)
    loaded = of_files(found.files, found.executable, str(root))
    check_syntax({path: found.files[path] for path in loaded.capability.tools}, str(root))
    return Loaded(loaded.capability, (*found.warnings, *loaded.warnings))


def of_files(files: Mapping[str, bytes], executable: tuple[str, ...], where: str) -> Loaded:
    """The capability that these files make; `where` stands before their names in messages."""
    manifest = read(_text(files[MANIFEST], f"{where}/{MANIFEST}"), files, f"{where}/{MANIFEST}")
    agents, warnings = _agents(manifest.agents, files, where)
    capability = Capability(
        name=manifest.name,
        version=manifest.version,
        description=manifest.description,
        author=manifest.author,
        agents=agents,
        tools=manifest.tools,
        skills=_skills(manifest.skills, files, where),
        files=dict(sorted(files.items())),
        executable=executable,
    )
    return Loaded(capability, (*manifest.warnings, *warnings))


def _agents(paths: tuple[str, ...], files: Mapping[str, bytes], where: str) -> tuple[tuple[Agent, ...], list[str]]:
    found: dict[str, Agent] = {}
    warnings: list[str] = []
    for path in paths:
        agent, said = read_agent(path, files[path], f"{where}/{path}")
        warnings += said
        other = found.get(agent.name.casefold())
        if other is not None:
            msg = f"{where}: the agent {agent.name} stands in {other.path} and in {path}; rename one"
            raise InputError(msg)
        found[agent.name.casefold()] = agent
    return tuple(found.values()), warnings


def _skills(paths: tuple[str, ...], files: Mapping[str, bytes], where: str) -> tuple[Skill, ...]:
    return tuple(read_skill(path, files[path], f"{where}/{path}") for path in paths)


def _text(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        msg = f"{where}:{line}: byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise InputError(msg) from None
