"""YAML that people wrote, read strictly, as `rollout_local.documents` reads JSON and TOML.

Only plain values come out (`yaml.safe_load`'s), and of these only what JSON can say too. Refused with file and line:
malformed YAML, a key given twice, anchors and aliases (a few lines of them can stand for gigabytes), dates and other
tags (quote them), nesting beyond `MAX_DEPTH`, and several documents in one file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import yaml

from rollout_local.documents import MAX_DEPTH, json_problem, kind_of
from rollout_local.errors import InputError

_QUOTE = "quote it"


class _Loader(yaml.SafeLoader):
    """`SafeLoader` without aliases, without keys given twice, and without dates."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "an alias; write it out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise yaml.constructor.ConstructorError(None, None, f"a key that is no text; {_QUOTE}", key.start_mark)
            if key.value in seen:
                what = f'the key "{key.value}" is given twice; keep one'
                raise yaml.constructor.ConstructorError(None, None, what, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _date(_: yaml.SafeLoader, node: yaml.Node) -> NoReturn:
    what = f"the date {node.value}; {_QUOTE}"
    raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _date)


def parse_yaml(text: str, where: Path | str, line: int = 1) -> dict[str, Any]:
    """The mapping of a YAML text, empty for an empty one; `line` is the text's first line in its file."""
    try:
        value = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader, made stricter
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}:{line + mark.line}:{mark.column + 1}" if mark else f"{where}"
        _refuse(f"{place}: not valid YAML: {error.problem or error.context}; correct it")
    except yaml.reader.ReaderError as error:
        at = text.count("\n", 0, error.position) + line
        _refuse(f"{where}:{at}: not valid YAML: the character {error.character!a} is not allowed; remove it")
    except RecursionError:
        _refuse(f"{where}: nested more than {MAX_DEPTH} levels deep; flatten it")
    except ValueError as error:  # a number that Python does not read
        _refuse(f"{where}: not valid YAML: {error}; correct it")
    if problem := json_problem(value):
        _refuse(f"{where}: {problem}")
    if value is not None and not isinstance(value, dict):
        _refuse(f"{where}:{line}: is {kind_of(value)}; it must be a mapping of keys to values")
    return value or {}


def _refuse(message: str) -> NoReturn:
    raise InputError(message) from None
