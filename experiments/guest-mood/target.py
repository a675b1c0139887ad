"""The agent under optimization: a very small model says the mood of a guest's note.

The candidate stands before the note in the one message that is sent. Temperature 0 and at most 8 tokens.
"""

import functools
import os

from openai import OpenAI

import rollout_local as rollout


@functools.cache
def client(base_url: str | None) -> OpenAI:
    """The one client of this process for an address."""
    return OpenAI(base_url=base_url, timeout=300, max_retries=1)


@rollout.optimize(
    id="guest-mood",
    kind="prompt",
    description="Says the mood of a note in a museum's guest book: pleased or cross.",
    baseline="Read the note and reply.",
)
def say_mood(task: rollout.Task, candidate: rollout.Candidate) -> rollout.AgentResult:
    """Ask the model once, the candidate first and the note after it."""
    completion = client(os.environ.get("ROLLOUT_GEPA_STUDENT_MODEL_API_BASE")).chat.completions.create(
        model=os.environ["ROLLOUT_GEPA_STUDENT_MODEL"].removeprefix("openai/"),
        temperature=0,
        max_tokens=8,
        messages=[{"role": "user", "content": f"{candidate.text}\n\nNote: {task.instruction}\nMood:"}],
    )
    return rollout.AgentResult(output=completion.choices[0].message.content or "")
