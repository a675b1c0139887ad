"""Puts functions in place of a library's own, now or when it is imported.

Invariant: importing nothing itself, and leaving nothing behind: `remove` puts back what `install` replaced. A
replacement that is still held by someone after that passes straight through, because it asks `live.current`.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from rollout_local.errors import RecordingError


@dataclass(frozen=True)
class Patch:
    """`make(original)` takes the place of `owner.name`."""

    owner: Any
    name: str
    make: Callable[[Any], Any]


@dataclass(frozen=True)
class Client:
    """A library to cover: the module that holds its door, the names that must be there, and what to replace.

    `known_as` is what its users call it, for the sentence on clients that are not covered.
    """

    name: str
    module: str
    names: tuple[str, ...]
    patches: Callable[[Any], Iterable[Patch]]
    known_as: str = ""

    @property
    def library(self) -> str:
        """The distribution's top-level module."""
        return self.module.partition(".")[0]


def missing_names(client: Client) -> None:
    """Raise `RecordingError` unless every name is there; a library that is not installed needs none."""
    module = sys.modules.get(client.module)
    if module is not None:
        gone = [name for name in client.names if not _has(module, name)]
    else:
        gone = list(_gone_from_source(client.module, client.names))
    if gone:
        raise RecordingError(
            f"{client.library} has no {client.module}:{gone[0]} any more, which recording leans on: "
            "its requests would not be recorded. Use the version in experiments/constraints.txt."
        )


def _has(module: ModuleType, name: str) -> bool:
    value: Any = module
    for piece in name.split("."):
        value = getattr(value, piece, None)
    return callable(value)


@cache
def _gone_from_source(module: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The names that the module's source does not define; it is read, not run."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top) if top not in sys.modules else sys.modules[top].__spec__
    if spec is None or not spec.submodule_search_locations:
        return ()
    path = Path(spec.submodule_search_locations[0], *rest).with_suffix(".py")
    source = path.read_text("utf-8") if path.is_file() else ""
    return tuple(name for name in names if not _defines(source, name))


def _defines(source: str, name: str) -> bool:
    owner, _, function = name.partition(".")
    body = re.search(rf"^class {owner}\b.*?(?=^\S|\Z)(?:^[\])].*?(?=^\S|\Z))?", source, re.MULTILINE | re.DOTALL)
    return body is not None and re.search(rf"^    (?:async )?def {function}\b", body.group(), re.MULTILINE) is not None


class Hooks:
    """The replacements of one open recording."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self._waiting = {client.module: client for client in clients}
        self._undo: list[tuple[Any, str, Any, Any]] = []
        self._busy = threading.local()

    def install(self) -> None:
        """Replace in what is imported; wait for the rest."""
        for name, client in list(self._waiting.items()):
            module = sys.modules.get(name)
            if module is not None:
                self.apply(client, module)
        sys.meta_path.insert(0, self)

    def apply(self, client: Client, module: ModuleType) -> None:
        """Replace in one module. Raises `RecordingError` where it is not as known."""
        missing_names(client)
        del self._waiting[client.module]
        for patch in client.patches(module):
            original = vars(patch.owner).get(patch.name, _NOTHING)
            new = patch.make(original)
            setattr(patch.owner, patch.name, new)
            self._undo.append((patch.owner, patch.name, original, new))

    def remove(self) -> None:
        """Put everything back, unless someone else has put something in its place meanwhile."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for owner, name, original, new in reversed(self._undo):
            if vars(owner).get(name) is not new:
                continue
            if original is _NOTHING:
                delattr(owner, name)
            else:
                setattr(owner, name, original)
        self._undo.clear()

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> Any:
        """Importlib's protocol: a spec whose loader tells us when the module is there."""
        client = self._waiting.get(name)
        if client is None or getattr(self._busy, "now", False):
            return None
        self._busy.now = True
        try:
            spec = _spec_by_others(self, name, path, target)
        finally:
            self._busy.now = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, lambda module: self.apply(client, module))
        return spec


_NOTHING = object()


def _spec_by_others(mine: Hooks, name: str, path: Sequence[str] | None, target: Any) -> Any:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = find(name, path, target) if finder is not mine and find is not None else None
        if spec is not None:
            return spec
    return None


class _Loader:
    """A module's own loader, followed by a call."""

    def __init__(self, loader: Any, then: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._then = then

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> object:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._then(module)

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)
