"""The router under optimization: one chat completion that names the queue for a request to a software house.

The baseline names no queue and no form. `dispatch` is the part of a router that is no prompt: it takes the name as it
was written, less white space and a full stop, which no queue has in its name.
"""

import functools
import os

import mv37.rollout as rollout
from openai import OpenAI

BASELINE = """\
You sort the requests that reach Quillhaven, makers of till and bookkeeping software for small shops. Read the request \
and say which of our teams should look after it.\
"""


@functools.cache
def client(base_url: str | None, timeout: float) -> OpenAI:
    """The one client of this process for an address; OpenAI's client is thread-safe."""
    return OpenAI(base_url=base_url, timeout=timeout, max_retries=1)


def dispatch(answer: str) -> str:
    """The name of a queue, where the answer is one."""
    return answer.strip().removesuffix(".")


@rollout.optimize(
    id="router-prompt",
    kind="router_prompt",
    description="Routes a request to one of six queues; the answer has to be the name of the queue.",
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
    return rollout.AgentResult(output=dispatch(completion.choices[0].message.content or ""))
