"""capability.yaml: the required keys checked, the component lists resolved to files.

A component list has three states: left out, the files are found by convention; given, it is exactly these (files, or
folders such as `agents/`); `[]`, there are none. Keys that are known but not used here (mcp, hooks, workers …) are
kept as they are; unknown ones are warned of, since a misspelt one would otherwise be lost.

Source of the format: Dreadnode's documentation of capability manifests.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import NoReturn

import yaml

from rollout_local.capabilities.folder import inside
from rollout_local.datasets.yaml_text import parse_yaml
from rollout_local.documents import kind_of, suggestion
from rollout_local.errors import InputError

MANIFEST = "capability.yaml"
REQUIRED = ("schema", "name", "version", "description")
KNOWN = (
    *REQUIRED, "agents", "tools", "commands", "skills", "hooks", "policies", "mcp", "flags", "workers", "workflows",
    "dependencies", "checks", "secrets", "outputs", "author", "license", "repository", "keywords",
)  # fmt: skip
NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
VERSION = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})")
PATTERNS = {"agents": "agents/*.md", "tools": "tools/*.py", "skills": "skills/*/SKILL.md"}
"""Where components are found by convention."""


@dataclass(frozen=True)
class CapabilityManifest:
    """What capability.yaml says; `agents`, `tools` and `skills` are paths of files that are there."""

    name: str
    version: str
    description: str
    author: str
    agents: tuple[str, ...]
    tools: tuple[str, ...]
    skills: tuple[str, ...]
    warnings: tuple[str, ...]


def read(text: str, files: Collection[str], where: str) -> CapabilityManifest:
    """The manifest of a capability with these files; `where` is the file's name in messages."""
    raw = parse_yaml(text, where)
    for key in REQUIRED:
        if raw.get(key) is None:
            _refuse(f"{where}: {key} is missing; a capability has {', '.join(REQUIRED)}")
    if raw["schema"] != 1 or isinstance(raw["schema"], bool | float):
        _refuse(f"{where}: schema is {raw['schema']!r}; only schema 1 is known")
    if not isinstance(raw["description"], str) or not raw["description"].strip():
        _refuse(f"{where}: description must be a text that is not empty")
    return CapabilityManifest(
        name=_name(raw["name"], where),
        version=parsed_version(raw["version"], f"{where}: version"),
        description=raw["description"].strip(),
        author=_author(raw.get("author"), where),
        agents=_component("agents", raw, files, where),
        tools=_component("tools", raw, files, where),
        skills=_component("skills", raw, files, where),
        warnings=tuple(
            f"{where}: unknown key {key!r}; {suggestion(key, list(KNOWN))}" for key in raw if key not in KNOWN
        ),
    )


def with_version(text: str, version: str) -> str:
    """The manifest's text with another version and every other character as it was."""
    node = yaml.compose(text, yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)  # it was read before
    value = next(value for key, value in node.value if key.value == "version")
    start, end = value.start_mark.index, value.end_mark.index
    quote = text[start] if text[start] in "\"'" else ""
    return f"{text[:start]}{quote}{version}{quote}{text[end:]}"


def parsed_version(value: object, what: str) -> str:
    """`value` where it is a fixed version such as 1.0.0; `InputError` beginning with `what` otherwise."""
    if not isinstance(value, str) or not VERSION.fullmatch(value):
        shown = value if isinstance(value, str) else kind_of(value)
        _refuse(f"{what} is {shown!r}; it must be three numbers such as 1.0.0, without a suffix")
    return value


def numbers(version: str) -> tuple[int, int, int]:
    """A version as numbers, to compare."""
    major, minor, patch = version.split(".")
    return int(major), int(minor), int(patch)


def bumped(version: str) -> str:
    """The next patch version."""
    major, minor, patch = numbers(version)
    return f"{major}.{minor}.{patch + 1}"


def _name(value: object, where: str) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        _refuse(
            f'{where}: name is {value!r}; it may hold small letters, digits and "-", and begins with none of the last'
        )
    return value


def _author(value: object, where: str) -> str:
    """The author as a text: free text, or a mapping such as name and url."""
    if isinstance(value, Mapping):
        parts = [str(value[key]) for key in ("name", "email", "url") if value.get(key)]
        return " ".join([*parts[:1], *(f"<{part}>" for part in parts[1:])])
    if value is not None and not isinstance(value, str):
        _refuse(f"{where}: author is {kind_of(value)}; write a text, or a mapping with name and url")
    return value or ""


def _component(kind: str, raw: Mapping[str, object], files: Collection[str], where: str) -> tuple[str, ...]:
    """The files of one component list."""
    if kind not in raw:
        return tuple(_found(PATTERNS[kind], files))
    entries = raw[kind]
    if not isinstance(entries, list):
        hint = "write [] for none, or leave the key out to have them found"
        _refuse(f"{where}: {kind} is {kind_of(entries)}; it must be a list of files or folders: {hint}")
    found: list[str] = []
    for entry in entries:
        for path in _entry(kind, entry, files, where):
            if path in found:
                _refuse(f"{where}: {kind} lists {path} twice; keep one")
            found.append(path)
    return tuple(found)


def _entry(kind: str, entry: object, files: Collection[str], where: str) -> list[str]:
    if not isinstance(entry, str):
        _refuse(f"{where}: {kind} lists {kind_of(entry)}; it must be a path inside the capability")
    path = entry.removeprefix("./").rstrip("/")
    if not inside(path):
        _refuse(f"{where}: {kind} lists {entry!a}, which leads out of the capability; keep it inside")
    pattern = PurePosixPath(PATTERNS[kind])
    if path in files and fnmatchcase(PurePosixPath(path).name, pattern.name):
        return [path]
    within = [f"{path}/{pattern.name}", f"{path}/*/{pattern.name}"] if kind == "skills" else [f"{path}/{pattern.name}"]
    found = [file for glob in within for file in _found(glob, files)]
    if not found:
        what = "is not a " + pattern.suffix + " file" if path in files else "is neither a file nor a folder with any"
        _refuse(f"{where}: {kind} lists {entry!a}, which {what}; correct it, or create it")
    return found


def _found(glob: str, files: Iterable[str]) -> list[str]:
    """The files that a glob matches, segment by segment, sorted; private Python files are no tools."""
    wanted = glob.split("/")
    fits = [path for path in files if len(path.split("/")) == len(wanted) and _same(path.split("/"), wanted)]
    return sorted(path for path in fits if not (path.endswith(".py") and PurePosixPath(path).name.startswith("_")))


def _same(parts: list[str], wanted: list[str]) -> bool:
    return all(fnmatchcase(part, want) for part, want in zip(parts, wanted, strict=True))


def _refuse(message: str) -> NoReturn:
    raise InputError(message) from None
