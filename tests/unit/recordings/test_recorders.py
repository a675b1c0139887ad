"""Formats of other recorders: every byte of body comes out, or the file is refused with what is not read."""

from __future__ import annotations

import base64
import gzip
import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout_local import limits
from rollout_local.errors import Paused, RecordingError
from rollout_local.recordings import import_cassette, open_recording, show
from rollout_local.recordings.identity import uncompressed
from rollout_local.recordings.recorders import FORMATS

URL = "https://api.example.com/v1/chat"
ASKED, TOLD = {"model": "m", "q": "ünï"}, {"answer": "ja – yes"}
JSON = {"content-type": ["application/json"]}
TEXT = json.dumps(TOLD, ensure_ascii=False)
PACKED = gzip.compress(TEXT.encode())
PAIRS = [{"name": "content-type", "value": "application/json"}]


def vcr(request: dict[str, Any] | None = None, response: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    asked = {"method": "POST", "uri": URL, "headers": JSON, "body": json.dumps(ASKED), **(request or {})}
    told = {"status": {"code": 200, "message": "OK"}, "headers": JSON, "body": {"string": TEXT}, **(response or {})}
    return {"interactions": [{"request": asked, "response": told}], "version": 1, **more}


def parsed(part: dict[str, Any]) -> dict[str, Any]:
    """With the body parsed, under the name that pydantic-ai gives it."""
    return {name: value for name, value in part.items() if name != "body"}


def pydantic_ai() -> dict[str, Any]:
    (row,) = vcr()["interactions"]
    return {"interactions": [{"request": {**parsed(row["request"]), "parsed_body": ASKED},
                              "response": {**parsed(row["response"]), "parsed_body": TOLD}}]}  # fmt: skip


def har(request: dict[str, Any] | None = None, response: dict[str, Any] | None = None) -> dict[str, Any]:
    asked = {"method": "POST", "url": URL, "headers": PAIRS, "postData": {"text": json.dumps(ASKED)}, **(request or {})}
    told = {"status": 200, "statusText": "OK", "headers": PAIRS, "content": {"text": TEXT}, **(response or {})}
    return {"log": {"version": "1.2", "entries": [{"request": asked, "response": told}]}}


def nock(**changes: Any) -> list[dict[str, Any]]:
    return [{"scope": "https://api.example.com:443", "method": "POST", "path": "/v1/chat", "body": ASKED, "status": 200,
             "response": TOLD, "rawHeaders": ["Content-Type", "application/json"], **changes}]  # fmt: skip


def httpmock(number: int = 1, **then: Any) -> str:
    when = {
        "path": "/v1/chat",
        "method": "POST",
        "body": json.dumps(ASKED),
        "host": "api.example.com",
        "scheme": "https",
    }
    row = {"when": when, "then": {"status": 200, "header": PAIRS, "body": TEXT, **then}}
    return yaml.safe_dump_all([row] * number)


def httprr(body: bytes = TEXT.encode(), head: str = "", cut: int = 0) -> bytes:
    asked = f"POST {URL} HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: application/json\r\n\r\n".encode()
    asked += json.dumps(ASKED).encode()
    told = f"HTTP/2.0 200 OK\r\nContent-Type: application/json\r\n{head}\r\n".encode() + body
    return b"httprr trace v1\n" + f"{len(asked)} {len(told)}\n".encode() + asked + (told[:-cut] if cut else told)


def ruby() -> str:
    text = yaml.safe_dump(vcr({"body": {"encoding": "UTF-8", "string": json.dumps(ASKED)}},
                              {"body": {"encoding": "ASCII-8BIT", "string": "BODY"}}))  # fmt: skip
    return text.replace("interactions:", "http_interactions:").replace(
        "BODY", "!binary |-\n          " + base64.b64encode(TEXT.encode()).decode()
    )


def langchain(more: int = 0) -> bytes:
    (row,) = vcr()["interactions"]
    return gzip.compress(
        yaml.safe_dump({"requests": [row["request"]], "responses": [row["response"]] * (1 + more)}).encode()
    )


def typed(kind: str, content: Any) -> dict[str, Any]:
    return vcr(
        {"body": {"type": "json", "content": ASKED}}, {"body": {"type": kind, "content": content}, "status": 200}
    )


CHUNKS = "".join(f"{len(piece.encode()):x}\r\n{piece}\r\n" for piece in (TEXT[:5], TEXT[5:])) + "0\r\n\r\n"
HEX = [PACKED[:9].hex(), PACKED[9:].hex()]
ZIPPED = [*PAIRS, {"name": "content-encoding", "value": "gzip"}]
READ: dict[str, Any] = {
    "pydantic-ai": pydantic_ai(),
    "cassetter, json": typed("json", TOLD),
    "cassetter, text": typed("text", TEXT),
    "cassetter, base64": typed("base64", base64.b64encode(TEXT.encode()).decode()),
    "LangChain": langchain(),
    "Ruby VCR, binary": ruby(),
    "R VCR": vcr({}, {"status": {"status_code": 200, "category": "Success", "reason": "OK"},
                      "body": {"encoding": "UTF-8", "file": False, "string": TEXT}}),
    "go-vcr": vcr({"proto": "HTTP/1.1", "form": {}}, {"status": "200 OK", "code": 200, "duration": "1s", "body": TEXT}),
    "HAR": har(),
    "HAR, base64": har({}, {"content": {"text": base64.b64encode(TEXT.encode()).decode(), "encoding": "base64"}}),
    "Polly, chunks": har({}, {"headers": ZIPPED, "content": {"encoding": "base64", "text": json.dumps(
        [base64.b64encode(piece).decode() for piece in (PACKED[:9], PACKED[9:])])}}),
    "nock": nock(),
    "nock, packed": nock(response=HEX, rawHeaders=["Content-Type", "application/json", "Content-Encoding", "gzip"]),
    "nock, binary": nock(response=TEXT.encode().hex(), responseIsBinary=True),
    "nock, headers by name": nock(rawHeaders={"content-type": "application/json"}),
    "httpmock": httpmock(),
    "httpmock, base64": httpmock(body=None, body_base64=base64.b64encode(TEXT.encode()).decode()),
    "httprr": httprr(),
    "httprr, chunked": httprr(CHUNKS.encode(), "Transfer-Encoding: chunked\r\n"),
}  # fmt: skip


def write(path: Path, data: Any) -> Path:
    if isinstance(data, str | bytes):
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    else:
        path.write_text(json.dumps(data) if path.suffix == ".json" else yaml.safe_dump(data))
    return path


@pytest.mark.parametrize("name", READ)
def test_every_byte_of_a_format_is_read(name: str, tmp_path: Path) -> None:
    for suffix in ["yaml"] if isinstance(READ[name], str | bytes) else ["yaml", "json"]:
        out = tmp_path / f"out-{suffix}.yaml"
        assert import_cassette(write(tmp_path / f"source.{suffix}", READ[name]), out) == 1
        (item,) = show(out).interactions
        assert (item.method, item.url, item.answer.status) == ("POST", URL, 200)
        assert json.loads(item.body or b"") == ASKED
        assert json.loads(item.answer.body) == TOLD
        assert ("content-type", "application/json") in item.answer.headers


def test_a_form_that_was_parsed_is_a_form_again(tmp_path: Path) -> None:
    kind = {"content-type": ["application/x-www-form-urlencoded"]}
    fields = [{"name": name, "value": value} for name, value in (("a", "1"), ("a", "2"), ("b", "x y"))]
    parsed_form = vcr({"headers": kind, "body": None, "parsed_body": {"a": ["1", "2"], "b": ["x y"]}})
    for number, data in enumerate([parsed_form, har({"postData": {"params": fields}})]):
        out = tmp_path / f"{number}.yaml"
        import_cassette(write(tmp_path / "source.json", data), out)
        assert show(out).interactions[0].body == b"a=1&a=2&b=x+y"


def test_several_documents_are_several_interactions(tmp_path: Path) -> None:
    assert import_cassette(write(tmp_path / "mock.yaml", httpmock(3)), tmp_path / "out.yaml") == 3


NOT_READ: list[tuple[Any, str]] = [
    (vcr({"body": None, "raw_body": "x"}), "interaction 1: the request has 'raw_body', which is not read here"),
    (vcr({}, {"trailers": {"a": "b"}}), "interaction 1: the response has 'trailers', which is not read here"),
    (vcr(grpc_interactions=[{"a": 1}]), "the file has 'grpc_interactions', which is not read here"),
    ({"interactions": [{**vcr()["interactions"][0], "frames": ["x"]}]}, "the interaction has 'frames'"),
    (vcr({"parsed_body": ASKED}), "interaction 1: its body is there as body and as parsed_body"),
    (typed("stream", ["a"]), "its body is of the type 'stream', which is not read here"),
    (vcr({}, {"body": {"file": True, "string": "answer.bin"}}), "its body is in another file"),
    (langchain(more=1), "has 1 requests and 2 responses"),
    (har({}, {"content": {"size": 9}}), r"the content of entry 1 is not in the file \(its size is 9\)"),
    (har({}, {"content": {"text": "x", "encoding": "rot13"}}), "is kept as 'rot13', which is not read here"),
    (har({}, {"content": {"text": "x", "blob": "y"}}), "the content of entry 1 has 'blob'"),
    (har({}, {"status": 0}), r"entry 1 has no answer \(status 0\)"),
    (har({"postData": {"params": [{"name": "a", "fileName": "b"}]}}), "names files, whose content is not in it"),
    (har({"method": None, "url": None}), "interaction 1 is damaged"),
    ({"log": {"entries": [{}]}}, r"an interaction is damaged \(KeyError: 'request'\)"),
    (nock(replyBody="x"), "the interaction 1 has 'replyBody'"),
    (httpmock(json_body={"a": 1}), "the then of document 1 has 'json_body'"),
    (httprr(cut=3), r"it is cut off: it has \d+ bytes, and an answer that ends at \d+"),
    (httprr(b"5\r\nab", "Transfer-Encoding: chunked\r\n"), "a chunk of a body is cut off"),
    (b"httprr trace v1\nmany\n", "at byte 16 are no lengths of a request and an answer"),
    ("a: 1\n---\nb: 2\n", "it holds several YAML documents, and is none of the formats that are read"),
    ({"log": {"lines": []}}, "it has no list of interactions, and is none of the formats that are read"),
    ("interactions: !ruby/object:X {}", "source.yaml:1: holds what is not read here"),
    (vcr({}, {"headers": {"content-encoding": ["br"]}, "body": {"base64_string": "//79"}}),
     "interaction 1: its body is packed as br, which is undone with brotli: pip install it"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "message"), NOT_READ, ids=[message[:60] for _, message in NOT_READ])
def test_what_is_not_read_is_refused_and_nothing_is_written(tmp_path: Path, data: Any, message: str) -> None:
    source = write(tmp_path / "source.yaml", data)
    with pytest.raises(RecordingError, match=message) as refused:
        import_cassette(source, tmp_path / "out.yaml")
    assert "damaged" not in message or "damaged" in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source.yaml"]


def test_the_formats_that_are_read_are_named_to_people() -> None:
    from rollout_local.cli.recordings import import_

    told = " ".join((import_.help or "").split())
    for name in FORMATS.replace(" and ", ", ").split(", "):
        assert name in told


# -- limits, lowered


@pytest.fixture
def lower(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    return lambda name, most: monkeypatch.setitem(limits.MOST, name, most)


def refusal(path: Path) -> str:
    with pytest.raises(RecordingError) as refused:
        show(path)
    return str(refused.value)


def test_a_file_that_is_or_becomes_too_large_is_refused(tmp_path: Path, lower: Callable[..., None]) -> None:
    lower("cassette", 900)
    for data in (
        yaml.safe_dump(vcr(metadata="x" * 900)).encode(),
        gzip.compress(yaml.safe_dump(vcr(metadata="x" * 900)).encode()),
    ):
        assert "source.yaml: is larger than 900 bytes, the most that is read of a cassette" in refusal(
            write(tmp_path / "source.yaml", data)
        )


def test_aliases_count_as_what_they_stand_for(tmp_path: Path, lower: Callable[..., None]) -> None:
    few = f"metadata: [&a [x, x, x], &b [*a, *a, *a], &c [{'*b, ' * 9}], [*c, *c, *c]]\n"
    source = write(tmp_path / "source.yaml", few + yaml.safe_dump(vcr()))
    assert len(show(source).interactions) == 1
    lower("cassette", len(source.read_bytes()) + 20)
    assert "is larger than" in refusal(source)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &x [*x]", "the alias *x stands for nothing, or for what it stands in"),
        ("a: " + "[" * 101 + "]" * 101, "nested more than 100 levels deep"),
        ("a: *nobody", "the alias *nobody stands for nothing"),
    ],
)
def test_links_into_themselves_and_deep_nesting_are_refused(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(write(tmp_path / "source.yaml", text))


def test_bodies_are_counted_as_they_come_out(tmp_path: Path, lower: Callable[..., None]) -> None:
    body = {"base64_string": base64.b64encode(gzip.compress(b"x" * 3000)).decode()}
    source = write(tmp_path / "source.yaml", vcr({}, {"body": body, "headers": {"content-encoding": ["gzip"]}}))
    lower("body", 2000)
    assert "interaction 1: its body is larger than 2000 bytes, the most that is read of a body" in refusal(source)
    lower("body", 4000)
    lower("cassette's bodies", 2000)
    assert "is larger than 2000 bytes, the most that is read of a cassette's bodies" in refusal(source)


def test_a_pipe_or_a_device_is_no_recording(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "device.yaml").symlink_to("/dev/zero")
    for name in ("pipe.yaml", "device.yaml"):
        assert "is no plain file" in refusal(tmp_path / name)


def test_a_live_body_beyond_the_limit_stops_the_run(tmp_path: Path, lower: Callable[..., None]) -> None:
    lower("body", 100)
    body = gzip.compress(b"x" * 200)
    with open_recording(tmp_path / "live.yaml") as recording, pytest.raises(Paused, match="is larger than 100 bytes"):
        recording.begin("test", lambda _error: None, "POST", URL, [("content-encoding", "gzip")], body)


def test_codecs_that_are_no_part_of_python_are_bounded_too(
    monkeypatch: pytest.MonkeyPatch, lower: Callable[..., None]
) -> None:
    class Decompressor:
        """As brotli's: here a byte stands for ten."""

        def process(self, data: bytes) -> bytes:
            return data * 10

        def is_finished(self) -> bool:
            return True

    class ZstdDecompressor:
        def stream_reader(self, data: bytes) -> Any:
            return types.SimpleNamespace(read=lambda most: (data * 10)[:most])

    monkeypatch.setitem(sys.modules, "brotli", types.SimpleNamespace(Decompressor=Decompressor))
    monkeypatch.setitem(sys.modules, "zstandard", types.SimpleNamespace(ZstdDecompressor=ZstdDecompressor))
    for encoding in ("br", "zstd"):
        lower("body", 1000)
        assert len(uncompressed(b"x" * 100, encoding)) == 1000
        lower("body", 999)
        with pytest.raises(limits.TooLarge):
            uncompressed(b"x" * 100, encoding)
