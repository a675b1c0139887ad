"""A program of two predictors over a small encyclopaedia: search, ask where to look next, search again, answer.

It is plain DSPy and sqlite-utils; nothing in it knows that it is being optimized.
"""

import functools
import re

import dspy
import sqlite_utils
from corpus import PASSAGES

K = 1
"""Passages that a search adds; so few that the second search has to know what it looks for."""


class Hop(dspy.Signature):
    """Given a question and the passages found so far, write a query for a second search."""

    question: str = dspy.InputField()
    passages: str = dspy.InputField()
    query: str = dspy.OutputField()


class Answer(dspy.Signature):
    """Answer the question from the passages."""

    question: str = dspy.InputField()
    passages: str = dspy.InputField()
    answer: str = dspy.OutputField()


class MultiHop(dspy.Module):
    """Two searches with a query of the model's between them; the second one adds passages that are not there yet."""

    def __init__(self) -> None:
        super().__init__()
        self.hop = dspy.Predict(Hop)
        self.answer = dspy.Predict(Answer)

    def forward(self, question: str) -> dspy.Prediction:
        found = list(ranked(question)[:K])
        query = self.hop(question=question, passages=shown(found)).query
        found += [title for title in ranked(query) if title not in found][:K]
        answer = self.answer(question=question, passages=shown(found)).answer
        return dspy.Prediction(answer=answer, query=query, titles=found)


def shown(titles: list[str]) -> str:
    """The passages as the models read them, one a line."""
    texts = dict(PASSAGES)
    return "\n".join(f"[{number}] {title} | {texts[title]}" for number, title in enumerate(titles, 1))


@functools.cache
def ranked(query: str) -> tuple[str, ...]:
    """Titles of the first passages that have any word of the query, best first, by BM25 (SQLite's FTS5)."""
    words = dict.fromkeys(re.findall(r"\w+", query.lower()))
    if not words:
        return ()
    db = sqlite_utils.Database(memory=True)
    try:
        table = db["passages"]
        table.insert_all({"title": title, "text": text} for title, text in PASSAGES)
        table.enable_fts(["title", "text"], tokenize="porter unicode61")
        return tuple(row["title"] for row in table.search(" OR ".join(f'"{word}"' for word in words), limit=2 * K))
    finally:
        db.close()
