r"""A script: what simulated models know and how they behave, as data. Nothing in the simulator knows a task.

A script is one JSON file. Unknown fields are refused; every regular expression ignores case and is searched for, not
anchored. The layout, with defaults in parentheses:

    {"version": 1, "about": "for people",
     "models": {"NAME or fnmatch pattern": {"role": "student" | "reflection", ...}}}

A model is found by its exact name, then by the first pattern that fits. `"extends": "OTHER"` takes over every field of
another model of the same file, or else of the built-in script, and replaces the ones that are written.

**Student**, a weak model. Instructions are the system messages; the message is the last user message.

    fields      ([]) what it can tell from a message; without fields it writes free text
    follow      (40) how many directives of its instructions it obeys at most, first ones first
    json_when   regex over the instructions: only then it writes JSON (or when `response_format` asks for it)
    bare_when   regex over the instructions: only then the JSON comes without a code fence and a chatty lead
    leads       how prose begins; one is chosen by hash of the message
    sentence    ("{key} is {value}") a field in prose
    fence_leads what stands before a fence
    slips       ([]) mistakes: {"kind": "drop" | "neighbour", "rate": 0..1, "unless": regex over the instructions,
                "told_rate": (0) rate where `unless` matches}; rolled per field by seed and request
    replies     free text; `{words}` is replaced by words of the message; one is chosen by hash of the message
    fillers     sentences that it adds when it must write more

    field:  key, key_habit (key), labels, default (null: left out), set (false: one label; true: a list),
            needs (regex over the instructions without which the field is left out)
    label:  name, habit (name; a string or a list of them), cues ([]), priority (0; the highest one wins, then order),
            told (regex over the instructions that replaces the vocabulary rule for this label)
    cue:    pattern (regex over the message), needs (regex over the INSTRUCTIONS without which the cue goes unnoticed:
            the model thinks of it only when told), unless (regex over the message that rules the cue out), priority

    A field with `extract` in the place of labels is read off the message. In a prompt of DSPy's adapters it answers the
    output field of its key; a prompt that asks for such fields is answered with them alone.

    extract:  ways to read ([]), tried in order; the first that finds something has it:
        pattern (regex over the message; the named group `value` is what is found), needs (regex over the INSTRUCTIONS
        without which it is not tried), unless (regex over the INSTRUCTIONS with which it is not tried)
    wordings: how it is said ([]: as it is); the first that fits: say (a string or a list of them, one is chosen by hash
        of the message; `{value}` is what was found), needs (regex over the INSTRUCTIONS), when (regex over the message)
    default:  what is said where nothing was found (null: left out); `{words}` is replaced by words of the message

    Vocabulary rule: a label (or key) is written by its exact name only if the instructions have that name as a word of
    its own, same case; otherwise its habit is written.

    Directives which a student obeys wherever they stand in its instructions: see `rules.py`.

**Reflection**, a model that reads a DSPy GEPA proposal prompt and writes a better instruction. A form of DSPy's that
has an instruction, or that wants a text for each of some names, is filled from the feedback in it in the same way;
any other request is answered as by a student.

    lessons     what it can learn from one line of feedback (first ones first):
        pattern     regex with named groups over one line of feedback; `<quoted:NAME>` stands for a JSON string with
                    NAME its inside, `<quoteds:NAME>` for a list of them, `<word:NAME>` for a dotted name,
                    `<number:NAME>` for digits
        template    one line of instruction, with `{NAME}` for groups
        merge       (null) a group whose captures are collected in one line, as a list of quoted strings
        condition   ("never") "always" or "auto": put `When the message mentions "word": ` before it, with the rarest
                    word of the example's input. auto: not if all examples (two or more) that show the lesson agree
        generalize  (null) with this many condition words, the condition is dropped
        input       (null) regex over the example's inputs, without which the lesson is not learned
        needs       (null) regex over the current instruction, without which the lesson is not learned
        unless      (null) regex over the current instruction, with which the lesson is not learned
        fallback    (false) only for lines of feedback that no other lesson matched
    max_new     (2) lessons a proposal adds at most
    max_chars   (6000) no lesson is added that makes the instruction longer; a limit in the prompt also counts
    miss        (0) chance of overlooking a lesson, by seed and request
    heading     ("## Lessons") stands above the first lesson
    advice      ([]) lines that teach nothing, one added when there is no lesson
    reply       ("json") how the instruction is sent: "json", "fenced" (JSON in a code fence), "plain" (the text alone),
                "rubbish" (nothing usable)
"""

from __future__ import annotations

import re
import string
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from rollout_local.errors import InputError

DEFAULT = Path(__file__).with_name("scripts") / "default.json"
_FLAGS = re.IGNORECASE | re.MULTILINE
_STRING = r'"(?:[^"\\]|\\.)*"'
_SHORT = {
    "quoted": r'"(?P<{0}>(?:[^"\\]|\\.)*)"',
    "quoteds": rf"(?P<{{0}}>{_STRING}(?:,? (?:and |or )?{_STRING})*)",
    "word": r"(?P<{0}>\w+(?:[.-]\w+)*)",
    "number": r"(?P<{0}>\d+)",
}
_SHORTHAND = re.compile(r"<(quoteds?|word|number):(\w+)>")


def _compile(value: object) -> object:
    if not isinstance(value, str):
        return value
    pattern = _SHORTHAND.sub(lambda m: _SHORT[m[1]].replace("{0}", m[2]), value)
    try:
        return re.compile(pattern, _FLAGS)
    except re.error as problem:
        msg = f"{value!r} is not a regular expression: {problem}"
        raise ValueError(msg) from problem


Regex = Annotated[re.Pattern[str], BeforeValidator(_compile)]
Rate = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Cue(_Part):
    """A sign in the message that a label applies."""

    pattern: Regex
    needs: Regex | None = None
    unless: Regex | None = None
    priority: int | None = None


class Label(_Part):
    """One value of a field: its exact name, what the model calls it by habit, and its signs."""

    name: str
    habit: str | tuple[str, ...] | None = None
    cues: tuple[Cue, ...] = ()
    priority: int = 0
    told: Regex | None = None

    @property
    def habits(self) -> tuple[str, ...]:
        """What the model writes when it was not told the name; at least one."""
        if self.habit is None or isinstance(self.habit, tuple):
            return self.habit or (self.name,)
        return (self.habit,)


class Extract(_Part):
    """A way to read something off the message."""

    pattern: Regex
    needs: Regex | None = None
    unless: Regex | None = None

    @model_validator(mode="after")
    def _finds_a_value(self) -> Extract:
        if "value" not in self.pattern.groupindex:
            msg = f"the pattern {self.pattern.pattern!r} has no group (?P<value>…), which is what it finds"
            raise ValueError(msg)
        return self


class Phrasing(_Part):
    """A way to say what was read off the message."""

    say: str | Annotated[tuple[str, ...], Field(min_length=1)]
    needs: Regex | None = None
    when: Regex | None = None

    @property
    def ways(self) -> tuple[str, ...]:
        """At least one."""
        return (self.say,) if isinstance(self.say, str) else self.say


class Concept(_Part):
    """Something that the model can tell from a message: one label, a set of them, or a text that stands in it."""

    key: str
    labels: tuple[Label, ...] = ()
    key_habit: str | None = None
    default: str | tuple[str, ...] | None = None
    set: bool = False
    needs: Regex | None = None
    extract: tuple[Extract, ...] = ()
    wordings: tuple[Phrasing, ...] = ()

    @model_validator(mode="after")
    def _is_either_told_or_read(self) -> Concept:
        if ("labels" in self.model_fields_set) == bool(self.extract):
            msg = f"{self.key!r} needs either labels or extract, one of the two"
            raise ValueError(msg)
        if self.labels and self.wordings:
            msg = f"{self.key!r} has labels, which need no wordings: they are for extract"
            raise ValueError(msg)
        if self.extract and (self.set or self.key_habit or isinstance(self.default, tuple)):
            msg = f"{self.key!r} has extract, which gives one text: set, key_habit and a list as default do not apply"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _default_is_a_label(self) -> Concept:
        if self.extract:
            return self
        unknown = [name for name in self.defaults if name not in {label.name for label in self.labels}]
        if unknown:
            msg = f"default {unknown[0]!r} is not the name of a label of {self.key!r}"
            raise ValueError(msg)
        return self

    @property
    def defaults(self) -> tuple[str, ...]:
        """Names of the labels that hold where no cue was found."""
        return (self.default,) if isinstance(self.default, str) else self.default or ()


class Slip(_Part):
    """A mistake that the model makes now and then."""

    kind: Literal["drop", "neighbour"]
    rate: Rate
    unless: Regex | None = None
    told_rate: Rate = 0.0


class ScriptedStudent(_Part):
    """A weak model that follows its instructions as far as it can."""

    role: Literal["student"] = "student"
    about: str = ""
    fields: tuple[Concept, ...] = ()
    follow: int = Field(default=40, ge=0)
    json_when: Regex = re.compile(
        r"\b(?:reply|respond|answer|output|return|write|give|produce|format|use|valid|only)\b[^.\n]{0,60}\bjson\b"
        r"|\bjson (?:only|object)\b",
        _FLAGS,
    )
    bare_when: Regex = re.compile(
        r"\bonly (?:the |a |one |valid |raw )*json|\bjson only|\bno (?:code |markdown )*fences?|\braw json"
        r"|\bwithout (?:a |any |code |markdown )*fences?|\bno other text|\bnothing else|\bno prose",
        _FLAGS,
    )
    leads: tuple[str, ...] = Field(default=("This message seems clear enough:",), min_length=1)
    sentence: str = "{key} is {value}"
    fence_leads: tuple[str, ...] = Field(default=("Sure! Here is the JSON you asked for:",), min_length=1)
    slips: tuple[Slip, ...] = ()
    replies: tuple[str, ...] = Field(default=("Thank you for your message about {words}.",), min_length=1)
    fillers: tuple[str, ...] = Field(default=("Please let us know if anything is unclear.",), min_length=1)


class Lesson(_Part):
    """What one kind of feedback teaches."""

    pattern: Regex
    template: str
    about: str = ""
    merge: str | None = None
    condition: Literal["never", "auto", "always"] = "never"
    generalize: int | None = Field(default=None, ge=1)
    input: Regex | None = None
    needs: Regex | None = None
    unless: Regex | None = None
    fallback: bool = False

    @model_validator(mode="after")
    def _names_are_groups(self) -> Lesson:
        names = {name for _, name, _, _ in string.Formatter().parse(self.template) if name is not None}
        unknown = (names | ({self.merge} if self.merge else set())) - set(self.pattern.groupindex)
        if unknown:
            msg = f"the template or merge uses {min(unknown)!r}, which is no named group of the pattern"
            raise ValueError(msg)
        if self.merge and self.condition != "never":
            msg = "a lesson has either merge or a condition, not both"
            raise ValueError(msg)
        return self


class Reflection(_Part):
    """A model that writes a better instruction out of feedback."""

    role: Literal["reflection"]
    about: str = ""
    lessons: tuple[Lesson, ...] = ()
    max_new: int = Field(default=2, ge=1)
    max_chars: int = Field(default=6000, ge=1)
    miss: Rate = 0.0
    heading: str = "## Lessons"
    advice: tuple[str, ...] = ()
    reply: Literal["json", "fenced", "plain", "rubbish"] = "json"


class Script(_Part):
    """The models of a simulator, by name or pattern."""

    version: Literal[1] = 1
    about: str = ""
    models: dict[str, Annotated[ScriptedStudent | Reflection, Field(discriminator="role")]] = Field(min_length=1)

    def find(self, model: str) -> ScriptedStudent | Reflection | None:
        """The behaviour of `model` (the name as it was sent), or None where the script has none."""
        if model in self.models:
            return self.models[model]
        return next((rules for name, rules in self.models.items() if fnmatchcase(model, name)), None)


def load_script(path: Path | str | None = None) -> Script:
    """Read a script; None gives the built-in one. InputError says which field of which file is wrong."""
    file = Path(path) if path is not None else DEFAULT
    raw = _read(file)
    models = raw.get("models")
    if isinstance(models, dict):
        raw["models"] = {name: _extended(name, models, file) for name in models}
    try:
        return Script.model_validate(raw)
    except ValidationError as problem:
        raise InputError(_explained(problem, file)) from problem


def _read(file: Path) -> dict[str, Any]:
    try:
        raw = orjson.loads(file.read_bytes())
    except OSError as problem:
        msg = f"{file}: the script cannot be read ({problem.strerror}). Give the path of a JSON file."
        raise InputError(msg) from problem
    except orjson.JSONDecodeError as problem:
        msg = f"{file}:{problem.lineno}: the script is not valid JSON: {problem.msg}. Correct it there."
        raise InputError(msg) from problem
    if not isinstance(raw, dict):
        msg = f'{file}: a script is a JSON object with "models". Wrap it in one.'
        raise InputError(msg)
    return raw


def _extended(name: str, models: dict[str, object], file: Path, seen: tuple[str, ...] = ()) -> Any:
    rules = models[name]
    if not isinstance(rules, dict) or "extends" not in rules:
        return rules
    other = str(rules["extends"])
    known = models if other in models or file == DEFAULT else _read(DEFAULT)["models"]
    if other not in known or other in (*seen, name):
        why = "extends itself" if other in known else "is not in this script or the built-in one"
        msg = f"{file}: models.{name}.extends: {other!r} {why}. Name one of: {', '.join(known)}."
        raise InputError(msg)
    base = _extended(other, known, file if known is models else DEFAULT, (*seen, name))
    return {**base, **{key: value for key, value in rules.items() if key != "extends"}}


def _explained(problem: ValidationError, file: Path) -> str:
    lines = [
        f"{file}: {'.'.join(map(str, error['loc'])) or 'the script'}: {error['msg'].removeprefix('Value error, ')}"
        for error in problem.errors(include_url=False)[:3]
    ]
    return "\n".join(lines) + "\nThe language is described at the top of rollout_local/simulator/script.py."
