"""Identity is content: what is equal as JSON has one text and one hash."""

import math
import random

import pytest

from rollout_local.domain.identity import canonical_json, content_hash, make_id, text_hash, well_formed


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": {"y": [1, 2], "x": None}}, {"a": {"x": None, "y": [1, 2]}}),
        (1, 1.0),
        ([2, {"n": 3}], [2.0, {"n": 3.0}]),
        (0, -0.0),
        ((1, 2), [1, 2]),
        ({1: "a"}, {"1": "a"}),
        (2**53 - 1, float(2**53 - 1)),
    ],
)
def test_equal_json_has_one_identity(one, other):
    assert canonical_json(one) == canonical_json(other)
    assert content_hash(one) == content_hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, "1"),
        (1, True),
        (0, False),
        (0, None),
        ([1, 2], [2, 1]),
        ({"a": None}, {}),
        (1, 1.5),
        ("é", "e\u0301"),
        ("a", "a "),
        ([], {}),
    ],
)
def test_different_json_has_different_identities(one, other):
    assert content_hash(one) != content_hash(other)


def test_the_canonical_text_is_sorted_and_has_no_spaces_and_no_needless_escapes():
    assert canonical_json({"b": [1.0, 0.5, None, True], "a": "é\n\"'"}) == '{"a":"é\\n\\"\'","b":[1,0.5,null,true]}'


def test_the_order_of_keys_never_matters():
    dice = random.Random(7)
    items = [(f"k{i}", {"n": i, "m": [i, {"z": i, "a": -i}]}) for i in range(20)]
    first = content_hash(dict(items))
    for _ in range(20):
        dice.shuffle(items)
        assert content_hash(dict(items)) == first


def test_a_float_too_large_to_be_exact_stays_a_float():
    assert canonical_json(1e300) == "1e+300"
    assert canonical_json(float(2**53)) == "9007199254740992.0"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, {"a": [math.nan]}])
def test_what_json_has_no_number_for_is_refused(value):
    with pytest.raises(ValueError, match=r"(nan|inf) has no place in JSON"):
        canonical_json(value)


@pytest.mark.parametrize("value", [object(), {"a": {1, 2}}, b"x", 1j])
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises(TypeError, match="not JSON serializable"):
        content_hash(value)


def test_a_hash_is_tagged_and_is_the_plain_sha256_of_the_text():
    assert text_hash("") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert content_hash("a") == text_hash('"a"')


def test_texts_with_lone_surrogates_have_hashes_of_their_own():
    hashes = {content_hash("a\ud800"), content_hash("a\ud801"), content_hash("a\ufffd"), content_hash("a")}
    assert len(hashes) == 4


def test_an_id_is_readable_and_in_the_order_of_the_bytes_it_is_made_of():
    assert make_id("opt", bytes(10)) == "opt_0000000000000000"
    assert make_id("trl", b"\xff" * 5) == "trl_vvvvvvvv"
    assert make_id("x", b"\xff") == "x_vs"


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        ("a\ud83d", "a\ufffd"),
        ("\ud83dX", "\ufffdX"),
        ("\ude00é", "\ufffdé"),
        ("\ud83d\ude00", "😀"),
        ({"k\ud800": ["\udfff", 1, None]}, {"k\ufffd": ["\ufffd", 1, None]}),
        (("\ud800", 2), ("\ufffd", 2)),
    ],
)
def test_a_lone_surrogate_becomes_a_replacement_character(broken, whole):
    assert well_formed(broken) == whole
    canonical_json(well_formed(broken)).encode("utf-8")


@pytest.mark.parametrize(
    "value", ["plain", "é\ufeff😀", "\ufffeé", 1.5, None, True, ["a", {"b": "ü"}], (1, "ö"), {"a"}]
)
def test_what_can_be_written_is_left_as_it_is(value):
    assert well_formed(value) == value
    assert type(well_formed(value)) is type(value)
