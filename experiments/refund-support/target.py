"""A support agent of an online shop. What is optimized is the description of its tool, not the prompt around it.

The system prompt is fixed. It shows the agent the description of `lookup_refund_policy`, and that description is all
the agent knows of the shop's rules: the baseline says what the tool is for and names no rule.
"""

import functools
import os

import mv37.rollout as rollout
from openai import OpenAI

SYSTEM = """\
You answer customers of Tarn & Tinder, an online shop for outdoor gear. Reply to the message in a few sentences of plain \
English. You know the rules of the shop from this tool alone; where it is silent, a colleague will follow up.

# Tool: lookup_refund_policy

{description}
"""

BASELINE = """\
Looks up the rules of the shop. Call it when a customer asks about sending something back or about money.\
"""


@functools.cache
def client(base_url: str | None, timeout: float) -> OpenAI:
    """The one client of this process for an address; OpenAI's client is thread-safe."""
    return OpenAI(base_url=base_url, timeout=timeout, max_retries=1)


@rollout.optimize(
    id="refund-support",
    kind="tool_description",
    description="Description of the tool from which a support agent knows a shop's rules on refunds.",
    baseline=BASELINE,
)
def run_candidate(task: rollout.Task, candidate: rollout.Candidate) -> rollout.AgentResult:
    """Ask the model once, with the candidate as the description of its tool."""
    openai = client(
        os.environ.get("ROLLOUT_GEPA_STUDENT_MODEL_API_BASE"),
        float(os.environ.get("ROLLOUT_GEPA_REQUEST_TIMEOUT", "30")),
    )
    completion = openai.chat.completions.create(
        model=os.environ.get("ROLLOUT_GEPA_STUDENT_MODEL", "gpt-4.1-nano").removeprefix("openai/"),
        temperature=0,
        messages=[
            {"role": "system", "content": SYSTEM.replace("{description}", candidate.text)},
            {"role": "user", "content": task.input["message"]},
        ],
    )
    return rollout.AgentResult(output=completion.choices[0].message.content or "")
