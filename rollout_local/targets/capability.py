"""An agent of a capability as a target: a chat agent, its body as system prompt, its Python tools as tool calls.

One execution asks the agent's model, calls the tools that it asks for, and asks again, until it answers or `MAX_STEPS`
model calls are spent. The row's goal is the user's message. The result's metadata holds every tool call and the whole
trajectory. What the model's provider raises comes through unchanged; what a tool raises is told to the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from rollout_local import models
from rollout_local.domain.dataset import Task
from rollout_local.domain.identity import content_hash
from rollout_local.domain.target import AgentResult, Candidate, TargetDefaults, TargetKind, output_text
from rollout_local.errors import InputError
from rollout_local.targets.agent_files import INHERIT, Agent, Capability
from rollout_local.targets.tools import Tool, allowed, load_tools

GOAL = "goal"
MAX_STEPS = 10
"""Model calls of one execution at most."""


_NO_GATEWAY = {"_skip_mcp_handler": True}
"""Read by litellm, never sent: else it imports its MCP gateway for every request with tools (its proxy's packages)."""


class Complete(Protocol):
    """`rollout_local.models.complete`, or what stands in its place."""

    def __call__(
        self, model: str, messages: Sequence[Mapping[str, object]], *, api_base: str | None = None, **params: object
    ) -> models.Completion:
        """Ask `model`."""
        ...


class CapabilityTarget(TargetDefaults):
    """One agent of one version of a capability, under the id `NAME@VERSION:AGENT`.

    `task_model`, `api_base` and `params` are the job's; an agent that names a model of its own is asked at its
    provider's own address. Raises `InputError` where the agent has no text, inherits a model that the job does not
    name, or has tools that do not load.
    """

    kind = TargetKind.AGENT

    def __init__(
        self,
        capability: Capability,
        agent: str | None = None,
        *,
        task_model: str | None = None,
        api_base: str | None = None,
        params: Mapping[str, object] | None = None,
        complete: Complete = models.complete,
        max_steps: int = MAX_STEPS,
    ) -> None:
        self.capability = capability
        self.agent = capability.agent(agent)
        self.id = target_id(capability, self.agent)
        self.description = description_of(capability, self.agent)
        self.baseline = baseline_of(capability, self.agent)
        self._model, self._api_base = model_of(self.id, self.agent, task_model, api_base)
        self.models = (self._model,)
        self.source = source_of(capability, self.agent)
        self.source_hash = source_hash_of(capability, self.agent)
        self.tools = tools_of(capability, self.agent)
        self._params = dict(params or {})
        self._complete = complete
        self._max_steps = max_steps

    def run(self, task: Task, candidate: Candidate) -> AgentResult:
        """Execute once."""
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": candidate.text},
            {"role": "user", "content": goal_of(task)},
        ]
        calls: list[dict[str, Any]] = []
        for step in range(1, self._max_steps + 1):
            reply = self._ask(messages)
            messages.append(_spoken(reply))
            if not reply.tool_calls or step == self._max_steps:
                break
            messages += [self._answer(call, calls) for call in reply.tool_calls]
        metadata: dict[str, Any] = {"tool_calls": calls, "trajectory": messages}
        if reply.tool_calls:
            metadata["stopped"] = f"it still asked for tools after {self._max_steps} model calls"
        return AgentResult(output=reply.text, metadata=metadata)

    def _ask(self, messages: list[dict[str, object]]) -> models.Completion:
        given: dict[str, Any] = {}
        if self.tools:
            given = {"tools": [tool.declaration for tool in self.tools.values()], **_NO_GATEWAY}
        return self._complete(self._model, messages, api_base=self._api_base, **self._params, **given)

    def _answer(self, call: Mapping[str, Any], calls: list[dict[str, Any]]) -> dict[str, object]:
        """Call the tool that the model asked for; the answer as a message, and the call into `calls`."""
        function = call.get("function") or {}
        name, arguments = str(function.get("name") or ""), str(function.get("arguments") or "")
        tool = self.tools.get(name)
        known = ", ".join(self.tools) or "none"
        result, error = tool.answer(arguments) if tool else ("", f"there is no tool {name!r}; there are: {known}")
        calls.append({"name": name, "arguments": arguments, **({"error": error} if error else {"result": result})})
        return {"role": "tool", "tool_call_id": call.get("id") or "", "content": f"error: {error}" if error else result}


def require_goals(tasks: Sequence[Task]) -> None:
    """Refuse, before anything is spent, tasks that give an agent no goal."""
    for task in tasks:
        goal_of(task)


def goal_of(task: Task) -> str:
    """The user's message: `input.goal`, else the only input there is, else the instruction."""
    if GOAL in task.input or len(task.input) == 1:
        text = output_text(task.input[GOAL] if GOAL in task.input else next(iter(task.input.values())))
    else:
        text = task.instruction
    if not text.strip():
        there = f"several inputs ({', '.join(task.input)})" if len(task.input) > 1 else "no input"
        msg = f'task "{task.name}" has {there} and no goal for the agent; give it input.goal, or an instruction'
        raise InputError(msg)
    return text


def target_id(capability: Capability, agent: Agent) -> str:
    """`NAME@VERSION:AGENT`."""
    return f"{capability.reference}:{agent.name}"


def description_of(capability: Capability, agent: Agent) -> str:
    """What the agent is for; what the capability is for, where its file does not say."""
    return agent.description or capability.description


def baseline_of(capability: Capability, agent: Agent) -> Candidate:
    """The text that a search starts from: the agent's body. Raises `InputError` where there is none."""
    if not agent.body.strip():
        named = target_id(capability, agent)
        msg = f"{named}: {agent.path} has no text below its front matter; GEPA needs a text to start from"
        raise InputError(msg)
    return Candidate(text=agent.body)  # type: ignore[call-arg]


def source_of(capability: Capability, agent: Agent) -> str:
    """The agent's file and its tools' as text, for people to compare."""
    shown = [agent.path, *capability.tools]
    return "\n".join(f"# --- {path}\n{capability.files[path].decode('utf-8', 'replace')}" for path in shown)


def source_hash_of(capability: Capability, agent: Agent) -> str:
    """`sha256:…` over the capability's content and the agent's name."""
    return content_hash({"capability": capability.content_hash, "agent": agent.name})


def tools_of(capability: Capability, agent: Agent) -> dict[str, Tool]:
    """The tools that the agent's globs leave it."""
    loaded = load_tools({path: capability.files[path] for path in capability.tools}, capability.reference)
    return {name: tool for name, tool in loaded.items() if allowed(name, agent.tools)}


def model_of(id: str, agent: Agent, task_model: str | None, api_base: str | None) -> tuple[str, str | None]:
    """The model to ask, and the address where the job gives one for it. Raises `InputError` where none is named."""
    if agent.model != INHERIT:
        return agent.model, None
    if task_model is None:
        msg = f"{id} inherits its model from the job; name one with --task-model, or in {agent.path}"
        raise InputError(msg)
    return task_model, api_base


def _spoken(reply: models.Completion) -> dict[str, object]:
    """A model's reply as the message that the next request repeats."""
    message: dict[str, object] = {"role": "assistant", "content": reply.text}
    if reply.tool_calls:
        message["tool_calls"] = [dict(call) for call in reply.tool_calls]
    return message
