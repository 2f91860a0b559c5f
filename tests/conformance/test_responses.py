"""The Responses API through the official client: Qwen2.5-Coder, greedy, and SmolLM2."""

import json
import shutil
import subprocess

import openai
import pydantic
import pytest

from conftest import MODEL, MODELS, ROOT

QWEN = MODELS / "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
NODE = ROOT / "tests/conformance/node"

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The current weather of a city",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
}
ASK = "What is the weather in Paris in celsius? Use the tool."
GREEDY = {"model": "qwen", "temperature": 0, "max_output_tokens": 120}
PLAIN = {"model": MODEL, "temperature": 0, "max_output_tokens": 16}


@pytest.fixture(scope="module")
def qwen():
    from conftest import Server

    running = Server(model=f"qwen={QWEN}")
    yield running.client()
    assert running.stop() == 0, running.log()


def without_ids(value):
    random = {"id", "call_id", "created_at", "completed_at", "usage"}
    if isinstance(value, dict):
        return {k: without_ids(v) for k, v in value.items() if k not in random}
    return [without_ids(v) for v in value] if isinstance(value, list) else value


def events_of(client, **request):
    """The events of a stream, checked for what holds of every stream."""
    events = list(client.responses.create(stream=True, **request))
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert [e.type for e in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1].type in ("response.completed", "response.incomplete")
    ids = {e.response.id for e in events if hasattr(e, "response")}
    assert len(ids) == 1
    final = events[-1].response
    for event in events:
        if hasattr(event, "item_id"):
            assert event.item_id == final.output[event.output_index].id
        if event.type == "response.output_item.done":
            assert event.item == final.output[event.output_index]
    return events


def test_a_text_is_the_same_whole_and_streamed(client):
    request = {"input": "Name the capital of France.", "instructions": "Be brief.", **PLAIN}
    whole = client.responses.create(**request)
    assert "Paris" in whole.output_text
    events = events_of(client, **request)
    deltas = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert deltas == whole.output_text
    assert without_ids(events[-1].response.to_dict()) == without_ids(whole.to_dict())
    assert whole.usage.total_tokens == whole.usage.input_tokens + whole.usage.output_tokens
    assert whole.instructions == "Be brief." and whole.temperature == 0


def test_the_clients_own_stream_reader_reads_it(client):
    with client.responses.stream(input="Name the capital of France.", **PLAIN) as stream:
        snapshots = [e.snapshot for e in stream if e.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert final.output_text == snapshots[-1]
    assert len(snapshots) > 3


def test_the_prompt_is_that_of_a_chat(client):
    said = {"role": "user", "content": "Count to three."}
    chat = client.chat.completions.create(
        model=MODEL, temperature=0, max_tokens=16, messages=[{"role": "system", "content": "Hm."}, said]
    )
    response = client.responses.create(input=[said], instructions="Hm.", **PLAIN)
    assert response.output_text == chat.choices[0].message.content
    assert response.usage.input_tokens == chat.usage.prompt_tokens


def test_a_conversation_goes_on_by_id_and_by_hand(client):
    first = client.responses.create(input="Name a fruit.", **PLAIN)
    by_id = client.responses.create(input="Another.", previous_response_id=first.id, **PLAIN)
    by_hand = client.responses.create(
        input=[{"role": "user", "content": "Name a fruit."}]
        + [item.to_dict() for item in first.output]
        + [{"role": "user", "content": "Another."}],
        store=False,
        **PLAIN,
    )
    assert by_id.output_text == by_hand.output_text
    assert by_id.usage.input_tokens == by_hand.usage.input_tokens > first.usage.input_tokens
    referred = client.responses.create(
        input=[
            {"role": "user", "content": "Name a fruit."},
            {"type": "item_reference", "id": first.output[0].id},
            {"role": "user", "content": "Another."},
        ],
        **PLAIN,
    )
    assert referred.output_text == by_hand.output_text


def test_a_stored_response_can_be_had_and_deleted(client):
    first = client.responses.create(input="Hello.", **PLAIN)
    assert client.responses.retrieve(first.id) == first
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(input="More.", previous_response_id=first.id, **PLAIN)
    assert refused.value.code == "previous_response_not_found"


def test_parse_gives_an_object_of_the_schema(client):
    class Person(pydantic.BaseModel):
        name: str
        age: int

    answer = client.responses.parse(
        model=MODEL,
        temperature=0,
        max_output_tokens=80,
        input="Describe a person as JSON: Ada, 36 years old.",
        text_format=Person,
    )
    assert isinstance(answer.output_parsed, Person)


def test_the_probe_of_codex_is_answered(client):
    for nothing in ["", []]:
        probe = client.responses.create(model=MODEL, input=nothing, max_output_tokens=1)
        assert probe.status in ("completed", "incomplete")


def test_a_turn_with_a_tool(qwen):
    request = {"input": ASK, "tools": [WEATHER], **GREEDY}
    answer = qwen.responses.create(**request)
    (call,) = answer.output
    assert (call.type, call.name, call.status) == ("function_call", "get_weather", "completed")
    assert json.loads(call.arguments) == {"city": "Paris", "unit": "celsius"}

    events = events_of(qwen, **request)
    deltas = [e.delta for e in events if e.type == "response.function_call_arguments.delta"]
    assert "".join(deltas) == call.arguments
    assert len(deltas) > 8, "arguments are streamed token by token"

    output = {"type": "function_call_output", "call_id": call.call_id}
    for content in ["21 degrees, clear", [{"type": "input_text", "text": "21 degrees, clear"}]]:
        second = qwen.responses.create(
            input=[{"role": "user", "content": ASK}, call.to_dict(), {**output, "output": content}],
            tools=[WEATHER],
            **GREEDY,
        )
        assert second.usage.input_tokens > answer.usage.input_tokens
        assert second.usage.input_tokens_details.cached_tokens >= 128
        stored = qwen.responses.create(
            previous_response_id=answer.id,
            input=[{**output, "output": content}],
            tools=[WEATHER],
            **GREEDY,
        )
        assert without_ids(stored.to_dict()["output"]) == without_ids(second.to_dict()["output"])


def test_a_call_is_forced_when_it_must_be(qwen):
    named = {"type": "function", "name": "get_weather"}
    for choice in ["required", named, {"type": "allowed_tools", "mode": "required", "tools": [named]}]:
        request = {"input": "Say hello.", "tools": [WEATHER], "tool_choice": choice, **GREEDY}
        if choice == "required":
            request["parallel_tool_calls"] = False
        answer = qwen.responses.create(**request)
        calls = [item for item in answer.output if item.type == "function_call"]
        assert calls and len(calls) == len(answer.output)
        for call in calls:
            arguments = json.loads(call.arguments)
            assert set(arguments) == {"city", "unit"} and arguments["unit"] in ("celsius", "fahrenheit")
        assert answer.tool_choice == choice or answer.tool_choice.type == choice["type"]


def test_a_custom_tool_can_be_forced(qwen):
    answer = qwen.responses.create(
        input="Say hello.",
        tools=[{"type": "custom", "name": "speak", "description": "Says a text aloud"}],
        tool_choice={"type": "custom", "name": "speak"},
        **GREEDY,
    )
    (call,) = answer.output
    assert (call.type, call.name) == ("custom_tool_call", "speak") and call.input


def test_the_clients_stream_reader_parses_arguments(qwen):
    with qwen.responses.stream(input=ASK, tools=[WEATHER], **GREEDY) as stream:
        types = [event.type for event in stream]
        final = stream.get_final_response()
    assert types.count("response.function_call_arguments.done") == 1
    assert final.output[0].parsed_arguments == {"city": "Paris", "unit": "celsius"}


def test_a_namespaced_call_has_namespace_and_name_apart(qwen):
    tools = [
        {"type": "namespace", "name": "mcp__weather", "description": "Weather", "tools": [WEATHER]},
        {"type": "web_search"},
    ]
    raw = qwen.responses.with_raw_response.create(input=ASK, tools=tools, **GREEDY)
    assert raw.headers["x-mlxd-ignored"] == "tools[1]:web_search"
    (call,) = raw.parse().output
    assert (call.namespace, call.name) == ("mcp__weather", "get_weather")
    history = [
        {"role": "user", "content": ASK},
        call.to_dict(),
        {"type": "function_call_output", "call_id": call.call_id, "output": "21"},
    ]
    assert qwen.responses.create(input=history, tools=tools, **GREEDY).output


def test_a_custom_tool_is_given_free_text(qwen):
    patch = '*** Begin Patch\n*** Add File: a.txt\n+hello "you"\n*** End Patch'
    request = {
        "input": "Use the tool apply_patch with the patch: " + patch,
        "tools": [{"type": "custom", "name": "apply_patch", "description": "Applies a patch"}],
        **GREEDY,
    }
    (call,) = qwen.responses.create(**request).output
    assert (call.type, call.name, call.input) == ("custom_tool_call", "apply_patch", patch)
    events = events_of(qwen, **request)
    deltas = [e.delta for e in events if e.type == "response.custom_tool_call_input.delta"]
    assert "".join(deltas) == patch and len(deltas) > 4
    assert events[-1].response.output[0].input == patch


def test_a_request_as_codex_sends_it(qwen):
    events = events_of(
        qwen,
        model="qwen",
        instructions="You are a coding agent.",
        input=[
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Sandbox: read-only."}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<environment_context/>"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": ASK}]},
        ],
        tools=[WEATHER, {"type": "custom", "name": "apply_patch", "description": "Edits files",
                         "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'}},
               {"type": "web_search"}, {"type": "image_generation"}, {"type": "local_shell"}],
        tool_choice="auto",
        parallel_tool_calls=False,
        reasoning={"effort": "medium", "summary": "auto"},
        store=False,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="0198",
        text={"verbosity": "low"},
        service_tier="auto",
        extra_body={"client_metadata": {"x": "y"}},
        temperature=0,
        max_output_tokens=60,
    )
    assert events[-1].response.output


def test_what_is_not_supported_is_refused_by_name(client):
    for extra in [
        {"background": True},
        {"conversation": "conv_1"},
        {"prompt": {"id": "pmpt_1"}},
        {"extra_body": {"messages": []}},
    ]:
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.create(input="x", **PLAIN, **extra)
        assert refused.value.param in str(extra)
    image = {"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(input=[image], **PLAIN)
    assert refused.value.param == "input[0].content[0].type"


@pytest.mark.skipif(
    not shutil.which("node") or not (NODE / "node_modules").exists(), reason="no node or npm here"
)
def test_responses_with_the_node_client(server):
    result = subprocess.run(
        ["node", "responses.mjs", server.url, MODEL], cwd=NODE, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "ok"
