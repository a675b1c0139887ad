"""What a target may do to the process that it shares with the run: seen where something unexpected happened, put back.

A target runs in this process, so it can close the run's streams, empty `sys.modules` or replace `json.dumps`. What
comes of it is an error anywhere but in the target. The run then says what was changed, and waits.
"""

from __future__ import annotations

import builtins
import json
import os
import random
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO, cast

from rollout_local.errors import Paused

WATCHED: tuple[ModuleType, ...] = (builtins, json, json.encoder, json.decoder, os, random, threading, time)
"""Modules whose functions and classes the run itself calls at every step."""
SHOWN = 3
Identity = tuple[int, int]
"""Device and inode of a file."""


class Surroundings:
    """Python's own state as it was when the run began; and which files of the run's are open (`files`)."""

    def __init__(self, files: Iterable[Path] = ()) -> None:
        self._files = dict(_descriptors_of(files))
        self._modules = dict(sys.modules)
        self._names = {module: {k: v for k, v in vars(module).items() if callable(v)} for module in WATCHED}
        self._recursion = sys.getrecursionlimit()
        self._streams = {name: getattr(sys, name) for name in ("stdout", "stderr")}
        self._copies = {name: _copy_of(stream) for name, stream in self._streams.items()}

    def put_back(self) -> str:
        """Put back what was changed. In words what that was; empty where nothing was."""
        gone = [name for name, module in self._modules.items() if sys.modules.get(name) is not module]
        sys.modules.update(self._modules)
        found = [f"sys.modules[{name!r}]" for name in gone]
        for module, names in self._names.items():
            changed = [name for name, value in names.items() if vars(module).get(name) is not value]
            vars(module).update({name: names[name] for name in changed})
            found += [f"{module.__name__}.{name}" for name in changed]
        if sys.getrecursionlimit() < self._recursion:
            sys.setrecursionlimit(self._recursion)
            found.append("the recursion limit")
        found += [f"sys.{name}" for name in self._streams if self._reopened(name)]
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        return ", ".join(found[:SHOWN]) + more

    def closed(self) -> Paused | None:
        """Why the run waits where a descriptor of its files is closed, or another file's now; None where none is."""
        gone = {name for file, (name, identity) in self._files.items() if _identity_of(file) != identity}
        if not gone:
            return None
        names = " and ".join(sorted(gone))
        msg = f"the target closed what the run has open ({names}); let it close only its own, or run it with --isolate"
        return Paused(msg, reason="error")

    def close(self) -> None:
        """Let go of the copies of the streams."""
        for copy in self._copies.values():
            if copy is not None:
                with suppress(OSError):  # the target may have closed it
                    os.close(copy)

    def _reopened(self, name: str) -> bool:
        stream, copy = cast("TextIO | None", self._streams[name]), self._copies[name]
        if stream is None or (getattr(sys, name) is stream and _is_open(stream)):
            return False
        if not _is_open(stream) and copy is not None:
            with suppress(OSError):  # the copy may be gone too: then nothing can be said there
                stream = os.fdopen(os.dup(copy), "w", encoding=stream.encoding, errors=stream.errors, buffering=1)
        setattr(sys, name, stream)
        return True


@contextmanager
def surroundings(files: Iterable[Path] = ()) -> Iterator[Surroundings]:
    """The state of now, to be compared with inside the block."""
    found = Surroundings(files)
    try:
        yield found
    finally:
        found.close()


def _descriptors_of(files: Iterable[Path]) -> Iterator[tuple[int, tuple[str, Identity]]]:
    """The descriptors by which these files are open in this process; none where the system does not list them."""
    known = {identity: path.name for path in files if (identity := _identity_of(path)) is not None}
    with suppress(OSError):
        for name in os.listdir("/dev/fd"):  # noqa: PTH208 - names of numbers, not paths
            identity = _identity_of(int(name))
            if identity in known:
                yield int(name), (known[identity], identity)


def _identity_of(file: int | Path) -> Identity | None:
    try:
        found = os.stat(file)  # noqa: PTH116 - a descriptor, or a path
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _copy_of(stream: Any) -> int | None:
    try:
        return os.dup(stream.fileno())
    except (AttributeError, OSError, ValueError):  # none, or one without a descriptor
        return None


def _is_open(stream: Any) -> bool:
    try:
        if stream.closed:
            return False
        os.fstat(stream.fileno())
    except AttributeError:
        return True
    except OSError as error:  # io.UnsupportedOperation is one: a stream in memory
        return error.errno is None
    return True
