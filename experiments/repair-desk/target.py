"""The program as a target: two predictors, and a metric that tells each of them what is asked of it alone.

The instructions that it starts from say neither which parts there are nor what a reply has to hold. Temperature 0 and
few tokens, so that a trial costs a small model on a CPU some seconds.
"""

import re

import dspy

import rollout_local as rollout

PARTS = ("screen", "battery", "camera", "speaker")
PROMISE = "three days"
LONGEST = 25
"""Words that a reply may have."""


class FindPart(dspy.Signature):
    """Say what is wrong with the phone."""

    note: str = dspy.InputField()
    part: str = dspy.OutputField()


class Reply(dspy.Signature):
    """Answer the customer."""

    note: str = dspy.InputField()
    part: str = dspy.InputField()
    reply: str = dspy.OutputField()


class Desk(dspy.Module):
    """The desk of a phone repair shop: which part is broken, then a reply."""

    def __init__(self):
        super().__init__()
        self.find = dspy.Predict(FindPart, temperature=0.0, max_tokens=40)
        self.answer = dspy.Predict(Reply, temperature=0.0, max_tokens=80)

    def forward(self, note):
        part = self.find(note=note).part
        return dspy.Prediction(part=part, reply=self.answer(note=note, part=part).reply)


def metric(gold, pred, trace=None, pred_name=None, pred_trace=None):  # noqa: ARG001 - DSPy's five arguments
    """Half for the part in one word, half for the reply; `find` hears of the part, `answer` of the reply."""
    found = {"find": list(_on_part(gold, pred)), "answer": list(_on_reply(gold, pred))}
    points = {"find": 0.5 * (not found["find"]), "answer": 0.5 - len(found["answer"]) / 6}
    lines = [line for name, said in found.items() if pred_name in (None, name) for line in said]
    return dspy.Prediction(score=sum(points.values()), feedback="\n".join(lines) or "All is as it should be.")


def _on_part(gold, pred):
    if _words(pred.part) != [gold.broken]:
        yield f'The part has to be one word, one of {", ".join(PARTS)}. Here the right word is "{gold.broken}".'


def _on_reply(gold, pred):
    words = _words(pred.reply)
    if gold.broken not in words:
        yield f'The reply does not name the broken part, "{gold.broken}".'
    if PROMISE not in " ".join(words):
        yield f'The reply does not say "{PROMISE}": that is how long every repair takes.'
    if len(words) > LONGEST:
        yield f"The reply has {len(words)} words; it has to have {LONGEST} at most."


def _words(text):
    return re.findall(r"\w+", text.lower())


@rollout.optimize_program(id="repair-desk", metric=metric, description="Answers the notes of a phone repair desk.")
def build():
    """The program, with the instructions that it starts from."""
    return Desk()
