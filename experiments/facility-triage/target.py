"""The agent under optimization: one chat completion that triages a message to a facilities company.

The baseline is vague on purpose. It names no format, no values and no categories; finding them out from the
verifier's feedback is the optimizer's work. The model and its address come from the environment, which
`rollout optimize run --task-model … --task-api-base …` fills in.
"""

import functools
import os

import mv37.rollout as rollout
from openai import OpenAI

BASELINE = """\
You help the front desk of a facilities company. Read the customer's message and report how urgent it is, \
what the sentiment is, and what it is about. Reply with JSON only.\
"""


@functools.cache
def client(base_url: str | None, timeout: float) -> OpenAI:
    """The one client of this process for an address; OpenAI's client is thread-safe."""
    return OpenAI(base_url=base_url, timeout=timeout, max_retries=1)


@rollout.optimize(
    id="facility-triage",
    kind="prompt",
    description="Triage of messages to a facilities company into urgency, sentiment and categories.",
    baseline=BASELINE,
)
def run_candidate(task: rollout.Task, candidate: rollout.Candidate) -> rollout.AgentResult:
    """Ask the model once, with the candidate as its system prompt."""
    openai = client(
        os.environ.get("ROLLOUT_GEPA_STUDENT_MODEL_API_BASE"),
        float(os.environ.get("ROLLOUT_GEPA_REQUEST_TIMEOUT", "30")),
    )
    completion = openai.chat.completions.create(
        model=os.environ.get("ROLLOUT_GEPA_STUDENT_MODEL", "gpt-4.1-nano").removeprefix("openai/"),
        temperature=0,
        messages=[
            {"role": "system", "content": candidate.text},
            {"role": "user", "content": task.input["message"]},
        ],
    )
    return rollout.AgentResult(output=completion.choices[0].message.content or "")
