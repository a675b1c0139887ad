"""A capability as a value: its files byte for byte, and what was read out of them when it was loaded.

`rollout_local.capabilities` loads one from a folder; the registry keeps it as a row; a run makes a target of one
agent. Reading the YAML is done once, where it is loaded: from there on, what an agent says travels as plain JSON.

An agent's file has three parts that join to the same bytes again: the head (byte-order mark, front matter and the
blank lines below it), the body, and the space at its end. Only the body is ever replaced.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypedDict

from pydantic import Field

from rollout_local.documents import suggestion
from rollout_local.domain.dataset import Value
from rollout_local.domain.identity import content_hash
from rollout_local.errors import InputError, NotFound

INHERIT = "inherit"
_FRONT = re.compile(rb"(?:\xef\xbb\xbf)?---[ \t]*\r?\n(?P<yaml>.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_BLANK = re.compile(rb"(?:[ \t]*\r?\n)*")


class Agent(Value):
    """What an agent's file says. `tools` keeps the order of the file, since the last match wins."""

    name: str
    path: str
    body: str
    description: str = ""
    model: str = INHERIT
    tools: tuple[tuple[str, bool], ...] = ()
    skills: tuple[str, ...] = ()
    metadata: dict[str, Any] = Field(default_factory=dict)


class Skill(Value):
    """A skill by name; its text stays in its file."""

    name: str
    path: str
    description: str = ""


class Capability(Value):
    """A capability: what its manifest says, its agents, the files of its tools, and every file's bytes."""

    name: str
    version: str
    description: str
    author: str = ""
    agents: tuple[Agent, ...] = ()
    tools: tuple[str, ...] = ()
    skills: tuple[Skill, ...] = ()
    files: dict[str, bytes]
    executable: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """`name@X.Y.Z`."""
        return f"{self.name}@{self.version}"

    @cached_property
    def content_hash(self) -> str:
        """`sha256:…` over the paths, bytes and executable bits of all files."""
        hashes = {path: hashlib.sha256(raw).hexdigest() for path, raw in self.files.items()}
        return content_hash({"files": hashes, "executable": sorted(self.executable)})

    def agent(self, name: str | None) -> Agent:
        """The agent with this name, or the only one there is; `NotFound` naming what there is."""
        names = [agent.name for agent in self.agents]
        if name is None and len(names) == 1:
            return self.agents[0]
        if name is None:
            there = f"the agents {', '.join(names)}; name one with --agent" if names else "no agents"
            msg = f"{self.reference} has {there}"
            raise InputError(msg)
        for agent in self.agents:
            if agent.name == name:
                return agent
        hint = suggestion(name, names) if names else "it has none"
        msg = f"{self.reference} has no agent {name!r}; {hint}"
        raise NotFound(msg)


@dataclass(frozen=True)
class Parts:
    """An agent's file in parts that join to its bytes; `front_matter` is the YAML inside the head."""

    head: bytes
    body: bytes
    tail: bytes
    front_matter: bytes | None

    @property
    def text(self) -> str:
        """The body as text, lines ended by LF alone; `UnicodeDecodeError` where it is not UTF-8."""
        return self.body.decode("utf-8").replace("\r\n", "\n")


def split(raw: bytes) -> Parts:
    """An agent's file in its parts; without front matter, the head holds at most a byte-order mark."""
    found = _FRONT.match(raw)
    mark = 3 if raw.startswith(b"\xef\xbb\xbf") else 0
    start = _after_blank(raw, found.end() if found else mark)
    body = raw[start:].rstrip()
    return Parts(raw[:start], body, raw[start + len(body) :], found["yaml"] if found else None)


def with_body(raw: bytes, text: str) -> bytes:
    """The file with another body: head and end as they were, line ends as they are in the file."""
    parts = split(raw)
    body = normalised(text).encode("utf-8")
    if raw.count(b"\r\n") * 2 > raw.count(b"\n"):
        body = body.replace(b"\n", b"\r\n")
    return parts.head + body + parts.tail


def normalised(text: str) -> str:
    """`text` as it reads as the body of an agent: no blank lines before it, no space after it."""
    raw = text.replace("\r\n", "\n").encode("utf-8")
    return raw[_after_blank(raw, 0) :].rstrip().decode("utf-8")


class KeptFile(TypedDict, total=False):
    """A file in `files_json` that is more than its text."""

    text: str
    base64: str
    executable: bool


class VersionColumns(TypedDict):
    """The columns of `capability_versions` that hold a capability."""

    name: str
    version: str
    description: str
    content_hash: str
    manifest_json: str
    agents_json: str
    files_json: str


def columns(capability: Capability) -> VersionColumns:
    """The columns of `capability_versions` that hold a capability."""
    said = capability.model_dump(include={"author", "tools", "skills"})
    agents = [agent.model_dump() for agent in capability.agents]
    return {
        "name": capability.name,
        "version": capability.version,
        "description": capability.description,
        "content_hash": capability.content_hash,
        "manifest_json": _json(said),
        "agents_json": _json(agents),
        "files_json": _json({p: _written(raw, p in capability.executable) for p, raw in capability.files.items()}),
    }


def of_row(row: VersionColumns) -> Capability:
    """The capability of a row of `capability_versions`."""
    files: dict[str, str | KeptFile] = json.loads(row["files_json"])
    return Capability(
        name=row["name"],
        version=row["version"],
        description=row["description"],
        agents=tuple(Agent.model_validate(agent) for agent in json.loads(row["agents_json"])),
        files={path: _read(entry) for path, entry in files.items()},
        executable=tuple(p for p, entry in files.items() if isinstance(entry, dict) and entry.get("executable")),
        **json.loads(row["manifest_json"]),
    )


def _after_blank(raw: bytes, start: int) -> int:
    blank = _BLANK.match(raw, start)
    assert blank is not None  # it matches nothing, too
    return blank.end()


def _json(value: object) -> str:
    """JSON in the order of the files: what people read in the table."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _written(raw: bytes, executable: bool) -> str | KeptFile:
    """A file in `files_json`: its text; an object where it is no UTF-8, or is executable."""
    entry: KeptFile
    try:
        entry = {"text": raw.decode("utf-8")}
    except UnicodeDecodeError:
        entry = {"base64": base64.b64encode(raw).decode("ascii")}
    if executable:
        return {**entry, "executable": True}
    return entry.get("text", entry)


def _read(entry: str | KeptFile) -> bytes:
    if isinstance(entry, str):
        return entry.encode("utf-8")
    return entry["text"].encode("utf-8") if "text" in entry else base64.b64decode(entry["base64"])
