"""A real run in a real file, once; and a site over files, asked without a socket."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollout_local.domain.identity import content_hash
from rollout_local.simulator import Settings, Simulator, load_script
from rollout_local.store.schema import open_store
from rollout_local.ui import launch
from rollout_local.ui.links import Links
from rollout_local.ui.page_table import PAGES, RUN
from rollout_local.ui.state import State
from tests.conftest import TARGET, Project, write_dataset


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a run that the simulator's models carried to its report. Not to be written to: copy it."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    folder.mkdir()
    (folder / "target.py").write_text(TARGET.replace("RETRIES", "0"))
    names = write_dataset(folder / "dataset", 18)
    parts = {"train": names[:7], "val": names[7:12], "holdout": names[12:]}
    (folder / "splits.json").write_text(json.dumps(parts))
    checks = [{"type": "task_expectations"}, {"type": "max_length", "params": {"value": 900}}]
    (folder / "verifier.json").write_text(json.dumps({"id": "quality", "checks": checks}))
    simulator = Simulator(load_script(None), Settings())
    simulator.start()
    try:
        project = Project(folder, simulator.url)
        project.document("optimize", "run", *project.flags, "--max-metric-calls", "60")
    finally:
        simulator.stop()
    return folder / "rollout.db"


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """That database, to be written to."""
    return Path(shutil.copy(finished, tmp_path / "rollout.db"))


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A database without a run."""
    path = tmp_path / "empty.db"
    open_store(path).close()
    return path


@dataclass
class Site:
    """A Datasette with our pages."""

    datasette: Any
    state: State
    cookies: dict[str, str]

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        async def asking() -> httpx.Response:
            await self.datasette.invoke_startup()
            cookies = {**self.cookies, **given.pop("cookies", {})}
            sent = {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())} if cookies else {}
            headers = {**sent, **given.pop("headers", {})}
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=self.datasette.app())) as client:
                return await client.request(method, f"http://localhost{path}", headers=headers, **given)

        return asyncio.run(asking())

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.ask("GET", path, **given)

    def text(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text[:2000]
        return answer.text

    def document(self, path: str) -> Any:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def sign_in(self) -> None:
        answer = self.get(Links("/").sign_in(self.state.key or ""))
        assert answer.status_code == 303
        self.cookies["ds_actor"] = answer.cookies["ds_actor"]

    def token(self, page: str = "/-/rollout/new") -> dict[str, str]:
        """The token that a form would carry, as form fields; its cookie is kept."""
        answer = self.get(page)
        self.cookies.update(answer.cookies)
        return {"csrftoken": answer.text.partition('name="csrftoken" value="')[2].partition('"')[0]}


@pytest.fixture
def site() -> Iterator[Callable[..., Site]]:
    """Open files: `site(path, …, trusted_hosts=…, base_url=…)`."""
    opened: list[Site] = []

    def open_site(*paths: Path, **given: Any) -> Site:
        datasette, state, _ = launch.build(paths, **given)
        opened.append(Site(datasette, state, {}))
        return opened[-1]

    yield open_site
    for found in opened:
        found.state.close()
        for database in found.datasette.databases.values():
            database.close()
        found.datasette.executor.shutdown()


def rows(path: Path, sql: str, *values: Any) -> list[sqlite3.Row]:
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def change(path: Path, *statements: str | tuple[str, Sequence[Any]]) -> None:
    """Write to a file past all rules of ours."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA foreign_keys=OFF")
    for name, kind in connection.execute("SELECT name, type FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP {kind} {name}")
    for statement in statements:
        sql, values = (statement, ()) if isinstance(statement, str) else statement
        connection.execute(sql, values)
    connection.commit()
    connection.close()


def run_of(path: Path) -> str:
    return str(rows(path, "SELECT id FROM runs ORDER BY created_at LIMIT 1")[0]["id"])


def pages_of(path: Path) -> dict[str, str]:
    """The address of every page over this file, by name."""
    db, run = path.stem, run_of(path)
    links = Links("/")
    best = rows(path, "SELECT number FROM candidates ORDER BY val_mean DESC LIMIT 1")
    trials = rows(path, "SELECT id, trace_id, task_name, split FROM trials ORDER BY id DESC LIMIT 1")
    found = {"jobs": links.jobs(), "new": links.new(), "compare": links.compare(), "run": links.run(db, run)}
    of_run = [page for page in PAGES if page.address == f"{RUN}/{page.name}" and page.name != "task"]
    found |= {page.name: links.run(db, run, page.key) for page in of_run}
    found |= {f"candidate {row['number']}": links.candidate(db, run, row["number"]) for row in best}
    for row in trials:
        found["trial"] = links.trial(db, row["id"])
        found["task"] = links.task(db, run, row["task_name"], row["split"]) or links.run(db, run)
        if row["trace_id"]:
            found["trace"] = links.trace(db, row["trace_id"])
    return found


class Markup(HTMLParser):
    """What a browser would find in a page."""

    VOID = frozenset({"meta", "link", "input", "br", "img", "path", "line", "circle", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.unclosed: list[str] = []
        self.feed(text)
        self.close()
        self.unclosed += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        if not self._open or self._open.pop() != tag:
            self.unclosed.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


PARTS = {
    "classify": "Name the topic of the message.\nOne word.",
    "answer.draft": "Answer the customer.\nBe brief.",
    "answer.check": "Look whether the answer is polite.",
}
"""A program's texts, as it began."""
ANSWERED = "Answer the customer.\nMention the 30 days.\nBe brief."
CLASSIFIED = "Name the topic of the message.\nOne word: refund, parcel or account."
FAMILY: dict[int, tuple[tuple[int, ...], dict[str, str], tuple[str, ...]]] = {
    0: ((), {}, ()),
    1: ((0,), {"classify": CLASSIFIED}, ("classify",)),
    2: ((0,), {"answer.draft": ANSWERED}, ("answer.draft",)),
    3: ((1, 2), {"classify": CLASSIFIED, "answer.draft": ANSWERED}, ("answer.draft",)),
    4: ((3,), {"classify": CLASSIFIED, "answer.draft": f"{ANSWERED}\nSign with your name.",
               "answer.check": "Look whether the answer is polite and signed."}, ("answer.draft", "answer.check")),
}  # fmt: skip
"""Candidates of a program by number: parents, the texts that are not as it began, and the parts that were proposed."""


@pytest.fixture
def program(copy: Path) -> Path:
    """The finished run as one of a program of three parts; candidate 3 is a merge, 4 is best and changed two parts."""
    run, at = run_of(copy), "2026-11-21T00:00:00.000Z"
    change(copy, "DELETE FROM proposals", "DELETE FROM candidate_parents", "DELETE FROM reports")
    ids = {row["number"]: row["id"] for row in rows(copy, "SELECT id, number FROM candidates")}
    for number, (parents, changed, proposed) in FAMILY.items():
        texts = {**PARTS, **changed}
        whole = {"text": "\n\n".join(texts.values()), "components_json": json.dumps(texts), "status": "accepted",
                 "content_hash": content_hash(texts)}  # fmt: skip
        if number in ids:
            sets = ", ".join(f"{column} = ?" for column in whole if number or column != "status")
            values = [value for column, value in whole.items() if number or column != "status"]
            change(copy, (f"UPDATE candidates SET {sets} WHERE id = ?", (*values, ids[number])))
        else:
            ids[number] = max(ids.values()) + 1
            row = {"id": ids[number], "run_id": run, "attempt": 1, "number": number, **whole, "val_sum": 5.0,
                   "val_mean": 0.9, "val_n": 5, "created_at": at}  # fmt: skip
            change(copy, inserted("candidates", row))
        for parent in parents:
            change(copy, ("INSERT INTO candidate_parents VALUES (?, ?)", (ids[number], ids[parent])))
        for component in proposed:
            feedback = (
                [] if len(parents) > 1 else [{"task": "task-00", "feedback": f"The {component} lacks something."}]
            )
            row = {"run_id": run, "attempt": 1, "iteration": number, "parent_candidate_id": ids[parents[0]],
                   "component": component, "candidate_id": ids[number], "accepted": 1, "reason": "it did better",
                   "feedback_json": json.dumps(feedback), "minibatch_before": 0.3, "minibatch_after": 0.6,
                   "created_at": at}  # fmt: skip
            change(copy, inserted("proposals", row))
    change(copy, ("UPDATE runs SET baseline_candidate_id = ?, best_candidate_id = ?", (ids[0], ids[4])))
    return copy


def inserted(table: str, row: dict[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """What `change` takes to write a row."""
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values())
