"""The program as a target, with its metric: what the score is made of, and what each predictor is told.

A predictor is told what was expected of it, what came, and where the two part. Neither an answer nor the title of the
second passage is ever told: a prompt could only copy them.
"""

import re

import dspy
from corpus import PASSAGES
from program import MultiHop

import rollout_local as rollout

WEIGHTS = {"passages": 0.3, "answer": 0.5, "form": 0.2}
LONGEST = 4
"""Words that an answer may have."""
KINDS = {
    "year": r"\b1[0-9]{3}\b|\b20[0-9]{2}\b",
    "number": r"\b[0-9]+\b",
    "weekday": r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b",
    "colour": r"\b(?:black|white|grey|cream|red|blue|green|yellow|amber|pink|brown)\b",
    "person": r"\b[A-Z]\w+ [A-Z]\w+",
    "place": r"\b[A-Z]\w+ [A-Z]\w+",
}
TEXTS = dict(PASSAGES)


def metric(gold, pred, trace=None, pred_name=None, pred_trace=None):  # noqa: ARG001 - DSPy's five arguments
    """Score and feedback: for `hop` on the query, for `answer` on the answer, for the whole on both."""
    parts = {
        "passages": _share_found(gold, pred),
        "answer": float(_is_right(gold, pred)),
        "form": float(_is_short(pred)),
    }
    told = {"hop": _on_query, "answer": _on_answer}
    lines = [line for name, words in told.items() if pred_name in (None, name) for line in words(gold, pred)]
    return dspy.Prediction(
        score=sum(WEIGHTS[name] * value for name, value in parts.items()),
        feedback="\n".join(lines),
        objective_scores=parts,
    )


def _share_found(gold, pred):
    return sum(title in pred.titles for title in gold.titles) / len(gold.titles)


def _is_right(gold, pred):
    return f" {_words(gold.answer)} " in f" {_words(pred.answer)} "


def _is_short(pred):
    return len(pred.answer.split()) <= LONGEST and not pred.answer.rstrip().endswith(".")


def _words(text):
    return " ".join(re.findall(r"\w+", text.lower()))


def _on_query(gold, pred):
    first, second = gold.titles
    if second in pred.titles:
        yield "query: the second passage was found."
        return
    if first not in pred.titles:
        yield f'query: the question alone did not find "{first}"; nothing in the passages leads further.'
        return
    yield f'query: expected the name of the {gold.via} that the passage "{first}" leads to; found "{pred.query}".'
    other = next((name for name in _names(TEXTS[first]) if name in pred.query and name not in gold.question), None)
    if other is None:
        yield f"query: it names no {gold.via} that the passage mentions; it only has words of the question."
    else:
        yield f'query: "{other}" stands in the passage too, but is not the {gold.via} that the question asks about.'


def _on_answer(gold, pred):
    kind, count = gold.kind, len(pred.answer.split())
    if not _is_short(pred):
        yield f"form: expected the bare {kind}, {LONGEST} words at most and no full stop; found {count} words."
    if _is_right(gold, pred):
        yield f"answer: the {kind} is right."
    elif gold.titles[1] not in pred.titles:
        yield f"answer: expected a {kind}, but the passage that has it was not among those found."
    elif not (found := re.search(KINDS[kind], pred.answer)):
        yield f"answer: expected a {kind}; found none."
    elif found[0] in TEXTS[gold.titles[1]]:
        yield f"answer: expected another {kind} of the same passage; found {found[0]}, which is of something else."
    else:
        yield f"answer: expected a {kind} out of the passage that the second search found; found {found[0]} of another one."


def _names(text):
    return re.findall(r"[A-Z]\w+(?: (?:& )?[A-Z]\w+)+", text)


@rollout.optimize_program(
    id="multihop-qa",
    metric=metric,
    description="Answers questions about a town from a small encyclopaedia, with two searches.",
)
def build():
    """The program, with the instructions that it starts from."""
    return MultiHop()
