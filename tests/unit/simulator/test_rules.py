from __future__ import annotations

import re

import pytest

from rollout_local.simulator.examples import example_of
from rollout_local.simulator.rules import Directive, parse


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('Mention "30 days" and never say "guarantee".', [("include", "30 days"), ("forbid", "guarantee")]),
        ("Don't say 'sorry' but add “thanks”.", [("forbid", "sorry"), ("include", "thanks")]),
        ('Do not use the word "urgent"; instead use "high".', [("forbid", "urgent"), ("include", "high")]),
        ('Use "high" instead of "urgent".', [("include", "high"), ("forbid", "urgent")]),
        ('Do not forget to mention "X".', [("include", "X")]),
        ('Never apologize. Avoid "As an AI".', [("forbid", "As an AI")]),
        ('Say "yes", not "no".', [("include", "yes"), ("forbid", "no")]),
        ('Start with "Hi" and end with "Bye".', [("prefix", "Hi"), ("suffix", "Bye")]),
        (r'Say "say \"hi\"".', [("include", 'say "hi"')]),
        (r'Say "C:\dir".', [("include", r"C:\dir")]),
        ('Answer with exactly one of: "yes", "no".', [("exact", "yes", "no")]),
        ('Answer with exactly one word: "yes" or "no".', [("exact", "yes", "no")]),
        ("The answer must be one of: yes, no or maybe.", [("exact", "yes", "no", "maybe")]),
        ('Mention one of "a1" or "b2".', [("include", "a1"), ("include", "b2")]),
        (
            "Reply in JSON with the keys urgency, sentiment and categories.",
            [("keys", "urgency", "sentiment", "categories")],
        ),
        ("Return a JSON object with keys `a` (a string) and `b`.", [("keys", "a", "b")]),
        (r"Write something that matches the pattern `\d{4}`.", [("pattern", r"\d{4}")]),
        ('You are helpful. Answer the "customer".', []),
        ("Reply with JSON only: no code fence, no other text.", []),
        ("Reply in JSON with keys that make sense to a careful reader.", []),
    ],
)
def test_a_clause_is_read_by_its_wording(line: str, expected: list[tuple[str, ...]]) -> None:
    assert [(rule.kind, *rule.values) for rule in parse(line)] == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("- `urgency` must be one of: high, low.", Directive("allowed", ("high", "low"), "urgency")),
        ('urgency is one of "high", "low"', Directive("allowed", ("high", "low"), "urgency")),
        ('`tags` is a list with values from: "a", "b".', Directive("allowed_list", ("a", "b"), "tags")),
        ('`urgency` is "high".', Directive("value", ("high",), "urgency")),
        ('`tags` contains "a", "b".', Directive("value_list", ("a", "b"), "tags")),
        ("`count` is 3.", Directive("value", ("3",), "count", unit="bare")),
        ("Write at most 200 characters.", Directive("max", number=200, unit="char")),
        ("* Use at least 40 words.", Directive("min", number=40, unit="word")),
    ],
)
def test_rules_about_keys_and_lengths_carry_their_key_or_number(line: str, expected: Directive) -> None:
    assert parse(line) == (expected,)


@pytest.mark.parametrize(
    "line",
    [
        'When the message mentions "refund" or "return": mention "30 days".',
        'If the customer asks about "refund", "return", then mention "30 days".',
        '1. Whenever the user\'s request contains "refund" or "return", say "30 days".',
        'For messages that mention "refund" or "return": say "30 days".',
    ],
)
def test_a_condition_is_read_in_front_of_a_directive(line: str) -> None:
    (rule,) = parse(line)
    assert rule.values == ("30 days",)
    assert rule.applies("Where are my REFUNDS?")
    assert not rule.applies("Where is my parcel? I had no prerefund.")


@pytest.mark.parametrize(
    "pattern",
    [
        r"\b\d{4}-\d\d\b",
        r"^(?:yes|no)$",
        r"(?i)order #[A-Z]{2}\d+",
        r"[^a1]x+?",
        r".\s\w",
        r"[^\w]",
        r"\W[a-c]",
        "a|b",
        "[^x]y",
    ],
)
def test_a_text_is_found_for_a_simple_pattern(pattern: str) -> None:
    text = example_of(pattern)
    assert text is not None
    assert re.search(pattern, text)


@pytest.mark.parametrize("pattern", ["(", r"(?=a)b", "", r"(?!a)a", "[^a1 \\-._A:/]"])
def test_no_text_is_made_up_for_a_pattern_that_is_broken_or_too_clever(pattern: str) -> None:
    assert example_of(pattern) is None
