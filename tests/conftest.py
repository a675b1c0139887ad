"""Shared by all tests: no network but loopback, a store, a simulator, a project of one's own."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rollout_local.models import keep_libraries_offline
from rollout_local.simulator import Settings, Simulator, load_script
from rollout_local.store.schema import Store, open_store
from tests.endpoint import Endpoint

keep_libraries_offline()
os.environ.pop("ROLLOUT_DB", None)
os.environ.pop("COLUMNS", None)  # a runner with workers sets it

LOOPBACK = ("127.", "localhost", "::1")


def _to_this_machine_alone(connect: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(connect)
    def connected(connection: socket.socket, address: Any) -> Any:
        if isinstance(address, tuple) and not str(address[0]).startswith(LOOPBACK):
            msg = f"a test tried to reach {address[0]}"
            raise RuntimeError(msg)
        return connect(connection, address)

    return connected


socket.socket.connect = _to_this_machine_alone(socket.socket.connect)  # type: ignore[method-assign]
socket.socket.connect_ex = _to_this_machine_alone(socket.socket.connect_ex)  # type: ignore[method-assign]


_tracing = threading.RLock()
os.register_at_fork(after_in_child=_tracing._at_fork_reinit)  # type: ignore[attr-defined]


class _SysOfThreads(ModuleType):
    """`sys` for `threading`, whose threads get their tracers one at a time.

    In Python 3.11 `sys.settrace` raises while another thread is inside it, which an audit hook written in Python makes
    possible, and a thread whose tracer is refused dies (`_PyEval_SetTrace` in CPython 3.11's ceval.c).
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)

    @staticmethod
    def settrace(function: Any) -> None:
        if not _serves_a_test(threading.current_thread()):
            with _tracing:
                sys.settrace(function)


def _serves_a_test(thread: Any) -> bool:
    """Whether it answers one request of a server that is a test's own: there are thousands, and none runs our code."""
    server = getattr(thread._target, "__self__", None)
    return getattr(server, "RequestHandlerClass", object).__module__.startswith("tests.")


def _trace_threads_one_at_a_time() -> None:
    from coverage.collector import Collector

    install = Collector._installation_trace

    def installed(collector: Any, *event: Any) -> Any:
        with _tracing:
            return install(collector, *event)

    Collector._installation_trace = installed  # type: ignore[method-assign]
    hook = threading._trace_hook  # type: ignore[attr-defined]
    if isinstance(getattr(hook, "__self__", None), Collector):
        threading.settrace(hook.__self__._installation_trace)


if sys.version_info < (3, 12):
    threading._sys = _SysOfThreads("sys")  # type: ignore[attr-defined]
    _trace_threads_one_at_a_time()


@functools.cache
def _columns_of(kind: type) -> dict[str, tuple[type, ...]]:
    """The columns that a row type names, and the Python types that a value of each may have."""
    kinds = {name: typing.get_args(hint) or (hint,) for name, hint in typing.get_type_hints(kind).items()}
    return {name: (*of, int) if float in of else of for name, of in kinds.items()}  # an int is a float to mypy, too


def _holding_rows(select: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """`Store.select`, where every row that any test sees must be what its type says: mypy believes the types."""

    @functools.wraps(select)
    def held(self: Store, kind: type, sql: str, parameters: Any = ()) -> list[Any]:
        rows = select(self, kind, sql, parameters)
        if typing.is_typeddict(kind):
            for row in rows:
                wrong = {name for name, kinds in _columns_of(kind).items() if not isinstance(row[name], kinds)}
                assert set(row) == set(_columns_of(kind)), f"{kind.__name__} is not what {sql} gives"
                assert not wrong, f"{kind.__name__} has other types in {sorted(wrong)} than {sql} gives"
        return rows

    return held


Store.select = _holding_rows(Store.select)  # type: ignore[method-assign]


UNMEASURED = (
    "browser", "faults", "contracts/test_engine.py", "contracts/test_optimizers.py", "contracts/test_program.py",
    "journeys/test_failing_target.py", "journeys/test_isolate.py", "journeys/test_places.py", "journeys/test_prints.py",
    "journeys/test_program.py", "journeys/test_replay.py", "journeys/test_secrets.py", "journeys/test_shipped.py",
    "journeys/test_target_url.py", "unit/isolation/test_child.py", "unit/recordings/test_kill.py",
    "unit/recordings/test_threads.py", "unit/reports/test_statistics.py", "unit/runs/test_dialects.py",
    "unit/store/test_check.py", "unit/store/test_landed.py", "unit/ui/test_security.py",
)  # fmt: skip
"""Tests that run for long on lines that others reach too: measuring their coverage would double their time."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        path = item.path.relative_to(config.rootpath / "tests").as_posix()
        if path.startswith(UNMEASURED):
            item.add_marker("unmeasured")


_modules = 0


def pytest_runtest_setup() -> None:
    """Keep what was imported out of the garbage collector's rounds: the model clients are half a million objects."""
    global _modules
    if len(sys.modules) > _modules + 300:
        _modules = len(sys.modules)
        gc.collect()
        gc.freeze()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty, migrated database."""
    with open_store(tmp_path / "rollout.db") as opened:
        yield opened


@pytest.fixture
def simulate() -> Iterator[Callable[..., Simulator]]:
    """Start simulators: `simulate(script_path=None, **settings)`; they end with the test."""
    started: list[Simulator] = []

    def start(script: Path | None = None, **settings: Any) -> Simulator:
        simulator = Simulator(load_script(script), Settings(**settings))
        simulator.start()
        started.append(simulator)
        return simulator

    yield start
    for simulator in started:
        simulator.stop()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between the tries of a failed call are a hundredth of what they are."""
    from rollout_local.providers.failures import Patience

    wait = Patience.wait

    def shortly(*given: Any, **named: Any) -> float | None:
        if named.get("away") is not None:
            named["away"] *= 100
        pause = wait(*given, **named)
        return None if pause is None else pause / 100

    monkeypatch.setattr(Patience, "wait", shortly)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """A target behind a URL on loopback; it ends with the test."""
    opened = Endpoint()
    yield opened
    opened.stop()


TARGET = """\
import json
import os
import socket
import subprocess

import mv37.rollout as rollout
from openai import OpenAI

_clients = {}


@rollout.optimize(id="support", kind="prompt", description="Answers customers.", baseline="Answer the customer.")
def answer(task: rollout.Task, candidate: rollout.Candidate) -> str:
    base = os.environ["ROLLOUT_GEPA_STUDENT_MODEL_API_BASE"]
    if base not in _clients:
        _clients[base] = OpenAI(base_url=base, api_key="sk-test-0123456789", max_retries=RETRIES)
    reply = _clients[base].chat.completions.create(
        model=os.environ["ROLLOUT_GEPA_STUDENT_MODEL"].removeprefix("openai/"),
        messages=[{"role": "system", "content": candidate.text}, {"role": "user", "content": task.instruction}],
    )
    return reply.choices[0].message.content
"""
TOPICS = (
    ("a refund for order {n}", "30 days"),
    ("the late parcel {n}", "tracking number"),
    ("the locked account {n}", "reset link"),
)


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


@contextlib.contextmanager
def fresh_targets(folder: Path) -> Iterator[None]:
    """Forget the modules and targets of other projects, and this one's afterwards."""
    from rollout_local.targets.registry import clear_optimization_targets

    clear_optimization_targets()
    path = list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = path
        for name in list(sys.modules):
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]
        importlib.invalidate_caches()
        clear_optimization_targets()


class Project:
    """A small project in a folder: a target, a dataset, a verifier, splits; and the command to run there."""

    def __init__(self, folder: Path, simulator_url: str) -> None:
        self.folder = folder
        self.url = simulator_url

    @property
    def flags(self) -> list[str]:
        """What `create` and one-shot `run` need."""
        return [
            "--module", "target", "--dataset", "dataset", "--verifier", "verifier.json", "--splits-file", "splits.json",
            "--allow-constant-score", "--reflection-model", "openai/sim-reflection", "--reflection-api-base", self.url,
            "--task-model", "openai/sim-student", "--task-api-base", self.url,
        ]  # fmt: skip

    def rollout(self, *arguments: str, **variables: str) -> Done:
        """Run the command in the folder, in this process: importing the model clients once saves seconds a run."""
        from rollout_local.cli.main import run

        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.delenv("OPENAI_API_KEY", raising=False)
            patch.setenv("PYTHONHASHSEED", "0")
            for name, value in variables.items():
                patch.setenv(name, value)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), fresh_targets(self.folder):
                code = run(list(arguments))
        return Done(code, out.getvalue(), err.getvalue())

    def process(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command in a process of its own, as a user would."""
        return subprocess.run(
            [sys.executable, "-m", "rollout_local", *arguments],
            cwd=self.folder, capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "", **variables},
        )  # fmt: skip

    def document(self, *arguments: str, code: int = 0, **variables: str) -> Any:
        """The JSON document that a command prints."""
        done = self.rollout(*arguments, "--json", **variables)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)


ROOT = Path(__file__).parent.parent


@pytest.fixture
def make_project(tmp_path: Path) -> Callable[..., Project]:
    """Write a project: `make_project(url, train=7, val=5, holdout=6)`."""

    def make(url: str, **sizes: int) -> Project:
        return project_in(tmp_path / "project", url, **sizes)

    return make


def project_in(folder: Path, url: str, *, train: int = 7, val: int = 5, holdout: int = 6, retries: int = 0) -> Project:
    """A project in a folder that has none."""
    folder.mkdir(exist_ok=True)
    (folder / "target.py").write_text(TARGET.replace("RETRIES", str(retries)))
    names = write_dataset(folder / "dataset", train + val + holdout)
    parts = {"train": names[:train], "val": names[train : train + val], "holdout": names[train + val :]}
    (folder / "splits.json").write_text(json.dumps(parts))
    checks = [{"type": "task_expectations"}, {"type": "max_length", "params": {"value": 900}}]
    (folder / "verifier.json").write_text(json.dumps({"id": "quality", "checks": checks}))
    return Project(folder, url)


def write_dataset(folder: Path, size: int) -> list[str]:
    """A Harbor folder of customer messages, each with a phrase that the answer must mention."""
    names = [f"task-{n:02d}" for n in range(size)]
    folder.mkdir()
    for n, name in enumerate(names):
        topic, phrase = TOPICS[n % len(TOPICS)]
        expectations = {"mustMention": [{"text": phrase, "message": f"mention the {phrase}"}]}
        task = {"instruction": f"Customer asks about {topic.format(n=n)}.", "metadata": {"expectations": expectations}}
        (folder / name).mkdir()
        (folder / name / "task.json").write_text(json.dumps(task))
    tables = "".join(f'[[tasks]]\nname = "{name}"\npath = "{name}"\n' for name in names)
    (folder / "dataset.toml").write_text(f'name = "Support"\nslug = "support"\n{tables}')
    return names
