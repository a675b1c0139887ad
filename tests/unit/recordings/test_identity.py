"""What makes two requests the same."""

from __future__ import annotations

import gzip
import json
import re
import zlib

import pytest

from rollout_local.errors import RecordingError
from rollout_local.recordings.identity import Reader, uncompressed
from rollout_local.redaction import Redactor

JSON = [("content-type", "application/json")]


def key(body: bytes | None, *, url="http://a/v1", method="POST", headers=JSON, ignore=()) -> str:
    return Reader(Redactor({}), ignore).read(method, url, headers, body).key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"body": b'{"a":1,"b":2}'}, {"body": b'{ "b" : 2, "a" : 1 }'}),
        ({"body": b'{"a":1}'}, {"body": b'{"a":1.0}'}),
        ({"body": b'{"a":[1e2,{"b":-3.0}]}'}, {"body": b'{"a":[100,{"b":-3}]}'}),
        ({"body": b'{"a":"\\u00e9"}'}, {"body": '{"a":"é"}'.encode()}),
        ({"body": b'{"a":1}'}, {"body": b'{"a":1}', "headers": []}),
        ({"body": b'{"a":1}'}, {"body": b'{"a":1}', "headers": [*JSON, ("x-stainless-retry-count", "2")]}),
        ({"body": b'{"a":1}'}, {"body": b'{"a":1}', "url": "https://api.example.com:8443/v1"}),
        ({"body": b'{"a":1}'}, {"body": b'{"a":1}', "url": "http://user:pass12345@a/v1"}),
        ({"body": b'{"a":1}', "url": "http://a/v1?x=1&key=A"}, {"body": b'{"a":1}', "url": "http://a/v1?key=B&x=1"}),
        ({"body": b'{"a":1}'}, {"body": gzip.compress(b'{"a":1}', mtime=5), "headers": [("Content-Encoding", "gzip")]}),
        ({"body": b'{"a":1}'}, {"body": zlib.compress(b'{"a":1}'), "headers": [("content-encoding", "deflate")]}),
        ({"body": None}, {"body": b""}),
        ({"body": b"{}", "method": "post"}, {"body": b"{}", "method": "POST"}),
        (
            {"body": b"a=1&b=2", "headers": [("content-type", "application/x-www-form-urlencoded")]},
            {"body": b"b=2&a=1", "headers": [("content-type", "application/x-www-form-urlencoded")]},
        ),
        (
            {"body": b"--xx\r\nhi\r\n--xx--", "headers": [("content-type", "multipart/form-data; boundary=xx")]},
            {"body": b'--yyy\r\nhi\r\n--yyy--', "headers": [("content-type", 'multipart/form-data; boundary="yyy"')]},
        ),
    ],
)  # fmt: skip
def test_these_are_the_same_request(one, other):
    assert key(**one) == key(**other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"body": b'{"a":1}'}, {"body": b'{"a":2}'}),
        ({"body": b'{"a":1}'}, {"body": b'{"a":"1"}'}),
        ({"body": b'{"a":1}'}, {"body": b'{"a":true}'}),
        ({"body": b'{"a":1.5}'}, {"body": b'{"a":1}'}),
        ({"body": b'{"a":[1,2]}'}, {"body": b'{"a":[2,1]}'}),
        ({"body": b'{"a":1}'}, {"body": b'{"a":1}', "url": "http://a/v2"}),
        ({"body": b'{"a":1}'}, {"body": b'{"a":1}', "method": "PUT"}),
        ({"body": b'{"a":1}', "url": "http://a/v1?x=1"}, {"body": b'{"a":1}', "url": "http://a/v1?x=2"}),
        ({"body": b'{"a":1}', "url": "http://a/v1?page_token=1"}, {"body": b'{"a":1}', "url": "http://a/v1?page_token=2"}),
        ({"body": b"\xff\x00"}, {"body": b"\xff\x01"}),
        ({"body": b"text"}, {"body": b"text "}),
        ({"body": b'{"a":1e300}'}, {"body": b'{"a":1e301}'}),
        ({"body": b"--xx", "headers": [("content-type", "multipart/mixed")]}, {"body": b"--yy"}),
    ],
)  # fmt: skip
def test_these_are_different_requests(one, other):
    assert key(**one) != key(**other)


def test_a_field_is_ignored_by_name_at_any_depth_and_in_the_query():
    one = key(b'{"a":[{"id":1,"b":2}],"id":3}', url="http://a/v1?id=1", ignore=["id"])
    assert one == key(b'{"a":[{"b":2}]}', url="http://a/v1?id=2", ignore=["id"])
    assert one != key(b'{"a":[{"b":3}]}', ignore=["id"])


@pytest.mark.parametrize(
    ("name", "body", "alike", "other"),
    [
        ("messages.0.content", {"messages": [{"content": "a"}, {"content": "b"}]},
         {"messages": [{"content": "x"}, {"content": "b"}]}, {"messages": [{"content": "a"}, {"content": "x"}]}),
        ("messages.1", {"messages": ["a", "b", "c"]}, {"messages": ["a", "x", "c"]}, {"messages": ["x", "b", "c"]}),
        ("/meta.data/id", {"meta.data": {"id": 1, "x": 1}}, {"meta.data": {"x": 1}}, {"meta.data": {"id": 1}}),
        ("/user", {"user": 1, "a": {"user": 1}}, {"a": {"user": 1}}, {"user": 1, "a": {}}),
        (r"messages.content~\d+-\d+", {"messages": [{"content": "on 1-2"}, {"content": "on 3-4", "x": "1-2"}]},
         {"messages": [{"content": "on 5-6"}, {"content": "on 7-8", "x": "1-2"}]},
         {"messages": [{"content": "on 1-2"}, {"content": "on 3-4", "x": "3-4"}]}),
        ("messages.0~a+", {"messages": [{"t": ["aa b"]}, "a"]}, {"messages": [{"t": ["a b"]}, "a"]},
         {"messages": [{"t": ["aa b"]}, "aa"]}),
        ("~[0-9]+", {"a": ["x 1", {"b": "y 2"}]}, {"a": ["x 34", {"b": "y 5"}]}, {"a": ["x 1", {"b": "z 2"}]}),
        ("n~1", {"n": 1, "m": "1"}, {"n": 1, "m": "1"}, {"n": 2, "m": "1"}),
    ],
)  # fmt: skip
def test_a_path_and_a_pattern_are_ignored_where_they_say(name, body, alike, other):
    def keyed(content: object) -> str:
        return key(json.dumps(content).encode(), ignore=[name])

    assert keyed(body) == keyed(alike)
    assert keyed(body) != keyed(other)


def test_a_pattern_is_ignored_in_a_text_that_is_not_json():
    ignore, headers = ["~at [0-9:]+"], [("content-type", "text/plain")]
    assert key(b"asked at 10:30", headers=headers, ignore=ignore) == key(
        b"asked at 9:1", headers=headers, ignore=ignore
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [("a..b", "names no field"), ("", "names no field"), ("~", "names no field"), ("a~(", "is no regular expression")],
)
def test_a_name_that_is_none_is_refused_in_words(name, told):
    with pytest.raises(RecordingError, match=f"^--ignore-field {re.escape(repr(name))}.*{told}"):
        Reader(Redactor({}), [name])


def test_a_dotted_field_is_ignored_only_where_it_says():
    ignore = ["metadata.run"]
    assert key(b'{"metadata":{"run":1,"x":2}}', ignore=ignore) == key(b'{"metadata":{"x":2}}', ignore=ignore)
    assert key(b'{"metadata":[{"run":1}]}', ignore=ignore) == key(b'{"metadata":[{}]}', ignore=ignore)
    assert key(b'{"run":1}', ignore=ignore) != key(b"{}", ignore=ignore)
    assert key(b'{"metadata":7}', ignore=ignore) == key(b'{"metadata":7}')


def test_a_question_is_the_same_for_another_model_and_path():
    reader = Reader(Redactor({}))
    one = reader.read("POST", "http://a/models/x:go", JSON, b'{"model":"x","q":1}')
    other = reader.read("POST", "http://a/models/y:go", JSON, b'{"model":"y","q":1}')
    third = reader.read("POST", "http://a/models/x:go", JSON, b'{"model":"x","q":2}')
    assert one.key != other.key
    assert one.question() == other.question() != third.question()
    assert (
        reader.read("GET", "http://a/x", [], None).question() == reader.read("GET", "http://a/y", [], None).question()
    )


def test_a_key_does_not_depend_on_the_secret_that_a_body_echoes():
    def echoing(secret: str) -> str:
        headers = [*JSON, ("authorization", f"Bearer {secret}")]
        return key(json.dumps({"said": f"my key is {secret}"}).encode(), headers=headers)

    assert echoing("first-secret-0001") == echoing("second+secret/0002==")


@pytest.mark.parametrize("encoding", ["", "identity", "unknown", "gzip", "br", "zstd"])
def test_a_body_that_cannot_be_uncompressed_stays_as_it_is(encoding):
    assert uncompressed(b"not compressed", encoding) == b"not compressed"


def test_compression_is_undone_in_the_order_it_was_done():
    raw = zlib.compressobj(wbits=-15)
    deflated = raw.compress(b"hello") + raw.flush()
    assert uncompressed(gzip.compress(zlib.compress(b"hello")), "deflate, gzip") == b"hello"
    assert uncompressed(deflated, "deflate") == b"hello"
