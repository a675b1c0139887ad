"""Checks of what the task asks for in its metadata, and of the tools that were called."""

from __future__ import annotations

from collections.abc import Mapping

from rollout_local.domain.dataset import Task
from rollout_local.errors import GradingError
from rollout_local.verifiers.quoting import joined, quote, quotes
from rollout_local.verifiers.subject import PERFECT, Outcome, Params, Subject

LISTS = ("mustMention", "mustNotMention")
_SNAKE = {"must_mention": "mustMention", "must_not_mention": "mustNotMention", "any_of": "anyOf"}


def task_expectations(_: Params, subject: Subject) -> Outcome:
    """The share of the task's expectations that hold; 1 for a task without any. Case does not count."""
    expectations = read_expectations(subject.task)
    text = subject.text.casefold()
    missing, unwanted = (expectations[name] for name in LISTS)
    reasons = [_missing(phrases, message) for phrases, message in missing if not _said(phrases, text)]
    reasons += [_unwanted(_said(phrases, text), message) for phrases, message in unwanted if _said(phrases, text)]
    total = len(missing) + len(unwanted)
    return ((total - len(reasons)) / total, joined(reasons)) if reasons else PERFECT


def read_expectations(task: Task) -> dict[str, list[tuple[list[str], str]]]:
    """`metadata.expectations` as lists of (phrases, message) under `mustMention` and `mustNotMention`.

    Raises `GradingError` for what has no phrase to look for: that must not pass in silence.
    """
    raw = task.metadata.get("expectations")
    if raw is None:
        return {name: [] for name in LISTS}
    if not isinstance(raw, Mapping):
        raise _error(task, f"is {quote(raw)}; it must be an object with mustMention and mustNotMention lists")
    lists = {_SNAKE.get(str(key), str(key)): entries for key, entries in raw.items()}
    unknown = [key for key in lists if key not in LISTS]
    if unknown:
        raise _error(task, f"has the unknown key {quote(unknown[0])}; known are mustMention and mustNotMention")
    return {name: [_entry(task, name, entry) for entry in _entries(task, name, lists)] for name in LISTS}


def tool_called(params: Params, subject: Subject) -> Outcome:
    """1 where the result's metadata reports, under `tool_calls`, a call of the tool."""
    name = params["name"]
    calls = subject.result.metadata.get("tool_calls")
    if not isinstance(calls, list | tuple):
        return 0.0, f'the tool {quote(name)} was not called: the result reports no list metadata["tool_calls"]'
    called = [_tool_name(call) for call in calls]
    if name in called:
        return PERFECT
    there = f"called were {quotes(list(dict.fromkeys(called)))}" if called else "no tool was called"
    return 0.0, f"the tool {quote(name)} was not called; {there}"


def _entries(task: Task, name: str, lists: Mapping[str, object]) -> list[object]:
    entries = lists.get(name) or []
    if not isinstance(entries, list):
        raise _error(task, f"has {quote(entries)} as {name}; it must be a list")
    return entries


def _entry(task: Task, name: str, raw: object) -> tuple[list[str], str]:
    """Phrases and message of one entry: a text, or an object with `anyOf` or `text` and perhaps `message`."""
    entry = {"text": raw} if isinstance(raw, str) else raw
    if not isinstance(entry, Mapping):
        raise _error(task, f"has {quote(raw)} in {name}; it must be an object with anyOf or text")
    entry = {_SNAKE.get(key, key): value for key, value in entry.items()}
    phrases = entry.get("anyOf", entry.get("text"))
    phrases = [phrases] if isinstance(phrases, str) else phrases
    if not isinstance(phrases, list) or not phrases or not all(isinstance(p, str) and p.strip() for p in phrases):
        raise _error(task, f"has {quote(raw)} in {name}, with no phrase to look for; give it anyOf or text")
    message = entry.get("message", "")
    if not isinstance(message, str) or set(entry) - {"anyOf", "text", "message"} or {"anyOf", "text"} <= set(entry):
        raise _error(task, f"has {quote(raw)} in {name}; it may hold anyOf or text, and message, a text")
    return phrases, message


def _said(phrases: list[str], text: str) -> str:
    """The first of the phrases that occurs in a casefolded text; empty where none does."""
    return next((phrase for phrase in phrases if phrase.casefold() in text), "")


def _missing(phrases: list[str], message: str) -> str:
    wanted = f"expected {'one of ' if len(phrases) > 1 else ''}{quotes(phrases)}"
    return f"missing: {message} ({wanted})" if message else f"missing: {wanted}"


def _unwanted(phrase: str, message: str) -> str:
    return f"must not mention: {quote(phrase)}" + (f" ({message})" if message else "")


def _tool_name(call: object) -> str:
    """The name in the shapes that agents report: a text, `{"name"}`, `{"tool"}`, `{"function": {"name"}}`."""
    if not isinstance(call, Mapping):
        return str(call)
    function = call.get("function")
    inner = function.get("name") if isinstance(function, Mapping) else function
    return str(call.get("name") or call.get("tool") or inner or "")


def _error(task: Task, what: str) -> GradingError:
    return GradingError(f'task "{task.name}": metadata.expectations {what}')
