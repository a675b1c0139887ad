"""Servers that people put a model behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rollout_local.simulator import Simulator
from tests.conftest import ROOT, Project

Make = Callable[..., Project]
Simulate = Callable[..., Simulator]


@contextmanager
def gateway(behind: str, path: str, key: str, *flags: str) -> Iterator[str]:
    """The address of a gateway in front of `behind`."""
    command = [sys.executable, str(ROOT / "tests/gateway.py"), behind, path, key, *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}{path}"
        finally:
            process.terminate()


def test_a_gateway_under_a_path_with_a_key_of_its_own(make_project: Make, simulate: Simulate) -> None:
    key = "gw-4f8Kq2Zx9LmTb7Rw1Vn6"
    simulator = simulate()
    with gateway(simulator.url, "/teams/a/llm/v1", key) as url:
        project = make_project(url)
        target = project.folder / "target.py"
        target.write_text(target.read_text().replace('api_key="sk-test-0123456789", ', ""))  # the environment's
        found = project.document("doctor", "--server", url, "--model", "openai/sim-student", OPENAI_API_KEY=key)
        assert [one["status"] for one in found] == ["ok"] * 3
        flags = [*project.flags, "--max-metric-calls", "20"]
        mine = ["--reflection-param", "api_key=$OPENAI_API_KEY"]
        refused = project.rollout("optimize", "run", *flags, *mine, OPENAI_API_KEY="gw-another-Kq2Zx9LmTb7Rw1Vn")
        assert refused.returncode == 3
        assert "refused the key" in refused.stderr
        done = project.document("optimize", "run", *flags, *mine, OPENAI_API_KEY=key)
        assert done["status"] == "completed"
    kept = b"".join(file.read_bytes() for file in project.folder.rglob("*") if file.is_file())
    assert key.encode() not in kept
    assert project.document("optimize", "reproduce", "latest")["identical"]


def test_a_server_without_a_list_of_models_is_asked_by_the_models_name(make_project: Make, simulate: Simulate) -> None:
    key = "gw-4f8Kq2Zx9LmTb7Rw1Vn6"
    project = make_project("")
    with gateway(simulate().url, "/v1", key, "--no-list") as url:
        asked = ["doctor", "--server", url]
        nameless = project.document(*asked, OPENAI_API_KEY=key)
        named = project.document(*asked, "--model", "openai/sim-student", OPENAI_API_KEY=key)
        refused = project.document(
            *asked, "--model", "openai/sim-student", code=1, OPENAI_API_KEY="gw-another-Kq2Zx9Lm"
        )
    assert [one["status"] for one in nameless] == ["warn"]
    assert "name one with --model to have it asked" in nameless[0]["detail"]
    assert [one["status"] for one in named] == ["warn", "ok", "ok"]
    assert [one["status"] for one in refused] == ["warn", "fail"]
    assert "refused the key" in refused[1]["detail"]
    assert "read from OPENAI_API_KEY, which is set" in refused[1]["detail"]
