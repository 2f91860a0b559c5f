"""OpenAI's agents SDK by Responses, its default, and by chats, against a scripted server."""

import openai
import pytest

agents = pytest.importorskip("agents")

from agents import Agent, ModelSettings, Runner, function_tool

from common import ANSWER, ASK, JANE, Person, SUNNY, WEATHER

QUESTION, WEATHER_QUESTION = ASK[0]["content"], WEATHER[0]["content"]


@pytest.fixture(params=["responses", "chat"])
def model(request, scripted):
    agents.set_tracing_disabled(True)
    kind = {
        "responses": agents.OpenAIResponsesModel,
        "chat": agents.OpenAIChatCompletionsModel,
    }[request.param]

    def make(name="qwen"):
        client = openai.AsyncOpenAI(base_url=scripted.url + "/v1", api_key="none", max_retries=0)
        return kind(model=name, openai_client=client)

    return make


@pytest.mark.asyncio
async def test_an_answer_whole_and_streamed(model):
    agent = Agent(name="a", instructions="Be brief.", model=model())
    assert (await Runner.run(agent, QUESTION)).final_output == ANSWER
    streamed = Runner.run_streamed(agent, QUESTION)
    pieces = [
        event.data.delta
        async for event in streamed.stream_events()
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    assert "".join(pieces) == ANSWER == streamed.final_output


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_and_its_result(model, stream):
    cities = []

    @function_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        cities.append(city)
        return "22 degrees, sun"

    agent = Agent(name="a", model=model(), tools=[get_weather])
    if stream:
        result = Runner.run_streamed(agent, WEATHER_QUESTION)
        async for _ in result.stream_events():
            pass
    else:
        result = await Runner.run(agent, WEATHER_QUESTION)
    assert result.final_output == SUNNY and cities == ["Paris"]


@pytest.mark.asyncio
async def test_a_forced_call_ends_the_run(model):
    @function_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        return city

    agent = Agent(
        name="a", model=model(), tools=[get_weather], tool_use_behavior="stop_on_first_tool",
        model_settings=ModelSettings(tool_choice="required", parallel_tool_calls=False),
    )  # fmt: skip
    assert (await Runner.run(agent, WEATHER_QUESTION)).final_output == "Paris"


@pytest.mark.asyncio
async def test_a_schema(model):
    agent = Agent(name="a", model=model(), output_type=Person)
    assert (await Runner.run(agent, "Who is Jane?")).final_output == JANE


@pytest.mark.asyncio
async def test_an_error_is_the_clients_own(model):
    with pytest.raises(openai.NotFoundError, match="nobody"):
        await Runner.run(Agent(name="a", model=model("nobody")), QUESTION)
