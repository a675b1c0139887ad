"""Finds the new prompt in a reply of a reflection model, in the shapes that models answer in.

Asked for is a JSON object with one text. Models also send other keys, lists of lines, a fenced block with an
introduction around it, tags, DSPy's own markers, or the text alone. A reply that was cut off is no prompt: a text
counts as whole where its quote, fence or sentence is closed.
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

FIELD = "new_instruction"
_THOUGHTS = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)|\A.*</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_STRING = re.compile(rf'"{FIELD}"\s*:\s*"((?:[^"\\]|\\.)*)', re.DOTALL)
_MARKED = re.compile(rf"\[\[ ## {FIELD} ## \]\](.*?)(?:\[\[ ## \w+ ## \]\]|\Z)", re.DOTALL)
_NAMES = r"(?:(?:new|improved|updated|revised|better|final)_)?(?:system_)?(?:instructions?|prompt)(?:_text)?"
_KEY = re.compile(_NAMES, re.IGNORECASE)
_INNER_KEY = re.compile(rf"{_NAMES}|text|content|value", re.IGNORECASE)
_TAGGED = re.compile(rf"<({FIELD})>(.*?)</\1>|\A<({_NAMES})>(.*?)</\3>\Z", re.DOTALL | re.IGNORECASE)
_NEW = r"\b(?:new|improved|revised|updated|better|rewritten|refined|proposed|here(?:'s|’s| is| are))\b"
_INTRODUCES = re.compile(
    rf"{_NEW}.*\b(?:instructions?|prompt)\b|\A\W*(?:\w+\W+){{0,2}}(?:instructions?|prompt)\W*\Z", re.IGNORECASE
)
_OLD = re.compile(r"\b(?:old|current|original|previous)\b", re.IGNORECASE)
_FENCE = re.compile(r"[ ]{0,3}(`{3,}|~{3,})[ ]*([^\s`]*)[ ]*\Z")
_SENTENCE = re.compile(r"[.!?](?:\s|$)|[。！？]")
_ENDS = frozenset(".!?:;)]}>\"'`*。！？」』）”’…।؟")
_WITHOUT_SPACES = re.compile(  # Thai to Lao, Burmese, Khmer, kana, Han
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def read_reply(reply: str) -> str | None:
    """The instruction in a reply that is not the JSON object that was asked for, or None.

    Tried in turn: a broken object's field, DSPy's markers, a tag, JSON under another key, a fenced block, the whole
    text. Thoughts in `<think>…</think>` are dropped first, also where one of the tags is missing.
    """
    reply = without_thoughts(reply)
    broken = _STRING.search(reply)
    if broken:
        return None if is_cut_short(reply) else _sentence(_unescaped(broken.group(1)))
    if marked := _MARKED.search(reply):
        return _sentence(marked.group(1))
    if tagged := _TAGGED.search(reply):
        return _sentence(tagged.group(2) or tagged.group(4))
    value = _literal(reply)
    if value is not None:
        return _sentence(text_in(value) or "")
    return _of_text(reply)


def without_thoughts(reply: str) -> str:
    """The reply without what a reasoning model thinks aloud."""
    return _THOUGHTS.sub("", reply).strip()


def is_cut_short(reply: str) -> bool:
    """True where the field's text stops in the middle: its quote is open, and the last words end no sentence."""
    reply = without_thoughts(reply)
    found = _STRING.search(reply)
    return found is not None and found.end() == len(reply) and not _is_ended(_unescaped(found.group(1)))


def is_complete(reply: str) -> bool:
    """True where an object, a tag or a marked field is closed: what was cut off after it does not matter."""
    reply = without_thoughts(reply)
    try:
        json.JSONDecoder(strict=False).raw_decode(reply, reply.index("{"))
    except ValueError:
        return bool(_TAGGED.search(reply)) or "[[ ## completed ## ]]" in reply
    return True


def text_in(value: object) -> str | None:
    """The one prompt in a parsed value: a text, lines of text, or an object with one key that means a prompt."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return _under(value, _KEY)


def lines_in(value: object) -> str | None:
    """The same for what stands under the right key, where a list is its lines."""
    return _under(value, _INNER_KEY)


def _under(value: object, keys: re.Pattern[str]) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        lines = [line for line in value if isinstance(line, str)]
        return "\n".join(lines) if lines and len(lines) == len(value) and keys is _INNER_KEY else None
    if isinstance(value, Mapping):
        named = [item for key, item in value.items() if keys.fullmatch(str(key))]
        return _under(named[0], _INNER_KEY) if len(named) == 1 else None
    return None


def literal_in(text: str) -> object:
    """What stands for an object or a list in `text` (JSON, or Python's way to write it), or None."""
    return _literal(text) if text.lstrip().startswith(("{", "[")) else None


def _literal(text: str) -> object:
    for read in (lambda given: json.loads(given, strict=False), ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return value if isinstance(value, str | list | dict) else None
    return None


@dataclass(frozen=True)
class _Block:
    """A fenced block: what it holds, the line that leads to it, and whether its end is there."""

    text: str
    before: str
    is_closed: bool


def _of_text(reply: str) -> str | None:
    blocks, around = _blocks(reply)
    if not blocks:
        return _sentence(_without_introduction(reply))
    chosen = next((block for block in reversed(blocks) if _introduces(block.before)), None)
    if chosen is None:
        says_more = len(around) > len(blocks[-1].text) and _SENTENCE.search(around)
        readable = [block for block in blocks if _of_block(block) is not None]
        if says_more or not readable:  # the blocks are examples in it
            return reply if _sentence(around) and blocks[-1].is_closed else None
        chosen = readable[-1]
    return _of_block(chosen)


def _of_block(block: _Block) -> str | None:
    if not block.is_closed and not _is_ended(block.text):
        return None
    value = literal_in(block.text)
    return _sentence(block.text if value is None else text_in(value) or "")


def _blocks(text: str) -> tuple[list[_Block], str]:
    """The outermost fenced blocks, and what stands around them. A fence with a language opens an inner one."""
    blocks: list[_Block] = []
    open_fences: list[str] = []
    inside: list[str] = []
    around: list[str] = []
    for line in text.splitlines():
        fence = _FENCE.match(line)
        if fence and open_fences and not fence.group(2) and fence.group(1).startswith(open_fences[-1]):
            open_fences.pop()
            if not open_fences:
                blocks.append(_Block("\n".join(inside), _last_line(around), is_closed=True))
                inside = []
                continue
        elif fence:
            open_fences.append(fence.group(1))
            if len(open_fences) == 1:
                continue
        (inside if open_fences or inside else around).append(line)
    if open_fences:
        blocks.append(_Block("\n".join(inside), _last_line(around), is_closed=False))
    return blocks, "\n".join(around).strip()


def _last_line(lines: list[str]) -> str:
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _introduces(line: str) -> bool:
    return bool(_INTRODUCES.search(line)) and not _OLD.search(line)


def _without_introduction(text: str) -> str:
    """The text without a first line that only says that the new instruction comes."""
    first, _, rest = text.partition("\n")
    return rest if rest.strip() and first.rstrip(" *").endswith(":") and _introduces(first) else text


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except json.JSONDecodeError:
        return text


def _is_ended(text: str) -> bool:
    return text.rstrip()[-1:] in _ENDS


def _sentence(text: str) -> str | None:
    """`text` if it can be an instruction: at least three words, mostly letters, and not the rest of some JSON."""
    text = text.strip()
    letters = sum(unicodedata.category(char)[0] in "LMZ" or char.isspace() for char in text)
    if sum(_words(text)) < 3 or letters < 0.6 * len(text) or text[0] in "{[":
        return None
    return text


def _words(text: str) -> Iterator[float]:
    """One for each word; scripts that put no space between words are counted as two letters a word."""
    for run in re.findall(r"[^\W\d_]{2,}", _WITHOUT_SPACES.sub(" ", text)):
        yield bool(run)
    yield len(_WITHOUT_SPACES.findall(text)) / 2
