"""Candidate and AgentResult: the shapes people write, and what is refused."""

from dataclasses import dataclass
from datetime import date

import pytest
from pydantic import BaseModel, ValidationError

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import (
    AgentResult,
    Candidate,
    Target,
    TargetDefaults,
    TargetKind,
    as_result,
    output_text,
)
from rollout_local.errors import InputError


def test_a_candidate_of_one_text_has_that_text():
    candidate = Candidate(text="Be kind.")
    assert candidate.text == "Be kind."
    assert candidate.components == {"instructions": "Be kind."}
    assert candidate == Candidate(components={"instructions": "Be kind."})


def test_a_single_component_of_any_name_is_the_text():
    assert Candidate(components={"router": "Go left."}).text == "Go left."


def test_a_candidate_of_several_texts_names_them_when_asked_for_one():
    candidate = Candidate(components={"plan": "p", "answer": "a"})
    with pytest.raises(ValueError, match=r"several texts \(plan, answer\): use candidate.components"):
        _ = candidate.text


@pytest.mark.parametrize(
    "wrong", [{}, {"components": {}}, {"components": {"a": 1}}, {"text": None}, {"text": "a", "components": {"b": "c"}}]
)
def test_a_candidate_without_texts_is_refused(wrong):
    with pytest.raises(ValidationError):
        Candidate(**wrong)


def test_a_candidate_is_refused_what_is_no_object():
    with pytest.raises(ValidationError):
        Candidate.model_validate("text")


def test_a_candidate_is_named_by_its_content():
    one = Candidate(components={"a": "1", "b": "2"})
    assert one.content_hash == Candidate(components={"b": "2", "a": "1"}).content_hash
    assert one.content_hash != Candidate(components={"a": "2", "b": "1"}).content_hash
    assert one.content_hash != Candidate(components={"a": "1", "b": "2 "}).content_hash
    assert one == Candidate(components={"a": "1", "b": "2"})  # a hash that was asked for does not tell equals apart
    assert one.content_hash.startswith("sha256:")


def test_an_agent_result_comes_through_as_it_is():
    result = AgentResult(output={"a": 1}, latency_ms=5, cost_usd=0.1, trace_id="t", metadata={"k": "v"})
    assert as_result(result) == result


def test_a_text_is_the_output():
    assert as_result("") == AgentResult(output="")
    assert as_result("hello").output == "hello"


def test_a_dict_is_read_as_an_agent_result():
    assert as_result({"output": [1], "metadata": {"a": 1}}) == AgentResult(output=[1], metadata={"a": 1})
    assert as_result({"output": None}).output is None


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        (None, "the target returned nothing; return an AgentResult, a str, or a dict with the key 'output'"),
        (7j, "the target returned a complex; return an AgentResult"),
        (iter("a"), "the target returned a str_"),
        ({"output": "x", "cost_usd": float("nan")}, "no AgentResult: cost_usd: input should be"),
        ({"output": "x", "cost_usd": -1}, "no AgentResult: cost_usd: input should be greater than or equal to 0"),
        ({"output": "x", "latency_ms": float("inf")}, "no AgentResult: latency_ms: input should be a finite number"),
        ({"urgency": "high"}, "the target returned a dict that is no AgentResult: output: field required"),
        ({"output": "x", "score": 1}, "no AgentResult: score: extra inputs are not permitted"),
        ({"output": "x", "metadata": 1}, "no AgentResult: metadata: input should be a valid dictionary"),
        ({"output": "x", "cost_usd": "much"}, "no AgentResult: cost_usd: input should be a valid number"),
    ],
)
def test_anything_else_is_refused_in_words(returned, sentence):
    with pytest.raises(InputError) as refused:
        as_result(returned)
    assert sentence in str(refused.value)


class Ticket(BaseModel):
    label: str


@dataclass
class Parcel:
    due: date


@pytest.mark.parametrize(
    ("output", "plain"),
    [
        (Ticket(label="bug"), {"label": "bug"}),
        (Parcel(date(2026, 1, 2)), {"due": "2026-01-02"}),
        (["a", 1], ["a", 1]),
        (7, 7),
        (True, True),
        (("a", "b"), ["a", "b"]),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_json_can_say_is_an_output_by_itself_and_within_a_result(output, plain):
    for returned in (output, AgentResult(output=output), {"output": output}):
        assert as_result(returned).output == plain


def test_an_output_is_read_as_text_or_as_json_or_as_its_repr():
    assert AgentResult(output="as it is").text == "as it is"
    assert AgentResult(output={"b": 1.0, "a": "é"}).text == '{"a":"é","b":1}'
    assert output_text(None) == "null"
    assert output_text({1j}) == "{1j}"
    assert output_text(float("nan")) == "nan"


def test_an_output_cut_inside_a_character_can_still_be_stored_and_sent():
    result = AgentResult(output={"say": "ok \ud83d"}, metadata={"raw": "\ude00"})
    assert result.output == {"say": "ok \ufffd"}
    assert result.metadata == {"raw": "\ufffd"}
    as_result("cut \ud83d").text.encode("utf-8")


def test_an_output_that_is_nested_too_deeply_is_a_result_and_no_crash():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    result = AgentResult.model_construct(output=deep)
    assert result.text == "(an output that is nested too deeply to be shown)"
    assert AgentResult(output=deep).output is deep


def test_an_output_of_ones_own_class_is_kept():
    thing = object()
    assert AgentResult(output=thing).output is thing


def test_the_kinds_are_the_documented_ones():
    assert list(TargetKind) == ["prompt", "tool_description", "router_prompt", "retrieval_prompt", "agent"]


def test_a_target_is_whatever_has_the_members_of_one():
    class Mine(TargetDefaults):
        id, kind, description, baseline = "mine", TargetKind.PROMPT, "", Candidate(text="x")
        source, source_hash = "", "sha256:"

        def run(self, task: Task, candidate: Candidate) -> AgentResult:
            return AgentResult(output=task.name + candidate.text)

    assert isinstance(Mine(), Target)
    assert not isinstance(object(), Target)


def cursed(kind, **methods):
    """A class of one's own that JSON takes for `kind`."""
    return type("Cursed", (kind,), methods)


@pytest.mark.parametrize(
    ("made", "output"),
    [
        (lambda: cursed(str, encode=None, isascii=None, __str__=lambda _: 1 / 0)("x"), "x"),
        (lambda: cursed(list, __iter__=lambda _: 1 / 0)([1, "a"]), [1, "a"]),
        (lambda: {"output": cursed(dict, items=None, __iter__=None)(a=(1, 2))}, {"a": (1, 2)}),
        (lambda: cursed(int, __repr__=lambda _: 1 / 0, __str__=None)(4), 4),
        (lambda: [cursed(float, __repr__=lambda _: "<x>", is_integer=None)(4.5)], [4.5]),
        (lambda: cursed(AgentResult, text=property(lambda _: 1 / 0))(output="x"), "x"),
        (lambda: True, True),
    ],
)
def test_what_is_in_a_result_is_plain_whatever_class_it_was_of(made, output):
    result = as_result(made())
    assert type(result) is AgentResult
    assert result.output == output
    assert type(result.output) is type(output)
    assert result.text == AgentResult(output=output).text


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        (AgentResult.model_construct(output="x", cost_usd="abc"), "cost_usd: input should be a valid number"),
        (AgentResult.model_construct(output="x", metadata=7), "metadata: input should be a valid dictionary"),
        ({"output": "x", "cost_usd": 1e308}, "cost_usd: input should be less than or equal to 1000000000000"),
        ({"output": "x", "latency_ms": 1e308}, "latency_ms: input should be less than or equal to 1000000000000"),
    ],
)
def test_a_result_that_was_made_without_a_check_is_checked(returned, problem):
    with pytest.raises(InputError, match=problem):
        as_result(returned)


def test_an_output_that_json_cannot_say_leaves_only_the_name_of_its_type():
    made = type("Odd", (), {"__class__": property(lambda _: AgentResult)})()
    assert type(as_result({"output": [made]}).output).__name__ == "list"
    assert type(as_result({"output": made}).output).__name__ == "Odd"
    assert as_result({"output": "x", "metadata": {"m": {1}}}).metadata == {"m": "{1}"}
