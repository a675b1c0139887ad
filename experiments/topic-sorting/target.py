"""The agent under optimization: one chat completion that sorts a rider's message.

The baseline says neither that one word is wanted nor which words there are. Temperature 0 and at most 12 tokens, so
that an answer costs a small model on a CPU a few seconds.
"""

import functools
import os

from openai import OpenAI

import rollout_local as rollout

BASELINE = "Say what this message is about."


@functools.cache
def client(base_url: str | None) -> OpenAI:
    """The one client of this process for an address."""
    return OpenAI(base_url=base_url, timeout=300, max_retries=1)


@rollout.optimize(
    id="topic-sorting",
    kind="prompt",
    description="Sorts a rider's message to a bike-sharing service into one topic.",
    baseline=BASELINE,
)
def sort_message(task: rollout.Task, candidate: rollout.Candidate) -> rollout.AgentResult:
    """Ask the model once, with the candidate as its system prompt."""
    completion = client(os.environ.get("ROLLOUT_GEPA_STUDENT_MODEL_API_BASE")).chat.completions.create(
        model=os.environ["ROLLOUT_GEPA_STUDENT_MODEL"].removeprefix("openai/"),
        temperature=0,
        max_tokens=12,
        messages=[
            {"role": "system", "content": candidate.text},
            {"role": "user", "content": task.instruction},
        ],
    )
    return rollout.AgentResult(output=completion.choices[0].message.content or "")
