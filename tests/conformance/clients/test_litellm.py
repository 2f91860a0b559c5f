"""LiteLLM's library, by OpenAI's chats and by Anthropic's messages, against a scripted server."""

import json
import os

import pytest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for one
litellm = pytest.importorskip("litellm")

from common import ANSWER, ASK, JANE, Person, SUNNY, TOOL, WEATHER


@pytest.fixture(params=["openai", "anthropic"])
def complete(request, scripted):
    base = scripted.url + ("/v1" if request.param == "openai" else "")

    def call(messages, model="qwen", **options):
        return litellm.completion(
            model=f"{request.param}/{model}", api_base=base, api_key="none", max_retries=0,
            messages=messages, **options,
        )  # fmt: skip

    return call


def test_an_answer_whole_and_streamed(complete):
    whole = complete(ASK)
    assert whole.choices[0].message.content == ANSWER
    assert whole.usage.prompt_tokens > 10 and whole.usage.completion_tokens > 5
    chunks = list(complete(ASK, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == ANSWER
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_and_its_result(complete, stream):
    asked = complete(WEATHER, tools=[TOOL], stream=stream)
    if stream:
        asked = litellm.stream_chunk_builder(list(asked), messages=WEATHER)
    assert asked.choices[0].finish_reason == "tool_calls"
    message = asked.choices[0].message
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Paris"}
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "22 degrees, sun"}
    second = complete([*WEATHER, message.model_dump(), result], tools=[TOOL])
    assert second.choices[0].message.content == SUNNY


def test_a_schema(complete):
    held = complete([{"role": "user", "content": "Who is Jane?"}], response_format=Person)
    assert Person.model_validate_json(held.choices[0].message.content) == JANE


def test_errors_are_its_own(complete):
    with pytest.raises(litellm.NotFoundError, match="nobody"):
        complete(ASK, model="nobody")
    with pytest.raises(litellm.ContextWindowExceededError):
        complete([{"role": "user", "content": "word " * 40000}])
