"""What kind of failure a provider's words are: by status, by the error's own type, by the phrases of each server.

The phrases are those of OpenAI, Anthropic, Gemini, Bedrock, Cohere, xAI, DeepSeek, DashScope, vLLM, llama.cpp,
LM Studio, TGI, OpenRouter and litellm's proxy. A limit per minute is not a spent quota, whatever words they share.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from rollout_local.dialects import Refusal

_CONTEXT = re.compile(
    r"context_length|context length|context window|maximum context|context size|exceed_context|context the overflows"
    r"|context overflow|prompt is too long|input is too long|too many input tokens|input token count|too many tokens"
    r"|maximum prompt length|reduce the length of|`inputs` tokens|inputs tokens \+ max_new_tokens|max_seq_len"
)
_FILTER = re.compile(
    r"content_filter|content management policy|content_policy|content policy|invalid_prompt|data_inspection_failed"
    r"|content exists risk|inappropriate content|responsible ai|guardrail|flagged|moderation|prohibited_content"
    r"|blocked by .{0,40}(safety|policy|filter)"
)
_QUOTA = re.compile(
    r"insufficient_quota|exceeded your current quota|insufficient credits|insufficient balance|billing|credit balance"
)
_KEY = re.compile(
    r"no_db_connection|no connected db|invalid_api_key|api_key_invalid|(?:invalid|incorrect|wrong) (?:proxy |api )?key"
    r"|api key not valid|api key is (?:invalid|missing)"
)
_MODEL = re.compile(r"model_not_found|invalid model name|unknown model\b|no such model|not a valid model")
_PER_MINUTE = re.compile(r"retryinfo|retrydelay|per[ _-]?minute|perminute|requests per|tokens per|retry in")
_TYPES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("rate_limit", re.compile(r"rate.?limit|resource_exhausted|throttl|too_many_requests")),
    ("overload", re.compile(r"overloaded|unavailable|server_error|api_error|internal|no_capacity")),
    ("timeout", re.compile(r"timeout|timed out|deadline_exceeded")),
    ("auth", re.compile(r"authentication|permission|unauthorized|unauthenticated|invalid_api_key")),
    ("model_not_found", re.compile(r"model_not_found|not_found")),
    ("bad_request", re.compile(r"invalid_request|invalid_argument|bad_request|validation")),
)
_STATUSES = {401: "auth", 402: "quota", 403: "auth", 404: "model_not_found", 408: "timeout", 409: "overload",
             413: "context_length", 425: "overload", 429: "rate_limit", 504: "timeout"}  # fmt: skip
_RETRY_DELAY = re.compile(r"retrydelay\W+(\d+(?:\.\d+)?)s|retry in (\d+(?:\.\d+)?)\s?s")


def kind_of_status(status: int, body: object) -> str:
    """The kind of failure of a response with an error status, from its body (parsed, or text)."""
    text = str(body).lower()
    if status in (400, 413, 422, 500) and _CONTEXT.search(text):
        return "context_length"
    if status in (400, 403, 422, 451) and _FILTER.search(text):
        return "content_filter"
    if status in (400, 422) and _KEY.search(text):
        return "auth"
    if status in (400, 422) and _MODEL.search(text):
        return "model_not_found"
    if status == 402 or (_QUOTA.search(text) and not _PER_MINUTE.search(text)):
        return "quota"
    return _STATUSES.get(status, "overload" if status >= 500 else "bad_request")


def kind_of_refusal(refusal: Refusal) -> str:
    """The kind of failure that a body without an error status tells. One that nobody knows may pass: it is retried."""
    if refusal.type in ("no_answer", "cut_off"):
        return "malformed"
    text = f"{refusal.type} {refusal.message}".lower()
    if refusal.code is not None and refusal.code >= 400:
        return kind_of_status(refusal.code, text)
    if _CONTEXT.search(text):
        return "context_length"
    if _FILTER.search(text):
        return "content_filter"
    if _QUOTA.search(text) and not _PER_MINUTE.search(text):
        return "quota"
    return next((kind for kind, words in _TYPES if words.search(text)), "overload")


def asked_to_wait(body: object) -> float | None:
    """Seconds that a body asks to wait (Gemini's `RetryInfo`), where no header does."""
    found = _RETRY_DELAY.search(str(body).lower()) if isinstance(body, Mapping | list | str) else None
    return float(found.group(1) or found.group(2)) if found else None
