"""The answer of a program as JSON and back, by the types that its signatures declare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from rollout_local.domain.identity import canonical_json
from rollout_local.domain.program import PredictorCall, ProgramAnswer, Unparsed


class AnswerRecord(TypedDict):
    """An answer as JSON: each call as predictor, inputs and outputs, `unparsed` as the fields of `Unparsed`."""

    value: Any
    is_prediction: bool
    calls: list[list[Any]]
    objectives: dict[str, float]
    bare: NotRequired[bool]
    unparsed: NotRequired[list[Any]]


def answer_of(
    program: Any,
    returned: Any,
    trace: Sequence[tuple[object, Mapping[str, object], Any]],
    objectives: Mapping[str, float],
    unparsed: Unparsed | None = None,
    *,
    bare: bool = False,
) -> ProgramAnswer:
    """The answer that a program gave, with its trace: DSPy's `(predictor, inputs, prediction)` per call."""
    import dspy

    names = {id(predictor): name for name, predictor in program.named_predictors()}
    calls = tuple(
        PredictorCall(names[id(predictor)], dict(inputs), dict(outputs.items()))
        for predictor, inputs, outputs in trace
        if id(predictor) in names
    )
    is_prediction = isinstance(returned, dspy.Prediction)
    value = dict(returned.items()) if is_prediction else returned
    return ProgramAnswer(value, is_prediction, calls, objectives, unparsed, bare)


def shown(answer: ProgramAnswer) -> Any:
    """The output of a trial as JSON: the value of a single field, otherwise all fields by name.

    The program's metric grades the answer itself, so a field that JSON cannot say is named by its type alone.
    """
    value = answer.value
    if answer.is_prediction:
        value = {name: _said(field) for name, field in value.items()}
        return next(iter(value.values())) if len(value) == 1 else value
    return _said(value)


def _said(value: object) -> Any:
    kept = plain(value)
    try:
        canonical_json(kept)
    except (TypeError, ValueError, RecursionError):
        return f"(a {type(value).__name__}, which JSON cannot say)"
    return kept


def name_of(program: Any, signature: object) -> str:
    """The name of the first predictor with this signature, as DSPy looks it up."""
    for name, predictor in program.named_predictors():
        if predictor.signature == signature:
            return str(name)
    return "(none of the program's own)"


def encode(answer: ProgramAnswer, program: object) -> AnswerRecord | None:
    """`answer` as JSON, or None where reading it back would give another one."""
    record: AnswerRecord = {
        "value": plain(answer.value),
        "is_prediction": answer.is_prediction,
        "calls": [[call.predictor, plain(call.inputs), plain(call.outputs)] for call in answer.calls],
        "objectives": dict(answer.objectives),
    }
    if answer.bare:
        record["bare"] = True
    if answer.unparsed is not None:
        failed = answer.unparsed
        record["unparsed"] = [failed.predictor, failed.adapter, failed.reply, plain(failed.parsed)]
    if _has_gap(record):
        return None
    try:
        same = decode(record, program) == answer
    except Exception:  # noqa: BLE001 - types of the user's that cannot be read back or compared
        return None
    return record if same is True else None


def decode(record: AnswerRecord, program: Any) -> ProgramAnswer:
    """The answer that a record keeps, its fields in the types that the program's signatures declare."""
    signatures = {name: predictor.signature for name, predictor in program.named_predictors()}
    calls = tuple(
        PredictorCall(name, typed(inputs, [signatures[name]]), typed(outputs, [signatures[name]]))
        for name, inputs, outputs in record["calls"]
    )
    value = record["value"]
    if record["is_prediction"]:
        value = typed(value, [signatures[call.predictor] for call in reversed(calls)])
    unparsed = Unparsed(*record["unparsed"]) if "unparsed" in record else None
    return ProgramAnswer(
        value, record["is_prediction"], calls, record["objectives"], unparsed, record.get("bare", False)
    )


NOT_PLAIN = object()


def plain(value: object) -> Any:
    """`value` as JSON values, or `NOT_PLAIN` where it has no such form."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        return to_jsonable_python(value)
    except (PydanticSerializationError, ValueError, TypeError):
        return NOT_PLAIN


def _has_gap(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_has_gap(item) for item in value.values())
    if isinstance(value, list):
        return any(_has_gap(item) for item in value)
    return value is NOT_PLAIN


def typed(fields: Mapping[str, object], signatures: Sequence[object]) -> dict[str, object]:
    """Fields of JSON values in the types that the signatures declare; a field that none declares as it is."""
    return {name: _read(value, name, signatures) for name, value in fields.items()}


def _read(value: Any, name: str, signatures: Sequence[Any]) -> Any:
    """A JSON value in the type that the first signature with this field declares; as it is where none fits."""
    from pydantic import TypeAdapter, ValidationError

    for signature in signatures:
        if name in signature.fields:
            try:
                return TypeAdapter(signature.fields[name].annotation).validate_python(value)
            except ValidationError:
                return value
    return value
