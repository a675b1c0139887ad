"""Manifest and Lock: a run that can be repeated, and what it gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from rollout_local.domain.dataset import Value

LOCK_SCHEMA = 1


class Manifest(Value):
    """`experiment.toml`: what people write. Paths are relative to the experiment's folder."""

    name: str
    description: str = ""
    module: str | None = None
    target: str | None = None
    capability: str | None = None
    """Folder of a capability, in the place of module and target; its version is published before the run."""
    agent: str | None = None
    dataset: str
    verifier: str | list[str] = Field(default_factory=list)
    reward: str | None = None
    splits: str | None = None
    recording: str
    simulated: bool = False
    """The models in the recording were a scripted simulator; said wherever results are shown."""
    run: dict[str, Any] = Field(default_factory=dict)
    sweep: dict[str, list[Any]] = Field(default_factory=dict)


class Lock(Value):
    """`experiment.lock`: what the tool writes. Hashes of the inputs, versions, digests, headline numbers."""

    schema_number: int = Field(default=LOCK_SCHEMA, alias="schema")
    inputs: dict[str, str]
    versions: dict[str, str]
    digest_format: int = 1
    digest: str
    tables: dict[str, str]
    result: dict[str, Any]


def differences(locked: Mapping[str, object], seen: Mapping[str, object]) -> Iterator[tuple[str, object, object]]:
    """Yield `(key, locked value, seen value)` for every key whose values differ, in the order of the keys."""
    for key in sorted({*locked, *seen}):
        if locked.get(key) != seen.get(key):
            yield key, locked.get(key), seen.get(key)
