"""What recording costs, beside plain vcrpy, in one run: `python tests/bench/recordings.py [SIZE …]`.

CPU is this process's (`time.process_time`), client included; the server is a child process. Requests are 2.75 KB and
answers 1.25 KB. Plain vcrpy matches on its defaults and `body`, and is sampled: its cost per
request grows with the cassette, so a whole run at 10,000 would take hours.

`measure(sizes, threads)` returns one `Row` per measurement; `print_rows` shows them.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from rollout_local.errors import RecordingMiss
from rollout_local.recordings import RecordMode, open_recording, vcr_formats
from rollout_local.recordings.closest import parts_of
from rollout_local.recordings.exchange import Answer
from rollout_local.recordings.identity import Reader
from rollout_local.recordings.lines import Interaction
from rollout_local.redaction import Redactor

SIZES = (100, 1_000, 10_000, 20_000)
THREADS = (1, 8, 32)
_SAMPLE = 2_000
_SERVER = """
import http.server, socketserver, sys
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: %d\\r\\n\\r\\n"
BODY = sys.stdin.buffer.readline().strip()
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def log_message(self, *a): pass
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.wfile.write(HEAD % len(BODY) + BODY)
class S(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
server = S(("127.0.0.1", 0), H)
print(server.server_port, flush=True)
server.serve_forever()
"""
_OPEN = """
import json, resource, sys, time
from pathlib import Path
import httpx
from rollout_local.recordings import open_recording
path = Path(sys.argv[1])
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
before, wall, cpu = rss(), time.perf_counter(), time.process_time()
with open_recording(path, "none") as recording:
    out = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "memory": rss() - before}
print(json.dumps(out))
"""


@dataclass(frozen=True)
class Row:
    """One measurement. `ms` is CPU milliseconds per request, unless `what` says otherwise."""

    what: str
    interactions: int
    threads: int
    ms: float
    requests: int
    note: str = ""


def question(number: int) -> dict[str, Any]:
    """The n-th request's body: about 2.75 KB, most of it the same in all."""
    instruction = "You are a careful triage agent for a facility. Read the request, decide, answer in JSON. " * 27
    return {
        "model": "task-model",
        "messages": [
            {"role": "system", "content": instruction},
            {
                "role": "user",
                "content": f"Request {number}: the lift in building {number % 97} is stuck, case {number}.",
            },
        ],
        "temperature": 0.7,
        "max_tokens": 512,
    }


ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "urgent " * 150}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 600, "completion_tokens": 200, "total_tokens": 800},
    }
).encode()
_URL = "http://127.0.0.1:{}/v1/chat/completions"
_HEADERS = {"authorization": "Bearer sk-bench-000000000000000000000000"}


def measure(sizes: Sequence[int] = SIZES, threads: Sequence[int] = THREADS, *, plain: bool = True) -> list[Row]:
    """Measure opening, replaying and recording at every size and number of threads, ours and plain vcrpy's."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, _server() as port:
        url = _URL.format(port)
        rows += [_run("bare client", 0, count, url, range(_SAMPLE)) for count in threads]
        for size in sizes:
            path = Path(folder, f"{size}.yaml")
            write(path, size)
            rows += _ours(path, size, threads, url)
            if plain:
                rows += _plain(path, size, url)
    return rows


def write(path: Path, size: int) -> None:
    """Make a closed recording of `size` interactions."""
    reader = Reader(Redactor({}))
    answer = Answer(200, "OK", (("content-type", "application/json"),), ANSWER)

    def item(number: int) -> Interaction:
        body = json.dumps(question(number)).encode()
        asked = reader.read("POST", _URL.format(80), [("content-type", "application/json")], body)
        return Interaction(
            asked.key, "", 1, parts_of(asked.canonical), 0.0, 0.1, None, "POST", asked.url, asked.headers, body, answer
        )

    manifest = {"engine": "litellm", "versions": {}, "key": 1, "ignore": []}
    vcr_formats.write([item(number) for number in range(size)], manifest, path)


def _ours(path: Path, size: int, threads: Sequence[int], url: str) -> Iterator[Row]:
    told = json.loads(subprocess.run([sys.executable, "-c", _OPEN, str(path)], capture_output=True, check=True).stdout)
    times = told["memory"] / path.stat().st_size
    yield Row(
        "ours: open", size, 1, told["cpu"] * 1000, 1, f"memory {told['memory'] / 1e6:.1f} MB, {times:.2f} x the file"
    )
    for count in threads:
        yield _mean([_replay(path, size, count, url) for _ in range(max(1, _SAMPLE // size))])
        copy = path.with_suffix(f".{count}.copy")
        copy.write_bytes(path.read_bytes())
        with open_recording(copy):
            yield _run("ours: record", size, count, url, range(size, size + min(size, _SAMPLE)))
        copy.unlink()
    with open_recording(path, RecordMode.NONE):
        yield _miss(size, url)


def _replay(path: Path, size: int, threads: int, url: str) -> Row:
    with open_recording(path, RecordMode.NONE):
        return _run("ours: replay", size, threads, url, _sample(size))


def _mean(rows: list[Row]) -> Row:
    """One row of several rounds over a small recording, where a single one measures mostly its threads' start."""
    requests = sum(row.requests for row in rows)
    return replace(rows[0], ms=sum(row.ms * row.requests for row in rows) / requests, requests=requests)


def _miss(size: int, url: str) -> Row:
    """The first miss of a recording, which builds the index: a question that resembles all the recorded ones."""
    message = ""
    with httpx.Client(trust_env=False) as client:
        client.post(url, json=question(0), headers=_HEADERS)
        cpu = time.process_time()
        try:
            client.post(url, json=question(-1), headers=_HEADERS)
        except RecordingMiss as miss:
            message = str(miss)
        cpu = time.process_time() - cpu
    assert "Nearest" in message
    return Row("ours: first miss", size, 1, cpu * 1000, 1)


def _plain(path: Path, size: int, url: str) -> Iterator[Row]:
    import vcr

    port = url.split(":")[2].split("/", maxsplit=1)[0]
    copy = path.with_suffix(".plain.yaml")
    copy.write_text(path.read_text().replace("http://127.0.0.1:80/", f"http://127.0.0.1:{port}/"))
    few = max(3, min(60, 20_000 // size))
    maker = vcr.VCR(match_on=["method", "scheme", "host", "port", "path", "query", "body"])
    cpu = time.process_time()
    with maker.use_cassette(str(copy), record_mode="new_episodes", allow_playback_repeats=False):
        yield Row("plain vcrpy: open", size, 1, (time.process_time() - cpu) * 1000, 1)
        yield _run("plain vcrpy: replay", size, 1, url, list(_sample(size))[:few], note="sampled")
        yield _run("plain vcrpy: record", size, 1, url, range(size, size + few), note="sampled, without saving")
    copy.unlink()


def _sample(size: int) -> list[int]:
    numbers = list(range(size))
    random.Random(0).shuffle(numbers)
    return numbers[:_SAMPLE]


def _run(what: str, size: int, threads: int, url: str, numbers: Iterable[int], note: str = "") -> Row:
    bodies = [question(number) for number in numbers]
    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(trust_env=False, timeout=60)) for _ in range(threads)]
        for client, body in zip(clients, bodies, strict=False):  # connections and lazy imports are not what is measured
            client.headers.update(_HEADERS)
            client.post(url, json=body).raise_for_status()
        bodies = bodies[threads:]
        shares = [bodies[start::threads] for start in range(threads)]
        cpu, wall = time.process_time(), time.perf_counter()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(_send(url), clients, shares))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Row(
        what, size, threads, cpu / len(bodies) * 1000, len(bodies), note or f"{wall / len(bodies) * 1000:.2f} ms wall"
    )


def _send(url: str) -> Callable[[httpx.Client, list[dict[str, Any]]], None]:
    def send(client: httpx.Client, bodies: list[dict[str, Any]]) -> None:
        for body in bodies:
            client.post(url, json=body).raise_for_status()

    return send


@contextmanager
def _server() -> Iterator[int]:
    child = subprocess.Popen([sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(ANSWER + b"\n")
    child.stdin.flush()
    try:
        yield int(child.stdout.readline())
    finally:
        child.kill()
        child.communicate()


def print_rows(rows: Iterable[Row]) -> None:
    """A table for people."""
    for row in rows:
        print(
            f"{row.what:26} {row.interactions:>7} {row.threads:>3} thr {row.ms:>10.3f} ms  n={row.requests:<6}",
            row.note,
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print; `--json` for machines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sizes", nargs="*", type=int, default=list(SIZES))
    parser.add_argument("--threads", nargs="*", type=int, default=list(THREADS))
    parser.add_argument("--no-plain", action="store_true")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    logging.getLogger("rollout_local.recordings").setLevel(logging.ERROR)  # samples leave interactions unplayed
    rows = measure(args.sizes, args.threads, plain=not args.no_plain)
    if args.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        print_rows(rows)


if __name__ == "__main__":
    main()
