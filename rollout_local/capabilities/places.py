"""The two places a text is promoted to, what each asks for, and what it shows.

An agent's source may have changed in two ways: the version that the run began with is not what it was, or a newer one
differs from it by more than its number. Publishing over either would undo somebody's work in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from rollout_local.capabilities.changed_text import held, next_version, same
from rollout_local.capabilities.manifest import MANIFEST, with_version
from rollout_local.capabilities.registry import diff, file_diff
from rollout_local.errors import InputError, NotFound, Refused
from rollout_local.targets.agent_files import Capability
from rollout_local.targets.capability import source_hash_of


class PlaceColumns(TypedDict):
    """Where a text goes, as columns of `promotions`: a version of a capability, or a file."""

    capability: str | None
    agent: str | None
    from_version: str | None
    to_version: str | None
    to_path: str | None


@dataclass(frozen=True)
class Problem:
    """One thing that is not met, in a sentence; `forceable` says whether --force waives it."""

    name: str
    sentence: str
    forceable: bool


@dataclass(frozen=True)
class AgentPlace:
    """An agent's body: `before` is the version it is taken from, `made` the one that is published."""

    before: Capability
    agent: str
    made: Capability
    found: tuple[Problem, ...]

    @classmethod
    def planned(
        cls,
        source: Capability,
        newest: Capability,
        agent: str,
        text: str,
        number: str,
        *,
        is_taken: bool,
        began_with: str,
    ) -> AgentPlace:
        """The next version of `source`, and what stands in its way."""
        found = list(_stale(source, newest, agent, text, began_with))
        if is_taken:
            sentence = f"{source.name}@{number} is published already; give another --version."
            found.append(Problem("version", sentence, False))
        try:
            made = next_version(source, agent, text, number)
        except (Refused, NotFound) as error:
            found.append(Problem("text", f"{error}.", False))
            made = source
        return cls(source, agent, made, tuple(found))

    @property
    def source(self) -> str:
        """`name@version` that the text is changed in."""
        return self.before.reference

    @property
    def destination(self) -> str:
        """`name@version` that is published."""
        return self.made.reference

    def diff(self, _former: str, _text: str) -> str:
        """All that changes between the two versions."""
        return diff(self.before, self.made)

    def problems(self, _former: str, _text: str) -> Iterator[Problem]:
        """A stale source, a taken version, a text that cannot be a body."""
        yield from self.found

    def columns(self) -> PlaceColumns:
        """Where to, as columns of `promotions`."""
        return {
            "capability": self.made.name, "agent": self.agent, "from_version": self.before.version,
            "to_version": self.made.version, "to_path": None,
        }  # fmt: skip


@dataclass(frozen=True)
class FilePlace:
    """A file of the user's, for targets in code."""

    to: Path | None
    source: str

    @property
    def destination(self) -> str:
        """The path, absolute; empty where none is given yet."""
        return str(self.to.absolute()) if self.to is not None else ""

    @property
    def required(self) -> Path:
        """The path; `InputError` where none was given."""
        if self.to is None:
            msg = f"{self.source} is a target in code; say with --to FILE where its text is to be written"
            raise InputError(msg)
        return self.to

    def diff(self, former: str, text: str) -> str:
        """The two texts, whatever the file holds: `problems` sees to it that it holds the former one."""
        name = str(self.to) if self.to is not None else self.source
        ended = [text if text.endswith("\n") else f"{text}\n" for text in (former, text)]
        return "".join(file_diff(ended[0].encode(), ended[1].encode(), f"{name} (before)", f"{name} (after)"))

    def problems(self, former: str, text: str) -> Iterator[Problem]:
        """A file that holds the text already, or something else than the run began with."""
        if self.to is None:
            return
        there = held(self.to)
        if same(there, text):
            yield Problem("changed", f"{self.to} holds this text already.", False)
        elif there is not None and not same(there, former):
            sentence = (
                f"{self.to} holds another text than the run began with; give a file that holds that prompt and nothing "
                "else, or a new one."
            )
            yield Problem("source", sentence, False)

    def columns(self) -> PlaceColumns:
        """Where to, as columns of `promotions`."""
        return {
            "capability": None, "agent": None, "from_version": None, "to_version": None,
            "to_path": str(self.required.absolute()),
        }  # fmt: skip


Place = AgentPlace | FilePlace


def _stale(source: Capability, newest: Capability, agent: str, text: str, began_with: str) -> Iterator[Problem]:
    names = [known.name for known in source.agents]
    if agent not in names or source_hash_of(source, source.agent(agent)) != began_with:
        sentence = f"{source.reference} is not what the run began with; optimize it anew."
        yield Problem("source", sentence, False)
    elif _unnumbered(newest) != _unnumbered(source):
        if any(known.name == agent and same(known.body, text) for known in newest.agents):
            yield Problem("changed", f"{newest.reference} holds this text already.", False)
            return
        sentence = (
            f"{newest.reference} was published since and differs from {source.reference}, which the run began with; "
            f"optimize {newest.reference}."
        )
        yield Problem("source", sentence, False)


def _unnumbered(capability: Capability) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The files without the version's number."""
    manifest = with_version(capability.files[MANIFEST].decode("utf-8-sig"), "0.0.0").encode()
    return {**capability.files, MANIFEST: manifest}, capability.executable
