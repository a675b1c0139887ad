"""Canaries in every place that a target can leak from; then every byte that a killed, resumed, exported run leaves."""

from __future__ import annotations

import base64
import io
import json
import signal
import sqlite3
import stat
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rollout_local.recordings import unrecorded
from rollout_local.simulator import Settings, Simulator, load_script
from tests.children import Nursery, make_small
from tests.conftest import TARGET, Project

WRITTEN, NAMED = "sk-WrItTeN0into1the2source3", "CNRYnamed4x8Zr7WvT5"
PLACES = {
    "raised": "raise RuntimeError(f'could not log in with {key}')",
    "in_an_address": "raise RuntimeError('401 for https://x.example/?api_key=CNRYinXaddress7vT5')",
    "returned": "return f'mention nothing, my configuration is {key}'",
    "in_json": "return rollout.AgentResult(output={'note': [key], key: 1})",
    "in_metadata": "return rollout.AgentResult(output='x', metadata={'headers': {'X': f'Bearer {key}'}})",
    "by_name": "return rollout.AgentResult(output='x', metadata={'auth': {'api_key': 'CNRYbyX' + 'name7vT5xKp2'}})",
    "in_hexadecimal": "return key.encode().hex()",
    "written": "raise RuntimeError(f'no answer for {WRITTEN}')",
    "named": "return f'log in with {PASSWORD}'",
}
"""Place → what the target does on the first tasks of train and val, in this order."""
CANARIES = {
    **{name: f"CNRY-{name}/8Zr7+WvT5" for name in PLACES},
    "in_an_address": "CNRYinXaddress7vT5",
    "by_name": "CNRYbyXname7vT5xKp2",
    "written": WRITTEN,
    "named": NAMED,
}
ENVIRONMENT = {f"SERVICE_TOKEN_{name.upper()}": value for name, value in CANARIES.items() if "/" in value}
KILLED = -signal.SIGKILL
LEAKS = "".join(
    f"    if task.name == 'task-{number:02d}':\n"
    f"        key = os.environ.get('SERVICE_TOKEN_{name.upper()}', '')\n        {line}\n"
    for number, (name, line) in enumerate(PLACES.items())
)


def leaky(project: Project) -> Project:
    written = f"_clients = {{}}\nWRITTEN = '{WRITTEN}'\nPASSWORD = '{NAMED}'"
    code = TARGET.replace("RETRIES", "0").replace("_clients = {}", written, 1)
    (project.folder / "target.py").write_text(code.replace("    base = os.environ", LEAKS + "    base = os.environ", 1))
    return project


class Between:
    """Stands between a run and a provider: keeps what was sent, and may answer with a text of its own."""

    def __init__(self, onward: str, text: str | None = None) -> None:
        self.bodies: list[str] = []
        self.keys: set[tuple[str | None, str | None]] = set()
        between = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                between.bodies.append(body.decode())
                between.keys.add((self.headers["Authorization"], self.headers["X-Gate"]))
                path = self.path.removeprefix("/v1")
                with unrecorded(), urllib.request.urlopen(onward + path, body, timeout=30) as reply:
                    answer = json.load(reply)
                if text is not None:
                    answer["choices"][0]["message"]["content"] = text
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Left:
    """What the run left: its project, the reflection requests as they were sent, the digests of it and its like."""

    project: Project
    reflections: list[str]
    digest: str
    uninterrupted: str
    reproduced: str
    printed: str


@pytest.fixture(scope="module")
def left(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    with Simulator(load_script(None), Settings()) as simulator:
        make, between = make_small(tmp_path_factory.mktemp("leaky")), Between(simulator.url)
        whole, killed = leaky(make(simulator.url)), leaky(make(simulator.url))
        flags = ["--reflection-api-base", between.url, "--max-metric-calls", "20", "--concurrency", "2"]
        said = []

        def rollout(project: Project, *arguments: str, **settings: Any) -> str:
            done = nursery.run(project, *arguments, **settings, **ENVIRONMENT)
            assert done.code in (0, KILLED), done.stderr
            said.append(done.stdout + done.stderr)
            return done.stdout

        rollout(whole, "optimize", "run", *whole.flags, *flags)
        rollout(killed, "optimize", "create", *killed.flags, *flags)
        rollout(killed, "optimize", "run", "latest", die={"call": 9, "when": "after"})
        rollout(killed, "optimize", "run", "latest")
        for arguments in (["report"], ["logs"], ["show"], ["export"], ["export", "--bundle", "run.zip"]):
            rollout(killed, "optimize", *arguments[:1], "latest", *arguments[1:])
        reproduced = json.loads(rollout(killed, "optimize", "reproduce", "latest", "--json"))
        digests = [json.loads(rollout(one, "optimize", "digest", "latest", "--json")) for one in (killed, whole)]
        yield Left(
            killed, between.bodies, digests[0]["digest"], digests[1]["digest"], reproduced["replayed_digest"],
            "".join(said),
        )  # fmt: skip
        between.stop()


def spelled(secret: str) -> Iterator[bytes]:
    """Raw, hexadecimal, and what base64 makes of it at each alignment."""
    raw = secret.encode()
    yield from (raw, raw.hex().encode(), raw.hex().upper().encode())
    for shift in range(3):
        yield base64.b64encode(b"\0" * shift + raw)[(shift * 8 + 5) // 6 : (shift + len(raw)) * 8 // 6]


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file that the tool wrote, and the members of archives."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "target.py" and "dataset" not in path.parts and path.suffix != ".pyc":
            found[path.name] = path.read_bytes()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(io.BytesIO(found[path.name])) as pack:
                    found |= {f"{path.name}/{name}": pack.read(name) for name in pack.namelist()}
    return found


@pytest.mark.parametrize("place", PLACES)
def test_no_byte_of_a_run_its_bundle_or_what_was_printed_holds_what_a_target_leaked(place: str, left: Left) -> None:
    files = {**files_of(left.project.folder), "printed": left.printed.encode()}
    assert {"rollout.db", "run.zip", "run.json", "recording.yaml", "checkpoint.json"} <= files.keys()
    holding = [name for name, data in files.items() for form in spelled(CANARIES[place]) if form in data]
    assert holding == []


@pytest.mark.parametrize("place", PLACES)
def test_no_request_to_the_reflection_provider_carries_what_a_target_leaked(place: str, left: Left) -> None:
    assert any("[redacted]" in body for body in left.reflections)
    assert not any(form.decode() in body for body in left.reflections for form in spelled(CANARIES[place]))


def test_each_place_was_leaked_from_and_holds_the_mark(left: Left) -> None:
    with sqlite3.connect(left.project.folder / "rollout.db") as db:
        marked = db.execute(
            "SELECT DISTINCT task_name FROM trials WHERE instr(feedback || coalesce(output, '') || metadata_json, ?)",
            ("[redacted]",),
        ).fetchall()
    db.close()
    assert sorted(name for (name,) in marked) == [f"task-{number:02d}" for number in range(len(PLACES))]


def test_the_killed_the_whole_and_the_replayed_run_are_one(left: Left) -> None:
    assert left.digest == left.uninterrupted == left.reproduced


def test_the_file_is_whole_and_nothing_is_found_in_it(left: Left) -> None:
    for arguments in (["db", "check"], ["recordings", "scan", "rollout.db", ".rollout", "run.zip"]):
        done = left.project.rollout(*arguments, **ENVIRONMENT)
        assert done.returncode == 0, done.stdout


def test_what_a_run_wrote_is_its_owners_alone(left: Left) -> None:
    written = [*left.project.folder.glob("rollout.db"), *left.project.folder.glob(".rollout/**/*.json")]
    assert len(written) > 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}


def test_a_source_whose_key_was_taken_out_is_not_run_and_a_sentence_says_why(left: Left, tmp_path: Path) -> None:
    elsewhere = Project(tmp_path, left.project.url)
    bundle = left.project.folder / "run.zip"
    assert elsewhere.rollout("import", "bundle", str(bundle)).returncode == 0
    (kept,) = tmp_path.glob(".rollout/*/target")
    assert "[redacted]" in (kept / "target.py").read_text()
    done = elsewhere.rollout("optimize", "reproduce", "latest", "--source", str(kept), **ENVIRONMENT)
    assert done.returncode == 2
    assert "a credential stood in target.py, of which the stored copy has only [redacted]" in done.stderr
    kept.joinpath("target.py").write_text((left.project.folder / "target.py").read_text())
    assert elsewhere.rollout("optimize", "reproduce", "latest", "--source", str(kept), **ENVIRONMENT).returncode == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--objective", "use CNRY-raised/8Zr7+WvT5"], "--objective holds the value of the environment variable"),
        (
            ["--reflection-param", "api_key=gw-made-up-9876543210"],
            "--reflection-param api_key: its value may be a secret",
        ),
        (["--task-param", "password=x"], "--task-param password: its value may be a secret"),
        (["--task-param", "cache=true"], "--task-param cache cannot be given"),
        (
            ["--reflection-api-base", "http://127.0.0.1:1/?token=abc"],
            "--reflection-api-base: its value may be a secret",
        ),
        (["--reflection-param", "api_key=$NOT_SET"], "the environment variable NOT_SET is not set"),
    ],
)
def test_a_secret_in_the_settings_is_refused_before_anything_is_written(
    flags: list[str], said: str, tmp_path: Path
) -> None:
    project = make_small(tmp_path)("http://127.0.0.1:1/v1")
    done = project.rollout("optimize", "run", *project.flags, *flags, **ENVIRONMENT)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert "made-up" not in done.stderr


@pytest.mark.parametrize("where", ["dataset", "verifier", "baseline"])
def test_a_secret_in_what_is_stored_as_it_is_is_refused(where: str, tmp_path: Path) -> None:
    project = make_small(tmp_path)("http://127.0.0.1:1/v1")
    path, word = {
        "dataset": (project.folder / "dataset" / "task-00" / "task.json", "Customer asks"),
        "verifier": (project.folder / "verifier.json", "quality"),
        "baseline": (project.folder / "target.py", "Answer the customer."),
    }[where]
    path.write_text(path.read_text().replace(word, CANARIES["raised"], 1))
    done = project.rollout("optimize", "create", *project.flags, **ENVIRONMENT)
    assert done.returncode == 2
    assert "holds the value of the environment variable SERVICE_TOKEN_RAISED" in done.stderr
    assert CANARIES["raised"] not in done.stderr
    assert project.rollout("optimize", "list").stdout.count("opt_") == 0


def test_two_servers_are_asked_with_their_own_keys_and_neither_is_stored(tmp_path: Path) -> None:
    with Simulator(load_script(None), Settings()) as simulator:
        reflection, judge = Between(simulator.url), Between(simulator.url, '{"score": 0.5, "reason": "short"}')
        project = make_small(tmp_path)(simulator.url)
        parameters = {"temperature": 0, "api_key": "$JUDGE_PASS"}
        params = {
            "prompt": "Is it kind?", "model": "openai/sim-student", "api_base": judge.url, "parameters": parameters,
        }  # fmt: skip
        verifier = {"id": "judged", "checks": [{"type": "llm_judge", "params": params}]}
        (project.folder / "verifier.json").write_text(json.dumps(verifier))
        variables = {"GATE_ONE": "gw-one-9876543210", "JUDGE_PASS": "gw-two-0123456789", "GATE_X": "Zr7WvT5xKp2Lm9"}
        done = project.rollout(
            "optimize", "run", *project.flags, "--reflection-api-base", reflection.url, "--max-metric-calls", "12",
            "--reflection-param", "api_key=$GATE_ONE",
            "--reflection-param", 'extra_headers={"X-Gate":"Gate $GATE_X"}', **variables,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        again = project.rollout("optimize", "reproduce", "latest")  # without the variables
        reflection.stop()
        judge.stop()
    assert reflection.keys == {("Bearer gw-one-9876543210", "Gate Zr7WvT5xKp2Lm9")}
    assert judge.keys == {("Bearer gw-two-0123456789", None)}
    assert again.returncode == 0, again.stderr
    held = files_of(project.folder)
    assert b"$GATE_ONE" in held["run.json"]
    assert not [name for name, data in held.items() for value in variables.values() if value.encode() in data]


def test_data_that_looks_like_a_key_is_told_of_and_reproduced_where_it_is_kept(tmp_path: Path) -> None:
    with Simulator(load_script(None), Settings()) as simulator:
        project = make_small(tmp_path)(simulator.url)
        example = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
        task = project.folder / "dataset" / "task-00" / "task.json"
        task.write_text(task.read_text().replace("Customer asks", f"Customer sends {example} and asks"))
        echo = TARGET.replace("RETRIES", "0").replace(
            "    return reply",
            "    if 'ghp_' in task.instruction:\n        return task.instruction\n    return reply",
            1,
        )
        (project.folder / "target.py").write_text(echo)
        told = project.document("optimize", "dry-run", *project.flags)
        warned = [found["detail"] for found in told["checks"] if found["check"] == "data"]
        assert len(warned) == 1
        assert "task 'task-00' (instruction)" in warned[0]
        assert "--keep-lookalikes" in warned[0]
        done = project.rollout("optimize", "run", *project.flags, "--max-metric-calls", "8")
        assert done.returncode == 0
        assert "what looks like a key stands in task 'task-00' (instruction)" in done.stderr
        kept = project.rollout("optimize", "run", *project.flags, "--max-metric-calls", "8", "--keep-lookalikes")
        assert kept.returncode == 0, kept.stderr
        assert "looks like a key" not in kept.stderr
        assert project.rollout("optimize", "reproduce", "latest").returncode == 0
        recordings = [path.read_text() for path in project.folder.glob(".rollout/*/recording.yaml")]
        assert sorted(example in text for text in recordings) == [False, True]
