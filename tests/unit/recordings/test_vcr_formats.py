"""Cassettes of other dialects: a corpus of them, each holding the same two interactions, imports without loss."""

# ruff: noqa: E501  a table is read by its rows

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout_local.errors import RecordingError
from rollout_local.recordings import import_cassette, list_recordings, open_recording, show, verify

ASKED = '{"model": "m", "q": "ünï"}'
TOLD = '{"answer": "ja – yes"}'
URL = "http://127.0.0.1:1/v1/chat"
JSON = {"content-type": ["application/json"]}


def request(**changes: Any) -> dict[str, Any]:
    return {"method": "POST", "uri": URL, "body": ASKED, "headers": JSON, **changes}


def response(**changes: Any) -> dict[str, Any]:
    return {"status": {"code": 200, "message": "OK"}, "headers": JSON, "body": {"string": TOLD}, **changes}


def cassette(asked: Any = None, told: Any = None, **more: Any) -> dict[str, Any]:
    rows = [{"request": asked or request(), "response": told or response()}]
    return {
        "interactions": [*rows, {"request": request(method="GET", body=None), "response": response()}],
        "version": 1,
        **more,
    }


def as_yaml(data: Any, **options: Any) -> bytes:
    return yaml.dump(data, allow_unicode=True, **options).encode()


def as_json(data: Any, **options: Any) -> bytes:
    return json.dumps(data, **options).encode()


def told_as(body: Any, **headers: Any) -> dict[str, Any]:
    return cassette(told=response(body=body, headers={**JSON, **headers}))


def asked_as(body: Any, **headers: Any) -> dict[str, Any]:
    return cassette(asked=request(body=body, headers={**JSON, **headers}))


ZIPPED = gzip.compress(TOLD.encode())
CODE = base64.b64encode(TOLD.encode()).decode()
OLD_HTTPX = {"status_code": 200, "http_version": "HTTP/1.1", "headers": JSON}
VERY_OLD = """- request: !!python/object:vcr.request.Request
    body: '{asked}'
    headers: !!python/object/apply:__builtin__.frozenset
    - - !!python/tuple [content-type, application/json]
    host: 127.0.0.1
    method: POST
    path: /v1/chat
    port: 1
    protocol: http
  response:
    body: {{string: !!python/unicode '{told}'}}
    headers: ["content-type: application/json\\r\\n"]
    status: {{code: 200, message: OK}}
- request:
    body: null
    headers: []
    host: 127.0.0.1
    method: GET
    path: /v1/chat
    port: 1
    protocol: http
  response: {{body: {{string: '{told}'}}, headers: [], status: {{code: 200, message: OK}}}}
"""
RUBY = {
    "http_interactions": [
        {
            "request": {"method": "post", "uri": URL, "body": {"encoding": "UTF-8", "string": ASKED}, "headers": JSON},
            "response": {
                **response(),
                "body": {"encoding": "ASCII-8BIT", "string": TOLD.encode()},
                "http_version": None,
            },
            "recorded_at": "Mon, 01 Jan 2024 00:00:00 GMT",
        },
        {
            "request": {"method": "get", "uri": URL, "body": {"encoding": "US-ASCII"}, "headers": {}},
            "response": response(),
        },
    ],
    "recorded_with": "VCR 6.1.0",
}
BETAMAX = {
    "http_interactions": [
        {
            "request": {**request(), "body": {"encoding": "utf-8", "string": ASKED}},
            "response": {**response(), "body": {"encoding": None, "base64_string": CODE}, "url": URL},
            "recorded_at": "2024-01-01T00:00:00",
        },
        {"request": request(method="GET", body={"encoding": "utf-8", "string": ""}), "response": response()},
    ],
    "recorded_with": "betamax/0.8.1",
}

CORPUS: dict[str, tuple[str, bytes]] = {
    "block yaml": ("yaml", as_yaml(cassette())),
    "flow yaml": ("yaml", as_yaml(cassette(), default_flow_style=True)),
    "yaml unsorted": ("yml", as_yaml(cassette(), sort_keys=False)),
    "yaml ascii": ("yaml", yaml.dump(cassette()).encode()),
    "yaml narrow": ("yaml", as_yaml(cassette(), width=20)),
    "yaml literal styles": ("yaml", as_yaml(cassette(), default_style="|")),
    "yaml quoted": ("yaml", as_yaml(cassette(), default_style='"')),
    "yaml with a document start": ("yaml", as_yaml(cassette(), explicit_start=True, explicit_end=True)),
    "yaml with comments": ("yaml", b"# made by hand\n" + as_yaml(cassette())),
    "yaml with crlf": ("yaml", as_yaml(cassette()).replace(b"\n", b"\r\n")),
    "yaml with a bom": ("yaml", b"\xef\xbb\xbf" + as_yaml(cassette())),
    "yaml in utf-16": ("yaml", as_yaml(cassette()).decode().encode("utf-16")),
    "yaml with aliases": ("yaml", as_yaml({"interactions": [{"request": request(), "response": response()}] * 1
                                           + [{"request": request(method="GET", body=None), "response": response()}]})),
    "yaml with metadata": ("yaml", as_yaml(cassette(metadata={"seed": 1}))),
    "yaml without a version": ("yaml", as_yaml({k: v for k, v in cassette().items() if k != "version"})),
    "gzip'd file": ("yaml.gz", gzip.compress(as_yaml(cassette()))),
    "json": ("json", as_json(cassette())),
    "json indented": ("json", as_json(cassette(), indent=4)),
    "json not ascii": ("json", as_json(cassette(), ensure_ascii=False)),
    "json named yaml": ("yaml", as_json(cassette())),
    "json with a bom": ("json", b"\xef\xbb\xbf" + as_json(cassette())),
    "yaml named json": ("yaml", as_yaml({**cassette(), "version": 1}, default_flow_style=True)),
    "response bytes": ("yaml", as_yaml(told_as({"string": TOLD.encode()}))),
    "response gzip'd": ("yaml", as_yaml(told_as({"string": ZIPPED}, **{"content-encoding": ["gzip"]}))),
    "response gzip'd, header capitalised": ("yaml", as_yaml(told_as({"string": ZIPPED}, **{"Content-Encoding": ["gzip"]}))),
    "response gzip'd, header gone": ("yaml", as_yaml(told_as({"string": ZIPPED}))),
    "response said to be gzip'd and is not": ("yaml", as_yaml(told_as({"string": TOLD}, **{"content-encoding": ["gzip"]}))),
    "response deflated": ("yaml", as_yaml(told_as({"string": zlib.compress(TOLD.encode())}, **{"content-encoding": ["deflate"]}))),
    "response in base64 (base64_string)": ("json", as_json(told_as({"base64_string": CODE, "encoding": "utf-8"}))),
    "response in base64 (encoding)": ("json", as_json(told_as({"string": CODE, "encoding": "base64"}))),
    "response in base64, gzip'd": (
        "json",
        as_json(told_as({"base64_string": base64.b64encode(ZIPPED).decode()}, **{"content-encoding": ["gzip"]})),
    ),
    "response as plain text": ("json", as_json(told_as(TOLD))),
    "response headers as texts": ("yaml", as_yaml(cassette(told=response(headers={"content-type": "application/json"})))),
    "response headers as pairs": ("json", as_json(cassette(told=response(headers=[["content-type", "application/json"]])))),
    "response headers as bytes": ("yaml", as_yaml(cassette(told=response(headers={"content-type": [b"application/json"]})))),
    "response headers as lines": ("yaml", as_yaml(cassette(told=response(headers=["content-type: application/json\r\n"])))),
    "status as a number": ("json", as_json(cassette(told=response(status=200, reason="OK")))),
    "status as text": ("json", as_json(cassette(told=response(status="200 OK")))),
    "status as a pair": ("json", as_json(cassette(told=response(status=[200, "OK"])))),
    "status with a reason": ("json", as_json(cassette(told=response(status={"code": 200, "reason": "OK"})))),
    "old httpx": ("yaml", as_yaml(cassette(told={**OLD_HTTPX, "content": TOLD, "reason_phrase": "OK"}))),
    "old httpx, bytes": ("yaml", as_yaml(cassette(told={**OLD_HTTPX, "content": TOLD.encode(), "reason": "OK"}))),
    "request bytes": ("yaml", as_yaml(asked_as(ASKED.encode()))),
    "request gzip'd": ("yaml", as_yaml(asked_as(gzip.compress(ASKED.encode()), **{"content-encoding": ["gzip"]}))),
    "request as a mapping": ("yaml", as_yaml(asked_as(json.loads(ASKED)))),
    "request as a string in a mapping": ("json", as_json(asked_as({"string": ASKED}))),
    "request in pieces": ("yaml", as_yaml(asked_as([ASKED[:5], ASKED[5:]]))),
    "request in pieces of bytes": ("yaml", as_yaml(asked_as([ASKED.encode()[:5], ASKED.encode()[5:]]))),
    "request as a file": (
        "yaml",
        as_yaml(asked_as("BODY")).replace(
            b"body: BODY",
            b"body: !!python/object/new:_io.BytesIO\n      state: !!python/tuple [!!binary "
            + base64.b64encode(ASKED.encode()) + b", 0, null]",
        ),
    ),
    "request as an iterator": (
        "yaml",
        as_yaml(asked_as("BODY")).replace(
            b"body: BODY",
            b"body: !!python/object/apply:builtins.iter\n      args: [[!!binary " + base64.b64encode(ASKED.encode()) + b"]]",
        ),
    ),
    "request headers as texts": ("json", as_json(cassette(asked=request(headers={"Content-Type": "application/json"})))),
    "request with a url": ("json", as_json(cassette(asked={**request(), "uri": None, "url": URL}))),
    "request with protocol and url": ("json", as_json(cassette(asked={**request(), "url": URL, "protocol": "http"}))),
    "before 1.0, yaml": ("yaml", VERY_OLD.format(asked=ASKED, told=TOLD).encode()),
    "before 1.0, json": (
        "json",
        as_json([
            {"request": {"method": method, "protocol": "http", "host": "127.0.0.1", "port": 1, "path": "/v1/chat", "body": body,
                         "headers": JSON}, "response": response()}
            for method, body in (("POST", ASKED), ("GET", None))
        ]),
    ),
    "ruby": ("yml", as_yaml(RUBY)),
    "ruby, json": ("json", as_json({**RUBY, "http_interactions": [
        {**RUBY["http_interactions"][0], "response": response()}, RUBY["http_interactions"][1]]})),
    "betamax": ("json", as_json(BETAMAX)),
}  # fmt: skip


def test_the_corpus_has_at_least_40_dialects():
    assert len(CORPUS) >= 40


@pytest.mark.parametrize("name", CORPUS)
def test_a_dialect_imports_without_loss_and_replays(name, tmp_path, ask):
    suffix, data = CORPUS[name]
    source, out = tmp_path / f"source.{suffix}", tmp_path / "ours.yaml"
    source.write_bytes(data)
    assert import_cassette(source, out) == 2
    post, get = show(out).interactions
    assert json.loads(post.body or b"") == json.loads(ASKED)
    assert (post.method, post.url, post.answer.status, post.answer.reason) == ("POST", URL, 200, "OK")
    assert post.answer.body.decode() == TOLD
    assert ("content-type", "application/json") in post.answer.headers
    assert (get.method, get.body or None, get.answer.body.decode()) == ("GET", None, TOLD)
    assert verify(out).ok
    for path in (source, out):
        with open_recording(path, "none", strict=True):
            assert ask.client.post("http://other.host/v1/chat", json=json.loads(ASKED)).json() == json.loads(TOLD)
            assert ask.client.get("https://other.host/v1/chat").text == TOLD


def test_bodies_of_forms_and_lists_are_read():
    from rollout_local.recordings.vcr_formats import _body

    assert _body([("a", "1"), ["b", b"x y"]]) == b"a=1&b=x+y"
    assert _body([{"a": 1}]) == b'[{"a":1}]'
    assert _body({}) is None
    assert _body([]) == b""


def bad(change: Callable[[dict[str, Any]], Any]) -> bytes:
    data = cassette()
    change(data)
    return as_yaml(data)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.yaml", b"interactions: [", r"x.yaml:\d+: the cassette is damaged"),
        ("x.yaml", as_yaml(cassette())[:-30] + b"\n  'odd", r"x.yaml:\d+: the cassette is damaged"),
        ("x.json", as_json(cassette(), indent=1)[:-30], r"x.json:\d+: is not JSON"),
        ("x.yaml", b"!!python/object/apply:os.system ['true']", "damaged"),
        ("x.yaml", b"interactions: []", "holds no interactions"),
        ("x.yaml", b"interactions: {}", "no list of interactions"),
        ("x.yaml", b"42", "no list of interactions"),
        ("x.yaml", bad(lambda d: d["interactions"][1].pop("response")), r"x.yaml:16: interaction 2 is damaged \(KeyError"),
        ("x.yaml", bad(lambda d: d["interactions"][0]["request"].pop("method")), r"x.yaml:2: interaction 1"),
        ("x.yaml", bad(lambda d: d["interactions"][0].update(request=3)), r"interaction 1 is damaged"),
        ("x.yaml", bad(lambda d: d["interactions"][0]["response"].pop("status")), "no status"),
        ("x.yaml", bad(lambda d: d["interactions"][0]["response"].update(status={"code": "many"})), "ValueError"),
        ("x.yaml", bad(lambda d: d["interactions"][0]["response"].update(headers=7)), "TypeError"),
        ("x.json", as_json([1, 2]), "interaction 1 is damaged"),
        ("x.yaml", b"\x1f\x8bnot gzip", "not text"),
    ],
)  # fmt: skip
def test_a_damaged_cassette_is_refused_saying_where(tmp_path, name, data, message):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(RecordingError, match=message), open_recording(path, "none"):
        pass


def test_a_folder_of_json_and_yaml_lists_only_cassettes(tmp_path, make):
    (tmp_path / "package.json").write_text('{"name": "x"}')
    (tmp_path / "notes.txt").write_text("interactions")
    (tmp_path / "empty.yaml").touch()
    (tmp_path / "foreign.json").write_bytes(as_json(cassette()))
    make.write(tmp_path / "ours.yaml", make.item({"a": 1}))
    listed = list_recordings(tmp_path)
    assert [(one.path.name, one.ours, one.interactions) for one in listed] == [
        ("foreign.json", False, 2),
        ("ours.yaml", True, 1),
    ]


def test_a_json_cassette_is_not_continued_in_place(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(as_json(cassette()))
    with pytest.raises(RecordingError, match="recordings import"), open_recording(path):
        pass
    assert json.loads(path.read_bytes()) == cassette()


def test_an_import_does_not_overwrite_and_does_not_take_our_own(tmp_path: Path, make):
    source = tmp_path / "x.json"
    source.write_bytes(as_json(cassette()))
    make.write(tmp_path / "ours.yaml", make.item({"a": 1}))
    with pytest.raises(RecordingError, match="there already"):
        import_cassette(source, tmp_path / "ours.yaml")
    with pytest.raises(RecordingError, match="is a recording already"):
        import_cassette(tmp_path / "ours.yaml", tmp_path / "new.yaml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours.yaml", "x.json"]
