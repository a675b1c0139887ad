"""One request as the views see it, and what a view answers with.

A view is a plain function from a `Visit` to a `Page` or a `Document`. It runs on a reader thread over one snapshot
of each file that it opens, and is told the time, the actor and the addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from rollout_local.domain.dataset import SplitName
from rollout_local.store.row_types import RunRow
from rollout_local.store.schema import Store
from rollout_local.store.stored_run import StoredConfig, StoredRun
from rollout_local.ui import queries
from rollout_local.ui.links import Links
from rollout_local.ui.readers import Source
from rollout_local.ui.shown_rows import ShortCandidate


class Missing(Exception):
    """There is no such page; says what there is instead."""


@dataclass(frozen=True)
class Page:
    """A template and what it shows."""

    template: str
    context: Mapping[str, object]
    status: int = 200


@dataclass(frozen=True)
class Document:
    """JSON."""

    value: object
    status: int = 200


@dataclass(frozen=True)
class Redirect:
    """Look there instead."""

    to: str


Answer = Page | Document | Redirect


@dataclass(frozen=True)
class Visit:
    """One request. `args` are of the address, `form` of the body; `now` is in Unix seconds."""

    links: Links
    sources: Mapping[str, Source]
    open: Callable[[Source], Store]
    now: float
    names: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, list[str]] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    actor: str | None = None
    may_act: bool = False
    token: str = ""

    def first(self, name: str, default: str = "") -> str:
        """The first value of an argument of the address."""
        values = self.args.get(name) or [default]
        return str(values[0])

    def number(self, name: str) -> int | None:
        """An argument that is a number, or None."""
        value = self.first(name)
        return int(value) if value.isascii() and value.isdecimal() and len(value) < 16 else None

    def choice(self, name: str, allowed: Mapping[str, object], default: str) -> str:
        """An argument that is one of these."""
        value = self.first(name)
        return value if value in allowed else default

    @property
    def source(self) -> Source:
        """The file that the address names."""
        found = self.sources.get(self.names["db"])
        if found is None:
            known = ", ".join(self.sources) or "none"
            msg = f"No run database {self.names['db']!r} is open here; there is {known}."
            raise Missing(msg)
        return found

    @property
    def store(self) -> Store:
        """That file, opened."""
        return self.open(self.source)


@dataclass(frozen=True)
class RunVisit:
    """A visit to a run: its row, and the attempt that is looked at (the newest unless the address says)."""

    visit: Visit
    row: RunRow
    attempt: int

    @property
    def db(self) -> str:
        """Datasette's name of the file."""
        return self.visit.source.name

    @property
    def store(self) -> Store:
        """The file."""
        return self.visit.store

    @property
    def id(self) -> str:
        """The run's id."""
        return self.row["id"]

    @property
    def is_newest(self) -> bool:
        """The run's own columns speak of this attempt."""
        return self.attempt == self.row["attempt"]

    @property
    def spent(self) -> int:
        """Search calls of the newest attempt; of an older one nobody counted them."""
        return self.row["metric_calls"] if self.is_newest else 0

    @cached_property
    def stored(self) -> StoredRun:
        """The run with its set-up."""
        return StoredRun(self.row)

    @property
    def config(self) -> StoredConfig:
        """The run's configuration as stored."""
        return self.stored.written

    @cached_property
    def candidates(self) -> list[ShortCandidate]:
        """Candidates of the attempt, without texts."""
        return queries.candidates(self.store, self.id, self.attempt)

    @property
    def split(self) -> dict[SplitName, list[str]]:
        """Task names by split."""
        return self.stored.written_split

    @cached_property
    def baseline(self) -> ShortCandidate | None:
        """The baseline's row, if there is one yet."""
        return queries.first_candidate(self.store, self.id, self.attempt)

    @cached_property
    def best(self) -> ShortCandidate | None:
        """The candidate that the run says is best; while it searches, the one that leads on validation."""
        return queries.best(self.store, self.row, self.attempt)

    def link(self, page: str = "", /, **query: object) -> str:
        """A page of this run, for the same attempt."""
        kept: dict[str, object] = {} if self.is_newest else {"attempt": self.attempt}
        return self.visit.links.run(self.db, self.id, page, **query, **kept)

    def candidate_link(self, number: int, **query: object) -> str:
        """A candidate of this attempt."""
        return self.link(f"candidates/{number}", **query)

    def task_link(self, name: str, split: str) -> str | None:
        """A task of this attempt."""
        found = self.visit.links.task(self.db, self.id, name, split)
        return found if found is None or self.is_newest else f"{found}&attempt={self.attempt}"


def run_visit(visit: Visit) -> RunVisit:
    """The run that the address names; raises `Missing` otherwise."""
    row = queries.run(visit.store, visit.names["run"])
    if row is None:
        msg = f"There is no run {visit.names['run']!r} in {visit.source.path.name}."
        raise Missing(msg)
    asked = visit.number("attempt")
    return RunVisit(visit, row, asked if asked and asked <= row["attempt"] else row["attempt"])
