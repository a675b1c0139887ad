"""What a redactor knows is found in every spelling, and what only resembles it stays."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest

from rollout_local.redaction import Redactor, forms
from rollout_local.redaction.known import MARK
from rollout_local.redaction.redactor import MOST_SEEN

SECRET = 'Zr7W/vT5+xKp2"Lm9-odd'
SPELLINGS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "capitals": lambda s: s.upper().encode(),
    "capitals in JSON": lambda s: json.dumps(s.upper()).encode(),
    "small letters": lambda s: s.lower().encode(),
    "JSON": lambda s: json.dumps(s).encode(),
    "JSON, every character escaped": lambda s: "".join(f"\\u{ord(c):04x}" for c in s).encode(),
    "JSON, every character escaped in capitals": lambda s: "".join(f"\\u{ord(c):04X}" for c in s).encode(),
    "JSON, punctuation escaped": lambda s: "".join(c if c.isalnum() else f"\\u{ord(c):04x}" for c in s).encode(),
    "hexadecimal": lambda s: s.encode().hex().encode(),
    "hexadecimal in capitals": lambda s: s.encode().hex().upper().encode(),
    "URL-quoted": lambda s: quote(s, safe="").encode(),
    "URL-quoted twice": lambda s: quote(quote(s, safe=""), safe="").encode(),
    "UTF-16, little end first": lambda s: s.encode("utf-16-le"),
    "UTF-16, big end first": lambda s: s.encode("utf-16-be"),
    "base64": lambda s: base64.b64encode(s.encode()),
    "base64 after one byte": lambda s: base64.b64encode(b"x" + s.encode() + b"yz"),
    "base64 after two bytes": lambda s: base64.b64encode(b"xy" + s.encode() + b"z"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_known_value_is_taken_out_in_every_spelling(spelling: str) -> None:
    written = SPELLINGS[spelling](SECRET)
    cleaned = Redactor({"A_TOKEN": SECRET}).body(b"before " + written + b" after")
    assert MARK in cleaned.replace(b"\0", b"")
    assert not any(form in cleaned for form in forms(SECRET))
    assert (cleaned[:7], cleaned[-6:]) == (b"before ", b" after")


def test_text_without_a_secret_is_the_same_object() -> None:
    redactor = Redactor({"A_TOKEN": SECRET})
    text = "an ordinary sentence about a token, a key and 30 days"
    assert redactor.text(text) is text
    assert redactor.json_text(text) is text


def test_cleaning_twice_is_cleaning_once() -> None:
    redactor = Redactor({"A_TOKEN": SECRET})
    once = redactor.text(f"Bearer {SECRET} and sk-abcdefghijklmnop0123 {SECRET.encode().hex()}")
    assert redactor.text(once) is once


def test_a_document_is_clean_in_names_and_values_and_keeps_everything_else() -> None:
    redactor = Redactor({"A_TOKEN": SECRET})
    value = {SECRET: 1, "a": [True, None, 1.5, f"x {SECRET}"], "pair": ("y", SECRET), "api_key": "unknown-value-77"}
    assert redactor.document(value) == {
        "[redacted]": 1, "a": [True, None, 1.5, "x [redacted]"], "pair": ("y", "[redacted]"),
        "api_key": "unknown-value-77",
    }  # fmt: skip
    assert redactor.document(value, by_name=True)["api_key"] == "[redacted]"


def test_json_text_stays_json_where_a_key_spans_its_strings() -> None:
    text = '{"a":"-----BEGIN PRIVATE KEY-----","b":"-----END PRIVATE KEY-----"}'
    assert json.loads(Redactor({}).json_text(text)) == json.loads(text)


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"user=me&password=unknown-77-value", b"user=me&password=[redacted]"),
        (b"grant_type=refresh&client_secret=unknown-77", b"grant_type=refresh&client_secret=[redacted]"),
        (b"auth=unknown-77-value&k=unknown-77-value", b"auth=[redacted]&k=[redacted]"),
        (b"k=10&page=2", b"k=10&page=2"),
        (b"a sentence with password=5 in it", b"a sentence with password=5 in it"),
        (b'{"pwd": "unknown-77-value"}', b'{"pwd": "[redacted]"}'),
        (b'{"passphrase": "unknown-77-value"}', b'{"passphrase": "[redacted]"}'),
        (b'{"auth": {"value": "unknown-77-value"}}', b'{"auth": {"value": "[redacted]"}}'),
        (b'{"author": "unknown-77-value"}', b'{"author": "unknown-77-value"}'),
        (b"GET https://x.org/?api_key=unknown-77-value failed", b"GET https://x.org/?api_key=[redacted] failed"),
    ],
)
def test_a_credential_is_taken_out_by_the_name_that_it_stands_under(body: bytes, kept: bytes) -> None:
    assert Redactor({}).body(body) == kept


def test_a_credential_in_a_part_of_a_multipart_body_goes_and_the_other_parts_stay() -> None:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="api_key"\r\n\r\nunknown-77\r\n'
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--B--\r\n'
    )
    assert Redactor({}).body(body) == body.replace(b"unknown-77", MARK)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://x.org/?auth=unknown-77-value&q=1", "https://x.org/?auth=REDACTED&q=1"),
        ("https://x.org/?k=unknown-77-value", "https://x.org/?k=REDACTED"),
        ("https://x.org/?k=10", "https://x.org/?k=10"),
    ],
)
def test_a_query_is_cleaned_by_name(url: str, kept: str) -> None:
    assert Redactor({}).url(url) == kept


@pytest.mark.parametrize(
    ("name", "value", "learned"),
    [
        ("X-Custom", "unknown77valueAbC01", True),
        ("X-Request-Id", "unknown77valueAbC01", False),
        ("X-Anything", "0b0e7f1e-5d6a-4c39-9f2b-3a1c5e7d9f11", False),
        ("X-Team", "blue team of the house", False),
    ],
)
def test_a_header_of_ones_own_is_a_credential_where_its_value_is_of_no_word(
    name: str, value: str, *, learned: bool
) -> None:
    redactor = Redactor({})
    redactor.watch([(name, value)])
    assert (redactor.text(f"you sent {value}") == "you sent [redacted]") is learned


def test_what_was_only_seen_is_forgotten_before_what_was_given() -> None:
    redactor = Redactor({"A_TOKEN": SECRET})
    for number in range(MOST_SEEN + 1):
        redactor.watch([("X-Key", f"seen-value-{number:04d}")])
    assert redactor.knows(SECRET)
    assert redactor.knows("seen-value-0001")
    assert not redactor.knows("seen-value-0000")


def test_kept_pieces_stay_and_known_values_and_other_lookalikes_go() -> None:
    mine, other = "sk-example-of-a-key-00", "sk-another-key-of-mine-11"
    redactor = Redactor({"A_TOKEN": SECRET}, keep=[f"Is {mine} a key?", json.dumps({"password": "hunter2-of-task"})])
    assert redactor.text(f"{mine} {other} {SECRET}") == f"{mine} [redacted] [redacted]"
    assert redactor.body(b'{"password": "hunter2-of-task"}') == b'{"password": "hunter2-of-task"}'
    assert redactor.body(b'{"password": "another-of-mine-7"}') == b'{"password": "[redacted]"}'
    assert Redactor({"B_TOKEN": mine}, keep=[mine]).text(mine) == "[redacted]"
