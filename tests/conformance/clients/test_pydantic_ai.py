"""Pydantic AI's agents by chats, Responses and messages, against a scripted server."""

import pytest

pydantic_ai = pytest.importorskip("pydantic_ai")

from pydantic_ai import Agent, NativeOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from common import ANSWER, ASK, JANE, Person, SUNNY, WEATHER

QUESTION, WEATHER_QUESTION = ASK[0]["content"], WEATHER[0]["content"]


@pytest.fixture(params=["chat", "responses", "messages"])
def model(request, scripted):
    openai = OpenAIProvider(base_url=scripted.url + "/v1", api_key="none")
    make = {
        "chat": lambda name: OpenAIChatModel(name, provider=openai),
        "responses": lambda name: OpenAIResponsesModel(name, provider=openai),
        "messages": lambda name: AnthropicModel(
            name, provider=AnthropicProvider(base_url=scripted.url, api_key="none")
        ),
    }
    return make[request.param]


def test_an_answer(model):
    answer = Agent(model("qwen"), instructions="Be brief.").run_sync(QUESTION)
    assert answer.output == ANSWER
    assert answer.usage.input_tokens > 10


@pytest.mark.asyncio
async def test_a_stream(model):
    async with Agent(model("qwen")).run_stream(QUESTION) as answer:
        pieces = [piece async for piece in answer.stream_text(delta=True, debounce_by=None)]
    assert "".join(pieces) == ANSWER and len(pieces) > 1


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_and_its_result(model, stream):
    cities = []
    agent = Agent(model("qwen"))

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """The weather of a city."""
        cities.append(city)
        return "22 degrees, sun"

    if stream:
        async with agent.run_stream(WEATHER_QUESTION) as answer:
            said = await answer.get_output()
    else:
        said = (await agent.run(WEATHER_QUESTION)).output
    assert said == SUNNY and cities == ["Paris"]


def test_an_output_by_a_forced_call(model):
    assert Agent(model("qwen"), output_type=Person).run_sync("Who is Jane?").output == JANE


def test_an_output_held_to_its_schema(model):
    if "Anthropic" in type(model("qwen")).__name__:
        pytest.skip("it offers this for models that it knows alone")
    agent = Agent(model("qwen"), output_type=NativeOutput(Person))
    assert agent.run_sync("Who is Jane?").output == JANE


def test_an_error_tells_status_and_name(model):
    with pytest.raises(ModelHTTPError, match="nobody") as caught:
        Agent(model("nobody")).run_sync(QUESTION)
    assert caught.value.status_code == 404
