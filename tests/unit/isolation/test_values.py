"""What crosses between a child and the run is read back to what the run would have had without one."""

from __future__ import annotations

import json
import os
from typing import Any

import httpx
import pytest

from rollout_local import errors
from rollout_local.domain.kept import kept_output, words_of
from rollout_local.domain.target import AgentResult
from rollout_local.isolation import values
from rollout_local.isolation.pipes import Channel
from rollout_local.providers.failures import failure_in


def over(packed: Any) -> Any:
    """Through a pipe."""
    return json.loads(json.dumps(packed))


@pytest.mark.parametrize(
    "output",
    [
        "a text", "\ud83d lone", "", 1.5, 2**70, True, None, [], [1, [2.0, None]], {"a": {"b": 1}}, {1: "a", None: 2},
        {"$": 1}, {"a": (1, {2: ("x",)})}, {"k": {("a", 1): 2}},
    ],
)  # fmt: skip
def test_an_output_that_json_can_say_is_the_same_output(output: Any) -> None:
    result = AgentResult(output=output, cost_usd=0.25, latency_ms=3.0, trace_id="t", metadata={"a": [1]})
    back = values.unpack_result(over(values.pack_result(result)))
    assert kept_output(back.output) == kept_output(result.output)
    assert back.model_dump(exclude={"output"}) == result.model_dump(exclude={"output"})
    if output != {"k": {("a", 1): 2}}:  # JSON has no such key
        assert back.output == result.output


@pytest.mark.parametrize("output", [{"a": float("nan")}, {"a": {1}}, [object()], float("inf")])
def test_an_output_that_json_cannot_say_is_of_a_type_of_that_name(output: Any) -> None:
    back = values.unpack_result(over(values.pack_result(AgentResult(output=output))))
    assert kept_output(back.output) is None
    assert type(back.output).__name__ == type(output).__name__


def test_of_an_error_that_says_very_much_the_beginning_is_kept() -> None:
    said = words_of(ValueError("x" * 20_050))
    assert said == "x" * 20_000 + "… (50 more characters)"


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


class Status(Exception):
    status_code = 429


def client(name: str, library: str = "openai") -> BaseException:
    return type(name, (Exception,), {"__module__": f"{library}.errors"})("too many\nrequests")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"), KeyError("k"), SystemExit(3), Status("slow down"), client("RateLimitError"),
        client("RateLimitError", "mine"), httpx.ReadTimeout("late"),
        caused(ValueError("x"), client("APIConnectionError")),
        caused(client("APIError", "litellm"), ImportError("too many\nrequests")), errors.InputError("wrong"),
        errors.ProviderError("down", kind="overload", retry_after=2.0, who="it"), errors.GradingError("not graded"),
        errors.Paused("raised by a target"), type("Odd", (BaseException,), {"__str__": lambda self: 1 / 0})(),
    ],
)  # fmt: skip
def test_an_error_says_and_means_the_same(error: BaseException) -> None:
    back = values.unpack_error(over(values.pack_error(error)))
    assert (type(back).__name__, words_of(back)) == (type(error).__name__, words_of(error))
    assert failure_in(back) == failure_in(error)
    assert not isinstance(back, errors.StopSearch)
    for ours in (errors.InputError, errors.ProviderError, errors.GradingError):
        assert isinstance(back, ours) == isinstance(error, ours)


@pytest.mark.parametrize(
    "reason",
    [
        errors.Paused("wait", reason="cost_limit"), errors.Paused("^C", interrupted=True), errors.RecordingMiss("none"),
        errors.LeaseLost("gone"), errors.RecordingError("damaged"),
    ],
)  # fmt: skip
def test_a_reason_to_stop_is_that_reason(reason: BaseException) -> None:
    back = values.unpack_stop(over(values.pack_stop(reason)))
    assert type(back) is type(reason)
    assert str(back) == str(reason)
    assert {k: v for k, v in vars(back).items() if k != "__cause__"} == vars(reason)


def channels() -> tuple[Channel, Channel, int]:
    one, two = os.pipe(), os.pipe()
    return Channel(one[0], two[1]), Channel(two[0], one[1]), one[1]


def test_messages_are_whole_until_the_other_side_is_gone() -> None:
    here, there, _ = channels()
    assert there.send({"a": "ü\ud800"})
    assert here.receive() == {"a": "ü\ud800"}
    there.close()
    there.close()
    assert here.receive() is None
    assert not here.send({"a": 1})
    here.close()


@pytest.mark.parametrize("written", [b"\xff" * 20, b"\0\0\0\0\0\0\0\2{]", b"\0\0"])
def test_what_is_no_message_is_the_end(written: bytes) -> None:
    here, there, writing = channels()
    os.write(writing, written)
    there.hang_up()
    assert here.receive() is None
    here.close()
    there.close()
