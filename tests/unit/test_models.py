"""The door to litellm: switches, keys, prices, and one completion over loopback."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rollout_local
from rollout_local import models
from rollout_local.models import (
    DUMMY_KEY,
    KEY_VARIABLES,
    SWITCHES,
    complete,
    keep_libraries_offline,
    key_of,
    key_variable,
    price,
    provider_of,
    set_dummy_keys,
)

ROOT = Path(rollout_local.__file__).parent.parent
MESSAGES = [{"role": "user", "content": "Hello there"}]


@pytest.fixture
def environment(monkeypatch):
    """An environment without keys and switches, restored afterwards."""
    for name in [*SWITCHES, *KEY_VARIABLES.values()]:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    return monkeypatch


def test_every_switch_is_set(environment):
    keep_libraries_offline()
    assert {name: os.environ.get(name) for name in SWITCHES} == SWITCHES


def test_what_the_user_has_set_is_kept(environment):
    environment.setenv("LITELLM_LOG", "DEBUG")
    environment.setenv("HF_HUB_OFFLINE", "0")
    keep_libraries_offline()
    assert (os.environ["LITELLM_LOG"], os.environ["HF_HUB_OFFLINE"]) == ("DEBUG", "0")
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"


@pytest.mark.parametrize(
    ("model", "provider", "variable"),
    [
        ("gpt-4.1", "openai", "OPENAI_API_KEY"),
        ("openai/gpt-4.1", "openai", "OPENAI_API_KEY"),
        ("openrouter/openai/gpt-4.1", "openrouter", "OPENROUTER_API_KEY"),
        ("anthropic/claude", "anthropic", "ANTHROPIC_API_KEY"),
        ("together_ai/x/y", "together_ai", "TOGETHERAI_API_KEY"),
        ("hosted-vllm/x", "hosted-vllm", "HOSTED_VLLM_API_KEY"),
    ],
)
def test_a_model_names_its_provider_and_the_variable_of_its_key(model, provider, variable):
    assert (provider_of(model), key_variable(model)) == (provider, variable)


def test_a_key_is_what_the_environment_has(environment):
    assert key_of("openai/x") is None
    environment.setenv("OPENAI_API_KEY", "")
    assert key_of("openai/x") is None
    environment.setenv("OPENAI_API_KEY", "sk-1")
    assert (key_of("openai/x"), key_of("anthropic/x")) == ("sk-1", None)


def test_dummy_keys_stand_in_only_where_there_is_none(environment):
    environment.setenv("GROQ_API_KEY", "real")
    set_dummy_keys(["groq/x", "openrouter/y"])
    assert os.environ["GROQ_API_KEY"] == "real"
    for name in ("OPENROUTER_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        assert os.environ[name] == DUMMY_KEY
    assert "MISTRAL_API_KEY" not in os.environ


def test_the_users_table_goes_before_every_other():
    table = {"gpt-4.1-mini": (10.0, 20.0), "openai/local": (1.0, 2.0)}
    assert price("gpt-4.1-mini", 100_000, 50_000, table) == pytest.approx(2.0)
    assert price("openrouter/openai/gpt-4.1-mini", 100_000, 50_000, table) == pytest.approx(2.0)
    assert price("openrouter/openai/local", 1_000_000, 1_000_000, table) == pytest.approx(3.0)
    assert price("local", 1_000_000, 1_000_000, table) == pytest.approx(3.0)
    assert price("locally", 1, 1, table) is None


def test_the_nearest_name_of_the_users_table_is_taken():
    table = {"openrouter/a/m": (1.0, 1.0), "a/m": (2.0, 2.0), "m": (3.0, 3.0)}
    prices = [price(name, 1_000_000, 0, table) for name in ("openrouter/a/m", "other/a/m", "a/m", "m", "b/m")]
    assert prices == [1.0, 2.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize("model", ["gpt-4.1-mini", "openai/gpt-4.1-mini", "unheard/gpt-4.1-mini"])
def test_the_table_that_ships_in_litellm_is_read_with_and_without_prefixes(model):
    """USD 0.40 and 1.60 per million tokens."""
    assert price(model, 1_000_000, 0) == pytest.approx(0.4)
    assert price(model, 0, 1_000_000) == pytest.approx(1.6)
    assert price(model, 0, 1_000_000, {"other": (1.0, 1.0)}) == pytest.approx(1.6)


@pytest.mark.parametrize("model", ["sim-student", "openai/nosuchmodel", "", "gpt-4.1-min", "sample_spec/x"])
def test_a_price_that_is_not_known_is_not_guessed(model):
    assert price(model, 1000, 1000) is None
    assert price(model, 1000, 1000, {}) is None


def test_without_litellm_no_price_is_known(environment):
    environment.setattr("importlib.util.find_spec", lambda name: None)
    assert models._price_table.__wrapped__() == {}


def test_reading_prices_does_not_import_litellm(tmp_path):
    code = "import sys; from rollout_local.models import price; print(price('gpt-4.1', 1, 1), 'litellm' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cost, imported = done.stdout.split()
    assert (float(cost), imported) == (pytest.approx(1e-5), "False")


def test_a_completion_comes_back_with_its_tokens(simulate, environment):
    simulator = simulate()
    said = complete("openai/sim-student", MESSAGES, api_base=simulator.url)
    assert said.text
    assert said.tokens_in is not None
    assert said.tokens_in > 0
    assert said.tokens_out == pytest.approx(len(said.text) / 4, rel=1)
    assert said.tool_calls == ()
    assert simulator.calls()["by_model"] == {"sim-student": 1}
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"


def test_the_same_question_is_asked_again_since_nothing_is_cached(simulate):
    simulator = simulate()
    texts = {complete("openai/sim-student", MESSAGES, api_base=simulator.url).text for _ in range(2)}
    assert (len(texts), simulator.calls()["total"]) == (1, 2)


@pytest.mark.parametrize("key", [None, "sk-mine"])
def test_a_local_server_is_given_a_key_whether_there_is_one_or_not(key, environment, listener):
    if key:
        environment.setenv("OPENAI_API_KEY", key)
    complete("openai/m", MESSAGES, api_base=listener.url, temperature=0.5)
    assert listener.seen[0]["key"] == f"Bearer {key or DUMMY_KEY}"
    assert listener.seen[0]["body"] == {"model": "m", "messages": MESSAGES, "temperature": 0.5}


def test_a_key_that_is_given_goes_before_the_environment(environment, listener):
    environment.setenv("OPENAI_API_KEY", "sk-mine")
    complete("openai/m", MESSAGES, api_base=listener.url, api_key="sk-given")
    assert listener.seen[0]["key"] == "Bearer sk-given"


def test_without_an_api_base_the_users_own_settings_stand(environment, listener):
    environment.setenv("OPENAI_API_KEY", "sk-mine")
    environment.setenv("OPENAI_API_BASE", listener.url)
    complete("openai/m", MESSAGES)
    assert listener.seen[0]["key"] == "Bearer sk-mine"


def test_calls_of_tools_come_back_as_plain_dicts_and_no_text_as_an_empty_one(environment, listener):
    call = {"id": "c", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    listener.reply["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": [call]}
    said = complete("openai/m", MESSAGES, api_base=listener.url)
    assert said.text == ""
    assert [each["function"] for each in said.tool_calls] == [{"name": "find", "arguments": "{}"}]
    assert json.dumps(said.tool_calls)


def streamed(*deltas, **more):
    """A stream of these deltas, as the provider writes it."""
    head = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if more:
        chunks.append({**head, "choices": [], **more})
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


@pytest.mark.filterwarnings("ignore:.*is deprecated.*:DeprecationWarning")  # litellm's own, of its pydantic
def test_a_streamed_completion_is_put_together(environment, listener):
    def piece(**given):
        return {"tool_calls": [{"index": 0, **given}]}

    begun = piece(id="c", type="function", function={"name": "find", "arguments": ""})
    parts = [piece(function={"arguments": text}) for text in ('{"q"', ": 1}")]
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    listener.reply = streamed({"role": "assistant", "content": "ye"}, {"content": "s"}, begun, *parts, usage=usage)
    said = complete("openai/m", MESSAGES, api_base=listener.url, stream=True, stream_options={"include_usage": True})
    assert (said.text, said.tokens_in, said.tokens_out) == ("yes", 5, 2)
    assert said.tool_calls == ({"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"q": 1}'}},)


def test_a_stream_that_tells_no_usage_has_none(environment, listener, capsys):
    listener.reply = streamed({"role": "assistant", "content": "yes"})
    said = complete("openai/m", MESSAGES, api_base=listener.url, stream=True)
    assert (said.text, said.tokens_in, said.tokens_out, said.tool_calls) == ("yes", None, None, ())
    assert capsys.readouterr().out == ""


def test_an_error_of_the_provider_comes_through_and_nothing_is_retried(simulate, environment):
    import litellm

    simulator = simulate(faults="429:1")
    with pytest.raises(litellm.RateLimitError):
        complete("openai/sim-student", MESSAGES, api_base=simulator.url)
    assert simulator.calls()["total"] == 1


@pytest.fixture
def listener():
    """A server that remembers what it is asked and answers with `reply`."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.seen.append({"key": self.headers["Authorization"], "body": body})
            reply = self.server.reply
            data = (reply if isinstance(reply, str) else json.dumps(reply)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream" if isinstance(reply, str) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.seen = []
    server.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    message = {"role": "assistant", "content": "Hello"}
    server.reply = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("told", ["sim-student", "openai/sim-student"])
@pytest.mark.parametrize("called", ["sim-student", "openai/sim-student"])
def test_a_price_holds_with_and_without_its_provider(told, called):
    assert price(called, 1_000_000, 500_000, {told: (1.0, 2.0)}) == pytest.approx(2.0)


@pytest.mark.parametrize(
    "model", ["gpt-4o", "openai/x", "ollama_chat/x", "hosted_vllm/x", "bedrock/x", "openrouter/a/b"]
)
def test_a_model_whose_provider_is_known_has_no_problem(model):
    assert models.provider_problem(model) == ""


def test_one_whose_provider_litellm_does_not_know_is_told_of_before_any_call(capsys):
    assert models.provider_problem("my-model") == (
        "no provider is known for my-model; put it before the name, as in openai/my-model"
    )
    assert "openai/b" in models.provider_problem("nobody/b")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("model", "params", "package"),
    [
        ("bedrock/anthropic.claude", {}, "boto3"),
        ("vertex_ai/gemini", {}, "google.auth"),
        ("openai/gpt-4o", {"model_type": "responses"}, "mcp"),
        ("openai/responses/gpt-4o", {}, "mcp"),
    ],
)
def test_a_package_that_litellm_lacks_for_a_model_is_named_before_any_call(model, params, package, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    told = models.package_problem(model, params)
    assert f"the package {package}, which is missing: `pip install {package.replace('.', '-')}`" in told
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert models.package_problem(model, params) == ""


def test_most_models_need_none(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert models.package_problem("openai/gpt-4o", {"temperature": 1}) == ""
