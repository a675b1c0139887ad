"""The new prompt is found in every shape that models answer in, and nothing that is none is taken for one."""

from __future__ import annotations

import json

import pytest
from dspy.teleprompt.gepa.instruction_proposal import ProposeInstruction
from dspy.utils.exceptions import AdapterParseError

from rollout_local.search.proposer import ReadingAdapter
from rollout_local.search.replies import is_cut_short

TEXT = "Answer with one of refund, billing, other."
WITH_AN_EXAMPLE = (
    'You are a classifier. Answer with JSON only.\nExample:\n```json\n{"label": "x"}\n```\nAdd no other words.'
)
CHINESE, JAPANESE = "请将工单分类为退款、账单或其他。", "チケットを分類してください。"
THAI = "จัดประเภทตั๋วเป็นการคืนเงินหรือการเรียกเก็บเงิน"

SHAPES = {
    "a fence around a text with a fence": (f"```markdown\n{WITH_AN_EXAMPLE}\n```", WITH_AN_EXAMPLE),
    "the same after an introduction": (f"Here is the new one:\n```\n{WITH_AN_EXAMPLE}\n```", WITH_AN_EXAMPLE),
    "a longer fence around it": (f"````\n{WITH_AN_EXAMPLE}\n````", WITH_AN_EXAMPLE),
    "a short fence in long words": (
        f"Here is an improved instruction, based on the feedback; it is long.\n```\n{TEXT}\n```\nTell me more.",
        TEXT),
    "a fence below a heading": (
        f"**Analysis.** The agent answers unknown. It lacks the rules of it.\n\n**New instruction**\n```\n{TEXT}\n```",
        TEXT),
    "the new one before the old one": (f"New instruction:\n```\n{TEXT}\n```\nOld one:\n```\nJust answer it.\n```",
                                       TEXT),
    "a prompt with an example in a fence": (WITH_AN_EXAMPLE, WITH_AN_EXAMPLE),
    "tildes": (f"~~~\n{TEXT}\n~~~", TEXT),
    "a fence without an end": (f"Here is the new one:\n```\n{TEXT}", TEXT),
    "another key": (json.dumps({"instruction": TEXT}), TEXT),
    "another key in a fence": ("```json\n" + json.dumps({"improved_prompt": TEXT}) + "\n```", TEXT),
    "another key as Python writes it": (str({"reasoning": "so", "instructions": TEXT}), TEXT),
    "an object under the key": (json.dumps({"new_instruction": {"text": TEXT}}), TEXT),
    "lines under the key": (json.dumps({"new_instruction": ["Be kind to them.", TEXT]}), f"Be kind to them.\n{TEXT}"),
    "a list of one": (json.dumps([TEXT]), TEXT),
    "a JSON text": (json.dumps(TEXT), TEXT),
    "a tag": (f"<new_instruction>{TEXT}</new_instruction>", TEXT),
    "a tag after words": (f"I looked at it.\n<new_instruction>\n{TEXT}\n</new_instruction>", TEXT),
    "a tag around all": (f"<prompt>{TEXT}</prompt>", TEXT),
    "DSPy's markers": (f"[[ ## new_instruction ## ]]\n{TEXT}\n\n[[ ## completed ## ]]", TEXT),
    "an introduction without a fence": (f"Sure! Here's the improved instruction:\n\n{TEXT}", TEXT),
    "Chinese": (CHINESE, CHINESE), "Chinese in a fence": (f"```\n{CHINESE}\n```", CHINESE),
    "Japanese": (JAPANESE, JAPANESE), "Thai": (THAI, THAI),
}  # fmt: skip

NONE_OF_THEM = {
    "JSON cut short": '{"new_instruction": "Classify the ticket. Rules: 1. refund means money back. 2. billing is abo',
    "a fence cut short": "Here is the new one:\n```\nClassify it. 1. refund means money back. 2. billing is abo",
    "an error": '{"error": "the model is overloaded right now"}',
    "two prompts": json.dumps({"prompt": TEXT, "instruction": "Just answer the question."}),
    "texts without a key": json.dumps([TEXT, TEXT]),
    "what is no text": json.dumps({"new_instruction": {"steps": 3}}),
    "only an example": "```json\n" + json.dumps({"label": "refund"}) + "\n```",
    "two letters of Chinese": "不行",
}


@pytest.mark.parametrize(("reply", "expected"), SHAPES.values(), ids=SHAPES)
def test_a_shape_that_models_answer_in_is_read(reply: str, expected: str) -> None:
    assert ReadingAdapter().parse(ProposeInstruction, reply) == {"new_instruction": expected}


@pytest.mark.parametrize("reply", NONE_OF_THEM.values(), ids=NONE_OF_THEM)
def test_what_holds_no_whole_prompt_is_refused(reply: str) -> None:
    with pytest.raises(AdapterParseError):
        ReadingAdapter().parse(ProposeInstruction, reply)


def test_a_text_counts_as_whole_where_its_quote_or_its_sentence_is_closed() -> None:
    assert is_cut_short('{"new_instruction": "Say \\"ahoy\\" to')
    assert not is_cut_short('{"new_instruction": "Say \\"ahoy\\" to them.')
    assert not is_cut_short('{"new_instruction": "Say ahoy to them"')
    assert not is_cut_short("Say ahoy to them")
