"""The client of rollout-target/1, against a real server on loopback."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import Candidate, Target, TargetKind
from rollout_local.errors import InputError, ProviderError, TargetError
from rollout_local.recordings import RecordMode, open_recording, scope
from rollout_local.targets.http import Endpoint
from tests.endpoint import ROUTER, SUPPORT, error

TASK = Task(name="t1", instruction="Größe?", input={"n": 1.0}, metadata={"a": []}, expected_output="no", split="val")
TEXT = Candidate(text="Be kind.")


@pytest.fixture
def target(endpoint):
    endpoint.replies["run"] = {"output": "fine"}
    found = Endpoint(endpoint.url).target()
    yield found
    found.close()


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# what a target says of itself


def test_an_endpoint_describes_its_targets(endpoint):
    endpoint.replies["describe"] = {"protocol": "rollout-target/1", "targets": [SUPPORT, ROUTER]}
    support, router = (Endpoint(endpoint.url).target(name) for name in ("support", "router"))
    assert endpoint.asked[0] == {"protocol": "rollout-target/1", "op": "describe"}
    assert isinstance(support, Target)
    assert (support.id, support.kind, support.baseline.text) == ("support", TargetKind.PROMPT, "Answer the customer.")
    assert (router.kind, router.description) == (TargetKind.ROUTER_PROMPT, "")


@pytest.mark.parametrize(
    ("id", "says"),
    [
        ("sales", "describes no target 'sales' (it describes: support, router); check --target"),
        (None, "describes support, router; name one with --target"),
    ],
)
def test_which_target_is_meant_must_be_clear(endpoint, id, says):
    endpoint.replies["describe"] = {"targets": [SUPPORT, ROUTER]}
    with pytest.raises(InputError) as caught:
        Endpoint(endpoint.url).target(id)
    assert str(caught.value) == f"{endpoint.url} {says}"


def test_the_source_is_what_was_said_and_not_where(endpoint, target):
    assert json.loads(target.source) == {"protocol": "rollout-target/1", **SUPPORT}
    assert Endpoint(endpoint.url.replace("127.0.0.1", "localhost")).target().source_hash == target.source_hash
    endpoint.describe(description="Answers customers. v2")
    assert target.now().source_hash != target.source_hash


def test_a_target_is_known_again_from_its_source_without_asking_anybody(endpoint, target):
    again = Endpoint("http://127.0.0.1:9/rollout").as_described(target.source)
    assert (again.id, again.baseline, again.source_hash) == (target.id, target.baseline, target.source_hash)
    assert len(endpoint.asked) == 1


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
        ((200, error(retryable=False, message="unknown protocol")), "(ValueError: unknown protocol); see whether it"),
        ((404, b"not\n here"), "(HTTP 404: not here); see whether it speaks rollout-target/1 at this path"),
        ((500, b""), "HTTP 500: an empty body"),
        ((401, b""), "refuses (HTTP 401); give its token with --target-bearer-env"),
    ],
)
def test_a_description_is_read_strictly(endpoint, reply, says):
    endpoint.replies["describe"] = reply
    with pytest.raises(InputError) as caught:
        Endpoint(endpoint.url).target()
    assert says in str(caught.value)
    assert endpoint.url in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_redirect_is_named_and_not_followed(endpoint):
    endpoint.answer_headers["Location"] = "https://example.org/rollout"
    endpoint.replies["describe"] = (307, b"")
    with pytest.raises(InputError, match=r"redirect to https://example\.org/rollout; give that as --target-url"):
        Endpoint(endpoint.url).target()


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ((429, b""), "rate_limit"),
        ((503, b"starting"), "overload"),
        (error(retryable=True), "overload"),
        ((504, b""), "timeout"),
    ],
)
def test_an_endpoint_that_cannot_describe_at_present_is_no_wrong_input(endpoint, reply, kind):
    endpoint.replies["describe"] = reply
    with pytest.raises(ProviderError) as caught:
        Endpoint(endpoint.url).target()
    assert caught.value.kind == kind


# one execution


def test_a_run_sends_the_task_without_its_answer_and_reads_the_result(endpoint, target):
    result = {"output": {"a": "é"}, "trace_id": "x", "latency_ms": 7, "cost_usd": 0.1, "metadata": {"k": 1}}
    endpoint.replies["run"] = {"protocol": "rollout-target/1", "error": None, **result}
    given = target.run(TASK, TEXT)
    assert given.model_dump() == result
    asked = endpoint.asked[-1]
    assert len(asked.pop("trace_id")) == 32
    assert asked == {
        "protocol": "rollout-target/1",
        "op": "run",
        "target": "support",
        "task": {"name": "t1", "instruction": "Größe?", "input": {"n": 1.0}, "metadata": {"a": []}, "split": "val"},
        "candidate": {"text": "Be kind."},
    }


def test_the_same_question_has_the_same_trace_id_and_another_one_another(endpoint, target):
    for candidate in (TEXT, TEXT, Candidate(text="Be brief.")):
        target.run(TASK, candidate)
    one, same, other = [asked["trace_id"] for asked in endpoint.runs]
    assert one == same != other


def test_many_threads_run_one_target(endpoint, target):
    endpoint.replies["run"] = lambda asked: {"output": asked["task"]["name"]}
    names = [f"t{n}" for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda name: target.run(Task(name=name), TEXT).output, names)) == names


def test_half_a_surrogate_pair_in_an_output_or_a_prompt_is_no_failure(endpoint, target):
    endpoint.replies["run"] = rb'{"output": "cut \ud83d"}'
    assert target.run(TASK, Candidate(text="odd \ud83d")).output == "cut \ufffd"


@pytest.mark.parametrize("status", [200, 400, 422, 500])
def test_what_the_target_calls_its_own_failure_is_no_trouble_on_the_way(endpoint, target, status):
    said = error(retryable=False)
    said["error"]["trace"] = "line 7"
    endpoint.replies["run"] = (status, {**said, "trace_id": "x"})
    with pytest.raises(TargetError, match=r"^ValueError: no such order$"):
        target.run(TASK, TEXT)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error(retryable=True), "overload"),
        ((400, error(retryable=True)), "overload"),
        ((503, error(retryable=True)), "overload"),
        ((503, error(retryable=False)), "overload"),
        ((429, b"slow down"), "rate_limit"),
        ((429, error(retryable=False)), "rate_limit"),
        ((500, {"error": {"type": "server_error", "message": "a provider's own error"}}), "overload"),
        ((500, b"maximum context length"), "overload"),
        ((504, b""), "timeout"),
        ((401, error(retryable=False)), "auth"),
        ((404, b"not here"), "bad_request"),
        ((413, b""), "bad_request"),
        ((302, b""), "bad_request"),
        (b"<html>maintenance</html>", "malformed"),
        (b'{"output": NaN}', "malformed"),
        (b"[" * 100_000, "malformed"),
        ([1], "malformed"),
        ({"error": "a text"}, "malformed"),
        ({"error": {"type": "E", "message": "nothing of whether it is its own"}}, "malformed"),
        ({"protocol": "rollout-target/2", "output": "x"}, "malformed"),
    ],
)
def test_trouble_on_the_way_is_told_as_such_and_never_scored(endpoint, target, reply, kind):
    endpoint.replies["run"] = reply
    with pytest.raises(ProviderError) as caught:
        target.run(TASK, TEXT)
    assert (caught.value.kind, caught.value.who) == (kind, "the target's endpoint")


def test_an_answer_that_cannot_be_decompressed_is_trouble(endpoint, target):
    endpoint.answer_headers["Content-Encoding"] = "gzip"
    with pytest.raises(ProviderError, match="cannot be decompressed") as caught:
        target.run(TASK, TEXT)
    assert caught.value.kind == "malformed"


def test_a_timeout_and_a_lost_connection_are_trouble_too(endpoint, target):
    release = threading.Event()
    endpoint.replies["run"] = lambda _: release.wait(5) and {"output": "late"}
    slow = Endpoint(endpoint.url, timeout=0.05).as_described(target.source)
    with pytest.raises(ProviderError) as caught:
        slow.run(TASK, TEXT)
    release.set()
    slow.close()
    assert caught.value.kind == "timeout"
    gone = Endpoint(f"http://127.0.0.1:{closed_port()}/").as_described(target.source)
    with pytest.raises(ProviderError) as caught:
        gone.run(TASK, TEXT)
    assert caught.value.kind == "connection"


def test_json_that_is_no_result_is_the_targets_own_fault_as_for_a_function(endpoint, target):
    endpoint.replies["run"] = {"result": "x"}
    with pytest.raises(InputError, match="no AgentResult: output: field required"):
        target.run(TASK, TEXT)


def test_headers_go_along_and_what_the_answer_repeats_of_them_is_taken_out(endpoint):
    sent = {"Authorization": "Bearer tok-4f9a8b7c6d5e"}
    endpoint.replies["run"] = {"output": "you said tok-4f9a8b7c6d5e"}
    target = Endpoint(endpoint.url, sent, clean=lambda data: data.replace(b"tok-4f9a8b7c6d5e", b"***")).target()
    assert target.run(TASK, TEXT).output == "you said ***"
    target.close()
    assert [seen["authorization"] for seen in endpoint.headers_seen] == [sent["Authorization"]] * 2


def test_a_replay_gives_the_same_results_without_a_server(endpoint, target, tmp_path):
    path = tmp_path / "r.yaml"
    with open_recording(path), scope("one"):
        target.now()
        live = target.run(TASK, TEXT)
    endpoint.stop()
    with open_recording(path, RecordMode.NONE, strict=True), scope("one"):
        again = Endpoint("https://agents.test/rollout").target()
        assert again.run(TASK, TEXT) == live
