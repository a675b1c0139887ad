"""Commands in processes of their own: forked from a warmed one, watched, stopped, killed."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rollout_local.simulator import Settings, Simulator, load_script
from tests.conftest import ROOT, TARGET, Project, write_dataset

BUDGET = ["--max-metric-calls", "16"]
Make = Callable[..., Project]


@dataclass(frozen=True)
class Ended:
    """How a child ended: exit code (negative: the signal that killed it), what it printed, seconds that it lived."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def document(self) -> Any:
        return json.loads(self.stdout)


class Child:
    """A command that runs in a process of its own."""

    def __init__(self, nursery: Nursery, pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self._nursery = nursery
        self._out = out
        self._err = err

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def stop(self, project: Project) -> None:
        """SIGSTOP, between two writes: who is stopped in the middle of one holds the file, and all have to wait."""
        while True:
            self.signal(signal.SIGSTOP)
            time.sleep(0.02)
            if _is_free(project.folder / "rollout.db"):
                return
            self.signal(signal.SIGCONT)
            time.sleep(0.01)

    def said(self) -> str:
        """What it wrote on stderr so far."""
        return self._err.read_text()

    def wait(self, timeout: float = 60) -> Ended:
        reply = self._nursery.ask({"do": "wait", "pid": self.pid, "timeout": timeout})
        said = self._out.read_text(), self._err.read_text()
        assert reply["code"] is not None, f"the command did not end in {timeout} s: {said}"
        return Ended(reply["code"], *said, reply["seconds"])


def _is_free(database: Path) -> bool:
    """Whether nobody is writing to a database, nor about to."""
    lock = database.with_name(database.name + ".lock")
    with contextlib.ExitStack() as stack:
        try:
            if lock.exists():
                fcntl.flock(stack.enter_context(lock.open("a")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            db = stack.enter_context(contextlib.closing(sqlite3.connect(database, timeout=0, isolation_level=None)))
            db.execute("BEGIN IMMEDIATE")
        except (BlockingIOError, sqlite3.OperationalError):
            return False
    return True


class Nursery:
    """The warmed process that forks them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE"))}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.nursery"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**environment, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": ""},
        )  # fmt: skip

    def ask(self, order: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(  # a variable that is None is not set
        self, project: Project, *arguments: str, die: dict[str, Any] | None = None, limit: int | None = None,
        modules: Path | None = None, program: str = "rollout",
        **variables: str | None,
    ) -> Child:  # fmt: skip
        self._count += 1
        out, err = (self._folder / f"{self._count}.{name}" for name in ("out", "err"))
        order = {"do": "start", "argv": arguments, "cwd": str(project.folder), "env": variables, "out": str(out),
                 "err": str(err), "die": die, "limit": limit, "modules": str(modules or ""),
                 "program": program}  # fmt: skip
        return Child(self, self.ask(order)["pid"], out, err)

    def run(self, project: Project, *arguments: str, **settings: Any) -> Ended:
        return self.start(project, *arguments, **settings).wait()

    def create(self, project: Project, *flags: str) -> str:
        """`optimize create` with the project's flags and these; the run's id."""
        done = self.run(project, "optimize", "create", *project.flags, *flags, "--json")
        assert done.code == 0, done.stderr
        return str(done.document["run_id"])

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    folder = tmp_path_factory.mktemp("nursery")
    opened = Nursery(folder)
    try:
        with Simulator(load_script(None), Settings()) as simulator:
            make = make_small(folder)
            first = make(simulator.url)
            learned = folder / "modules.json"
            opened.run(first, "optimize", "run", *first.flags, *BUDGET, modules=learned)
            opened.ask({"do": "learn", "modules": json.loads(learned.read_text())})
        yield opened
    finally:
        opened.close()


def make_small(folder: Path) -> Make:
    """`make(url)`: a project of 5 train, 3 val and 3 holdout tasks, each in a folder of its own."""
    count = iter(range(1_000_000))

    def make(url: str) -> Project:
        place = folder / f"p{next(count)}"
        place.mkdir()
        (place / "target.py").write_text(TARGET.replace("RETRIES", "0"))
        names = write_dataset(place / "dataset", 11)
        parts = {"train": names[:5], "val": names[5:8], "holdout": names[8:]}
        (place / "splits.json").write_text(json.dumps(parts))
        checks = [{"type": "task_expectations"}, {"type": "max_length", "params": {"value": 900}}]
        (place / "verifier.json").write_text(json.dumps({"id": "quality", "checks": checks}))
        return Project(place, url)

    return make


def until(true: Callable[[], Any], timeout: float = 20) -> None:
    """Wait for something that happens in another process."""
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)
