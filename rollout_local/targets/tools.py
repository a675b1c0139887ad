"""Python tools of a capability: the typed public functions of `tools/*.py`, as a chat model calls them.

The annotations become the JSON Schema of the parameters, and arguments are checked against them before the function
is called. A tool that fails, or is called with what it does not take, answers with the error as text: the model may
correct itself. Which tools an agent has is said by its globs, in order: the last one that matches wins, and what none
matches is allowed.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ArgsKwargs

from rollout_local.domain.target import output_text
from rollout_local.errors import InputError
from rollout_local.python_source import tree_of


@dataclass(frozen=True)
class Tool:
    """One tool. `parameters` is a JSON Schema; `adapter` checks arguments and calls the function."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    adapter: TypeAdapter[Any]

    @property
    def declaration(self) -> dict[str, object]:
        """The tool as a chat completion is told of it."""
        described = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": described}

    def answer(self, arguments: str) -> tuple[str, str]:
        """Call it with arguments as JSON. Returns `(result as text, "")` or `("", what was wrong)`."""
        try:
            given = json.loads(arguments or "{}")
        except ValueError as error:
            return "", f"the arguments are not JSON: {error}"
        if not isinstance(given, dict):
            return "", "the arguments are not a JSON object"
        try:
            returned = self.adapter.validate_python(ArgsKwargs((), given))
            if inspect.isawaitable(returned):
                returned = asyncio.run(_finish(returned))
        except ValidationError as error:
            return "", _said(error)
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything; the model is told
            return "", f"{type(error).__name__}: {error}"
        return "" if returned is None else output_text(returned), ""


def load_tools(files: Mapping[str, bytes], origin: str) -> dict[str, Tool]:
    """The tools of these Python files, by name.

    Raises `InputError`, naming the file (as `origin/path`), for a module that does not load, a parameter without a
    type, and two tools of one name.
    """
    found: dict[str, Tool] = {}
    places: dict[str, str] = {}
    for path, source in files.items():
        for name, function in _functions(_module(source, f"{origin}/{path}"), f"{origin}/{path}"):
            if name in found:
                msg = f"the tool {name} stands in {places[name]} and in {path}; rename one"
                raise InputError(msg)
            found[name], places[name] = _tool(name, function, f"{origin}/{path}"), path
    return found


def check_syntax(files: Mapping[str, bytes], origin: str) -> None:
    """Refuse files that are no Python, with the line; nothing is executed."""
    for path, source in files.items():
        try:
            tree_of(source, path)
        except SyntaxError as error:
            msg = f"{origin}/{path}:{error.lineno}: not valid Python: {error.msg}; correct it"
            raise InputError(msg) from error
        except ValueError as error:  # null bytes
            msg = f"{origin}/{path}: not valid Python: {error}; correct it"
            raise InputError(msg) from error


def allowed(name: str, globs: Sequence[tuple[str, bool]]) -> bool:
    """Whether an agent with these globs has the tool: the last match wins, case does not count."""
    matches = [verdict for glob, verdict in globs if fnmatchcase(name.casefold(), glob.casefold())]
    return matches[-1] if matches else True


def _module(source: bytes, place: str) -> ModuleType:
    """Execute a tool's source as a module of its own, one per content: its classes can name it."""
    stem = PurePosixPath(place).stem
    digest = hashlib.sha256(place.encode() + b"\0" + source).hexdigest()[:16]
    module = ModuleType(f"rollout_capability_{stem}_{digest}")
    module.__file__ = place
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, place, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the user's own code, as a target's is
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        line = error.lineno if isinstance(error, SyntaxError) else _line_in(error, place)
        msg = f"{place}{f':{line}' if line else ''}: the tool cannot be loaded: {type(error).__name__}: {error}"
        raise InputError(msg) from error
    return module


def _line_in(error: BaseException, place: str) -> int | None:
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == place:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _functions(module: ModuleType, place: str) -> Iterator[tuple[str, Callable[..., object]]]:
    """The public functions that the module itself defines, in its order; `__all__` chooses where it is given.

    Other names of a function are no tools, and neither is what the file imports.
    """
    own = {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and value.__name__ == name
    }
    chosen = getattr(module, "__all__", None)
    for name in [name for name in own if not name.startswith("_")] if chosen is None else chosen:
        if name not in own:
            msg = f"{place}: __all__ names {name!r}, which is no function of this file"
            raise InputError(msg)
        yield name, own[name]


def _tool(name: str, function: Callable[..., object], place: str) -> Tool:
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            msg = f"{place}: the tool {name} takes {parameter}; a tool's parameters are given by name"
            raise InputError(msg)
        if parameter.annotation is parameter.empty:
            msg = f"{place}: the parameter {parameter.name} of the tool {name} has no type; write one, such as str"
            raise InputError(msg)
    try:
        function.__annotations__ = get_type_hints(function, include_extras=True)
        adapter: TypeAdapter[Any] = TypeAdapter(function)  # type: ignore[arg-type]
        parameters = _untitled(adapter.json_schema())
    except Exception as error:
        msg = f"{place}: the types of the tool {name} cannot be told to a model: {error}"
        raise InputError(msg) from error
    return Tool(name, inspect.getdoc(function) or "", parameters, adapter)


def _untitled(schema: object, *, names: bool = False) -> Any:
    """A schema without pydantic's titles, which only repeat the names; `names`: its keys are parameters."""
    if isinstance(schema, dict):
        kept = {key: value for key, value in schema.items() if names or key != "title"}
        return {key: _untitled(value, names=key in ("properties", "$defs")) for key, value in kept.items()}
    return [_untitled(item) for item in schema] if isinstance(schema, list) else schema


def _said(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))


async def _finish(awaitable: Awaitable[object]) -> object:
    return await awaitable
