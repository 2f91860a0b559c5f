"""Instructor: pydantic models out of answers, by each of the ways to ask for them."""

import anthropic
import openai
import pytest

instructor = pytest.importorskip("instructor")

from common import JANE, Person

JANES = [{"role": "user", "content": "Who is Jane?"}]


@pytest.mark.parametrize("mode", ["TOOLS", "TOOLS_STRICT", "JSON", "JSON_SCHEMA", "MD_JSON"])
def test_a_model_by_chats(scripted, mode):
    client = instructor.from_openai(
        openai.OpenAI(base_url=scripted.url + "/v1", api_key="none", max_retries=0),
        mode=instructor.Mode[mode],
    )
    ask = {"model": "qwen", "response_model": Person, "messages": JANES, "max_retries": 0}
    assert client.chat.completions.create(**ask).model_dump() == JANE.model_dump()
    if mode in ("TOOLS", "JSON"):
        *_, last = client.chat.completions.create_partial(**ask)
        assert last.model_dump() == JANE.model_dump()


def test_a_model_by_responses(scripted):
    client = instructor.from_openai(
        openai.OpenAI(base_url=scripted.url + "/v1", api_key="none", max_retries=0),
        mode=instructor.Mode.RESPONSES_TOOLS,
    )
    answer = client.responses.create(model="qwen", input=JANES, response_model=Person)
    assert answer.model_dump() == JANE.model_dump()


@pytest.mark.parametrize("mode", ["ANTHROPIC_TOOLS", "ANTHROPIC_JSON"])
def test_a_model_by_messages(scripted, mode):
    client = instructor.from_anthropic(
        anthropic.Anthropic(base_url=scripted.url, api_key="none", max_retries=0),
        mode=instructor.Mode[mode],
    )
    ask = {"model": "qwen", "max_tokens": 200, "response_model": Person, "messages": JANES}
    assert client.messages.create(max_retries=0, **ask).model_dump() == JANE.model_dump()


def test_an_error_is_the_clients_own(scripted):
    client = instructor.from_openai(
        openai.OpenAI(base_url=scripted.url + "/v1", api_key="none", max_retries=0)
    )
    with pytest.raises(Exception, match="nobody"):
        client.chat.completions.create(
            model="nobody", response_model=Person, messages=JANES, max_retries=0
        )
