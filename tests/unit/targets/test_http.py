"""Targets behind a URL, over a real server on loopback."""

import json
import socket
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from rollout_local.domain.dataset import Task
from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import Candidate, Target, TargetKind
from rollout_local.errors import InputError
from rollout_local.recordings import RecordMode, open_recording, scope
from rollout_local.runs.provider import failure_in, failure_on_the_wire
from rollout_local.targets.http import TargetFailed, TargetUnavailable, as_described, describe, headers_of

SUPPORT = {"id": "support", "kind": "prompt", "baseline": "Answer the customer.", "description": "Answers customers."}
ROUTER = {"id": "router", "kind": "router_prompt", "baseline": "Pick a team."}
TASK = Task(name="t1", instruction="Größe?", input={"n": 1.0}, metadata={"a": []}, expected_output="no", split="val")
TEXT = Candidate(text="Be kind.")


class Server(ThreadingHTTPServer):
    """Answers with what `replies` gives for an op: JSON, bytes, `(status, …)`, or a function of the question."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/rollout"
        self.replies = {"describe": {"targets": [SUPPORT]}, "run": {"output": "fine"}}
        self.asked = []
        self.headers_seen = []
        self.answer_headers = {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(question)
        self.server.headers_seen.append(self.headers)
        reply = self.server.replies[question["op"]]
        reply = reply(question) if callable(reply) else reply
        status, body = reply if isinstance(reply, tuple) else (200, reply)
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **self.server.answer_headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def target(server):
    (found,) = describe(server.url)
    yield found
    found.close()


def error(retryable, message="no such order"):
    return {"error": {"type": "ValueError", "message": message, "retryable": retryable}}


def refusal(server, reply, **settings):
    server.replies["describe"] = reply
    with pytest.raises(InputError) as caught:
        describe(server.url, **settings)
    assert server.url in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# what a target says of itself


def test_a_url_describes_its_targets_in_their_order(server):
    server.replies["describe"] = {"protocol": "rollout-target/1", "targets": [SUPPORT, ROUTER]}
    support, router = describe(server.url)
    assert server.asked == [{"protocol": "rollout-target/1", "op": "describe"}]
    assert isinstance(support, Target)
    assert (support.id, support.kind, support.baseline.text) == ("support", TargetKind.PROMPT, "Answer the customer.")
    assert (router.kind, router.description) == (TargetKind.ROUTER_PROMPT, "")


def test_the_source_is_what_was_said_and_not_where(server, target):
    assert json.loads(target.source) == {"protocol": "rollout-target/1", **SUPPORT}
    (same,) = describe(server.url.replace("127.0.0.1", "localhost"))
    assert same.source_hash == target.source_hash
    server.replies["describe"] = {"targets": [{**SUPPORT, "description": "Answers customers. v2"}]}
    (other,) = describe(server.url)
    assert other.source_hash != target.source_hash


def test_a_target_is_known_again_from_its_source_without_asking_anybody(server, target):
    again = as_described("http://127.0.0.1:9/rollout", target.source)
    assert (again.id, again.baseline, again.source_hash) == (target.id, target.baseline, target.source_hash)
    assert len(server.asked) == 1


def test_a_description_that_changed_under_way_is_refused(server, target):
    target.describe_again()
    server.replies["describe"] = {"targets": [{**SUPPORT, "baseline": "Answer nobody."}]}
    with pytest.raises(InputError, match="no longer says of itself what it said before"):
        target.describe_again()


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (b"<html>", "1:1: not valid JSON: Expecting value; correct it"),
        ([SUPPORT], "the answer: input should be a valid dictionary"),
        ({}, "targets: field required"),
        ({"targets": []}, "at least 1 item"),
        ({"protocol": "rollout-target/2", "targets": [SUPPORT]}, "protocol: input should be 'rollout-target/1'"),
        ({"targets": [{"id": "a", "kind": "prompt"}]}, "targets.0.baseline: field required"),
        ({"targets": [{**SUPPORT, "kind": "song"}]}, "targets.0.kind: input should be 'prompt'"),
        ({"targets": [{**SUPPORT, "baseline": " \n"}]}, "targets.0.baseline: it is empty"),
        ({"targets": [{**SUPPORT, "id": " a"}]}, "targets.0.id: ' a' is no name"),
        ({"targets": [{**SUPPORT, "model": "x"}]}, "targets.0.model: extra inputs are not permitted"),
        ({"targets": [SUPPORT, ROUTER, SUPPORT]}, "two targets with the id 'support'"),
        ((200, error(False, "unknown protocol")), "ValueError: unknown protocol; see whether it speaks"),
        ((404, b"not\n here"), "it answers HTTP 404: not here; see whether it speaks rollout-target/1 at this path"),
        ((500, b""), "HTTP 500: an empty body"),
        ((401, b""), "refuses (HTTP 401); give its token with --target-bearer-env"),
    ],
)
def test_a_description_is_read_strictly(server, reply, says):
    assert says in refusal(server, reply)


def test_a_redirect_is_named_and_not_followed(server):
    server.answer_headers["Location"] = "https://example.org/rollout"
    assert "redirect to https://example.org/rollout; give that as --target-url" in refusal(server, (307, b""))


def test_a_server_that_does_not_answer_is_an_input_error(server):
    release = threading.Event()
    says = refusal(server, lambda _: release.wait(5) and b"", timeout=0.05)
    release.set()
    assert "did not answer in time" in says
    with pytest.raises(InputError, match=r"cannot be asked .*; start the target's server, or correct --target-url"):
        describe(f"http://127.0.0.1:{closed_port()}/")


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:port/", "is no URL"),
        ("ftp://127.0.0.1/", "is no http or https URL"),
        ("127.0.0.1:3000", "is no http or https URL"),
        ("https://me:pass-word@agents.test/", "holds a password"),
        ("http://agents.test/rollout", "unencrypted to agents.test; use https"),
    ],
)
def test_a_url_that_cannot_serve_is_refused_before_anything_is_sent(url, says):
    with pytest.raises(InputError, match=says) as caught:
        describe(url, {"Authorization": "Bearer x"})
    assert "pass-word" not in str(caught.value)


# one execution


def test_a_run_sends_the_task_without_its_answer_and_reads_the_result(server, target):
    server.replies["run"] = {
        "output": {"a": "é"},
        "trace_id": "x",
        "latency_ms": 7,
        "cost_usd": 0.1,
        "metadata": {"k": 1},
    }
    result = target.run(TASK, TEXT)
    assert (result.output, result.trace_id, result.latency_ms, result.metadata) == ({"a": "é"}, "x", 7.0, {"k": 1})
    asked = server.asked[-1]
    assert len(asked.pop("trace_id")) == 32
    assert asked == {
        "protocol": "rollout-target/1",
        "op": "run",
        "target": "support",
        "task": {"name": "t1", "instruction": "Größe?", "input": {"n": 1.0}, "metadata": {"a": []}, "split": "val"},
        "candidate": {"text": "Be kind."},
    }


def test_the_same_question_has_the_same_trace_id_and_another_one_another(server, target):
    for candidate in (TEXT, TEXT, Candidate(text="Be brief.")):
        target.run(TASK, candidate)
    one, same, other = [asked["trace_id"] for asked in server.asked[1:]]
    assert one == same != other


def test_many_threads_run_one_target(server, target):
    server.replies["run"] = lambda asked: {"protocol": "rollout-target/1", "output": asked["task"]["name"]}
    names = [f"t{n}" for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda name: target.run(Task(name=name), TEXT).output, names)) == names


def test_half_a_surrogate_pair_in_an_output_or_a_prompt_is_no_failure(server, target):
    server.replies["run"] = rb'{"output": "cut \ud83d"}'
    assert target.run(TASK, Candidate(text="odd \ud83d")).output == "cut \ufffd"


def outcome(target, tmp_path):
    """What ends an execution: the exception, and what `runs/provider.py` reads from wire and exception."""
    exchanges = []
    with open_recording(tmp_path / "r.yaml", sink=exchanges.append), scope("trial"), pytest.raises(Exception) as caught:
        target.run(TASK, TEXT)
    return caught.value, failure_on_the_wire(exchanges) or failure_in(caught.value)


def test_what_the_target_calls_its_own_failure_is_no_provider_trouble(server, target, tmp_path):
    server.replies["run"] = error(retryable=False)
    raised, trouble = outcome(target, tmp_path)
    assert isinstance(raised, TargetFailed)
    assert (str(raised), trouble) == ("ValueError: no such order", None)


@pytest.mark.parametrize("status", [400, 422])
def test_its_own_failure_may_have_a_status_of_the_request(server, target, status):
    server.replies["run"] = (status, error(retryable=False))
    with pytest.raises(TargetFailed, match="ValueError: no such order"):
        target.run(TASK, TEXT)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error(retryable=True), "overload"),
        ((503, error(retryable=True)), "overload"),
        ((503, error(retryable=False)), "overload"),
        ((429, b"slow down"), "rate_limit"),
        ((504, b""), "timeout"),
        ((401, error(retryable=False)), "auth"),
        ((302, b""), "overload"),
        (b"<html>maintenance</html>", "overload"),
        (b'{"output": NaN}', "overload"),
        (b"[" * 100_000, "overload"),
        ([1], "overload"),
        ({"error": "a text"}, "overload"),
        ({"output": "x", "error": None}, "overload"),
        ({"protocol": "rollout-target/2", "output": "x"}, "overload"),
    ],
)
def test_trouble_on_the_way_is_told_as_such_and_never_scored(server, target, tmp_path, reply, kind):
    server.replies["run"] = reply
    raised, trouble = outcome(target, tmp_path)
    assert isinstance(raised, TargetUnavailable)
    assert trouble.kind == kind


def test_an_answer_that_cannot_be_decompressed_is_trouble(server, target, tmp_path):
    server.answer_headers["Content-Encoding"] = "gzip"
    raised, trouble = outcome(target, tmp_path)
    assert "cannot be decompressed" in str(raised)
    assert trouble.kind == "overload"


def test_a_timeout_and_a_lost_connection_are_trouble_too(server, tmp_path):
    release = threading.Event()
    server.replies["run"] = lambda _: release.wait(5) and {"output": "late"}
    (slow,) = describe(server.url, timeout=0.05)
    raised, trouble = outcome(slow, tmp_path)
    release.set()
    assert isinstance(raised, httpx.TimeoutException)
    assert trouble.kind == "timeout"
    gone = as_described(f"http://127.0.0.1:{closed_port()}/", slow.source)
    raised, trouble = outcome(gone, tmp_path)
    assert isinstance(raised, httpx.ConnectError)
    assert trouble.kind == "connection"


def test_json_that_is_no_result_is_the_targets_own_fault_as_for_a_function(server, target, tmp_path):
    server.replies["run"] = {"result": "x"}
    raised, trouble = outcome(target, tmp_path)
    assert isinstance(raised, InputError)
    assert "no AgentResult: output: Field required" in str(raised)
    assert trouble is None


# headers


def test_headers_and_bearer_reach_the_server_and_no_recording(server, tmp_path):
    environ = {"AGENT_TOKEN": "tok-4f9a8b7c6d5e", "TEAM_KEY": "key-1a2b3c4d5e6f"}
    headers = headers_of(["X-Team: blue", "X-Api-Key:$TEAM_KEY "], "AGENT_TOKEN", environ)
    (target,) = describe(server.url, headers)
    path = tmp_path / "r.yaml"
    with open_recording(path), scope("trial"):
        target.run(TASK, TEXT)
    for seen in server.headers_seen:
        assert seen["authorization"] == "Bearer tok-4f9a8b7c6d5e"
        assert (seen["x-team"], seen["x-api-key"]) == ("blue", "key-1a2b3c4d5e6f")
    assert not any(secret in path.read_text() for secret in environ.values())
    assert not any(secret in target.source for secret in environ.values())


@pytest.mark.parametrize(
    ("given", "bearer", "says"),
    [
        (["X-Team"], None, 'takes "Name: value"'),
        (["X-Team: a\r\nX-Other: b"], None, 'takes "Name: value"'),
        (["Content-Type: text/plain"], None, "is set by the client itself"),
        (["Authorization: Bearer abc"], None, "stored with the run; write --target-bearer-env VARIABLE"),
        (["X-Api-Key: abc"], None, r'stored with the run; write "X-Api-Key: \$VARIABLE"'),
        (["X-Api-Key: $NOT_THERE"], None, "reads the environment variable NOT_THERE, which is not set"),
        ([], "NOT_THERE", "--target-bearer-env reads the environment variable NOT_THERE, which is not set"),
        ([], "ODD", "whose value no HTTP header can hold"),
    ],
)
def test_a_header_that_cannot_be_sent_or_would_be_stored_is_refused(given, bearer, says):
    with pytest.raises(InputError, match=says) as caught:
        headers_of(given, bearer, {"ODD": "a\nb"})
    assert "abc" not in str(caught.value)


def test_a_replay_needs_no_token():
    assert headers_of([], "NOT_THERE", {}, required=False) == {"Authorization": "Bearer "}


# whole runs

wired = pytest.mark.skipif("target_headers" not in RunConfig.model_fields, reason="--target-url is not wired yet")


def flags(project, url):
    kept = project.flags[2:-4]  # neither --module nor the task model: the server's own business
    return [*kept, "--target-url", url, "--max-metric-calls", "6", "--max-tasks", "2", "--timeout", "20"]


def helpful(asked):
    kind = "30 days, tracking number, reset link" if "30 days" in asked["candidate"]["text"] else "hello"
    return {"output": kind, "metadata": {"trace": asked["trace_id"]}}


@wired
def test_a_whole_run_over_http_is_recorded_and_replays_without_the_server(server, simulate, make_project):
    server.replies["run"] = helpful
    project = make_project(simulate().url, train=2, val=2, holdout=2)
    command = [*flags(project, server.url), "--target-bearer-env", "AGENT_TOKEN", "--target-header", "X-Team: blue"]
    live = project.document("optimize", "run", *command, "--log-dir", "log", AGENT_TOKEN="tok-4f9a8b7c6d5e")
    assert live["status"] == "completed"
    assert {seen["authorization"] for seen in server.headers_seen} == {"Bearer tok-4f9a8b7c6d5e"}
    files = [path for path in project.folder.rglob("*") if path.is_file()]
    assert not any(b"tok-4f9a8b7c6d5e" in path.read_bytes() for path in files)
    count = len(server.asked)
    again = project.document("optimize", "reproduce", live["run_id"])
    assert again["identical"] is True
    replayed = project.document(
        "optimize", "run", *command, "--replay", "log/recording.yaml", "--db", "other.db", "--log-dir", "log2"
    )
    assert replayed["status"] == "completed"
    digests = [
        project.document("optimize", "digest", "latest", "--db", name)["digest"] for name in ("rollout.db", "other.db")
    ]
    assert digests[0] == digests[1]
    assert len(server.asked) == count


@wired
@pytest.mark.parametrize("status", [200, 400])
def test_a_failure_of_the_targets_own_is_scored_0_with_its_words(server, simulate, make_project, status):
    server.replies["run"] = (status, error(retryable=False))
    project = make_project(simulate().url, train=2, val=2, holdout=2)
    project.rollout("optimize", "run", *flags(project, server.url))
    with sqlite3.connect(project.folder / "rollout.db") as db:
        found = set(db.execute("SELECT outcome, score, feedback FROM trials"))
    db.close()
    assert found == {("scored", 0.0, "the target raised TargetFailed: ValueError: no such order")}


@wired
def test_trouble_on_the_way_is_tried_again_and_leaves_no_trace_in_the_scores(server, simulate, make_project):
    seen = set()

    def shaky(asked):
        first = asked["trace_id"] not in seen
        seen.add(asked["trace_id"])
        return ((409, error(retryable=True)) if len(seen) % 2 else error(retryable=True)) if first else helpful(asked)

    server.replies["run"] = shaky
    project = make_project(simulate().url, train=2, val=2, holdout=2)
    live = project.document("optimize", "run", *flags(project, server.url))
    assert live["status"] == "completed"
    with sqlite3.connect(project.folder / "rollout.db") as db:
        found = dict(db.execute("SELECT outcome, count(*) FROM trials GROUP BY 1"))
    db.close()
    assert set(found) == {"scored"}


@wired
@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--module", "target"], "--target-url is in place of --module; leave one of them out"),
        (["--target", "sales"], "describes no target 'sales' (it describes: support, router); check --target"),
        ([], "describes support, router; name one with --target"),
        (["--capability", "a@1.0.0"], "--capability is a target of its own"),
    ],
)
def test_the_target_behind_a_url_must_be_one_and_only(server, simulate, make_project, more, says):
    server.replies["describe"] = {"targets": [SUPPORT, ROUTER]}
    project = make_project(simulate().url, train=2, val=2, holdout=2)
    done = project.rollout("optimize", "create", *flags(project, server.url), *more)
    assert done.returncode == 2
    assert says in done.stderr


@wired
def test_an_offline_run_asks_no_other_host(simulate, make_project):
    project = make_project(simulate().url, train=2, val=2, holdout=2)
    done = project.rollout("optimize", "create", *flags(project, "https://agents.test/x"), "--offline")
    assert done.returncode == 2
    assert "--offline forbids --target-url https://agents.test/x; give --allow-host agents.test too" in done.stderr


# replays


def test_a_replay_gives_the_same_results_without_a_server(server, target, tmp_path):
    path = tmp_path / "r.yaml"
    with open_recording(path), scope("target/describe"):
        target.describe_again()
        live = target.run(TASK, TEXT)
    count = len(server.asked)
    with open_recording(path, RecordMode.NONE, strict=True), scope("target/describe"):
        (again,) = describe("http://127.0.0.1:9/rollout", {"Authorization": "Bearer "})
        assert again.run(TASK, TEXT) == live
    assert len(server.asked) == count
