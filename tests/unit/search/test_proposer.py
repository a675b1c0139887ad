"""Reflection: what counts as a text, what is remembered, when it is given up."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import dspy
import pytest
from dspy.teleprompt.gepa.instruction_proposal import ProposeInstruction
from dspy.utils.exceptions import AdapterParseError

from rollout_local.errors import NoProposals
from rollout_local.search.proposer import Proposer, ReadingAdapter, reflection_hash
from rollout_local.search.replies import read_reply
from tests.unit.search.conftest import Answer, Model, as_json

TEXT = "Answer in one sentence. Name the boat."
PARENT = {"instructions": "Answer the question."}
EXAMPLES = [{"Inputs": {"task": {"instruction": "How long?"}}, "Generated Outputs": {"output": "7"}, "Feedback": "m?"}]
WITH_JSON = 'Answer with {"length": "7 m"} and nothing else.'
WITH_A_FENCE = 'Answer with JSON, in metres. For example:\n```json\n{"length": 7}\n```\nNever add a unit.'

READ = {
    "json": (json.dumps({"new_instruction": TEXT}), TEXT),
    "json with more fields": (json.dumps({"reasoning": "because", "new_instruction": TEXT}), TEXT),
    "json with quotes and line ends": (as_json('Say "ahoy".\n\t- Be kind.'), 'Say "ahoy".\n\t- Be kind.'),
    "json in a fence": (f"Here you are:\n```json\n{as_json(TEXT)}\n```", TEXT),
    "json with raw line ends": ('{"new_instruction": "Answer.\nName the boat."}', "Answer.\nName the boat."),
    "json cut short": ('{"new_instruction": "Answer in one sentence. Name the boat.', TEXT),
    "json in single quotes": ("{'new_instruction': 'Answer in one sentence. Name the boat.'}", TEXT),
    "json after thoughts": (f"<think>hm, {{a}} or {{b}}?</think>\n{as_json(TEXT)}", TEXT),
    "json after thoughts of json": (f'<think>{as_json("not this one here")}</think>{as_json(TEXT)}', TEXT),
    "a list of one": (f"[{as_json(TEXT)}]", TEXT),
    "a fence": (f"Here is the better instruction:\n\n```\n{TEXT}\n```", TEXT),
    "the last fence": (f"Old:\n```\nAnswer the question, please.\n```\nNew:\n```text\n{TEXT}\n```\n", TEXT),
    "plain text": (TEXT, TEXT),
    "plain text after thoughts": (f"<think>Let me think about it.</think>\n\n{TEXT}", TEXT),
    "plain text after thoughts that began earlier": (f"Let me think about it.\n</think>\n\n{TEXT}", TEXT),
    "plain text with json in it": (WITH_JSON, WITH_JSON),
    "plain text with a fenced example": (WITH_A_FENCE, WITH_A_FENCE),
    "plain text in another language": ("Réponds en une phrase, très court.", "Réponds en une phrase, très court."),
}  # fmt: skip
RUBBISH = [
    "", "   ", "\n\n", "???", "...", "-----", "[]", "{}", "{", "}", '"', "null", "true", "42", "N/A", "No.", "Sorry.",
    "1. 2. 3.", "\x00\x01", "```", "``````", "```json\n```", "```\n{}\n```", '{"error": "overloaded"}',
    '{"new_instruction": ""}', '{"new_instruction": "   "}',
    '{"new_instruction": null}', '{"new_instruction": "\\ud800 lone surrogate here"}', "[1, 2, 3]",
    "<think>I have only thoughts about it.</think>", "<think>I never come to an end of them", "🙂🙂🙂",
]  # fmt: skip


class Told:
    """What a proposer reported, and what it was asked to remember."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, str]] = []
        self.keys: list[tuple[str, int]] = []

    def failed(self, component: str, reason: str) -> None:
        self.failures.append((component, reason))

    def reflect(self, key: str, occurrence: int, produce: Callable[[], Any]) -> Any:
        self.keys.append((key, occurrence))
        return produce()


SHOWN = [
    {"Inputs": {"task": {"instruction": "Where is my parcel number 7?"}}, "Generated Outputs": {"output": "At sea."},
     "Feedback": "Say the depot."},
]  # fmt: skip
WEAK = {  # what SmolLM2-135M, Gemma 270M and Qwen 1.5B said, and its kind
    "an object of an example": (
        '{"new_instruction": {"instruction": "Where is my parcel number 7?", "input": {"n": 7}}}',
        "is one of the examples",
    ),
    "an example itself": (as_json("Where is my parcel number 7?"), "is one of the examples"),
    "a list of objects": ('{"new_instruction": [{"role": "user"}, {"role": "assistant"}]}', "has no usable text"),
    "an object without a text": ('{"new_instruction": {"steps": 3}}', "has no usable text"),
    "the template": (as_json("{new_instruction}"), "placeholder"),
    "the template with words": (as_json("{new_instruction} is a new task."), "placeholder"),
    "a bracketed placeholder": (as_json("[Your new instruction here]"), "placeholder"),
    "a name for it": (as_json("<new instruction>"), "placeholder"),
    "a number": ('{"new_instruction": 42}', "holds no words"),
    "a truth": ('{"new_instruction": true}', "holds no words"),
    "an emoji": (as_json("\U0001f466\U0001f3fc"), "holds no words"),
    "the question": (
        as_json("Your task is to write a new instruction for the assistant. Read the inputs carefully and identify the "
                "input format and infer detailed task description about the task I wish to solve with the assistant."),
        "echoes the question",
    ),
    "a program": (as_json("def classify(message):\n    return 'billing' if 'VAT' in message else 'other'"), "Python"),
    "a program in a fence": ("```python\nimport re\nprint(re.findall('a', 'banana') and 'yes it is')\n```", "Python"),
}  # fmt: skip
SHORT_AND_GOOD = ["Be concise.", "Sort.", "简洁回答", "[ROLE] You sort {message} into topics.", "Return label = topic",
                  "Answer with {\"label\": \"billing\"} only.", "Classify; print the label"]  # fmt: skip


def ask(
    proposer: Proposer, server: Model, parent: dict[str, str] | None = None, examples: Any = EXAMPLES, **params: Any
) -> Any:
    parent = parent or PARENT
    lm = dspy.LM(
        "openai/model", api_base=server.url, api_key="x", engine="litellm", cache=False, num_retries=0, **params
    )
    with dspy.context(lm=lm):
        return proposer(parent, dict.fromkeys(parent, examples), list(parent))


@pytest.mark.parametrize("name", READ)
def test_a_reply_that_holds_a_text_is_read(name: str) -> None:
    reply, expected = READ[name]
    assert ReadingAdapter().parse(ProposeInstruction, reply) == {"new_instruction": expected}


@pytest.mark.parametrize(
    "reply", ['{"new_instruction": "Say \\"ahoy\\" to\\nthem.', '{"new_instruction" : "Say \\x to them.']
)
def test_the_text_of_a_broken_object_is_read_as_far_as_it_goes(reply: str) -> None:
    assert read_reply(reply) == ('Say "ahoy" to\nthem.' if "ahoy" in reply else "Say \\x to them.")


@pytest.mark.parametrize("reply", RUBBISH)
def test_rubbish_is_asked_for_once_and_is_a_failure_with_a_reason(model: Callable[[Answer], Model], reply: str) -> None:
    server, told = model(lambda _: reply), Told()
    assert ask(Proposer(told.reflect, told.failed, None), server) == {}
    assert server.asked == 1
    assert [component for component, _ in told.failures] == ["instructions"]
    assert told.failures[0][1].isprintable()


@pytest.mark.parametrize("name", READ)
def test_a_reply_that_can_be_read_is_asked_for_once(model: Callable[[Answer], Model], name: str) -> None:
    server, told = model(lambda _: READ[name][0]), Told()
    assert ask(Proposer(told.reflect, told.failed, None), server) == {"instructions": READ[name][1]}
    assert (server.asked, told.failures) == (1, [])


@pytest.mark.parametrize("name", WEAK)
def test_what_weak_models_say_in_place_of_an_instruction_is_refused_by_name(
    model: Callable[[Answer], Model], name: str
) -> None:
    reply, said = WEAK[name]
    server, told = model(lambda _: reply), Told()
    assert ask(Proposer(told.reflect, told.failed, None), server, examples=SHOWN) == {}
    assert said in told.failures[0][1]


@pytest.mark.parametrize("text", SHORT_AND_GOOD)
def test_a_short_or_odd_instruction_is_one(model: Callable[[Answer], Model], text: str) -> None:
    server, told = model(lambda _: as_json(text)), Told()
    assert ask(Proposer(told.reflect, told.failed, None), server, examples=SHOWN) == {"instructions": text}


@pytest.mark.parametrize(
    ("reply", "usable"),
    [
        ('{"new_instruction": "Sort the message. Then', False),
        ('{"new_instruction": "Sort the message.', False),  # a sentence ends, and nothing says that the text does
        ("Sort the message into one of four topics.", False),
        ("", False),
        (as_json(TEXT) + " " * 40, True),
        (f"<new_instruction>{TEXT}</new_instruction> I hope that it", True),
    ],
)
def test_a_reply_that_was_cut_at_the_limit_of_tokens_counts_where_its_text_is_closed(
    model: Callable[[Answer], Model], reply: str, usable: bool
) -> None:
    server, told = model(lambda _: reply), Told()
    server.finish_reason = "length"
    found = ask(Proposer(told.reflect, told.failed, None), server, max_tokens=20)
    assert found == ({"instructions": TEXT} if usable else {})
    assert usable or "was cut at max_tokens=20" in told.failures[0][1]


def test_a_text_that_a_content_filter_cut_is_none(model: Callable[[Answer], Model]) -> None:
    server, told = model(lambda _: "Sort the message into one of four topics."), Told()
    server.finish_reason = "content_filter"
    assert ask(Proposer(told.reflect, told.failed, None), server) == {}
    assert "was cut by the provider's content filter" in told.failures[0][1]


def test_a_failure_shows_what_the_model_said(model: Callable[[Answer], Model]) -> None:
    cut = '{"new_instruction": "Answer with the label and'
    for reply, said in (
        (cut, "was cut off"),
        ("No.", "it begins 'No.'"),
        (as_json(" "), "empty"),
        (as_json("Use \ud800 for it"), "valid"),
    ):
        server, told = model(lambda _, reply=reply: reply), Told()  # type: ignore[misc]
        ask(Proposer(told.reflect, told.failed, None), server)
        assert said in told.failures[0][1]


def test_examples_that_cannot_be_sent_are_a_failure_that_says_so(model: Callable[[Answer], Model]) -> None:
    server, told = model(lambda _: as_json(TEXT)), Told()
    ask(Proposer(told.reflect, told.failed, None), server, examples=[{**EXAMPLES[0], "Feedback": "half of \ud83d"}])
    assert server.asked == 0
    assert "lone surrogate" in told.failures[0][1]


def test_a_model_that_says_nothing_at_all_has_failed(model: Callable[[Answer], Model]) -> None:
    server, told = model(lambda _: None), Told()
    assert ask(Proposer(told.reflect, told.failed, None), server) == {}
    assert server.asked == 1


@pytest.mark.parametrize("reply", ["Answer the question.", "  Answer the question.\n"])
def test_the_parents_own_text_is_a_failure(model: Callable[[Answer], Model], reply: str) -> None:
    server, told = model(lambda _: as_json(reply)), Told()
    assert ask(Proposer(told.reflect, told.failed, None), server) == {}
    assert told.failures == [("instructions", "the reflection model gave the same text back")]


def test_the_same_text_back_ends_the_search_only_where_the_same_is_asked_again(
    model: Callable[[Answer], Model],
) -> None:
    server, told = model(lambda _: as_json(PARENT["instructions"])), Told()
    proposer = Proposer(told.reflect, told.failed, None)
    minibatches = [[{**EXAMPLES[0], "Feedback": f"minibatch {number}"}] for number in range(9)]
    assert [ask(proposer, server, examples=examples) for examples in [*minibatches, *minibatches[:2]]] == [{}] * 11
    with pytest.raises(NoProposals, match="the same text back"):
        ask(proposer, server, examples=minibatches[2])
    assert len(told.failures) == server.asked == 12


def test_three_failures_in_a_row_end_the_search(model: Callable[[Answer], Model]) -> None:
    server, told = model(lambda _: "???"), Told()
    proposer = Proposer(told.reflect, told.failed, None)
    assert [ask(proposer, server), ask(proposer, server)] == [{}, {}]
    with pytest.raises(NoProposals, match=r"3 times in a row \(the last: .*'\?\?\?'\)"):
        ask(proposer, server)
    assert len(told.failures) == server.asked == 3


def test_a_usable_text_starts_the_count_again(model: Callable[[Answer], Model]) -> None:
    replies = ["???", "???", as_json(TEXT), "???", "???", as_json(TEXT)]
    server, told = model(lambda n: replies[n]), Told()
    proposer = Proposer(told.reflect, told.failed, None)
    assert [bool(ask(proposer, server)) for _ in replies] == [False, False, True, False, False, True]


def test_each_component_is_asked_for_on_its_own(model: Callable[[Answer], Model]) -> None:
    server, told = model(lambda n: ["???", as_json(TEXT)][n]), Told()
    texts = ask(Proposer(told.reflect, told.failed, None), server, {"system": "Be kind.", "closing": "Say bye."})
    assert texts == {"closing": TEXT}
    assert [component for component, _ in told.failures] == ["system"]


def test_a_component_without_examples_is_left_out(model: Callable[[Answer], Model]) -> None:
    server, told = model(lambda _: as_json(TEXT)), Told()
    proposer = Proposer(told.reflect, told.failed, None)
    assert proposer(PARENT, {}, ["instructions"]) == {}
    assert proposer({}, {"instructions": EXAMPLES}, ["instructions"]) == {}
    assert (server.asked, told.keys, told.failures) == (0, [], [])


def test_memory_is_asked_with_a_hash_of_the_input_and_how_often_it_came(model: Callable[[Answer], Model]) -> None:
    server, told = model(lambda _: as_json(TEXT)), Told()
    proposer = Proposer(told.reflect, told.failed, None)
    for parent in (PARENT, PARENT, {"instructions": "Other."}, PARENT):
        ask(proposer, server, parent)
    key, other = reflection_hash(PARENT, EXAMPLES, "instructions"), told.keys[2][0]
    assert told.keys == [(key, 0), (key, 1), (other, 0), (key, 2)]
    assert key.startswith("sha256:")
    assert key != other


def test_a_remembered_reply_is_not_asked_for_again(model: Callable[[Answer], Model]) -> None:
    server = model(lambda _: as_json(TEXT))
    memory: dict[tuple[str, int], Any] = {}

    def reflect(key: str, occurrence: int, produce: Callable[[], Any]) -> Any:
        if (key, occurrence) not in memory:
            memory[key, occurrence] = json.loads(json.dumps(produce()))
        return memory[key, occurrence]

    for _ in range(2):
        assert ask(Proposer(reflect, Told().failed, None), server) == {"instructions": TEXT}
    assert server.asked == 1


def test_a_remembered_failure_fails_alike(model: Callable[[Answer], Model]) -> None:
    told = Told()
    proposer = Proposer(lambda *_: {"failure": "it said nothing"}, told.failed, None)
    assert proposer(PARENT, {"instructions": EXAMPLES}, ["instructions"]) == {}
    assert told.failures == [("instructions", "it said nothing")]


def test_the_hash_is_of_content_not_of_order_or_identity() -> None:
    one = reflection_hash({"a": "x", "b": "y"}, [{"Inputs": {"k": 1, "l": 2}, "Feedback": "f"}], "a")
    assert one == reflection_hash({"b": "y", "a": "x"}, [{"Feedback": "f", "Inputs": {"l": 2, "k": 1}}], "a")
    assert one != reflection_hash({"a": "x", "b": "y"}, [{"Inputs": {"k": 1, "l": 2}, "Feedback": "g"}], "a")
    assert one != reflection_hash({"a": "x", "b": "y"}, [{"Inputs": {"k": 1, "l": 2}, "Feedback": "f"}], "b")


def test_examples_that_json_cannot_say_are_hashed_all_the_same() -> None:
    prediction = dspy.Prediction(output="7")
    examples = [{"Inputs": {"task": {1}}, "Generated Outputs": {"output": prediction}, "Feedback": "\ud800"}]
    assert reflection_hash(PARENT, examples, "instructions") == reflection_hash(PARENT, examples, "instructions")


def test_what_the_model_is_told_beside_the_examples_reaches_its_prompt(model: Callable[[Answer], Model]) -> None:
    server, told = model(lambda _: as_json(TEXT)), Told()
    ask(Proposer(told.reflect, told.failed, "Write like a sailor."), server)
    prompt = server.prompt(0)
    assert all(part in prompt for part in ("Write like a sailor.", "Answer the question.", "How long?", "m?"))


def test_a_request_that_fails_is_no_reply_and_is_raised(model: Callable[[Answer], Model]) -> None:
    server, told = model(lambda _: as_json(TEXT)), Told()
    server.stop()
    with pytest.raises(Exception, match="onnect"):
        ask(Proposer(told.reflect, told.failed, None), server)
    assert told.failures == []


def test_only_the_proposal_is_read_leniently() -> None:
    with pytest.raises(AdapterParseError):
        ReadingAdapter().parse(dspy.Signature("question -> answer"), "The answer is a boat.")
