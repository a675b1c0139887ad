"""The arguments of an optimizer that a run may give it: named, typed, and those that it may not, with the reason.

Arguments come as JSON (`--arg KEY=VALUE`, `[run.gepa]`); what has to be code is named as `module:function` and
imported when the search begins. The tables stand beside DSPy's own signatures, which say what there is: a name that
they do not have is refused, and one that they gain is allowed as it is.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from rollout_local import documents
from rollout_local.errors import InputError


def _named(value: str) -> str:
    module, _, name = value.partition(":")
    if not module or not name.isidentifier():
        msg = "give it as module:function"
        raise ValueError(msg)
    return value


Code = Annotated[str, AfterValidator(_named)]
"""`module:function`."""
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


GIVEN_ABOVE = "the optimizer gives it itself, from its own arguments"
"""Why an inner argument is refused that the outer ones decide."""


@dataclass(frozen=True)
class Argument:
    """One argument of an optimizer: its default as text, and why it is refused, where it is."""

    name: str
    default: str
    refused: str | None = None
    values: str = ""
    """What it may be; empty where its type is not known here."""
    says: str = ""
    """What it is for, in the words of the installed library; empty where that says nothing."""


@dataclass(frozen=True)
class Table:
    """What is known of an optimizer's arguments beyond its signature."""

    signature: inspect.Signature
    types: Mapping[str, Any]
    refused: Mapping[str, str]
    inner: Mapping[str, Table]
    """Tables of arguments that are themselves mappings, such as `gepa_kwargs`."""
    code: frozenset[str] = frozenset()
    """Arguments that may be given as `module:function`."""
    documentation: str = ""
    """The library's docstring of them."""

    def arguments(self) -> list[Argument]:
        """Every argument, those of inner mappings as `outer.inner`."""
        found, says = [], documented(self.documentation, self.signature.parameters)
        for name, parameter in self.signature.parameters.items():
            if name in self.inner:
                found += [replace(one, name=f"{name}.{one.name}") for one in self.inner[name].arguments()]
            elif name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                values = _values(self.types[name], is_code=name in self.code) if name in self.types else ""
                found.append(Argument(name, _default(parameter), self.refused.get(name), values, says.get(name, "")))
        return found

    def check(self, given: Mapping[str, object], where: str = "") -> dict[str, Any]:
        """`given`, typed. Raises `InputError` naming the first argument that is unknown, refused or of the wrong type.

        `outer.inner` is taken as the inner argument of a mapping.
        """
        checked: dict[str, object] = {}
        for name, value in _nested(given, self.inner).items():
            if name not in self.signature.parameters or name == "self":
                msg = f"there is no argument {where}{name}{self._near(name)}; `rollout optimize engines` lists them"
                raise InputError(msg)
            if name in self.refused:
                msg = f"--arg {where}{name} is refused: {self.refused[name]}"
                raise InputError(msg)
            if name in self.inner and isinstance(value, Mapping):
                checked[name] = self.inner[name].check(value, f"{where}{name}.")
            else:
                checked[name] = self._typed(name, value, where)
        return checked

    def loaded(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Checked arguments with what is named as code imported. Raises `InputError` where that cannot be."""
        return {
            name: self.inner[name].loaded(value) if name in self.inner else _made(value) if name in self.code else value
            for name, value in arguments.items()
        }

    def _typed(self, name: str, value: object, where: str) -> Any:
        if name not in self.types:
            return value
        try:
            return TypeAdapter(self.types[name]).validate_python(value)
        except ValidationError as error:
            kinds = dict.fromkeys(str(one["msg"]).removeprefix("Value error, ") for one in error.errors())
            said = " or ".join(kind[0].lower() + kind[1:] for kind in kinds)
            msg = f"--arg {where}{name}={value!r}: {said}"
            raise InputError(msg) from error

    def _near(self, name: str) -> str:
        inside = [f"{outer}.{name}" for outer, table in self.inner.items() if name in table.signature.parameters]
        near = inside or documents.near(name, self.signature.parameters, 2)
        return f" (is {' or '.join(near)} meant?)" if near else ""


def _nested(given: Mapping[str, object], inner: Mapping[str, object]) -> dict[str, Any]:
    """`{"gepa_kwargs.x": 1}` as `{"gepa_kwargs": {"x": 1}}`."""
    nested: dict[str, Any] = {}
    for name, value in given.items():
        outer, _, rest = name.partition(".")
        if rest and outer in inner:
            nested[outer] = {**nested.get(outer, {}), rest: value}
        elif isinstance(value, Mapping) and isinstance(nested.get(name), dict):
            nested[name] = {**nested[name], **value}
        else:
            nested[name] = value
    return nested


_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def documented(text: str, names: Collection[str]) -> dict[str, str]:
    """The first sentence of each argument that a docstring explains, as `name: words` or `- name (type): words`."""
    entry = re.compile(rf"^\s*(?:- )?`?({'|'.join(map(re.escape, names))})`?(?: \([^)]*\))?: (.*)$")
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.split("\n"):
        started = entry.match(line) if names else None
        if started:
            lines = found.setdefault(started[1], [])
            lines.append(started[2])
        elif line.strip() and ": " not in line.strip()[:30]:
            lines.append(line.strip())
        else:
            lines = []
    whole = {name: _LINK.sub(r"\1", " ".join(parts)) for name, parts in found.items()}
    return {name: re.split(r"(?<=[.!?]) ", words)[0] for name, words in whole.items()}


def _values(kind: Any, *, is_code: bool) -> str:
    """A type in words: `"a" | "b"`, `true | false`, `a whole number from 1`."""
    schema = TypeAdapter(kind).json_schema()
    return " | ".join(dict.fromkeys(_one_value(one, is_code=is_code) for one in schema.get("anyOf", [schema])))


def _one_value(schema: Mapping[str, Any], *, is_code: bool) -> str:
    if "enum" in schema or "const" in schema:
        return " | ".join(str(value) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") in ("integer", "number"):
        what = "a whole number" if schema["type"] == "integer" else "a number"
        least = f" from {schema['minimum']:g}" if "minimum" in schema else ""
        most = f" to {schema['maximum']:g}" if "maximum" in schema else ""
        return f"{what}{least}{most}"
    if schema.get("type") == "string":
        return "module:function" if is_code else "a text"
    words = {"boolean": "true | false", "object": "a JSON object", "array": "a list", "null": "null"}
    return words.get(str(schema.get("type")), "any")


def _default(parameter: inspect.Parameter) -> str:
    return "required" if parameter.default is inspect.Parameter.empty else repr(parameter.default)


def by_name(value: object) -> object:
    """A function or class as `module:name`, so that it can be stored; anything else as it is."""
    if callable(value) and hasattr(value, "__qualname__"):
        if "<" in value.__qualname__ or "." in value.__qualname__ or value.__module__ == "__main__":
            msg = f"{value.__qualname__} cannot be found again by name: define it at the top of a module of its own"
            raise InputError(msg)
        return f"{value.__module__}:{value.__qualname__}"
    return value


def _made(value: object) -> object:
    """What `module:function` names, a class called without arguments; anything else as it is."""
    if not isinstance(value, str) or ":" not in value:
        return value
    module, _, name = value.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
        return found() if inspect.isclass(found) else found
    except Exception as error:
        msg = f"{value} cannot be used ({type(error).__name__}: {error}); it is looked for beside the target"
        raise InputError(msg) from error


__all__ = ["GIVEN_ABOVE", "Argument", "Code", "Count", "Literal", "Share", "Size", "Table", "by_name"]
