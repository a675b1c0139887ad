"""What servers say of themselves, in their own shapes; and the limits that a run takes from it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rollout_local.domain.dataset import Task
from rollout_local.domain.run import RunConfig
from rollout_local.domain.target import Candidate, TargetKind
from rollout_local.errors import InputError
from rollout_local.planning import model_server
from rollout_local.planning.model_server import ModelServer, fitted, require_room, server_at, told_of_fit
from rollout_local.targets.function import FunctionTarget

LLAMA_CPP = {
    "models": [{"name": "qwen", "model": "qwen"}], "object": "list",
    "data": [{"id": "qwen", "aliases": ["qwen"], "object": "model", "owned_by": "llamacpp",
              "meta": {"n_vocab": 151936, "n_ctx": 4096, "n_ctx_train": 32768, "n_params": 1777088000}}],
}  # fmt: skip
VLLM = {"object": "list", "data": [
    {"id": "meta/llama", "object": "model", "owned_by": "vllm", "max_model_len": 8192, "root": "meta/llama"},
    {"id": "lora", "object": "model", "owned_by": "vllm", "max_model_len": None, "parent": "meta/llama"},
]}  # fmt: skip
PLAIN = {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "me"}]}
SHAPES: dict[str, tuple[dict[str, Any], str, int | None]] = {
    "llama.cpp": ({"/v1/models": LLAMA_CPP}, "openai/qwen", 4096),
    "llama.cpp before it told": (
        {"/v1/models": PLAIN, "/props": {"default_generation_settings": {"n_ctx": 2048}, "total_slots": 1}}, "openai/m",
        2048),
    "vLLM": ({"/v1/models": VLLM}, "hosted_vllm/meta/llama", 8192),
    "vLLM, an adapter without a length": ({"/v1/models": VLLM}, "hosted_vllm/lora", None),
    "TGI": ({"/v1/models": PLAIN, "/info": {"model_id": "m", "max_input_tokens": 3000, "max_total_tokens": 4000}},
            "openai/m", 4000),
    "Ollama": (
        {"/v1/models": {"object": "list", "data": [{"id": "llama3:latest", "object": "model"}]},
         "/api/ps": {"models": [{"name": "llama3:latest", "model": "llama3:latest", "context_length": 4096}]}},
        "openai/llama3:latest", 4096),
    "LM Studio": (
        {"/v1/models": PLAIN, "/api/v0/models": {"data": [
            {"id": "m", "state": "loaded", "max_context_length": 32768, "loaded_context_length": 4096}]}},
        "openai/m", 4096),
    "OpenRouter": ({"/v1/models": {"data": [{"id": "x/y", "context_length": 131072}]}}, "openrouter/x/y", 131072),
    "one that says nothing": ({"/v1/models": PLAIN}, "openai/m", None),
    "one that says something odd": ({"/v1/models": ["m", 3, None]}, "openai/m", None),
}  # fmt: skip
Serve = Callable[[dict[str, Any]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(answers)` gives the base URL of a server that answers GETs by path; others are not found."""
    servers: list[ThreadingHTTPServer] = []

    def start(answers: dict[str, Any]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                answers.setdefault("keys", []).append(self.headers.get("Authorization"))
                body = json.dumps(answers.get(self.path)).encode()
                self.send_response(200 if self.path in answers else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}/v1"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("name", SHAPES)
def test_a_server_says_what_it_holds_in_its_own_words(serve: Serve, name: str) -> None:
    answers, model, context = SHAPES[name]
    found = server_at(serve(answers), model)
    assert (found.problem, found.context) == ("", context)


def test_a_server_is_not_asked_again_at_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, Any] = {"/v1/models": LLAMA_CPP}
    base = serve(answers)
    assert server_at(base, "openai/qwen").context == 4096
    answers.clear()
    assert server_at(base, "openai/qwen").context == 4096
    monkeypatch.setattr(model_server, "KEPT_S", 0.0)
    assert server_at(base, "openai/qwen").problem.startswith("HTTP 404")


@pytest.mark.parametrize(
    ("base", "said"),
    [("http://127.0.0.1:1/v1", "ConnectError"), ("http://127.0.0.1:x/v1", "InvalidURL")],
)
def test_a_server_that_is_not_there_is_a_problem_in_words(base: str, said: str) -> None:
    assert said in server_at(base, "openai/m").problem


def test_a_list_may_lack_the_model_or_name_it_in_another_way() -> None:
    listed = ModelServer("http://x", models=("llama3:latest", "org/model", "sim-student*"))
    known = ["openai/llama3", "openai/org/model", "org/model", "openai/sim-student-x"]
    assert all(listed.knows(name) for name in known)
    assert not listed.knows("openai/llama2")
    assert ModelServer("http://x").knows("openai/any")


def reflecting(base: str, **changes: Any) -> RunConfig:
    return RunConfig(reflection_model="openai/qwen", reflection_api_base=base, **changes)


def test_the_limit_of_reflections_fits_the_server_and_is_told(serve: Serve, tmp_path: Path) -> None:
    given = reflecting(serve({"/v1/models": LLAMA_CPP}))
    used = fitted(given, tmp_path)
    assert used.reflection_params == {"temperature": 1.0, "max_tokens": 2048}
    assert told_of_fit(given, used).startswith("max_tokens=2048 for reflections: half of what http://127.0.0.1")
    named = reflecting(given.reflection_api_base or "", reflection_params={"max_tokens": 600})
    assert fitted(named, tmp_path) is named
    assert fitted(reflecting("http://127.0.0.1:1/v1"), tmp_path).reflection_params["max_tokens"] == 32000
    large = {"/v1/models": {"data": [{"id": "qwen", "max_model_len": 131072}]}}
    assert told_of_fit(given, fitted(reflecting(serve(large)), tmp_path)) == ""
    forbidden = given.model_copy(update={"offline": True, "reflection_api_base": "http://models.invalid/v1"})
    assert fitted(forbidden, tmp_path) is forbidden


def test_a_server_is_sent_the_key_that_the_parameters_name_and_not_the_name_of_its_variable(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_KEY", "team-key-of-ours")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    answers: dict[str, Any] = {"/v1/models": LLAMA_CPP}
    given = reflecting(serve(answers), reflection_params={"api_key": "$TEAM_KEY", "max_tokens": 32000})
    used = fitted(given, tmp_path)
    assert answers["keys"] == ["Bearer team-key-of-ours"]
    assert used.reflection_params == {"api_key": "$TEAM_KEY", "max_tokens": 2048}, "what is stored names the variable"


def test_what_a_reflection_has_to_read_must_fit(serve: Serve) -> None:
    small = {"/v1/models": {"data": [{"id": "qwen", "max_model_len": 900}]}}
    config, text = reflecting(serve(small)), Candidate(text="Answer.")
    target = FunctionTarget(lambda *_: "", id="t", kind=TargetKind.PROMPT, description="", baseline=text)
    short, long = Task(name="a", instruction="Why?"), Task(name="b", instruction="word " * 800)
    require_room(config, target, [short, short])
    with pytest.raises(InputError, match=r"holds 900 tokens .* the longest reflection prompt has about 15\d\d:"):
        require_room(config, target, [short, long])
    require_room(config.model_copy(update={"record_mode": "none"}), target, [short, long])
