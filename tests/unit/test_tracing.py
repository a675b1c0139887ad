"""What a pair of bodies says about a call to a model, in every dialect we know and in those we do not."""

import json
import threading

import pytest

from rollout_local.dialects import read_call
from rollout_local.tracing import Collector, Span, collecting, current_collector

HI = {"role": "user", "content": "Hi é"}
HI_TEXT = '{"content": "Hi é", "role": "user"}'


def stream(*events, end="data: [DONE]\n\n"):
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + end


def said(request, response):
    call = read_call(request, response)
    return call.model, call.output, call.tokens_in, call.tokens_out


def test_a_chat_completion_of_openai():
    call = read_call(
        {"model": "gpt-x", "messages": [{"role": "system", "content": "Be kind."}, HI], "temperature": 0},
        {
            "model": "gpt-x-2025",
            "choices": [{"message": {"role": "assistant", "content": "Hello"}}, {"message": {"content": "not this"}}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
        },
    )
    assert (call.model, call.output, call.tokens_in, call.tokens_out) == ("gpt-x", "Hello", 7, 2)
    assert call.messages == ('{"content": "Be kind.", "role": "system"}', HI_TEXT)


def test_equal_messages_are_equal_texts_whatever_the_order_of_their_keys():
    one = read_call({"messages": [{"role": "user", "content": "Hi é"}]}, None)
    other = read_call({"messages": [{"content": "Hi é", "role": "user"}]}, None)
    assert one.messages == other.messages == (HI_TEXT,)


TOOLS = [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q": "é"}'}}]


@pytest.mark.parametrize(
    ("content", "output"),
    [(None, json.dumps(TOOLS, ensure_ascii=False)), ("Wait.", "Wait.\n" + json.dumps(TOOLS, ensure_ascii=False))],
)
def test_calls_of_tools_are_a_part_of_the_output(content, output):
    reply = {"choices": [{"message": {"content": content, "tool_calls": TOOLS}}]}
    assert read_call({"model": "m", "messages": [HI]}, reply).output == output


def test_a_stream_of_openai_is_put_together():
    events = [
        {"model": "gpt-x", "choices": [{"delta": {"role": "assistant", "content": ""}}], "usage": None},
        {"model": "gpt-x", "choices": [{"delta": {"content": "Hel"}}]},
        {"model": "gpt-x", "choices": [{"delta": {"content": "lo"}}]},
        {"model": "gpt-x", "choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"model": "gpt-x", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}},
    ]
    assert said({"messages": [HI], "stream": True}, stream(*events)) == ("gpt-x", "Hello", 3, 2)


def test_a_stream_that_broke_gives_what_had_come():
    whole = stream({"model": "m", "choices": [{"delta": {"content": "Hel"}}]}, end='data: {"model": "m", "cho')
    assert said({}, whole) == ("m", "Hel", None, None)
    assert said({}, ": ping\n\ndata:\n\ndata: 7\n\n" + whole) == ("m", "Hel", None, None)


def test_a_response_of_openai():
    call = read_call(
        {"model": "gpt-x", "instructions": "Be kind.", "input": [HI]},
        {
            "output": [
                {"type": "reasoning", "summary": []},
                {"type": "message", "content": [{"type": "output_text", "text": text} for text in ("Hel", "lo")]},
            ],
            "usage": {"input_tokens": 7, "output_tokens": 2},
        },
    )  # fmt: skip
    assert (call.output, call.tokens_in, call.tokens_out) == ("Hello", 7, 2)
    assert call.messages == ('{"content": "Be kind.", "role": "system"}', HI_TEXT)


def test_a_response_of_openai_to_a_plain_text_may_be_a_call():
    calls = [{"type": "function_call", "name": "find", "arguments": "{}"}]
    call = read_call({"model": "gpt-x", "input": "Hi"}, {"output": calls})
    assert (call.messages, call.output) == (('"Hi"',), json.dumps(calls))


RESPONSE = {"model": "gpt-x", "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}]}


def test_a_stream_of_responses_ends_with_the_whole():
    done = {**RESPONSE, "usage": {"input_tokens": 5, "output_tokens": 2}}
    events = [
        {"type": "response.created", "response": {"model": "gpt-x", "output": [], "usage": None}},
        {"type": "response.function_call_arguments.delta", "delta": '{"q'},
        {"type": "response.output_text.delta", "delta": "Hel"},
    ]
    assert said({}, stream(*events, {"type": "response.completed", "response": done})) == ("gpt-x", "Hello", 5, 2)
    assert said({}, stream(*events, end="")) == ("gpt-x", "Hel", None, None)


def test_a_message_of_anthropic():
    call = read_call(
        {"model": "claude-x", "system": "Be kind.", "messages": [HI], "max_tokens": 9},
        {
            "model": "claude-x",
            "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}],
            "usage": {"input_tokens": 4, "output_tokens": 2},
        },
    )
    assert (call.model, call.output, call.tokens_in, call.tokens_out) == ("claude-x", "Hello", 4, 2)
    assert call.messages == ('{"content": "Be kind.", "role": "system"}', HI_TEXT)


def test_a_message_of_anthropic_that_uses_a_tool():
    use = {"type": "tool_use", "id": "t", "name": "find", "input": {"q": 1}}
    reply = {"content": [{"type": "text", "text": "Wait."}, use]}
    assert read_call({"model": "claude-x", "messages": [HI]}, reply).output == "Wait.\n" + json.dumps([use])


def test_a_stream_of_anthropic_is_put_together():
    events = [
        {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 4, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 12}},
        {"type": "message_stop"},
    ]
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    assert said({"messages": [HI]}, body) == ("claude-x", "Hello", 4, 12)


def test_an_old_completion():
    reply = {"choices": [{"text": "Hello", "index": 0}], "usage": {"prompt_tokens": 1}}
    assert said({"model": "old", "prompt": "Hi"}, reply) == ("old", "Hello", 1, None)
    assert said({"model": "old"}, stream({"choices": [{"text": "Hel"}]}, {"choices": [{"text": "lo"}]}))[1] == "Hello"


@pytest.mark.parametrize(
    "response",
    [
        {"output": ["Hel", "lo"]},
        {"choices": ["Hello"]},
        {"choices": {}},
        {"choices": []},
        {"content": "Hello"},
        {"content": [], "usage": "none"},
        {"error": {"message": "no such model", "type": "invalid_request_error"}},
        {"output": "Hello", "model": 7},
        [1, {"a": "é"}],
    ],
)
def test_a_reply_in_another_dialect_is_kept_whole_without_tokens(response):
    call = read_call({"model": "m"}, response)
    assert call.output == json.dumps(response, ensure_ascii=False)
    assert (call.model, call.tokens_in, call.tokens_out) == ("m", None, None)


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "The data: five",
        "<html>502</html>",
        "",
        'data: {"type": "error", "message": "overloaded"}\n\n',
        'data: {"token": {"text": "Hello"}}\n\n',
    ],
)
def test_a_text_or_stream_that_cannot_be_read_is_kept_as_it_is(text):
    assert said({}, text) == (None, text, None, None)


def test_no_reply_has_no_output():
    assert said({"model": "m", "messages": [HI]}, None) == ("m", None, None, None)
    assert said({"model": "m"}, {"choices": [{"message": {"content": None}}]})[1] is None


def test_content_that_is_no_text_is_shown_as_json():
    assert said({}, {"choices": [{"message": {"content": {"a": "é"}}}]})[1] == '{"a": "é"}'
    parts = [{"type": "text", "text": "Hel"}, {"type": "image"}, {"type": "text", "text": None}, "x", {"text": "lo"}]
    assert said({}, {"choices": [{"message": {"content": parts}}]})[1] == "Hello"


@pytest.mark.parametrize(
    ("request_body", "messages"),
    [
        (None, ()),
        ("", ()),
        ("text", ('"text"',)),
        ([1], ("[1]",)),
        ({"prompt": "Hi"}, ('{"prompt": "Hi"}',)),
        ({"messages": "Hi"}, ('"Hi"',)),
        ({"messages": []}, ()),
    ],
)
def test_a_request_in_another_dialect_is_one_message(request_body, messages):
    assert read_call(request_body, None).messages == messages


def test_spans_go_to_the_collector_of_their_own_context():
    outer, inner = Collector(), Collector()
    assert current_collector() is None
    with collecting(outer) as given:
        assert given is outer
        with collecting(inner):
            current_collector().spans.append(Span(name="step", type="span", started=1.0))
        assert current_collector() is outer
        seen = []
        thread = threading.Thread(target=lambda: seen.append(current_collector()))
        thread.start()
        thread.join()
        assert seen == [None]
    assert current_collector() is None
    assert ([span.name for span in inner.spans], outer.spans) == (["step"], [])


def test_a_collector_is_put_back_when_the_block_raises():
    with pytest.raises(KeyError), collecting(Collector()):
        raise KeyError
    assert current_collector() is None


def test_a_span_keeps_what_went_in_and_what_came_out():
    span = Span(name="step", type="span", started=1.0)
    assert (span.input, span.output, span.error, span.duration) == (None, None, None, 0.0)
    span.record_input({"q": 1})
    span.record_output("a")
    assert (span.input, span.output) == ({"q": 1}, "a")
