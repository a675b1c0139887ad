"""Targets of a module in a folder, run in child processes under a recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rollout_local.domain.dataset import Task
from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import Candidate, TargetKind
from rollout_local.isolation.target import IsolatedTarget, placed
from rollout_local.recordings import Recording, open_recording
from rollout_local.runs.execution import Execution, Executor, Wire
from rollout_local.stop import StopFlag
from rollout_local.targets.function import FunctionTarget

TEXT = Candidate(text="Answer.")


@dataclass
class Place:
    """An executor over an isolated target."""

    executor: Executor
    recording: Recording
    stop: StopFlag

    def run(self, asked: str, name: str = "trial/a", **fields: Any) -> Execution:
        return self.executor.run(name, Task(name="a", instruction=asked, **fields), TEXT, again=False)

    def raised(self, asked: str) -> str:
        error = self.run(asked).error
        assert error is not None
        return f"{type(error).__name__}: {error}"

    @property
    def waiting(self) -> list[Any]:
        return cast("IsolatedTarget", self.executor.target)._idle

    @property
    def pid(self) -> int:
        return int(self.waiting[0]._process.pid)


@pytest.fixture
def isolating(tmp_path: Path) -> Callable[..., Any]:
    """`with isolating(source, mode="new_episodes", timeout=None, **config) as place`; the source is a module's."""

    @contextmanager
    def isolate(
        source: str, mode: str = "new_episodes", timeout: float | None = None, settings: Any = None, **given: Any
    ) -> Iterator[Place]:
        (tmp_path / "odd.py").write_text("import rollout_local as rollout\n" + source)
        config = RunConfig(modules=("odd",), target="odd", isolate=True, **given)
        same = FunctionTarget(lambda *_: "", id="odd", kind=TargetKind.PROMPT, description="", baseline=TEXT)
        setup: Any = SimpleNamespace(target=same, config=config)
        wire, stop = Wire(), StopFlag()
        with (
            open_recording(tmp_path / "recording.yaml", mode, sink=wire, **(settings or {})) as recording,
            placed(setup, tmp_path, recording, stop, ("opt_x", 1)) as target,
        ):
            yield Place(Executor(target, recording, wire, timeout), recording, stop)

    return isolate
