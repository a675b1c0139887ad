"""The text of a foreign cassette as data: bounded before it is built, read safely, or refused with its line.

Aliases of YAML are links: a few lines of them can stand for gigabytes once they are written out. So the events of the
text are counted first, with every alias at the size of what it stands for; nesting is bounded too, and a link that
leads into itself is refused. vcrpy's safe loader then builds the data; Ruby's `!binary` is the one tag beside its own.
"""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any

import orjson
import yaml

from rollout_local import limits
from rollout_local.documents import MAX_DEPTH
from rollout_local.errors import RecordingError

HTTPRR = b"httprr trace v1\n"
_OLD_TAGS = (
    "!!python/object:vcr.request.Request",
    "!!python/object/apply:__builtin__.frozenset",
    "!!python/object/apply:builtins.frozenset",
)
_EVENTS = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Documents(list[object]):
    """The values of a file with several YAML documents."""


def bytes_of(path: Path) -> bytes:
    """The file's bytes, unpacked where it is a gzip file. Raises `RecordingError`."""
    try:
        raw = limits.read(path, "cassette")
        return limits.inflate(raw, "gzip", "cassette") if raw.startswith(b"\x1f\x8b") else raw
    except limits.TooLarge as error:
        raise RecordingError(f"{path}: {error}.") from None
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read ({error.strerror}).") from None
    except (EOFError, ValueError, zlib.error):
        raise RecordingError(f"{path}: is neither a recording nor a cassette (it is not text).") from None


def text_of(path: Path, raw: bytes) -> str:
    """The text in these bytes. Raises `RecordingError`."""
    try:
        return raw.decode("utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        raise RecordingError(f"{path}: is neither a recording nor a cassette (it is not text).") from None


def parsed(path: Path, text: str) -> object:
    """The data of a JSON or YAML text; several YAML documents are `Documents`. Raises `RecordingError`."""
    try:
        if text.lstrip()[:1] in ("{", "["):
            return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if path.suffix in (".json", ".har"):
            raise RecordingError(f"{path}:{error.lineno}: is not JSON ({error.msg}).") from None
    for tag in _OLD_TAGS:
        text = text.replace(tag, "")
    try:
        _measure(text)
        found = _documents(text)
    except limits.TooLarge as error:
        raise RecordingError(f"{path}: {error}.") from None
    except yaml.constructor.ConstructorError as error:
        raise RecordingError(f"{path}{_line(error)}: holds what is not read here ({error.problem}).") from None
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "not YAML"
        raise RecordingError(f"{path}{_line(error)}: the cassette is damaged ({problem}).") from None
    except (ValueError, TypeError, RecursionError) as error:
        raise RecordingError(f"{path}: the cassette cannot be read ({error}).") from None
    return Documents(found) if len(found) > 1 else (found or [None])[0]


def line_of(text: str, number: int) -> int | None:
    """The line of the n-th interaction in a YAML text that was parsed; None where that cannot be said."""
    try:
        root = yaml.compose(text, Loader=_EVENTS)
    except yaml.YAMLError:
        return None
    listed = root if isinstance(root, yaml.SequenceNode) else None
    if isinstance(root, yaml.MappingNode):
        listed = next((value for _, value in root.value if isinstance(value, yaml.SequenceNode)), None)
    if listed is None or number > len(listed.value):
        return None
    return int(listed.value[number - 1].start_mark.line) + 1


def _line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f":{mark.line + 1}" if mark else ""


def _measure(text: str) -> None:
    """Refuse what is too large, or nested too deep, once its aliases are written out. Builds nothing."""
    anchored: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=_EVENTS):
        size = 0
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchored:
                msg = f"the alias *{event.anchor} stands for nothing, or for what it stands in"
                raise ValueError(msg)
            size = anchored[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            size = len(event.value) + 1
            anchored |= {event.anchor: size} if event.anchor else {}
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, 1))
            if len(open_) > MAX_DEPTH:
                msg = f"nested more than {MAX_DEPTH} levels deep"
                raise ValueError(msg)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = open_.pop()
            anchored |= {anchor: size} if anchor else {}
        anchor, before = open_[-1]
        open_[-1] = (anchor, before + size)
        limits.check(before + size, "cassette")


def _documents(text: str) -> list[Any]:
    from vcr.serializers import yamlserializer

    loader: Any = type("_Loader", (yamlserializer._CassetteLoader,), {})  # noqa: SLF001 - its reader takes one document
    loader.add_constructor("!binary", _binary)
    return list(yaml.load_all(text, Loader=loader))


def _binary(_: object, node: yaml.ScalarNode) -> bytes:
    return base64.b64decode(node.value)
