"""`make versions`: the short journey of a user with the package versions that people have, each in a venv of its own.

One row is one environment: the lowest versions that our ranges allow, the newest stable ones on every Python that the
classifiers name, the alphas of Datasette 1.0, openai 2 beside openai 3. Every row does the same on the same input, so
every row must give the same digest. `make versions ROWS="lowest alpha"` runs some of them.
"""

from __future__ import annotations

import argparse
import http.cookiejar
import importlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = ("LICENSE", "README.md", "pyproject.toml", "rollout_local")
SHOWN = ("openai", "litellm", "dspy", "datasette", "click", "httpx", "pydantic", "vcrpy")
PATIENCE = 600
STREAM = """\
import json, sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
import openai
from rollout_local.recordings import open_recording

class Provider(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for text in ("hel", "lo"):
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
            told = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            self.wfile.write(b"data: " + json.dumps(told).encode() + b"\\n\\n")
        self.wfile.write(b"data: [DONE]\\n\\n")
    def log_message(self, *given):
        pass

def ask():
    with openai.OpenAI(base_url=url, api_key="sk-none", max_retries=0) as client:
        asked = [{"role": "user", "content": "hi"}]
        pieces = client.chat.completions.create(model="m", messages=asked, stream=True)
        return "".join(piece.choices[0].delta.content or "" for piece in pieces)

server = HTTPServer(("127.0.0.1", 0), Provider)
url = f"http://127.0.0.1:{server.server_port}/v1"
threading.Thread(target=server.serve_forever, daemon=True).start()
with open_recording("stream.yaml"):
    assert ask() == "hello"
server.shutdown()
server.server_close()
with open_recording("stream.yaml", "none", strict=True) as recording:
    assert ask() == "hello"
    assert recording.blocked == []
"""


class Red(Exception):
    """A step that did not do what it must; the text says what it said."""


@dataclass(frozen=True)
class Row:
    """One environment: which Python, and what pip is asked for beside the project."""

    name: str
    python: str
    wanted: tuple[str, ...] = ()
    lowest: bool = False


ROWS = (
    Row("lowest", "3.11", lowest=True),
    Row("newest-3.11", "3.11"),
    Row("newest-3.12", "3.12"),
    Row("newest-3.13", "3.13", ("openai>=3",)),
    Row("openai-2", "3.13", ("openai<3",)),
    Row("datasette-1.0", "3.13", ("datasette>=1.0a41",)),
)


@dataclass
class Result:
    """What a row came to: its steps in order, the versions it had, the digest of its live run."""

    row: Row
    steps: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    reason: str = ""
    """Why the row was not run; such a row is not red."""

    @property
    def is_green(self) -> bool:
        return bool(self.reason) or all(said == "ok" for said in self.steps.values())


def lower_bounds() -> list[str]:
    """The lowest version of each requirement, as constraints."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return [re.sub(r"^([\w.-]+)>=([\w.]+).*$", r"\1==\2", requirement) for requirement in declared]


def interpreter(version: str) -> str | None:
    """A Python of this version: on the path, or where pyenv keeps its own."""
    places = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    for found in (sys.executable, shutil.which(f"python{version}"), *map(str, places)):
        if found and _run([found, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], check=False) == version:
            return found
    return None


def _run(command: Sequence[str | Path], *, cwd: Path | None = None, check: bool = True) -> str:
    """What a command prints; it finds the commands of its own folder first, as in an activated environment."""
    path = f"{Path(command[0]).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False,
        env={**os.environ, "PATH": path},
    )  # fmt: skip
    if check and done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).strip().splitlines() if "is ignored" not in line]
        raise Red(f"exit {done.returncode}: {' / '.join(lines[-3:])}")
    return done.stdout.strip() if done.returncode == 0 else ""


def wheel(folder: Path) -> Path:
    """The project as a wheel, built from a copy so that the working tree stays as it is."""
    source = folder / "source"
    source.mkdir()
    for name in PROJECT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    _run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, source])
    return next(folder.glob("*.whl"))


class Environment:
    """A fresh venv with the project in it, and a folder for the journey."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self.bin = folder / "venv" / "bin"
        _run([python, "-m", "venv", folder / "venv"])
        shutil.copytree(ROOT / "experiments", folder / "experiments")
        shutil.copytree(ROOT / "recordings", folder / "recordings")

    def install(self, project: Path, row: Row) -> None:
        constraints = self.folder / "constraints.txt"
        constraints.write_text("\n".join(lower_bounds() if row.lowest else ()) + "\n")
        pip = [self.bin / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        _run([*pip, "-c", constraints, project, *row.wanted])
        _run([self.bin / "python", "-m", "pip", "check"])

    def versions(self) -> dict[str, str]:
        asked = f"{{name: metadata.version(name) for name in {SHOWN!r}}}"
        code = f"import json; from importlib import metadata; print(json.dumps({asked}))"
        told: dict[str, str] = json.loads(_run([self.bin / "python", "-c", code]))
        return told

    def rollout(self, *arguments: str, cwd: Path | None = None) -> str:
        return _run([self.bin / "rollout", *arguments], cwd=cwd or self.folder)

    @contextmanager
    def serving(self, *arguments: str, cwd: Path, until: str) -> Iterator[str]:
        """Run a command that serves; gives what `until` found in what it printed."""
        command = [str(self.bin / "rollout"), *arguments]
        process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if found := re.search(until, said):
                    yield found[0]
                    return
            raise Red(f"{arguments[0]} ended: {said.strip()[-300:]}")
        finally:
            process.terminate()
            process.communicate(timeout=60)


class Journey:
    """The steps, in order; each raises `Red` unless it did what it must."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.project = environment.folder / "project"
        self.digest = ""

    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        return [
            ("help", lambda: self._says("Usage", "--help")),
            ("doctor", lambda: self._says("", "doctor")),
            ("reproduce", lambda: self._says("", "experiments", "reproduce", "experiments/facility-triage", "--quiet")),
            ("live", self.live),
            ("replay", lambda: self._says("", "optimize", "reproduce", "latest", cwd=self.project)),
            ("pages", self.pages),
            ("stream", self.stream),
        ]

    def _says(self, text: str, *arguments: str, cwd: Path | None = None) -> None:
        said = self.environment.rollout(*arguments, cwd=cwd)
        if text not in said:
            raise Red(f"{text!r} is not in {said[:200]!r}")

    def live(self) -> None:
        """The printed command of `rollout init`, against the simulator."""
        printed = self.environment.rollout("init", str(self.project)).strip().splitlines()[-1]
        with self.environment.serving(
            "simulate", "serve", cwd=self.environment.folder, until=r"http://\S+?:\d+"
        ) as url:
            command = shlex.split(printed.replace("http://127.0.0.1:8765", url))[1:]
            told = json.loads(self.environment.rollout(*command, "--json", cwd=self.project))
        if told["status"] != "completed":
            raise Red(f"the run is {told['status']}")
        self.digest = told["digest"]

    def pages(self) -> None:
        """The first page, a signed-in page with its form, and one POST of it."""
        link = r"http://\S+/-/rollout/sign-in\?key=\S+"
        with self.environment.serving("ui", "--port", "0", cwd=self.project, until=link) as found:
            site = found.partition("/-/rollout/")[0]
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
            first = _page(opener, f"{site}/-/rollout/")
            run = re.search(r"/-/rollout/[^\"'/]+/runs/opt_\w+", first)
            if run is None:
                raise Red("the first page lists no run")
            _page(opener, found)
            signed_in = _page(opener, site + run[0])
            token = re.search(r'name="csrftoken" value="([^"]+)"', signed_in)
            if token is None or f"{run[0]}/actions" not in signed_in:
                raise Red("the signed-in page has no form")
            asked = urllib.parse.urlencode({"action": "retry", "csrftoken": token[1]}).encode()
            request = urllib.request.Request(f"{site}{run[0]}/actions", asked, {"Origin": site})
            if "Retry was asked for by root" not in _page(opener, request):
                raise Red("the page after the POST does not say what was asked for")

    def stream(self) -> None:
        """A stream through the openai of this environment, recorded and replayed."""
        _run([self.environment.bin / "python", "-W", "ignore", "-c", STREAM], cwd=self.environment.folder)


def _page(opener: urllib.request.OpenerDirector, address: str | urllib.request.Request) -> str:
    try:
        with opener.open(address, timeout=60) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.HTTPError as error:
        where = address if isinstance(address, str) else address.full_url
        raise Red(f"{error.code} at {urllib.parse.urlsplit(where).path}") from None


def run_row(row: Row, project: Path, folder: Path) -> Result:
    """Make the environment and go through the journey; a red step does not keep the next ones from being tried."""
    result = Result(row)
    python = interpreter(row.python)
    if python is None:
        result.reason = f"there is no Python {row.python} here"
        return result
    folder.mkdir()
    environment = Environment(folder, python)
    try:
        environment.install(project, row)
    except Red as red:
        result.steps["install"] = str(red)
        return result
    result.versions = environment.versions()
    journey = Journey(environment)
    for name, step in journey.steps():
        try:
            step()
            result.steps[name] = "ok"
        except (Red, subprocess.TimeoutExpired, ValueError) as red:
            result.steps[name] = str(red) or repr(red)
    result.digest = journey.digest
    return result


def hosted_sdk() -> bool:
    """Whether the suite over the real hosted SDK is green, where it exists."""
    if importlib.util.find_spec("tests.hosted_sdk") is None:
        return True
    main = importlib.import_module("tests.hosted_sdk").main
    return not main()


def table(results: Sequence[Result]) -> str:
    """The results as Markdown."""
    lines = ["| environment | Python | versions | result | digest |", "| --- | --- | --- | --- | --- |"]
    for result in results:
        red = "; ".join(f"{name}: {said}" for name, said in result.steps.items() if said != "ok")
        said = (f"not run: {result.reason}" if result.reason else red) or "ok: " + ", ".join(result.steps)
        versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
        lines.append(f"| {result.row.name} | {result.row.python} | {versions} | {said} | {result.digest[7:15]} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows one after another and print the table. 1 when one is red, or two digests differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(row.name for row in ROWS))
    wanted = parser.parse_args(arguments).rows
    if unknown := set(wanted) - {row.name for row in ROWS}:
        parser.error(f"there is no row {min(unknown)!r}; rows: {', '.join(row.name for row in ROWS)}")
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="rollout-versions-") as made:
        folder = Path(made)
        project = wheel(folder)
        for row in ROWS:
            if wanted and row.name not in wanted:
                continue
            began = time.monotonic()
            results.append(run_row(row, project, folder / row.name))
            shutil.rmtree(folder / row.name, ignore_errors=True)
            print(f"{row.name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            print(table(results[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    print(table(results))
    digests = {result.digest for result in results if result.digest}
    if len(digests) > 1:
        print("the live runs of these environments do not have one digest")
    green = all(result.is_green for result in results) and len(digests) <= 1
    return 0 if green and (wanted or hosted_sdk()) else 1


if __name__ == "__main__":
    sys.exit(main())
