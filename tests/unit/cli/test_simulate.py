from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rollout_local.cli.main import cli
from rollout_local.errors import InputError

ROOT = Path(__file__).parents[3]
MODELS = ["sim-student*", "sim-reflection", "sim-reflection-plain", "sim-reflection-fenced", "sim-reflection-rubbish"]


@contextmanager
def serving(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "rollout_local", "simulate", "serve", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def ended(process: subprocess.Popen[str], by: signal.Signals) -> tuple[int, str, str]:
    """Exit code, what followed the first line on stdout, and stderr. (`communicate` loses what is buffered.)"""
    assert process.stdout is not None
    assert process.stderr is not None
    process.send_signal(by)
    rest, problems = process.stdout.read(), process.stderr.read()
    return process.wait(timeout=10), rest, problems


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped_and_ends_quietly(stop: signal.Signals) -> None:
    with serving("--json") as process:
        announced = json.loads(first_line(process))
        assert announced["models"] == MODELS
        assert [model["id"] for model in get(f"{announced['url']}/models")["data"]] == MODELS
        assert ended(process, stop) == (0, "", "")


def test_the_first_line_for_people_has_the_address_and_the_rest_how_to_use_it() -> None:
    with serving("--latency", "0", "--seed", "3", "--vary-sightings", "--host", "localhost") as process:
        url = first_line(process).removeprefix("Simulator at ").strip()
        assert get(f"{url.removesuffix('/v1')}/-/health") == {"ok": True}
        _, rest, _ = ended(process, signal.SIGINT)
    assert rest.splitlines() == [
        f"models: {', '.join(MODELS)} (scripted rules, not a language model)",
        "Use it with `rollout optimize run …` and",
        f"  --reflection-api-base {url} --task-api-base {url}",
        "  --reflection-model openai/sim-reflection --task-model openai/sim-student",
    ]


def test_a_script_of_your_own_is_served_and_only_its_roles_are_offered(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text('{"models": {"my-student-*": {"role": "student"}}}')
    with serving("--script", str(script)) as process:
        first_line(process)
        _, rest, _ = ended(process, signal.SIGTERM)
    assert rest.splitlines()[-1] == "  --task-model openai/my-student-"


def test_quiet_says_no_more_than_where_and_what() -> None:
    with serving("-q") as process:
        first_line(process)
        _, rest, _ = ended(process, signal.SIGINT)
    assert len(rest.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "this machine only"),
        (["--faults", "flu:0.1"], "'flu'"),
        (["--script", "nowhere.json"], "nowhere.json"),
    ],
)
def test_settings_that_cannot_be_served_are_refused(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(cli, ["simulate", "serve", *arguments])
    assert isinstance(result.exception, InputError)
    assert says in str(result.exception)
    assert result.stdout == ""


@pytest.mark.parametrize(("flag", "value"), [("--latency", "-1"), ("--port", "99999"), ("--port", "-1")])
def test_a_number_out_of_its_range_is_wrong_usage(flag: str, value: str) -> None:
    result = CliRunner().invoke(cli, ["simulate", "serve", flag, value])
    assert result.exit_code == 2
    assert f"{value} is not in the range" in result.output


def test_a_taken_port_is_one_line_and_exit_code_2() -> None:
    with serving("--json") as process:
        port = json.loads(first_line(process))["url"].split(":")[2].removesuffix("/v1")
        with serving("--port", port) as second:
            said, problems = second.communicate(timeout=10)
    assert (second.returncode, said) == (2, "")
    assert problems.startswith(f"rollout: port {port} on 127.0.0.1 cannot be used: ")
    assert problems.endswith("in use; choose another, or 0 for any free one\n")
    assert len(problems.splitlines()) == 1


def test_signals_are_as_before_once_it_has_ended() -> None:
    from rollout_local.cli.simulate import STOP, _until_stopped

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with _until_stopped() as wait:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) >= set(STOP)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        assert wait() == signal.SIGTERM
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
