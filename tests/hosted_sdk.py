"""`python -m tests.hosted_sdk`: the published tracing SDK in one environment with this package, both at work.

A fresh environment of Python 3.12 gets this project and `mv37-rollout`, whose module has the name that the experiments
import. In it a shipped experiment has to be reproduced; and a target that traces with the SDK, to a server on loopback,
and optimizes with `@mv37.rollout.optimize`, has to run live. The SDK's events carry new ids each time, and a thread of
its own sends them: its replay sends none, comes to its end and gives the same digest, be the SDK off in it, as a replay
has it by itself, or kept on.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SDK = "mv37-rollout==0.1.0"
PYTHON = "python3.12"
LONGEST = 600
"""Seconds after which a command counts as hanging."""
EXPERIMENT = ROOT / "experiments" / "facility-triage"
NAMES = """\
import sys
if sys.argv[1] == "first":
    import mv37.rollout
import rollout_local
import mv37.rollout as rollout
from mv37.rollout import init, optimize
assert rollout is not rollout_local and rollout.__name__ == "mv37.rollout", rollout
assert init.__module__ == "mv37.rollout._module" and init is vars(rollout)["init"], init
assert optimize is rollout_local.optimize and rollout.Task is rollout_local.Task
assert all(getattr(rollout, name) is vars(rollout)[name] for name in vars(rollout)["__all__"])
"""
HEADER = """\
import mv37.rollout

mv37.rollout.init(api_key="rk-test", base_url=os.environ["INGEST_URL"], agent_name="support")


"""
TRACED = """\
    with mv37.rollout.get_client().trace("support") as trace:
        trace.message(role="user", content=task.instruction)
    mv37.rollout.get_client().flush()
"""


class Ingest(ThreadingHTTPServer):
    """Takes batches of events as the hosted service does, and keeps them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Batch)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.events: list[dict[str, Any]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Batch(BaseHTTPRequestHandler):
    server: Ingest

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
        events = json.loads(body)["events"]
        self.server.events += events
        answer = json.dumps({"accepted": len(events), "rejected": 0, "retryable": False, "errors": []}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


def main() -> int:
    """Make the environment, try all of it, say what was tried; 0 where it holds or there is no such Python."""
    wanted = os.environ.get("PYTHON", PYTHON)
    python = shutil.which(wanted)
    if python is None:
        print(f"skipped: there is no {wanted} here, and {SDK} needs Python 3.12 or newer; name one with PYTHON=")
        return 0
    with tempfile.TemporaryDirectory(prefix="hosted-sdk-") as made:
        folder = Path(made)
        binaries = install(python, folder / "env")
        for order in ("first", "second"):
            say(binaries / "python", "-c", NAMES, order, cwd=folder)
        print("names: the SDK's own are the SDK's, the others ours, in both orders of import")
        say(binaries / "rollout", "experiments", "reproduce", EXPERIMENT, cwd=folder)
        print(f"experiment {EXPERIMENT.name}: identical")
        live(binaries, folder)
    return 0


def install(python: str, place: Path) -> Path:
    """An environment with this project and the SDK; returns its folder of commands."""
    subprocess.run([python, "-m", "venv", place], check=True)
    binaries = place / "bin"
    constraints = ROOT / "experiments" / "constraints.txt"
    pip = [binaries / "python", "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    subprocess.run([*pip, "-c", constraints, "-e", ROOT, SDK], check=True, stderr=subprocess.DEVNULL)
    return binaries


def live(binaries: Path, folder: Path) -> None:
    """A run against the simulator whose target traces, and its replay."""
    ingest = Ingest()
    command = [binaries / "rollout", "simulate", "serve", "--port", "0"]
    say(binaries / "rollout", "init", "demo", cwd=folder)
    demo = folder / "demo"
    trace_in(demo / "target.py")
    with subprocess.Popen(command, cwd=demo, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as simulator:
        try:
            assert simulator.stdout is not None
            url = next(word for line in simulator.stdout for word in line.split() if word.startswith("http://"))
            first = run(binaries, demo, ingest, url.rstrip(".,;"))
        finally:
            simulator.terminate()
    sent = len(ingest.events)
    recording = next(demo.rglob("recording.yaml"))
    replay = ["--recording", str(recording), "--record-mode", "none"]
    again = [run(binaries, demo, ingest, url.rstrip(".,;"), *replay)["digest"]]
    for given in ({}, {"ROLLOUT_DISABLED": "false"}):
        command = [binaries / "rollout", "optimize", "reproduce", first["run_id"], "--json"]
        again.append(json.loads(say(*command, cwd=demo, INGEST_URL=ingest.url, **given))["replayed_digest"])
    traces = sum(event["event_type"] == "trace.start" for event in ingest.events)
    if first["status"] != "completed" or traces != first["executed"]:
        sys.exit(f"the run is {first['status']}; of {first['executed']} executions {traces} were traced")
    if set(again) != {first["digest"]} or len(ingest.events) != sent:
        sys.exit(f"replayed to {again}, not {first['digest']}; {len(ingest.events) - sent} events were sent")
    print(
        f"live run: completed, its {traces} executions traced to the SDK's server, and {len(again)} replays identical"
    )


def trace_in(target: Path) -> None:
    """Let the starter's target trace each task with the SDK, and take `optimize` from its module."""
    before = target.read_text(encoding="utf-8")
    after = before.replace("import rollout_local as rollout", "import mv37.rollout as rollout")
    decorated, body = after.split("@rollout.optimize", 1)
    signature, rest = body.split('"""\n', 1)
    target.write_text(f'{decorated}{HEADER}@mv37.rollout.optimize{signature}"""\n{TRACED}{rest}', encoding="utf-8")


def run(binaries: Path, demo: Path, ingest: Ingest, url: str, *more: str, **variables: str) -> dict[str, Any]:
    """One small run, as its JSON document."""
    flags = [
        "--module", "target", "--dataset", "datasets/support", "--verifier", "verifier.json",
        "--splits-file", "splits.json", "--reflection-model", "openai/sim-reflection", "--reflection-api-base", url,
        "--task-model", "openai/sim-student", "--task-api-base", url, "--max-metric-calls", "40", "--json",
    ]  # fmt: skip
    said = say(binaries / "rollout", "optimize", "run", *flags, *more, cwd=demo, INGEST_URL=ingest.url, **variables)
    document: dict[str, Any] = json.loads(said)
    return document


def say(*command: str | Path, cwd: Path, **variables: str) -> str:
    """What a command prints; it has to succeed, and to come to its end."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=LONGEST
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command[:4]))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
