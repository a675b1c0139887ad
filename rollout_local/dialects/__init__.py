"""What bodies on the wire say of a call to a model, in the dialects of its providers.

Read are OpenAI's chat completions and responses and all that speak them (vLLM, llama.cpp, OpenRouter, gateways),
Anthropic's messages, Gemini's generateContent, Bedrock's converse, Ollama's own API and Cohere's: whole bodies, streams
of events (AWS's frames too), lines of JSON. A body in another dialect gives its text, without tokens. Nothing here
raises: bodies come from anywhere.

`bodies` takes a body apart, `calls` reads what was asked and answered, `refusals` what stands in place of an answer,
`served` who gave it and whether it is whole.
Tested by tests/unit/runs/test_dialects.py (every dialect × every dress of an error) and tests/unit/providers.
"""

from __future__ import annotations

from rollout_local.dialects.bodies import events_of
from rollout_local.dialects.calls import ModelCall, asks_about_models, asks_model, read_call
from rollout_local.dialects.refusals import Refusal, refusal_in
from rollout_local.dialects.served import ServedBy, served_by, was_cut

__all__ = [
    "ModelCall", "Refusal", "ServedBy", "asks_about_models", "asks_model", "events_of", "read_call", "refusal_in",
    "served_by", "was_cut",
]  # fmt: skip
