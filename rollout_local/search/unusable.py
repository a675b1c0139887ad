"""Why a text that a reflection model gave can be no instruction, in words. Weak models give all of these.

What is asked here is asked once, while the reply is fresh: what the journal remembers was judged when it came.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dspy
from dspy.teleprompt.gepa.instruction_proposal import ProposeInstruction

from rollout_local.python_source import tree_of
from rollout_local.search.replies import FIELD

_TEMPLATE = re.compile(rf"\{{\s*{FIELD}\s*\}}|\[\[ ## {FIELD} ## \]\]")
_PLACEHOLDER = re.compile(
    r"\W*(?:your|the|insert|put|write|a)?\s*(?:new|improved|updated|better)?[\s_]*(?:instructions?|prompt|text)"
    r"(?:\s+(?:text|for the assistant|goes?|comes?))?(?:\s+here)?\W*",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]{2,}|[^\W\d_a-zA-Z]")
_QUOTED = 60
"""Characters of the question in a row that make a text an echo of it."""
_STATEMENTS = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.For, ast.While, ast.With,
    ast.Return, ast.Assign, ast.AugAssign, ast.Call,
)  # fmt: skip


def problem(text: str, examples: Sequence[Mapping[str, Any]]) -> str | None:
    """What is wrong with a text as an instruction, or None. `examples` are what the model was shown."""
    if not _WORD.search(text) or text in ("True", "False", "None", "null"):
        return "holds no words"
    if _TEMPLATE.search(text) or _PLACEHOLDER.fullmatch(text):
        return "is a placeholder of the template in place of a text"
    if any(line in text for line in _asked()):
        return "echoes the question that it was asked"
    if text.strip() in set(_texts(examples)):
        return "is one of the examples that it was shown"
    if _is_program(text):
        return "is a Python program in place of an instruction"
    return None


def cut_by(lm: Any) -> str | None:
    """In words, what cut the last answer of a `dspy.LM` (its limit of tokens, a filter), or None where nothing did."""
    last = lm.history[-1] if getattr(lm, "history", None) else {}
    response = last.get("response")
    choices = getattr(response, "choices", None) or []
    incomplete = getattr(getattr(response, "incomplete_details", None), "reason", None)
    reasons = {incomplete, *(getattr(choice, "finish_reason", None) for choice in choices)}
    if "content_filter" in reasons:
        return "was cut by the provider's content filter"
    if not reasons & {"length", "max_output_tokens"}:
        return None
    name = next((name for name in ("max_tokens", "max_completion_tokens") if lm.kwargs.get(name)), None)
    limit = f"{name}={lm.kwargs[name]}" if name else "the server's own limit of tokens"
    return f"was cut at {limit} (raise it with --reflection-param)"


def remembering() -> Any:
    """A context in which a `dspy.LM` keeps its last answers, whatever the user's settings say."""
    return dspy.context(disable_history=False, max_history_size=max(1, dspy.settings.max_history_size or 0))


def _asked() -> list[str]:
    lines = (line.strip() for line in ProposeInstruction.instructions.splitlines())
    return [line for line in lines if len(line) >= _QUOTED]


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value.strip()
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from _texts(item)


def _is_program(text: str) -> bool:
    try:
        tree = tree_of(text.strip().removeprefix("```python").strip("`\n"))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return any(isinstance(node, _STATEMENTS) for node in ast.walk(tree))
