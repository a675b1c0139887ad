import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rollout_local.domain.dataset import Task
from rollout_local.domain.target import Candidate, Target, TargetKind
from rollout_local.errors import InputError, NotFound
from rollout_local.models import Completion
from rollout_local.targets.agent_files import Agent, Capability
from rollout_local.targets.capability import CapabilityTarget, goal_of, require_goals
from rollout_local.targets.tools import allowed, check_syntax, load_tools

ORDERS = '''
from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import BaseModel, Field


@dataclasses.dataclass
class Order:
    number: str
    count: int = 1


class Address(BaseModel):
    title: str
    city: str


def lookup(order_id: str, title: Literal["mr", "ms"] | None = None) -> dict[str, str]:
    """Where an order is.

    By its number.
    """
    return {"order": order_id, "by": title or "nobody"}


def send(order: Order, to: Address, copies: Annotated[int, Field(ge=1)] = 1) -> str:
    return f"{order.number} x {order.count * copies} to {to.city}"


async def wait(seconds: float) -> float:
    return seconds * 2


def forget() -> None:
    """Forget it."""


def explode(what: str):
    raise KeyError(what)


def _private(): ...


lookup_again = lookup
'''


def capability(body="Help.", tools=ORDERS, globs=(), **agent):
    made = Agent(name="triage", path="agents/triage.md", body=body, tools=globs, **agent)
    files = {"agents/triage.md": body.encode(), "tools/orders.py": tools.encode()}
    return Capability(
        name="support", version="1.0.0", description="Sorts.", agents=(made,), tools=("tools/orders.py",), files=files
    )


def call(name, identity="call_1", **arguments):
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


class Model:
    """A model that says what it was told to, in order, and keeps what it was asked."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.asked = []

    def __call__(self, model, messages, *, api_base=None, **params):
        self.asked.append({"model": model, "messages": list(messages), "api_base": api_base, **params})
        reply = self.replies.pop(0)
        text, calls = (reply, ()) if isinstance(reply, str) else ("", reply)
        return Completion(text, 1, 1, tuple(calls))


def target(*replies, made=None, **options):
    options = {"task_model": "openai/sim-student", "api_base": "http://127.0.0.1:1", **options}
    model = Model(*replies)
    return CapabilityTarget(made or capability(), complete=model, **options), model


TASK = Task(name="row-0001", input={"goal": "Where is order 7?"})


def test_an_agent_is_a_target_with_its_body_as_baseline():
    made, _ = target()
    assert isinstance(made, Target)
    assert (made.id, made.kind, made.description) == ("support@1.0.0:triage", TargetKind.AGENT, "Sorts.")
    assert made.baseline == Candidate(text="Help.")
    assert "# --- agents/triage.md\nHelp.\n# --- tools/orders.py\n" in made.source


def test_the_body_is_the_system_prompt_and_the_goal_the_users_message():
    made, model = target("It is on its way.", params={"temperature": 0})
    result = made.run(TASK, Candidate(text="Be brief."))
    assert result.output == "It is on its way."
    (asked,) = model.asked
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Where is order 7?"},
    ]
    assert (asked["model"], asked["api_base"], asked["temperature"]) == (
        "openai/sim-student", "http://127.0.0.1:1", 0,
    )  # fmt: skip
    assert result.metadata["tool_calls"] == []
    assert result.metadata["trajectory"][-1] == {"role": "assistant", "content": "It is on its way."}
    assert "stopped" not in result.metadata


def test_tools_are_called_until_the_model_answers():
    made, model = target([call("lookup", order_id="7")], "On its way.")
    result = made.run(TASK, made.baseline)
    assert result.output == "On its way."
    (called,) = result.metadata["tool_calls"]
    assert called == {"name": "lookup", "arguments": '{"order_id": "7"}', "result": '{"by":"nobody","order":"7"}'}
    spoken, answered = model.asked[1]["messages"][2:]
    assert spoken["tool_calls"][0]["id"] == answered["tool_call_id"] == "call_1"
    assert answered["content"] == '{"by":"nobody","order":"7"}'
    assert [message["role"] for message in result.metadata["trajectory"]] == [
        "system", "user", "assistant", "tool", "assistant",
    ]  # fmt: skip


def test_several_calls_at_once_are_answered_in_their_order():
    made, model = target([call("forget", "a"), call("wait", "b", seconds=1.5)], "Done.")
    made.run(TASK, made.baseline)
    answers = model.asked[1]["messages"][3:]
    assert [(a["tool_call_id"], a["content"]) for a in answers] == [("a", ""), ("b", "3")]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (call("absent"), "error: there is no tool 'absent'; there are: lookup, send, wait, forget, explode"),
        (call("explode", what="x"), "error: KeyError: 'x'"),
        (call("lookup"), "error: order_id: Missing required argument"),
        (call("lookup", order_id=7), "error: order_id: Input should be a valid string"),
        (call("lookup", order_id="7", colour="red"), "error: colour: Unexpected keyword argument"),
        (call("send", order={"number": "1"}, to={"title": "x", "city": "Ulm"}, copies=0), "error: copies: "),
        ({"id": "c", "function": {"name": "lookup", "arguments": "{"}}, "error: the arguments are not JSON"),
        ({"id": "c", "function": {"name": "lookup", "arguments": "[]"}}, "error: the arguments are not a JSON object"),
        ({"id": "c"}, "error: there is no tool ''"),
    ],
)
def test_a_tool_that_fails_says_so_to_the_model_which_may_correct_itself(asked, says):
    made, model = target([asked], "Sorry.")
    result = made.run(TASK, made.baseline)
    assert model.asked[1]["messages"][-1]["content"].startswith(says)
    assert result.metadata["tool_calls"][0]["error"] == model.asked[1]["messages"][-1]["content"][len("error: ") :]
    assert result.output == "Sorry."


def test_typed_arguments_reach_the_function_as_their_types():
    made, model = target(
        [call("send", order={"number": "1", "count": 2}, to={"title": "t", "city": "Ulm"}, copies=2)], "x"
    )
    made.run(TASK, made.baseline)
    assert model.asked[1]["messages"][-1]["content"] == "1 x 4 to Ulm"


def test_an_execution_ends_after_so_many_model_calls():
    endless = [[call("forget")] for _ in range(5)]
    made, model = target(*endless, max_steps=3)
    result = made.run(TASK, made.baseline)
    assert len(model.asked) == 3
    assert len(result.metadata["tool_calls"]) == 2
    assert result.output == ""
    assert result.metadata["stopped"] == "it still asked for tools after 3 model calls"


def test_what_the_provider_raises_comes_through_unchanged():
    def refusing(*_, **__):
        raise ConnectionError("no route")

    made = CapabilityTarget(capability(), task_model="m", complete=refusing)
    with pytest.raises(ConnectionError, match="no route"):
        made.run(TASK, made.baseline)


def test_an_agents_own_model_goes_before_the_jobs_and_is_asked_at_its_own_address():
    made, model = target("x", made=capability(model="openai/own"))
    made.run(TASK, made.baseline)
    assert (model.asked[0]["model"], model.asked[0]["api_base"]) == ("openai/own", None)


def test_an_agent_that_inherits_needs_the_jobs_model():
    with pytest.raises(InputError, match=r"support@1.0.0:triage inherits its model .* --task-model"):
        CapabilityTarget(capability())


def test_an_agent_without_text_is_no_target():
    with pytest.raises(InputError, match="no text below its front matter"):
        target(made=capability(body=""))


def test_an_agent_that_is_not_there_is_named():
    with pytest.raises(NotFound, match="has no agent 'writer'"):
        CapabilityTarget(capability(), "writer", task_model="m")


@pytest.mark.parametrize(
    ("globs", "left"),
    [
        ((), ["lookup", "send", "wait", "forget", "explode"]),
        ((("*", False),), []),
        ((("*", False), ("LOOK*", True)), ["lookup"]),
        ((("LOOK*", True), ("*", False)), []),
        ((("[lw]*", False),), ["send", "forget", "explode"]),
    ],
)
def test_of_the_tool_globs_the_last_match_wins_and_unmatched_is_allowed(globs, left):
    made, model = target("x", made=capability(globs=globs))
    made.run(TASK, made.baseline)
    assert [tool["function"]["name"] for tool in model.asked[0].get("tools", [])] == left
    assert ("tools" in model.asked[0]) == bool(left)


def test_globs_match_whole_names_without_case():
    assert not allowed("Lookup_Order", [("lookup_*", False)])
    assert allowed("lookup", [("look", False)])


def test_a_tools_types_become_its_schema_and_its_docstring_its_description():
    tools = load_tools({"tools/orders.py": ORDERS.encode()}, "support")
    assert tools["lookup"].declaration == {
        "type": "function",
        "function": {
            "name": "lookup",
            "description": "Where an order is.\n\nBy its number.",
            "parameters": {
                "type": "object",
                "properties": {
                    "order_id": {"type": "string"},
                    "title": {"anyOf": [{"enum": ["mr", "ms"], "type": "string"}, {"type": "null"}], "default": None},
                },
                "required": ["order_id"],
                "additionalProperties": False,
            },
        },
    }
    nested = tools["send"].parameters
    assert nested["$defs"]["Address"]["properties"] == {"title": {"type": "string"}, "city": {"type": "string"}}
    assert tools["send"].description == ""


def test_all_chooses_the_tools_of_a_file():
    source = "__all__ = ['b']\ndef a(): ...\ndef b(): ...\n"
    assert list(load_tools({"t.py": source.encode()}, "c")) == ["b"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("def f(x): ...", "c/t.py: the parameter x of the tool f has no type"),
        ("def f(*x: int): ...", r"c/t.py: the tool f takes \*x: int; a tool's parameters are given by name"),
        ("def f(x: int, /): ...", "given by name"),
        ("def f(**x: int): ...", "given by name"),
        ("def f(x: 'Absent'): ...", "c/t.py: the types of the tool f cannot be told to a model: name 'Absent'"),
        ("import socket\ndef f(x: socket.socket): ...", "cannot be told to a model"),
        ("__all__ = ['g']", "c/t.py: __all__ names 'g', which is no function"),
        ("x = 1\nraise OSError('no')", "c/t.py:2: the tool cannot be loaded: OSError: no"),
        ("import sys\nsys.exit(3)", "c/t.py:2: the tool cannot be loaded: SystemExit: 3"),
        ("def f(:", "c/t.py:1: the tool cannot be loaded: SyntaxError"),
        ("a\0", "c/t.py"),
    ],
)
def test_a_tool_file_that_cannot_be_used_is_refused_with_its_place(source, says):
    with pytest.raises(InputError, match=says):
        load_tools({"t.py": source.encode()}, "c")


def test_two_tools_of_one_name_are_refused():
    with pytest.raises(InputError, match=r"the tool f stands in a\.py and in b\.py"):
        load_tools({"a.py": b"def f(): ...", "b.py": b"def f(): ..."}, "c")


def test_syntax_is_checked_without_executing():
    check_syntax({"t.py": b"raise SystemExit"}, "c")
    for source in (b"def f(:", b"a\0"):
        with pytest.raises(InputError, match=r"c/t\.py.*not valid Python"):
            check_syntax({"t.py": source}, "c")


@pytest.mark.parametrize(
    ("task", "goal"),
    [
        ({"input": {"goal": "g", "other": 1}}, "g"),
        ({"input": {"question": "q"}}, "q"),
        ({"input": {"question": {"a": 1}}, "instruction": "i"}, '{"a":1}'),
        ({"input": {"a": 1, "b": 2}, "instruction": "i"}, "i"),
        ({"instruction": "i"}, "i"),
    ],
)
def test_the_goal_is_the_goal_or_the_only_input_or_the_instruction(task, goal):
    assert goal_of(Task(name="t", **task)) == goal


@pytest.mark.parametrize(
    ("task", "there"), [({"input": {"a": 1, "b": 2}}, "several inputs (a, b)"), ({"input": {"goal": " "}}, "no input")]
)
def test_tasks_without_a_goal_are_refused_before_anything_is_spent(task, there):
    with pytest.raises(InputError) as caught:
        require_goals([TASK, Task(name="t", **task)])
    assert f'task "t" has {there} and no goal' in str(caught.value)


def test_the_source_hash_is_over_the_capabilitys_content_and_the_agent():
    one, same, other = (target(made=made)[0].source_hash for made in (capability(), capability(), capability(tools="")))
    assert one == same != other


class Handler(BaseHTTPRequestHandler):
    """Asks for a tool first, and then answers with what the tool said."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert set(request) == {"model", "messages", "tools"}
        last = request["messages"][-1]
        if last["role"] == "tool":
            message = {"role": "assistant", "content": f"The tool says {last['content']}"}
        else:
            message = {"role": "assistant", "content": None, "tool_calls": [call("lookup", order_id="7")]}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
        raw = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_):
        """Nothing to say."""


def test_tool_calls_cross_a_real_wire():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/v1"
        made = CapabilityTarget(capability(), task_model="openai/m", api_base=url)
        result = made.run(TASK, made.baseline)
    finally:
        server.shutdown()
        server.server_close()
    assert result.output == 'The tool says {"by":"nobody","order":"7"}'
    assert [called["name"] for called in result.metadata["tool_calls"]] == ["lookup"]
