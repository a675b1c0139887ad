"""The agent of facility-triage with a baseline that is decent already: it names the keys, the values and the categories.

What is left to find is how to judge, so the lift that a search can bring is small.
"""

import functools
import os

import mv37.rollout as rollout
from openai import OpenAI

BASELINE = """\
You help the front desk of a facilities company. Read the customer's message and reply with one JSON object only, \
no other text. It has the keys "urgency", "sentiment" and "categories".
- `urgency` is one of: "low", "medium", "high".
- `sentiment` is one of: "positive", "neutral", "negative".
- `categories` is a list of values from: "emergency_repair_services", "routine_maintenance_requests", \
"quality_and_safety_concerns", "specialized_cleaning_services", "general_inquiries", \
"sustainability_and_environmental_practices", "training_and_support_requests", "cleaning_services_scheduling", \
"customer_feedback_and_complaints", "facility_management_issues".\
"""


@functools.cache
def client(base_url: str | None, timeout: float) -> OpenAI:
    """The one client of this process for an address; OpenAI's client is thread-safe."""
    return OpenAI(base_url=base_url, timeout=timeout, max_retries=1)


@rollout.optimize(
    id="facility-confidence",
    kind="prompt",
    description="Triage of messages to a facilities company, from a prompt that states the form.",
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
