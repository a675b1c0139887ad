"""What one running Datasette needs to know of us: its files, its readers, who may come in.

Hooks are handed the Datasette and nothing else, so the state is found by it. On a Datasette with no database of
ours nothing is kept and every hook stays silent.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from rollout_local.ui.readers import Readers, Source, is_rollout_file

if TYPE_CHECKING:
    from datasette.app import Datasette


PLUGIN = "rollout-local"


@dataclass(frozen=True)
class Options:
    """How `rollout ui` was started. `launched` is false under a plain `datasette rollout.db`."""

    launched: bool = False
    trusted_hosts: tuple[str, ...] = ()


class State:
    """One Datasette's files and readers, and the key that signs in once."""

    def __init__(self, datasette: Datasette, options: Options) -> None:
        self._databases = datasette.databases
        self._config = datasette.plugin_config
        self.options = options
        self._key: str | None = secrets.token_urlsafe(32)

    @cached_property
    def readers(self) -> Readers:
        """The threads that pages are read on; started with the first page."""
        return Readers()

    @property
    def sources(self) -> dict[str, Source]:
        """The attached databases that are ours, by Datasette's names for them."""
        found = {}
        for name, database in self._databases.items():
            if database.path is not None and is_rollout_file(Path(database.path)):
                found[name] = Source(name, Path(database.path), immutable=not database.is_mutable)
        return found

    @property
    def is_active(self) -> bool:
        """Whether we are concerned at all: we were asked for, or a database of ours is attached."""
        return self.options.launched or bool(self.sources)

    @property
    def trusted_hosts(self) -> frozenset[str]:
        """Host names that are let in beside the loopback ones."""
        config = self._config(PLUGIN) or {}
        return frozenset({*self.options.trusted_hosts, *config.get("trusted_hosts", ())})

    @property
    def key(self) -> str | None:
        """The one-use key of the sign-in link; None once it was used."""
        return self._key

    def take_key(self, offered: str) -> bool:
        """Use the key up. True if it was the right one."""
        if self._key is None or not secrets.compare_digest(offered.encode(), self._key.encode()):
            return False
        self._key = None
        return True

    def close(self) -> None:
        """Let go of threads and connections."""
        if "readers" in self.__dict__:
            self.readers.close()
            del self.__dict__["readers"]


_states: WeakKeyDictionary[object, State] = WeakKeyDictionary()


def state_of(datasette: Datasette) -> State:
    """The state of this Datasette, made when it is first asked for."""
    return _states.get(datasette) or attach(datasette, Options())


def attach(datasette: Datasette, options: Options) -> State:
    """Say how this Datasette was started."""
    _states[datasette] = state = State(datasette, options)
    return state
