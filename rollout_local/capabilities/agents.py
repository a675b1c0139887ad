"""agents/*.md and skills/*/SKILL.md: front matter read strictly, the body taken as it is.

Keys of an agent: name (default: the file's), description, model (default: inherit), engine, tools (glob → true or
false, in order), skills, metadata. Nothing is ever written back from what was read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NoReturn

from rollout_local.datasets.yaml_text import parse_yaml
from rollout_local.documents import kind_of, suggestion
from rollout_local.errors import InputError
from rollout_local.targets.agent_files import INHERIT, Agent, Skill, split

AGENT_KEYS = ("name", "description", "model", "engine", "tools", "skills", "metadata")


def read_agent(path: str, raw: bytes, where: str) -> tuple[Agent, list[str]]:
    """The agent of a file, and warnings; `where` names the file in messages."""
    front, body = _parts(raw, where)
    warnings = [
        f"{where}: unknown key {key!r} in the front matter; {suggestion(key, list(AGENT_KEYS))}"
        for key in front
        if key not in AGENT_KEYS
    ]
    if not body.strip():
        warnings.append(f"{where}: there is no text below the front matter; the agent has no instructions")
    agent = Agent(
        name=_text(front, "name", PurePosixPath(path).stem, where).strip(),
        path=path,
        body=body,
        description=_text(front, "description", "", where).strip(),
        model=_text(front, "model", INHERIT, where).strip(),
        tools=_tools(front.get("tools"), where),
        skills=_skills(front.get("skills"), where),
        metadata=_mapping(front, "metadata", where),
    )
    if not agent.name or not agent.name.isprintable() or ":" in agent.name:
        _refuse(f"{where}: the agent's name {agent.name!r} must be one line, not empty, without a colon")
    return agent, warnings


def read_skill(path: str, raw: bytes, where: str) -> Skill:
    """A skill's name and description; its folder has its name."""
    front, _ = _parts(raw, where)
    folder = PurePosixPath(path).parent.name
    name = _text(front, "name", folder, where)
    if name != folder:
        _refuse(f"{where}: the skill is named {name!r} in the folder {folder!r}; give both one name")
    return Skill(name=name, path=path, description=_text(front, "description", "", where).strip())


def _parts(raw: bytes, where: str) -> tuple[dict[str, object], str]:
    parts = split(raw)
    try:
        front = (parts.front_matter or b"").decode("utf-8")
        body = parts.text
    except UnicodeDecodeError:
        _refuse(f"{where}: is not UTF-8; save the file as UTF-8")
    if parts.front_matter is None and body.splitlines()[:1] == ["---"]:
        _refuse(f"{where}:1: the front matter is not closed; end it with a line of ---")
    return parse_yaml(front, where, line=2), body


def _text(front: Mapping[str, object], key: str, default: str, where: str) -> str:
    value = front.get(key)
    if value is None:
        return default
    if not isinstance(value, str):
        _refuse(f"{where}: {key} is {kind_of(value)}; it must be a text (quote it)")
    return value


def _mapping(front: Mapping[str, object], key: str, where: str) -> dict[str, object]:
    value = front.get(key) or {}
    if not isinstance(value, dict):
        _refuse(f"{where}: {key} is {kind_of(value)}; it must be a mapping")
    return value


def _tools(value: object, where: str) -> tuple[tuple[str, bool], ...]:
    if value is None:
        return ()
    if not isinstance(value, dict) or not all(isinstance(verdict, bool) for verdict in value.values()):
        _refuse(f'{where}: tools must map name patterns to true or false, such as {{"*": false, "lookup_*": true}}')
    return tuple(value.items())


def _skills(value: object, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        _refuse(f"{where}: skills must be a list of names")
    return tuple(value)


def _refuse(message: str) -> NoReturn:
    raise InputError(message) from None
