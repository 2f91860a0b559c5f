"""Ollama's API through its official client: with SmolLM2, and for tools with Qwen2.5-Coder."""

import json
import urllib.request

import ollama
import pytest

from conftest import MODEL, MODELS

QWEN = MODELS / "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
ASK = [{"role": "user", "content": "Why is the sky blue?"}]
GREEDY = {"temperature": 0, "seed": 1, "num_predict": 24}


def get_weather(city: str, unit: str) -> str:
    """The current weather of a city

    Args:
        city: the city
        unit: celsius or fahrenheit
    """
    return f"21 degrees {unit} in {city}, clear"


@pytest.fixture(scope="module")
def client(server):
    return ollama.Client(host=server.url)


@pytest.fixture(scope="module")
def qwen():
    from conftest import Server

    running = Server(model=f"qwen={QWEN}")
    yield ollama.Client(host=running.url)
    assert running.stop() == 0, running.log()


def check_numbers(answer, most_tokens):
    """The counts and durations of a finished answer, in nanoseconds."""
    assert answer.done and answer.done_reason in ("stop", "length")
    assert answer.prompt_eval_count > 0
    assert 0 < answer.eval_count <= most_tokens
    parts = answer.load_duration + answer.prompt_eval_duration + answer.eval_duration
    assert min(answer.load_duration, answer.prompt_eval_duration, answer.eval_duration) >= 0
    assert abs(parts - answer.total_duration) <= 10
    assert 0 < answer.total_duration < 120e9


def test_chat_whole_and_streamed_say_the_same(client):
    whole = client.chat(MODEL, ASK, options=GREEDY)
    assert whole.model == MODEL and whole.message.role == "assistant"
    assert whole.message.content and whole.message.thinking is None
    check_numbers(whole, 24)
    parts = list(client.chat(MODEL, ASK, options=GREEDY, stream=True))
    assert "".join(part.message.content for part in parts) == whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert len(parts) > 8, "it is streamed token by token"
    check_numbers(parts[-1], 24)
    assert (parts[-1].eval_count, parts[-1].done_reason) == (whole.eval_count, whole.done_reason)


def test_chat_is_the_answer_that_openais_endpoint_gives(client, server):
    there = server.client().chat.completions.create(
        model=MODEL, messages=ASK, temperature=0, seed=1, max_tokens=24
    )
    here = client.chat(MODEL, ASK, options=GREEDY)
    assert here.message.content == there.choices[0].message.content
    assert here.prompt_eval_count == there.usage.prompt_tokens
    assert here.eval_count == there.usage.completion_tokens


def test_a_conversation_goes_on(client):
    first = client.chat(MODEL, ASK, options=GREEDY)
    second = client.chat(
        MODEL, ASK + [first.message, {"role": "user", "content": "And red?"}], options=GREEDY
    )
    assert second.prompt_eval_count > first.prompt_eval_count and second.message.content


def test_the_stream_is_lines_of_json(server):
    body = json.dumps({"model": MODEL, "messages": ASK, "options": GREEDY}).encode()
    request = urllib.request.Request(
        server.url + "/api/chat", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        lines = answer.read().decode().splitlines()
    assert all(json.loads(line)["model"] == MODEL for line in lines)
    assert json.loads(lines[-1])["done"] is True


def test_generate_whole_streamed_and_raw(client):
    whole = client.generate(MODEL, "Why is the sky blue?", options=GREEDY)
    check_numbers(whole, 24)
    assert whole.response == client.chat(MODEL, ASK, options=GREEDY).message.content
    parts = list(client.generate(MODEL, "Why is the sky blue?", options=GREEDY, stream=True))
    assert "".join(part.response for part in parts) == whole.response
    told = client.generate(MODEL, "Why is the sky blue?", system="Say ARRR.", options=GREEDY)
    assert told.prompt_eval_count != whole.prompt_eval_count
    raw = client.generate(MODEL, "The sky is", raw=True, options=GREEDY)
    assert raw.response and raw.prompt_eval_count < whole.prompt_eval_count


def test_options_are_honoured(client):
    def say(**options):
        return client.chat(MODEL, ASK, options={"num_predict": 12, **options}).message.content

    assert say(seed=7) == say(seed=7)
    assert len({say(seed=seed, temperature=2, top_k=0) for seed in range(4)}) > 1
    assert say(temperature=0) == say(temperature=1, top_k=1)
    assert "the" not in say(temperature=0, stop=["the"])
    short = client.chat(MODEL, ASK, options={"num_predict": 3, "temperature": 0})
    assert (short.eval_count, short.done_reason) == (3, "length")


def test_more_than_the_context_means_what_is_left(client):
    answer = client.chat(
        MODEL, ASK, options={"num_predict": 1000000, "num_ctx": 1000000, "stop": ["."]}
    )
    assert answer.done


def test_format_holds_an_answer_to_json(client):
    schema = {
        "type": "object",
        "properties": {"color": {"enum": ["blue", "red"]}, "sure": {"type": "boolean"}},
        "required": ["color", "sure"],
        "additionalProperties": False,
    }
    for seed in range(3):
        answer = client.chat(
            MODEL, ASK, format=schema, options={"seed": seed, "num_predict": 60}
        )
        assert set(json.loads(answer.message.content)) == {"color", "sure"}
    answer = client.generate(
        MODEL, "A person", format="json", options={**GREEDY, "num_predict": 200}
    )
    assert answer.done_reason == "length" or isinstance(json.loads(answer.response), dict)


def test_log_probabilities(client):
    parts = list(
        client.chat(MODEL, ASK, options=GREEDY, logprobs=True, top_logprobs=2, stream=True)
    )
    tokens = [token for part in parts for token in part.logprobs or []]
    text = "".join(part.message.content for part in parts)
    assert "".join(token.token for token in tokens).startswith(text)
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens)


def test_load_and_unload_are_answered(client):
    for stream in (False, True):
        for answer in (
            client.chat(MODEL, stream=stream),
            client.generate(MODEL, stream=stream, keep_alive="10m"),
        ):
            (answer,) = answer if stream else [answer]
            assert answer.done and answer.done_reason == "load"
    assert client.generate(MODEL, keep_alive=0).done_reason == "unload"


def test_list_show_and_ps(client):
    (model,) = client.list().models
    assert model.model == MODEL and model.size > 50e6 and model.modified_at.year >= 2024
    assert model.details.format == "gguf" and model.details.family == "llama"
    assert model.details.parameter_size == "134.5M"
    shown = client.show(MODEL)
    assert "completion" in shown.capabilities and "thinking" not in shown.capabilities
    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.modelinfo["llama.context_length"] == 8192
    assert "<|im_start|>" in shown.template
    (running,) = client.ps().models
    assert running.model == MODEL and running.context_length == 8192
    assert client.show(MODEL + ":latest").details == shown.details


def test_calls_come_as_objects_whole_and_streamed(qwen):
    ask = [{"role": "user", "content": "What is the weather in Paris in celsius? Use the tool."}]
    options = {"temperature": 0, "num_predict": 120}
    whole = qwen.chat("qwen", ask, tools=[get_weather], options=options)
    (call,) = whole.message.tool_calls
    assert call.function.name == "get_weather"
    assert call.function.arguments == {"city": "Paris", "unit": "celsius"}
    assert whole.message.content == "" and whole.done_reason == "stop"
    parts = list(qwen.chat("qwen", ask, tools=[get_weather], options=options, stream=True))
    streamed = [call for part in parts for call in part.message.tool_calls or []]
    assert [each.function for each in streamed] == [call.function]

    result = get_weather(**call.function.arguments)
    history = ask + [
        whole.message,
        {"role": "tool", "tool_name": "get_weather", "content": result},
    ]
    assert qwen.chat("qwen", history, tools=[get_weather], options=options).prompt_eval_count > (
        whole.prompt_eval_count + whole.eval_count
    )
    assert "21" in qwen.chat("qwen", history, options=options).message.content


@pytest.mark.parametrize(
    "ask, status, named",
    [
        (lambda c: c.chat("nobody", ASK), 404, "model 'nobody' not found"),
        (lambda c: c.show("nobody"), 404, "model 'nobody' not found"),
        (lambda c: c.chat(MODEL, ASK, options={"mirostat": 2}), 400, "'options.mirostat'"),
        (lambda c: c.chat(MODEL, ASK, think=True), 400, "does not support thinking"),
        (lambda c: c.generate(MODEL, "a", suffix="b"), 400, "'suffix'"),
        (lambda c: c.generate(MODEL, "a", context=[1, 2]), 400, "'context'"),
        (lambda c: c.generate(MODEL, "a", images=["aGVsbG8="]), 400, "'images'"),
        (lambda c: c.chat(MODEL, ASK, format={"not": {}}), 400, "not"),
        (lambda c: c.chat(MODEL, [{"role": "user", "content": "a " * 9000}]), 400, "context"),
        (lambda c: list(c.chat("nobody", ASK, stream=True)), 404, "model 'nobody' not found"),
        (lambda c: c.embed(MODEL, "a"), 400, "embedding model"),
    ],
)
def test_errors_are_the_clients_own(client, ask, status, named):
    with pytest.raises(ollama.ResponseError) as refused:
        ask(client)
    assert refused.value.status_code == status
    assert named in refused.value.error


def test_httpx_level_questions(server):
    status, version = server.get("/api/version")
    assert status == 200 and json.loads(version)["version"]
    status, wrong = server.get("/api/chat")
    assert status == 405 and set(json.loads(wrong)) == {"error"}
    head = urllib.request.Request(server.url + "/", method="HEAD")
    with urllib.request.urlopen(head, timeout=10) as answer:
        assert answer.status == 200
    assert json.loads(server.get("/")[1])["name"] == "mlxd"
