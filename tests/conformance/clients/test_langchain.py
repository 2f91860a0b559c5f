"""LangChain's OpenAI client: its own standard suite with a real model, and with a scripted one what
depends on what a model says."""

import pytest

pytest.importorskip("langchain_tests")

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

from common import ANSWER, ASK, JANE, Person, SUNNY, WEATHER


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"22 degrees and sunny in {city}"


@pytest.fixture(params=[False, True], ids=["chat", "responses"])
def model(request, scripted):
    return ChatOpenAI(
        model="qwen", base_url=scripted.url + "/v1", api_key="none", max_retries=0,
        use_responses_api=request.param,
    )  # fmt: skip


def test_an_answer_whole_and_streamed(model):
    whole = model.invoke(ASK)
    assert whole.text == ANSWER
    usage = {} if model.use_responses_api else {"stream_usage": True}
    chunks = list(model.stream(ASK, **usage))
    total = sum(chunks[1:], chunks[0])
    assert total.text == ANSWER
    assert total.usage_metadata["total_tokens"] == whole.usage_metadata["total_tokens"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_and_its_result(model, stream):
    bound = model.bind_tools([get_weather])
    question = HumanMessage(WEATHER[0]["content"])
    if stream:
        chunks = list(bound.stream([question]))
        asked = sum(chunks[1:], chunks[0])
    else:
        asked = bound.invoke([question])
    call = asked.tool_calls[0]
    assert call["args"] == {"city": "Paris"}
    result = get_weather.invoke(call)
    assert isinstance(result, ToolMessage)
    assert bound.invoke([question, asked, result]).text == SUNNY


@pytest.mark.parametrize("method", ["function_calling", "json_schema", "json_mode"])
def test_a_schema(model, method):
    assert model.with_structured_output(Person, method=method).invoke("Who is Jane?") == JANE


def test_an_error_tells_the_name(model):
    with pytest.raises(Exception, match="nobody"):
        ChatOpenAI(
            model="nobody", base_url=model.openai_api_base, api_key="none", max_retries=0
        ).invoke(ASK)


@pytest.fixture(scope="session")
def real():
    from conftest import QWEN, Server

    running = Server(model=f"qwen={QWEN}")
    yield running
    assert running.stop() == 0, running.log()


@pytest.mark.asyncio(loop_scope="class")  # its client keeps connections between tests
@pytest.mark.filterwarnings("ignore:.*is not an async function")
class TestStandardSuite(ChatModelIntegrationTests):
    """With Qwen2.5-Coder 1.5B, which none of it asks too much."""

    @pytest.fixture(autouse=True)
    def at_the_server(self, real):
        type(self).base_url = real.url + "/v1"

    @property
    def chat_model_class(self):
        return ChatOpenAI

    @property
    def chat_model_params(self):
        return {
            "model": "qwen", "base_url": self.base_url, "api_key": "none", "max_retries": 0,
            "temperature": 0, "seed": 1, "stream_usage": True,
        }  # fmt: skip

    @property
    def standard_chat_model_params(self):
        return {"max_tokens": 100}

    @property
    def supports_json_mode(self):
        return True
