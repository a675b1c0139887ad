"""Every address of ours, in one place; a prefix for those who serve it under a path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from datasette.utils import tilde_encode

LONGEST_NAME = 400
"""Characters of a task's name that an address may hold; servers refuse long ones."""


@dataclass(frozen=True)
class Links:
    """Addresses under Datasette's `base_url`, which begins and ends with a slash."""

    base: str

    def _under(self, path: str, query: Mapping[str, object] | None = None) -> str:
        given = {name: value for name, value in (query or {}).items() if value not in (None, "")}
        return f"{self.base}-/rollout/{path}" + (f"?{urlencode(given)}" if given else "")

    def jobs(self, **query: object) -> str:
        """The list of jobs."""
        return self._under("", query)

    def new(self) -> str:
        """The form for a new job."""
        return self._under("new")

    def sign_in(self, key: str) -> str:
        """The link that works once."""
        return self._under("sign-in", {"key": key})

    def compare(self, *runs: str) -> str:
        """Runs side by side, each as `database/run`."""
        return self._under("compare") + (f"?{urlencode([('run', run) for run in runs])}" if runs else "")

    def static(self, name: str, version: str) -> str:
        """A file of ours; its version is in the address, so it may be kept for ever."""
        return self._under(f"static/{name}", {"v": version})

    def run(self, db: str, run: str, page: str = "", /, **query: object) -> str:
        """A run's page: `""`, `lineage`, `pareto`, `reflections`, `promotion`, `events`, `candidates` …"""
        return self._under(f"{tilde_encode(db)}/runs/{quote(run, safe='')}{page and '/' + page}", query)

    def data(self, db: str, run: str, **query: object) -> str:
        """What changed in a run since a trial and a revision, as JSON."""
        return self._under(f"{tilde_encode(db)}/runs/{quote(run, safe='')}.json", query)

    def candidate(self, db: str, run: str, number: int, **query: object) -> str:
        """One candidate."""
        return self.run(db, run, f"candidates/{number}", **query)

    def task(self, db: str, run: str, name: str, split: str) -> str | None:
        """One task over all candidates; None where its name is too long for an address."""
        return self.run(db, run, "task", name=name, split=split) if len(name) <= LONGEST_NAME else None

    def trial(self, db: str, trial: int) -> str:
        """One execution, by its trial."""
        return self._under(f"{tilde_encode(db)}/trials/{trial}")

    def trace(self, db: str, trace: str) -> str:
        """One execution, by its trace."""
        return self._under(f"{tilde_encode(db)}/traces/{quote(trace, safe='')}")

    def database(self, db: str) -> str:
        """Datasette's own page of a database."""
        return f"{self.base}{tilde_encode(db)}"

    def table(self, db: str, table: str, **query: object) -> str:
        """Datasette's page of a table."""
        return f"{self.database(db)}/{tilde_encode(table)}" + (f"?{urlencode(query)}" if query else "")
