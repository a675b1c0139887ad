from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

TRIAGE: dict[str, Any] = {
    "role": "student",
    "leads": ["I read it so:"],
    "json_when": "json",
    "bare_when": "no fence",
    "fields": [
        {
            "key": "urgency",
            "key_habit": "priority",
            "labels": [
                {"name": "high", "habit": "urgent", "priority": 1, "cues": [{"pattern": "flood|fire"}]},
                {
                    "name": "medium",
                    "habit": ["normal", "usual"],
                    "cues": [{"pattern": "soon"}, {"pattern": "silent alarm", "needs": "alarm", "priority": 5}],
                },
                {"name": "low", "habit": "calm", "told": "calm means low"},
            ],
            "default": "low",
        },
        {
            "key": "areas",
            "set": True,
            "labels": [
                {"name": "plumbing", "cues": [{"pattern": "flood|pipe", "unless": "no pipe"}]},
                {"name": "safety", "habit": "danger", "cues": [{"pattern": "fire|flood"}]},
            ],
        },
        {"key": "mood", "needs": "mood", "labels": [{"name": "bad", "cues": [{"pattern": "angry"}]}]},
    ],
}


def test_a_student_that_was_told_nothing_writes_prose_in_its_own_words(simulate: Callable[..., Any]) -> None:
    client = simulate({"weak*": TRIAGE})
    said = client.say("The flood is here", "Help.", "weak-1")
    assert said == "I read it so: priority is urgent; areas is plumbing and danger."


def test_exact_names_are_written_only_if_the_instructions_have_them(simulate: Callable[..., Any]) -> None:
    client = simulate({"weak": TRIAGE})
    told = "Reply in JSON, no fence. urgency is high or low; areas are plumbing, high-danger."
    assert json.loads(client.say("A flood", told, "weak")) == {"urgency": "high", "areas": ["plumbing", "danger"]}
    assert json.loads(client.say("All is well", told, "weak")) == {"urgency": "calm", "areas": []}
    assert json.loads(client.say("All is well", f"{told} calm means low", "weak"))["urgency"] == "low"


def test_a_cue_that_needs_guidance_is_noticed_only_with_it(simulate: Callable[..., Any]) -> None:
    client = simulate({"weak": TRIAGE})
    form = "json, no fence, urgency high medium"
    message = "A silent alarm in the fire room, no pipe"
    assert json.loads(client.say(message, form, "weak")) == {"urgency": "high", "areas": ["danger"]}
    assert json.loads(client.say(message, f"{form}. An alarm counts.", "weak"))["urgency"] == "medium"


def test_a_field_that_needs_guidance_is_left_out_without_it(simulate: Callable[..., Any]) -> None:
    client = simulate({"weak": TRIAGE})
    assert "mood" not in client.say("I am angry", "json", "weak")
    assert json.loads(client.say("I am angry", "json no fence mood", "weak"))["mood"] == "bad"
    assert "mood" not in client.say("I am glad", "json no fence mood", "weak")


def test_json_comes_in_a_fence_until_the_student_is_told_otherwise(simulate: Callable[..., Any]) -> None:
    client = simulate({"weak": TRIAGE})
    fenced = client.say("A flood", "Use json", "weak")
    assert fenced.startswith("Sure! Here is the JSON you asked for:\n```json\n{")
    assert fenced.endswith("```")
    assert client.say("A flood", "Use json, no fence", "weak").startswith("{")
    assert client.say("A flood", "Help", "weak", response_format={"type": "json_object"}).startswith("{")


def test_a_directive_overrides_what_the_student_would_think(simulate: Callable[..., Any]) -> None:
    client = simulate({"weak": TRIAGE})
    told = 'json no fence urgency\n- When the message mentions "soon": `urgency` is "high".\n- `areas` contains "x".'
    assert json.loads(client.say("Come soon", told, "weak")) == {"urgency": "high", "areas": ["x"]}
    assert client.say("soon", 'Answer with exactly "no".', "weak") == "no"


def test_slips_drop_or_confuse_a_field_at_their_rate_unless_told(simulate: Callable[..., Any]) -> None:
    slips = [
        {"kind": "drop", "rate": 0.4, "unless": "every field"},
        {"kind": "neighbour", "rate": 0.3, "unless": "every"},
    ]
    client = simulate({"weak": {**TRIAGE, "slips": slips}})
    form = "json no fence urgency high medium low safety"
    answers = [json.loads(client.say(f"A flood, number {i}", form, "weak")) for i in range(60)]
    assert 10 < sum("urgency" not in answer for answer in answers) < 40
    assert any(answer.get("urgency") == "medium" for answer in answers)
    assert any(answer.get("areas") == ["safety", "plumbing"] for answer in answers)
    careful = [json.loads(client.say(f"A flood, number {i}", f"{form} every field", "weak")) for i in range(60)]
    assert all(answer == {"urgency": "high", "areas": ["plumbing", "safety"]} for answer in careful)


def test_free_text_echoes_the_message_and_ignores_what_it_is_not_told(client: Any) -> None:
    said = client.say("My parcel is lost in Hamburg", "Be helpful.")
    assert "parcel" in said
    assert said == client.say("My parcel is lost in Hamburg", "Be very helpful.")
    assert client.say("?", "Be helpful.")


def test_phrases_are_said_once_each_and_forbidden_ones_never(client: Any) -> None:
    message = "My parcel is lost"
    base = client.say(message, "Help.")
    bad = base.split(". ")[0][:20]
    said = client.say(message, f'Mention "30 days" and "DHL!". Say "30 days". Never say "{bad}". Add "{bad} x".')
    assert said.lower().count("30 days") == 1
    assert "DHL!" in said
    assert bad not in said


def test_beginning_end_and_pattern_are_obeyed(client: Any) -> None:
    said = client.say(
        "x", 'Start with "Dear sir". End with "Yours".\nMatch the pattern `#\\d{3}`. Match the pattern `(`.'
    )
    assert said.startswith("Dear sir")
    assert said.endswith("Yours")
    assert "#111" in said
    assert client.say("x", "Match the pattern `(?=a)b`.") == client.say("x", "Match the pattern `.`.")


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("at most 20 characters", lambda text: len(text) <= 20),
        ("at least 600 characters", lambda text: len(text) >= 600),
        ("at least 70 words", lambda text: len(text.split()) >= 70),
        ("no more than 3 words", lambda text: len(text.split()) <= 3),
        ("at most 1 sentence", lambda text: text.count(".") <= 1),
    ],
)
def test_limits_of_length_are_obeyed(client: Any, rule: str, holds: Callable[[str], bool]) -> None:
    assert holds(client.say("My parcel is lost", f"Write {rule}."))


def test_a_phrase_that_must_be_said_survives_a_limit(client: Any) -> None:
    assert client.say("My parcel is lost", 'Mention "30 days". Write at most 10 characters.') == "30 days."


def test_a_condition_holds_only_for_messages_with_its_word(client: Any) -> None:
    told = 'When the message mentions "refund": mention "30 days".'
    assert "30 days" in client.say("Refunds?", told)
    assert "30 days" not in client.say("Parcels?", told)


def test_an_exact_answer_is_the_whole_answer(client: Any) -> None:
    assert client.say("Hi", 'Answer only "yes".') == "yes"
    several = 'Answer with exactly one of: "refund please", "parcel lost".'
    assert client.say("I lost my parcel", several) == "parcel lost"
    assert client.say("Hi", several) in ("refund please", "parcel lost")
    sure = several + '\nWhen the message mentions "hi": answer with exactly "hello".\nAnswer with exactly "bye".'
    assert client.say("Hi", sure) == "hello"
    assert client.say("Yo", sure) == "bye"


def test_a_json_object_has_the_keys_and_values_that_were_asked_for(client: Any) -> None:
    told = "\n".join(
        [
            "Reply with JSON only, with the keys urgency, city, reply.",
            "`urgency` must be one of: high, low.",
            '`tags` is a list with values from: "parcel", "refund".',
            '`meta.source` is "mail".',
            "`meta.count` is 3.",
            '`flags` contains "a", "b".',
            'Mention "30 days".',
        ]
    )
    found = json.loads(client.say("My parcel is lost", told))
    assert found["urgency"] in ("high", "low")
    assert found["tags"] == ["parcel"]
    assert found["meta"] == {"source": "mail", "count": 3}
    assert found["flags"] == ["a", "b"]
    assert "30 days" in found["reply"]
    assert isinstance(found["city"], str)


def test_json_without_keys_has_an_answer_and_without_words_is_unknown(client: Any) -> None:
    assert set(json.loads(client.say("My parcel", "Reply with JSON only."))) == {"answer"}
    assert json.loads(client.say("?", "JSON only. JSON with the keys: city."))["city"].startswith("unknown")
    listed = json.loads(client.say("?", 'JSON only.\n`a` is a list with values from: "x1", "y1".'))
    assert listed["a"] in (["x1"], ["y1"])
    clash = json.loads(client.say("?", 'JSON only.\n`a` is "x".\n`a.b` is "y".'))
    assert clash == {"a": "x"}


def test_a_response_format_with_a_schema_names_the_keys(client: Any) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"properties": {"one": {}, "two": {}}}}}
    assert set(json.loads(client.say("My parcel", "Help", response_format=schema))) == {"one", "two"}
    loose = {"type": "json_schema", "json_schema": {"name": "x"}}
    assert set(json.loads(client.say("My parcel", "Help", response_format=loose))) == {"answer"}


def test_a_weak_student_follows_only_its_first_directives(simulate: Callable[..., Any]) -> None:
    client = simulate({"weak": {"extends": "sim-student*", "follow": 2}})
    said = client.say("Hi", 'Say "one1". Say "two2". Say "three3".', "weak")
    assert "two2" in said
    assert "three3" not in said


def test_without_a_system_message_the_input_is_what_follows_the_instructions(client: Any) -> None:
    rule = 'When the message mentions "refund": mention "30 days".'
    assert "30 days" not in client.say(f"{rule}\n\nInput:\nMy parcel")
    assert "30 days" in client.say(f"{rule}\n\nInput:\nMy refund")
    assert "30 days" not in client.say(f"{rule}\n\nMy parcel")
    assert "30 days" in client.say(f"{rule}\n\nMy refund")


def test_content_may_come_in_parts(client: Any) -> None:
    body = {
        "model": "sim-student",
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": 'Say "one1".'}, {"type": "image_url"}]},
            {"role": "user", "content": None},
        ],
    }
    response = client.http.post(f"{client.url}/chat/completions", json=body)
    assert "one1" in response.json()["choices"][0]["message"]["content"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_dspy_modules_get_the_form_that_their_adapter_parses(client: Any) -> None:
    import dspy

    lm = dspy.LM("openai/sim-student", api_base=client.url, api_key="x", engine="litellm", cache=False)
    signature = dspy.Signature("message -> answer", 'Answer. Mention "30 days".')
    for adapter in (dspy.ChatAdapter(), dspy.JSONAdapter()):
        with dspy.context(lm=lm, adapter=adapter):
            got = dspy.ChainOfThought(signature)(message="My parcel is lost")
        assert "30 days" in got.answer
        assert "parcel" in got.reasoning
    keyed = dspy.Signature(
        "message -> kind, count: int", "Reply in JSON with the keys `kind`. `count` is 3.\n`count` is 3."
    )
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        got = dspy.Predict(keyed)(message="My parcel is lost")
    assert got.count == 3
    assert got.kind
