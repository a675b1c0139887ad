"""The one door to litellm: completions, prices, and the switches that keep libraries from fetching.

No library may fetch anything for itself, live runs included: price maps, telemetry, tokenizers, update checks.
The switches are environment variables that litellm and DSPy read while they are imported, so
`keep_libraries_offline()` comes before the first import of either.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypedDict

import orjson

SWITCHES = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # litellm's and DSPy's price map
    "LITELLM_OFFLINE_MODE": "true",  # the other catalogues, tokenizers of litellm
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_MODE": "PRODUCTION",  # no .env is read into the environment
    "LITELLM_LOG": "ERROR",
    "LITELLM_RUST": "0",  # Rust clients are not seen by the recording
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "TQDM_DISABLE": "1",  # GEPA draws a bar that cannot be switched off by an argument; ours stands in its place
}
"""What is set, by variable; the reason beside it."""
TRACERS_OFF = {
    "ROLLOUT_DISABLED": "true",
    "OTEL_SDK_DISABLED": "true",
    "LANGFUSE_TRACING_ENABLED": "false",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "OPIK_TRACK_DISABLE": "true",
    "WEAVE_DISABLED": "true",
    "DD_TRACE_ENABLED": "false",
}
"""What keeps tracing SDKs quiet in a replay: what happens there was traced when it was recorded."""

DUMMY_KEY = "not-a-key"
KEY_VARIABLES = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "google": "GOOGLE_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "groq": "GROQ_API_KEY",
    "together_ai": "TOGETHERAI_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "xai": "XAI_API_KEY",
    "cohere": "COHERE_API_KEY",
    "azure": "AZURE_API_KEY",
    "fireworks_ai": "FIREWORKS_AI_API_KEY",
    "perplexity": "PERPLEXITYAI_API_KEY",
}
"""The variable that holds the key of a provider, by litellm's prefix."""
NEEDS = {"bedrock": "boto3", "sagemaker": "boto3", "sagemaker_chat": "boto3", "vertex_ai": "google.auth"}
"""The package that litellm asks a provider with, where it does not bring it along."""
NEEDS_OF_RESPONSES = "mcp"
"""What litellm imports for every call of OpenAI's responses."""


@dataclass(frozen=True)
class Completion:
    """The answer of one chat completion. Token counts are None where the provider gave no usage."""

    text: str
    tokens_in: int | None
    tokens_out: int | None
    tool_calls: Sequence[Mapping[str, object]] = ()


def keep_libraries_offline() -> None:
    """Set every switch, except where the user has set it."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)


def keep_tracers_off() -> None:
    """Set every switch of the tracing SDKs, except where the user has set it."""
    for name, value in TRACERS_OFF.items():
        os.environ.setdefault(name, value)


def load_client() -> Any:
    """Import litellm, which `complete` asks with; it takes seconds. What it advises on errors is not printed."""
    keep_libraries_offline()
    import litellm

    litellm.suppress_debug_info = True
    return litellm


def complete(
    model: str, messages: Sequence[Mapping[str, Any]], *, api_base: str | None = None, **params: Any
) -> Completion:
    """One chat completion through litellm, put together where it is streamed. Raises litellm's exceptions.

    Nothing is retried or cached here.
    """
    litellm = load_client()
    if api_base is not None:
        params = {"api_key": key_of(model) or DUMMY_KEY, **params, "api_base": api_base}
    if "tools" in params:  # or litellm imports its MCP gateway, which needs a package that is not there
        params = {"_skip_mcp_handler": True, **params}
    reply = litellm.completion(model=model, messages=list(messages), num_retries=0, max_retries=0, **params)
    if params.get("stream"):
        return _put_together(reply)
    usage = getattr(reply, "usage", None)
    message = reply.choices[0].message
    return Completion(
        text=message.content or "",
        tokens_in=getattr(usage, "prompt_tokens", None),
        tokens_out=getattr(usage, "completion_tokens", None),
        tool_calls=tuple(call.model_dump() for call in (message.tool_calls or ())),
    )


class StreamedFunction(TypedDict):
    """The function that is called; its arguments are JSON."""

    name: str
    arguments: str


class StreamedCall(TypedDict):
    """A tool call, as `model_dump` of one that was not streamed."""

    id: str | None
    type: Literal["function"]
    function: StreamedFunction


def _put_together(chunks: Iterable[Any]) -> Completion:
    """What was streamed. (litellm's own builder prints, and says 0 where no usage was given.)"""
    text, calls, usage = "", dict[int, StreamedCall](), None
    for chunk in chunks:
        usage = getattr(chunk, "usage", None) or usage
        for choice in chunk.choices[:1]:
            text += choice.delta.content or ""
            for piece in choice.delta.tool_calls or ():
                call = calls.setdefault(
                    piece.index, {"id": None, "type": "function", "function": {"name": "", "arguments": ""}}
                )
                call["id"] = piece.id or call["id"]
                call["function"]["name"] += piece.function.name or ""
                call["function"]["arguments"] += piece.function.arguments or ""
    return Completion(
        text, getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None), tuple(calls.values())
    )


def package_problem(model: str, params: Mapping[str, object]) -> str:
    """In words, that litellm lacks a package to ask this model with; empty where it has all."""
    responds = params.get("model_type") == "responses" or "responses" in model.split("/")[:-1]
    for package in filter(None, (NEEDS.get(provider_of(model)), NEEDS_OF_RESPONSES if responds else None)):
        if not _is_there(package):
            install = package.replace(".", "-")
            asked = "the responses of " if package == NEEDS_OF_RESPONSES else ""
            return f"litellm asks {asked}{model} with the package {package}, which is missing: `pip install {install}`"
    return ""


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


def provider_problem(model: str) -> str:
    """In words, that litellm knows no provider for a model's name; empty where it does. Nothing is asked."""
    if model in _price_table() or ("/" in model and provider_of(model) in _priced_providers()):
        return ""
    litellm = load_client()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a list of providers
        try:
            litellm.get_llm_provider(model)
        except Exception:  # noqa: BLE001 - whatever it raises, a call would raise it too
            return f"no provider is known for {model}; put it before the name, as in openai/{model.rpartition('/')[2]}"
    return ""


def provider_of(model: str) -> str:
    """The provider's prefix of a model name: `openrouter/openai/x` is `openrouter`; without one, `openai`."""
    return model.split("/", 1)[0] if "/" in model else "openai"


def key_variable(model: str) -> str:
    """The environment variable that is expected to hold the key of this model's provider."""
    provider = provider_of(model)
    return KEY_VARIABLES.get(provider, provider.upper().replace("-", "_") + "_API_KEY")


def key_of(model: str) -> str | None:
    """The key for this model from the environment, or None; the dummy that opens nothing is none."""
    key = os.environ.get(key_variable(model))
    return key if key and key != DUMMY_KEY else None


def key_state(model: str) -> str:
    """Where this model's key is read from, and whether there is one."""
    state = "which is set" if key_of(model) else "which is not set"
    return f"the key of {model} is read from {key_variable(model)}, {state}"


def set_dummy_keys(models: Sequence[str]) -> None:
    """Give clients that insist on a key one that opens nothing, where the environment has none."""
    for name in {key_variable(model) for model in models} | {"OPENAI_API_KEY", "ANTHROPIC_API_KEY"}:
        os.environ.setdefault(name, DUMMY_KEY)


def price(
    model: str, tokens_in: int, tokens_out: int, prices: Mapping[str, tuple[float, float]] | None = None
) -> float | None:
    """What a call costs in USD, or None where the price is not known (it is never guessed).

    `prices` (USD per million input and output tokens) goes before litellm's local table. Provider prefixes
    are tried as given and without them, the call's as well as those of `prices`.
    """
    told = {name: pair for key, pair in (prices or {}).items() for name in _names(key)} | dict(prices or {})
    for name in _names(model):
        if name in told:
            per_in, per_out = told[name]
            return (tokens_in * per_in + tokens_out * per_out) / 1e6
    for name in _names(model):
        entry = _price_table().get(name)
        if entry is not None:
            return tokens_in * entry[0] + tokens_out * entry[1]
    return None


def are_one(one: str, other: str) -> bool:
    """True where two names may be of one model: with a provider's prefix, or without."""
    return not set(_names(one)).isdisjoint(_names(other))


def _names(model: str) -> list[str]:
    parts = model.split("/")
    return ["/".join(parts[i:]) for i in range(len(parts))]


@cache
def _priced_providers() -> frozenset[str]:
    return frozenset({*KEY_VARIABLES, *(provider_of(name) for name in _price_table())})


@cache
def _price_table() -> dict[str, tuple[float, float]]:
    """USD per token from the table that ships in litellm, read as data: importing litellm takes seconds."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        return {}
    table = Path(spec.origin).with_name("model_prices_and_context_window_backup.json")
    entries = orjson.loads(table.read_bytes())
    return {
        name: (float(entry["input_cost_per_token"]), float(entry["output_cost_per_token"]))
        for name, entry in entries.items()
        if isinstance(entry.get("input_cost_per_token"), int | float)
        and isinstance(entry.get("output_cost_per_token"), int | float)
    }
