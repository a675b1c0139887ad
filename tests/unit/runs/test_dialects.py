"""Every provider's dialect × every dress of an error × who asked: no score from any, and a replay says the same."""

from __future__ import annotations

import contextlib
import json
import random
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollout_local.clock import new_id, now
from rollout_local.dialects import read_call, refusal_in
from rollout_local.domain.dataset import Task
from rollout_local.domain.identity import content_hash
from rollout_local.domain.run import CandidateStatus, Phase, TrialKey
from rollout_local.domain.target import TargetKind
from rollout_local.domain.verdict import VerifierSpec
from rollout_local.errors import Paused
from rollout_local.providers.failures import Patience, failure_of
from rollout_local.recordings import RecordMode, open_recording
from rollout_local.runs.evaluation import Ask, Evaluator
from rollout_local.runs.execution import Executor, Wire
from rollout_local.runs.reflection import Reflector
from rollout_local.stop import StopFlag
from rollout_local.store.journal import Journal
from rollout_local.store.schema import Store
from rollout_local.targets.function import FunctionTarget
from rollout_local.verifiers.grade import parse_spec
from tests.unit.providers.test_cost import exchange
from tests.unit.runs.test_evaluation import CANDIDATE, given_run

TWICE = Patience(tries=2, first_wait=0.001, longest_wait=0.01, outage=0)
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
CLIENT = httpx.Client(verify=False, trust_env=False)
SSE, LINES, JSON = "text/event-stream", "application/x-ndjson", "application/json"


@dataclass(frozen=True)
class Answer:
    """What a server answers: a body (JSON, or text as it is), a type, a status."""

    body: Any
    type: str = JSON
    status: int = 200

    @property
    def data(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()

    @property
    def read(self) -> Any:
        """The body as a recording hands it on."""
        return self.body.decode("utf-8", "replace") if isinstance(self.body, bytes) else self.body


def stream(*events: Any, name: str = "", type: str = SSE) -> Answer:
    if type == LINES:
        return Answer("".join(json.dumps(event) + "\n" for event in events), LINES)
    named = f"event: {name}\n" if name else ""
    return Answer("".join(f"{named}data: {json.dumps(event)}\n\n" for event in events), SSE)


def choice(reason: str, content: str | None = None) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": reason, "message": message}]}  # fmt: skip


def frames(*messages: tuple[str, Any]) -> Answer:
    """AWS's event stream: `(event or exception, payload)`."""
    return Answer(b"".join(_frame(name, payload) for name, payload in messages), "application/vnd.amazon.eventstream")


def _frame(name: str, payload: Any) -> bytes:
    kind = "exception" if name.endswith("Exception") else "event"
    headers = b"".join(
        struct.pack("!B", len(key)) + key.encode() + b"\x07" + struct.pack("!H", len(value)) + value.encode()
        for key, value in ((f":{kind}-type", name), (":content-type", JSON), (":message-type", kind))
    )
    body = json.dumps(payload).encode()
    head = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    whole = head + struct.pack("!I", zlib.crc32(head)) + headers + body
    return whole + struct.pack("!I", zlib.crc32(whole))


def said(text: str) -> tuple[str, Any]:
    return "contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}


BEGINS = ("messageStart", {"role": "assistant"})
BEDROCK = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
DELTA = {"id": "x", "choices": [{"index": 0, "delta": {"content": "ye"}}]}
CLAUDE = {"id": "msg", "type": "message", "role": "assistant", "model": "m", "content": [],
          "usage": {"input_tokens": 1, "output_tokens": 0}}  # fmt: skip
OPENAIS = {
    "an error": Answer({"error": {"message": "The server had an error", "type": "server_error", "code": None}}),
    "no choices": Answer({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []}),
    "finish reason error": Answer(choice("error")),
    "a filter": Answer(choice("content_filter")),
    "an error in mid-stream": stream(DELTA, {"error": {"message": "Overloaded", "code": 503}}),
    "an error in mid-stream that is no JSON": Answer(
        f"data: {json.dumps(DELTA)}\n\nevent: error\ndata: upstream connect error\n\n", SSE
    ),
    "a stream without an end": stream(DELTA, DELTA),
    "null": Answer("null"),
    "a choice without a message": Answer(
        {"id": "x", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "finish_reason": "stop"}]}
    ),
    "Cloudflare's": Answer(
        {"success": False, "errors": [{"code": 3040, "message": "Capacity temporarily exceeded"}], "result": None}
    ),
    "MiniMax's": Answer({"id": "x", "choices": None, "base_resp": {"status_code": 1002, "status_msg": "rate limit"}}),
    "a status": Answer({"error": {"message": "Too many", "type": "requests"}}, status=429),
    "no JSON": Answer("<html>Bad gateway</html>", "text/html"),
    "nothing": Answer(""),
}


@dataclass(frozen=True)
class Dialect:
    """How a provider is asked, and how it fails. `model` is litellm's name; None where its client is not there."""

    path: str
    request: Mapping[str, Any]
    fails: Mapping[str, Answer]
    model: str | None = None
    base: str = ""


DIALECTS = {
    "OpenAI": Dialect("/v1/chat/completions", CHAT, OPENAIS, "openai/m", "/v1"),
    "OpenAI's responses": Dialect("/v1/responses", {"model": "m", "input": "hi"}, {
        "an error": Answer({"id": "r", "object": "response", "status": "failed", "output": [],
                            "error": {"code": "server_error", "message": "x"}}),
        "no output": Answer({"id": "r", "object": "response", "status": "completed", "error": None, "output": []}),
        "a filter": Answer({"id": "r", "object": "response", "status": "incomplete", "output": [],
                            "incomplete_details": {"reason": "content_filter"}}),
        "a response that failed": stream({"type": "response.created", "response": {"status": "in_progress"}},
                                         {"type": "response.failed", "response": {"error": {
                                             "code": "rate_limit_exceeded", "message": "x"}}}),
        "an error in mid-stream": stream({"type": "response.output_text.delta", "delta": "ye"},
                                         {"type": "error", "code": "server_error", "message": "x"}),
        "a stream without an end": stream({"type": "response.created", "response": {"status": "in_progress"}},
                                          {"type": "response.output_text.delta", "delta": "ye"}),
    }),
    "Anthropic": Dialect("/v1/messages", {**CHAT, "max_tokens": 9}, {
        "an error": Answer({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        "no content": Answer({**CLAUDE, "stop_reason": "end_turn"}),
        "a refusal": Answer({**CLAUDE, "stop_reason": "refusal"}),
        "an error in mid-stream": stream({"type": "error", "error": {"type": "overloaded_error", "message": "x"}},
                                         name="error"),
        "a stream without an end": stream(
            {"type": "message_start", "message": CLAUDE},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ye"}}),
        "a refusal in a stream": stream(
            {"type": "message_start", "message": CLAUDE},
            {"type": "message_delta", "delta": {"stop_reason": "refusal"}}, {"type": "message_stop"}),
        "a status": Answer({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
                           status=529),
    }, "anthropic/m"),
    "Gemini": Dialect("/v1beta/models/m:generateContent", {"contents": [{"parts": [{"text": "hi"}]}]}, {
        "an error": Answer({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}),
        "no candidates": Answer({"usageMetadata": {"promptTokenCount": 3}}),
        "a blocked prompt": Answer({"promptFeedback": {"blockReason": "SAFETY"}}),
        "a blocked answer": Answer({"candidates": [{"finishReason": "SAFETY", "index": 0}]}),
        "an empty answer": Answer({"candidates": [{"finishReason": "OTHER", "index": 0}]}),
        "an error in mid-stream": stream({"candidates": [{"content": {"parts": [{"text": "ye"}]}}]},
                                         {"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}),
        "a stream without an end": stream({"candidates": [{"content": {"parts": [{"text": "ye"}]}}]}),
        "an error in a list": Answer([{"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED"}}]),
    }, "gemini/m"),
    "Bedrock": Dialect("/model/m/converse", BEDROCK, {
        "a message": Answer({"message": "Too many requests, please wait before trying again."}),
        "an error of a type": Answer({"__type": "ThrottlingException", "message": "Rate exceeded"}),
        "an internal failure": Answer({"Output": {"__type": "com.amazon.coral.service#InternalFailure"},
                                       "Version": "1.0"}),
        "null": Answer("null"),
        "no output": Answer({"usage": {"inputTokens": 3}, "stopReason": "end_turn"}),
        "a guardrail": Answer({"output": {"message": {"role": "assistant", "content": []}},
                               "stopReason": "guardrail_intervened"}),
        "a filter": Answer({"output": {"message": {"role": "assistant", "content": []}},
                            "stopReason": "content_filtered"}),
        "a status": Answer({"message": "Rate exceeded"}, status=429),
    }, "bedrock/converse/m"),
    "Bedrock's stream": Dialect("/model/m/converse-stream", BEDROCK, {
        "an exception": frames(("throttlingException", {"message": "Too many requests"})),
        "an exception in mid-stream": frames(BEGINS, said("ye"), ("modelStreamErrorException", {"message": "x"})),
        "a filter": frames(BEGINS, ("messageStop", {"stopReason": "content_filtered"})),
        "no end": frames(BEGINS, said("ye")),
        "a guardrail": frames(("messageStop", {"stopReason": "guardrail_intervened"})),
        "a status": Answer({"message": "Rate exceeded"}, status=429),
    }),
    "OpenRouter": Dialect("/api/v1/chat/completions", CHAT, {
        "an error": Answer({"error": {"code": 502, "message": "Provider returned error"}}),
        "an error in a choice": Answer({**choice("error", ""), "choices": [
            {"error": {"code": 502, "message": "x"}, "finish_reason": "error", "index": 0,
             "message": {"role": "assistant", "content": ""}}]}),
        "an error after some words": Answer(choice("error", "The answer is")),
    }, "openrouter/m", "/api/v1"),
    "vLLM": Dialect("/v1/chat/completions", CHAT, {
        "an error": Answer({"object": "error", "message": "no", "type": "InternalServerError", "code": 500}),
        "an error in mid-stream": stream(DELTA, {"object": "error", "message": "EngineDeadError", "code": 500}),
        "an error of the newer kind": Answer({"error": {"message": "no", "type": "InternalServerError", "code": 500}}),
        "an abort": Answer(choice("abort", "")),
    }, "hosted_vllm/m", "/v1"),
    "llama.cpp": Dialect("/v1/chat/completions", CHAT, {
        "an error": Answer({"error": {"code": 500, "message": "failed to decode", "type": "server_error"}}),
        "an error in mid-stream": Answer(
            f'data: {json.dumps(DELTA)}\n\nerror: {{"code": 500, "message": "x", "type": "server_error"}}\n\n', SSE),
        "still loading": Answer({"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
                                status=503),
    }, "openai/m", "/v1"),
    "llama.cpp's own": Dialect("/completion", {"prompt": "hi"}, {
        "an error": Answer({"error": {"code": 500, "message": "failed to decode", "type": "server_error"}}),
    }),
    "Ollama": Dialect("/api/chat", CHAT, {
        "an error": Answer({"error": "model runner has unexpectedly stopped"}),
        "an error in mid-stream": stream({"model": "m", "message": {"role": "assistant", "content": "ye"}},
                                         {"error": "model runner has stopped"}, type=LINES),
        "a stream without an end": stream(
            {"model": "m", "message": {"role": "assistant", "content": "ye"}, "done": False}, type=LINES),
        "no message": Answer({"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": True}),
        "a status": Answer({"error": "model not found"}, status=404),
    }, "ollama_chat/m"),
    "Ollama's generate": Dialect("/api/generate", {"model": "m", "prompt": "hi"}, {
        "an error": Answer({"error": "model runner has unexpectedly stopped"}),
        "no response": Answer({"model": "m", "done": True}),
    }, "ollama/m"),
    "Cohere": Dialect("/v2/chat", CHAT, {
        "a message": Answer({"message": "please wait and try again"}),
        "an error": Answer({"id": "x", "finish_reason": "ERROR", "message": {"role": "assistant", "content": []}}),
        "a filter": Answer({"finish_reason": "ERROR_TOXIC", "message": {"role": "assistant", "content": []}}),
        "a stream without an end": stream(
            {"type": "message-start", "delta": {"message": {"role": "assistant", "content": []}}},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "ye"}}}}),
    }),
}  # fmt: skip
OWN = ("context_length", "content_filter")
"""What the candidate itself brought about: its own failure in these words, and never an answer."""


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A server on loopback; `server.answer` is what it says to everything."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answer: Answer = http.answer
            self.send_response(answer.status)
            for name, value in (("Content-Type", answer.type), ("Content-Length", str(len(answer.data)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.data)

    http: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.url = f"http://127.0.0.1:{http.server_address[1]}"
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    yield http
    http.shutdown()
    http.server_close()


@dataclass
class Asking:
    """What a run does with one target or verifier: live first (attempt 1), then from the recording (attempt 2)."""

    folder: Path
    server: Any
    journals: dict[int, Journal]

    def trial(self, shape: str, answer: Answer, function: Callable[..., Any], spec: VerifierSpec) -> tuple[Any, Any]:
        """What became of one trial, live and replayed: `(outcome, score, kind of error)`."""
        self.server.answer = answer
        return self._trial(1, shape, function, spec), self._trial(2, shape, function, spec)

    def _trial(self, attempt: int, shape: str, function: Callable[..., Any], spec: VerifierSpec) -> tuple[Any, ...]:
        target = FunctionTarget(function, id="t", kind=TargetKind.PROMPT, description="", baseline=CANDIDATE)
        journal, wire = self.journals[attempt], Wire()
        key = TrialKey(attempt=attempt, candidate=CANDIDATE.content_hash, task=shape, split="train", occurrence=0)
        wanted = Ask(key, CANDIDATE, Task(name=shape, instruction="?"), Phase.BASELINE, must_score=False)
        with self._recording(attempt, shape, wire) as recording:
            evaluator = Evaluator(
                executor=Executor(target, recording, wire), specs=[spec], journal=journal, stop=StopFlag(),
                on_trial=lambda trial: None, make_id=new_id, patience=TWICE, dice=random.Random(0),
                replaying=attempt == 2,
            )  # fmt: skip
            with contextlib.suppress(Paused):
                evaluator.evaluate(wanted)
        found = journal.find(key)
        assert found is not None
        return found["outcome"], found["score"], found["error_kind"]

    def reflection(self, shape: str, answer: Answer, produce: Callable[[], Any]) -> tuple[str, str]:
        """What became of one reflection, live and replayed: the words of the pause, or what was taken."""
        self.server.answer = answer
        return self._reflection(1, shape, produce), self._reflection(2, shape, produce)

    def _reflection(self, attempt: int, shape: str, produce: Callable[[], Any]) -> str:
        wire, dice = Wire(), random.Random(0)
        with self._recording(attempt, shape, wire):
            reflector = Reflector(
                self.journals[attempt], wire, StopFlag(), new_id, patience=TWICE, dice=dice, replaying=attempt == 2
            )
            try:
                return f"taken: {reflector.reflect(content_hash(shape), 0, produce, step=1)}"
            except Paused as paused:
                return str(paused)

    def _recording(self, attempt: int, shape: str, wire: Wire) -> Any:
        mode = RecordMode.NEW_EPISODES if attempt == 1 else RecordMode.NONE
        return open_recording(self.folder / f"{shape}.yaml", mode, sink=wire)


@pytest.fixture
def asking(store: Store, tmp_path: Path, server: Any) -> Asking:
    again = Journal(store, "opt_test", 2)
    journals = {1: given_run(store), 2: again}
    again.add_candidate(CANDIDATE, CandidateStatus.BASELINE, (), now(), number=0)
    return Asking(tmp_path, server, journals)


SAYS_YES = parse_spec({"checks": [{"type": "contains", "value": "yes"}]}, "says-yes", "test")


HOW = ("raised", "swallowed", "streamed")
"""Who asks cannot read the answer, takes it for a good one, or takes it so piece by piece."""
MOSTLY_SWALLOWED = ("swallowed", *(pytest.param(how, marks=pytest.mark.long) for how in ("raised", "streamed")))


def asks(asking: Asking, dialect: Dialect, how: str) -> Callable[..., Any]:
    """A function that asks once."""

    def ask(*_: Any) -> str:
        url, body = asking.server.url + dialect.path, dict(dialect.request)
        if how == "streamed":
            with CLIENT.stream("POST", url, json={**body, "stream": True} if "model" in body else body) as reply:
                for _piece in reply.iter_raw():
                    pass
        else:
            CLIENT.post(url, json=body)
        if how != "raised":
            return "yes, all is well"
        msg = "the client could not read the answer"
        raise TypeError(msg)

    return ask


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", DIALECTS)
def test_no_answer_of_the_target_is_taken_from_an_error(asking: Asking, name: str, how: str) -> None:
    dialect = DIALECTS[name]
    for shape, answer in dialect.fails.items():
        live, replayed = asking.trial(shape, answer, asks(asking, dialect, how), SAYS_YES)
        assert live == replayed, shape
        assert live[:2] == (("scored", 0.0) if live[2] in OWN else ("provider_error", None)), (shape, live)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", [name for name, dialect in DIALECTS.items() if dialect.model])
def test_no_grade_of_a_judge_is_taken_from_an_error(
    asking: Asking, name: str, streams: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialect = DIALECTS[name]
    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION_NAME"):
        monkeypatch.setenv(variable, "us-east-1")
    params = {"prompt": "Is it kind?", "model": dialect.model, "api_base": asking.server.url + dialect.base,
              "parameters": {"stream": streams}}  # fmt: skip
    spec = parse_spec({"checks": [{"type": "llm_judge", "params": params}]}, "judged", "test")
    for shape, answer in dialect.fails.items():
        live, replayed = asking.trial(shape, answer, lambda *_: "yes", spec)
        assert live == replayed, shape
        assert live[:2] in {("provider_error", None), ("verifier_error", None)}, (shape, live)


@pytest.mark.parametrize("how", MOSTLY_SWALLOWED)
@pytest.mark.parametrize("name", DIALECTS)
def test_nor_is_one_of_a_check_that_asks_a_model_itself(asking: Asking, name: str, how: str) -> None:
    _asked_by_the_check[:] = [asks(asking, DIALECTS[name], how)]
    spec = parse_spec({"checks": [{"type": "python", "function": f"{__name__}:own_check"}]}, "own", "test")
    for shape, answer in DIALECTS[name].fails.items():
        live, replayed = asking.trial(shape, answer, lambda *_: "yes", spec)
        assert live == replayed, shape
        assert live[:2] in {("provider_error", None), ("verifier_error", None)}, (shape, live)


def test_a_judge_that_recovers_is_asked_again_and_the_target_is_not(asking: Asking) -> None:
    ask, executed, asked = asks(asking, DIALECTS["OpenAI"], "swallowed"), [], []

    def twice(*_: Any) -> str:
        asked.append(asking.server.answer)
        said: str = ask()
        asking.server.answer = Answer(choice("stop", "1"))
        return said

    _asked_by_the_check[:] = [twice]
    spec = parse_spec({"checks": [{"type": "python", "function": f"{__name__}:own_check"}]}, "own", "test")
    live, replayed = asking.trial("x", OPENAIS["a status"], lambda *_: executed.append(1) or "yes", spec)
    assert live == replayed == ("scored", 1.0, None)
    assert (len(executed), len(asked)) == (2, 3), "one execution live and one in the replay"


_asked_by_the_check: list[Callable[..., Any]] = []


def own_check(task: Task, output: str) -> float:
    """A check of a user's, that asks a model and may pass over what it says."""
    return float(_asked_by_the_check[0]() == "yes, all is well")


@pytest.mark.parametrize("how", MOSTLY_SWALLOWED)
@pytest.mark.parametrize("name", DIALECTS)
def test_no_text_of_the_reflection_model_is_taken_from_an_error(asking: Asking, name: str, how: str) -> None:
    dialect = DIALECTS[name]
    for shape, answer in dialect.fails.items():
        live, replayed = asking.reflection(shape, answer, asks(asking, dialect, how))
        assert live == replayed, shape
        if not live.startswith("reflection: "):  # a filter's silence is read as a text, and is none
            failure = failure_of(exchange(request_body=dict(dialect.request), response_body=answer.read,
                                          url="http://h" + dialect.path))  # fmt: skip
            assert failure is not None
            assert (failure.kind, how != "raised") == ("content_filter", True), (shape, live)


WHOLE = [
    (CHAT, "/v1/chat/completions", stream(DELTA, {"id": "x", "choices": [{"delta": {}, "finish_reason": "stop"}]})),
    (CHAT, "/v1/chat/completions", Answer(f"data: {json.dumps(DELTA)}\n\ndata: [DONE]\n\n", SSE)),
    (CHAT, "/v1/messages", stream(
        {"type": "message_start", "message": CLAUDE},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ye"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, {"type": "message_stop"})),
    ({"model": "m", "input": "hi"}, "/v1/responses", stream(
        {"type": "response.output_text.delta", "delta": "ye"},
        {"type": "response.completed", "response": {"output": [{"content": [{"text": "ye"}]}]}})),
    ({"contents": []}, "/v1beta/models/m:streamGenerateContent", stream(
        {"candidates": [{"content": {"parts": [{"text": "ye"}]}, "finishReason": "STOP"}]})),
    (CHAT, "/api/chat", stream({"message": {"content": "ye"}, "done": False}, {"message": {"content": ""},
                                                                               "done": True}, type=LINES)),
    (CHAT, "/v2/chat", stream({"type": "content-delta", "delta": {"message": {"content": {"text": "ye"}}}},
                              {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}})),
    (BEDROCK, "/model/m/converse-stream", frames(BEGINS, said("ye"), ("messageStop", {"stopReason": "end_turn"}))),
]  # fmt: skip


@pytest.mark.parametrize(("request_body", "path", "answer"), WHOLE, ids=range(len(WHOLE)))
def test_a_stream_that_came_to_its_end_is_an_answer(request_body: Any, path: str, answer: Answer) -> None:
    asked = exchange(request_body=request_body, response_body=answer.read, url="http://h" + path)
    assert failure_of(asked) is None
    assert read_call(request_body, answer.read, "http://h" + path).output == "ye"


def test_a_stream_that_its_reader_left_is_no_failure() -> None:
    left = exchange(request_body=CHAT, response_body=stream(DELTA).read, url="http://h/v1/chat/completions", cut=True)
    assert failure_of(left) is None


def test_what_an_agent_of_the_users_answers_in_words_of_its_own_is_an_answer() -> None:
    for answer in ({"reply": "yes"}, {"message": "yes"}, "yes"):
        asked = exchange(request_body={"messages": [], "input": "?"}, response_body=answer, url="http://h/agent")
        assert failure_of(asked) is None


def test_what_an_aws_stream_said_and_took_is_read() -> None:
    ended, took = (
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": {"inputTokens": 7, "outputTokens": 2}}),
    )
    answer = frames(BEGINS, said("ye"), said("s {"), ended, took)
    url = "http://h/model/anthropic.claude/converse-stream"
    call = read_call(BEDROCK, answer.read, url)
    assert (call.model, call.output, call.tokens_in, call.tokens_out) == ("anthropic.claude", "yes {", 7, 2)
    assert refusal_in(BEDROCK, answer.read, url) is None
    assert refusal_in(BEDROCK, answer.read.replace('{"role"', "{role"), url) is None, "what is cut off is passed over"
