"""Anthropic's Messages API through its official client: SmolLM2 for text, Qwen2.5-Coder for tools."""

import json
import urllib.request

import anthropic
import pytest

from conftest import MODEL
from test_tools import QWEN

ASK = [{"role": "user", "content": "Why is the sky blue?"}]
GREEDY = {"extra_body": {"temperature": 0}}  # the newest clients no longer have it as an argument
SAID = {"model": MODEL, "messages": ASK, "max_tokens": 24} | GREEDY

WEATHER = {
    "name": "get_weather",
    "description": "The current weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        "required": ["city", "unit"],
    },
}
CALL = {
    "model": "qwen",
    "messages": [
        {"role": "user", "content": "What is the weather in Paris in celsius? Use the tool."}
    ],
    "tools": [WEATHER],
    "max_tokens": 120,
} | GREEDY


def client_of(running, **options):
    options = {"api_key": "none", "max_retries": 0, "timeout": 120} | options
    return anthropic.Anthropic(base_url=running.url, **options)


@pytest.fixture(scope="module")
def claude(server):
    return client_of(server)


@pytest.fixture(scope="module")
def qwen():
    from conftest import Server

    running = Server(model=f"qwen={QWEN}")
    yield client_of(running)
    assert running.stop() == 0, running.log()


def test_a_message_is_what_the_other_dialect_says(claude, client):
    message = claude.messages.create(**SAID)
    chat = client.chat.completions.create(**SAID)
    assert [block.type for block in message.content] == ["text"]
    assert message.content[0].text == chat.choices[0].message.content
    assert message.stop_reason == "max_tokens" and message.stop_sequence is None
    assert message.model == MODEL and message.id.startswith("msg_")
    usage = message.usage
    assert usage.output_tokens == 24
    assert usage.input_tokens + usage.cache_read_input_tokens == chat.usage.prompt_tokens


def test_a_stream_adds_up_to_the_message(claude):
    whole = claude.messages.create(**SAID)
    with claude.messages.stream(**SAID) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 8
    assert "".join(pieces) == whole.content[0].text == final.content[0].text
    assert final.stop_reason == whole.stop_reason
    total = lambda usage: (usage.input_tokens + usage.cache_read_input_tokens, usage.output_tokens)
    assert total(final.usage) == total(whole.usage)


def test_the_events_come_in_their_order(claude):
    types = [event.type for event in claude.messages.create(stream=True, **SAID)]
    assert types[:2] == ["message_start", "content_block_start"]
    assert set(types[2:-3]) == {"content_block_delta"}
    assert types[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_tokens_are_counted_as_they_are_used(claude):
    said = {"system": "Answer briefly.", "messages": ASK, "model": MODEL}
    counted = claude.messages.count_tokens(**said)
    message = claude.messages.create(max_tokens=1, **said)
    used = message.usage.input_tokens + message.usage.cache_read_input_tokens
    assert counted.input_tokens == used


def test_a_prefix_is_read_from_the_cache(claude):
    system = [
        {
            "type": "text",
            "text": "You know everything about the sea. " * 40,
            "cache_control": {"type": "ephemeral"},
        }
    ]
    ask = lambda text: claude.messages.create(
        model=MODEL, max_tokens=1, system=system, messages=[{"role": "user", "content": text}]
    ).usage
    first, second = ask("Is it deep?"), ask("Is it salty?")
    assert first.cache_creation_input_tokens > 200 and first.input_tokens == 1
    assert second.cache_read_input_tokens > 200
    assert 0 < second.cache_creation_input_tokens < 100


def test_the_billing_block_costs_no_prefix(claude):
    def counted(version):
        billing = f"x-anthropic-billing-header: cc_version=2.1.154.{version}; cch={version};"
        return claude.messages.count_tokens(
            model=MODEL,
            system=[{"type": "text", "text": billing}, {"type": "text", "text": "Be brief."}],
            messages=ASK,
        ).input_tokens

    plain = claude.messages.count_tokens(model=MODEL, system="Be brief.", messages=ASK)
    assert counted("abc") == counted("a much longer one") == plain.input_tokens


def test_a_stop_sequence_is_named(claude):
    text = claude.messages.create(**SAID).content[0].text
    stop = text.split()[3]
    message = claude.messages.create(stop_sequences=["@@@", stop], **SAID)
    assert message.stop_reason == "stop_sequence" and message.stop_sequence == stop
    assert message.content[0].text == text[: text.index(stop)]


def test_an_answer_that_is_begun_goes_on(claude):
    text = claude.messages.create(**SAID).content[0].text
    begun = text[: text.index(" ", 20)]
    history = ASK + [{"role": "assistant", "content": begun}]
    message = claude.messages.create(**(SAID | {"messages": history}))
    assert (begun + message.content[0].text).startswith(text)


def test_what_claude_code_sends_is_accepted(server):
    body = {
        "model": MODEL,
        "max_tokens": 32000,
        "stream": True,
        "temperature": 1,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.154.1f2;"},
            {
                "type": "text",
                "text": "You are a coding agent. Say one word.",
                "cache_control": {"type": "ephemeral", "ttl": "1h"},
            },
        ],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "<system-reminder>Be brief.</system-reminder>"},
                    {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
                ],
            },
            {"role": "system", "content": "1000 tokens left"},
        ],
        "stop_sequences": ["."],
        "tools": [
            WEATHER | {"cache_control": {"type": "ephemeral"}},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
        ],
        "thinking": {"type": "adaptive", "display": "omitted"},
        "output_config": {"effort": "high"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": "user_1_account__session_2"},
    }
    headers = {
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14",
        "X-Claude-Code-Session-Id": "5f0c",
        "Authorization": "Bearer x",
    }
    status, answered, text = server.post("/v1/messages?beta=true", body, headers)
    assert status == 200, text
    assert answered["content-type"] == "text/event-stream"
    ignored = set(answered["x-mlxd-ignored"].split(", "))
    assert ignored == {"context_management", "tools.1:web_search_20250305"}
    frames = text.decode().split("\n\n")
    assert frames[0].startswith("event: message_start\ndata: ")
    assert frames[-2].startswith("event: message_stop")
    request = urllib.request.Request(server.url + "/", method="HEAD")
    with urllib.request.urlopen(request, timeout=10) as head:
        assert head.status == 200


def test_errors_are_the_clients_own(claude):
    with pytest.raises(anthropic.BadRequestError) as refused:
        claude.messages.create(**(SAID | {"extra_body": {"temperature": 2}}))
    assert refused.value.body["error"]["type"] == "invalid_request_error"
    assert "'temperature'" in refused.value.body["error"]["message"]
    assert refused.value.body["request_id"]
    with pytest.raises(anthropic.NotFoundError):
        claude.messages.create(**(SAID | {"model": "claude-nothing"}))
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        claude.messages.create(
            **(SAID | {"messages": [{"role": "user", "content": "a b c " * 20000}]})
        )
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
    }
    with pytest.raises(anthropic.BadRequestError, match="no images"):
        claude.messages.create(**(SAID | {"messages": [{"role": "user", "content": [image]}]}))


def test_a_key_is_asked_for_in_its_words(start_server):
    running = start_server("--api-key", "secret")
    with pytest.raises(anthropic.AuthenticationError) as refused:
        client_of(running).messages.create(**SAID)
    assert refused.value.body["error"]["type"] == "authentication_error"
    for key in [{"api_key": "secret"}, {"api_key": None, "auth_token": "secret"}]:
        assert client_of(running, **key).messages.create(**SAID).content


def test_models_are_listed(claude):
    listed = list(claude.models.list(limit=1))  # pages follow by themselves
    assert MODEL in [model.id for model in listed]
    one = claude.models.retrieve(MODEL)
    assert (one.type, one.id, one.max_input_tokens) == ("model", MODEL, listed[0].max_input_tokens)
    with pytest.raises(anthropic.NotFoundError):
        claude.models.retrieve("nothing")


def test_an_answer_is_held_to_a_schema(claude):
    schema = {
        "type": "object",
        "properties": {"color": {"type": "string", "maxLength": 8}, "warm": {"type": "boolean"}},
        "required": ["color", "warm"],
        "additionalProperties": False,
    }
    message = claude.messages.create(
        **(SAID | {"max_tokens": 80}),
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert message.stop_reason == "end_turn"
    assert set(json.loads(message.content[0].text)) == {"color", "warm"}


def test_a_call_its_stream_and_its_result(qwen):
    message = qwen.messages.create(**CALL)
    assert message.stop_reason == "tool_use"
    (call,) = [block for block in message.content if block.type == "tool_use"]
    assert call.id.startswith("toolu_") and call.name == "get_weather"
    assert call.input == {"city": "Paris", "unit": "celsius"}

    with qwen.messages.stream(**CALL) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    assert len(pieces) > 8, "arguments are streamed token by token"
    assert json.loads("".join(pieces)) == call.input
    assert [block.type for block in final.content] == [block.type for block in message.content]
    assert final.content[-1].input == call.input and final.stop_reason == "tool_use"

    for content in ["21 degrees, clear", [{"type": "text", "text": "21 degrees, clear"}]]:
        result = {"type": "tool_result", "tool_use_id": call.id, "content": content}
        history = CALL["messages"] + [
            {"role": "assistant", "content": message.content},
            {"role": "user", "content": [result, {"type": "text", "text": "So?"}]},
        ]
        second = qwen.messages.create(**(CALL | {"messages": history}))
        assert second.usage.cache_read_input_tokens >= 128
        assert second.content


def test_a_call_can_be_forced(qwen):
    hello = CALL | {"messages": [{"role": "user", "content": "Say hello."}]}
    for choice in [
        {"type": "any", "disable_parallel_tool_use": True},
        {"type": "tool", "name": "get_weather"},
    ]:
        message = qwen.messages.create(tool_choice=choice, **hello)
        (call,) = message.content
        assert message.stop_reason == "tool_use" and call.name == "get_weather"
        assert set(call.input) == {"city", "unit"}
        assert call.input["unit"] in ["celsius", "fahrenheit"]
    with pytest.raises(anthropic.BadRequestError, match="tool_choice"):
        qwen.messages.create(tool_choice={"type": "tool", "name": "other"}, **hello)


def test_without_tools_or_with_none_of_them_all_is_text(qwen):
    for extra in [{"tools": []}, {"tool_choice": {"type": "none"}}]:
        message = qwen.messages.create(
            **(CALL | {"messages": [{"role": "user", "content": "Say hello."}]} | extra)
        )
        assert [block.type for block in message.content] == ["text"]
        assert message.stop_reason == "end_turn"
