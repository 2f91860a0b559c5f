"""Chat and completions, streamed and not, with the official Python client, sync and async."""

import asyncio

import openai
import pytest

from conftest import MODEL

CHAT = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Name the capital of France."}],
    "max_tokens": 16,
    "temperature": 0,
}
COMPLETION = {"model": MODEL, "prompt": "The capital of France is", "max_tokens": 8, "temperature": 0}


def test_chat(client):
    answer = client.chat.completions.create(**CHAT)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("chatcmpl-")
    assert answer.model == MODEL
    assert answer.choices[0].message.role == "assistant"
    assert "Paris" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.system_fingerprint


def test_chat_streamed(client):
    whole = client.chat.completions.create(**CHAT)
    chunks = list(
        client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[0].choices[0].delta.content == ""
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert len({c.id for c in chunks}) == 1
    assert len({c.created for c in chunks}) == 1
    finishes = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert finishes[:-1] == [None] * (len(finishes) - 1)
    assert finishes[-1] == whole.choices[0].finish_reason
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(c.usage is None for c in chunks[:-1])


def test_completion(client):
    answer = client.completions.create(**COMPLETION)
    assert answer.object == "text_completion"
    assert "Paris" in answer.choices[0].text
    assert answer.usage.completion_tokens == 8
    assert answer.choices[0].finish_reason == "length"


def test_completion_streamed(client):
    whole = client.completions.create(**COMPLETION)
    chunks = list(client.completions.create(**COMPLETION, stream=True))
    assert "".join(c.choices[0].text for c in chunks) == whole.choices[0].text
    assert chunks[-1].choices[0].finish_reason == "length"


def test_all_four_with_the_async_client_at_once(server):
    async def run():
        async with server.async_client() as client:

            async def streamed(create, arguments, text):
                return "".join([text(c) async for c in await create(**arguments, stream=True)])

            chat, chat_text, completion, completion_text = await asyncio.gather(
                client.chat.completions.create(**CHAT),
                streamed(
                    client.chat.completions.create, CHAT, lambda c: c.choices[0].delta.content or ""
                ),
                client.completions.create(**COMPLETION),
                streamed(client.completions.create, COMPLETION, lambda c: c.choices[0].text),
            )
            assert chat.choices[0].message.content == chat_text
            assert completion.choices[0].text == completion_text

    asyncio.run(run())


def test_models(client):
    models = client.models.list().data
    assert [m.id for m in models] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("mlx-community/absent")
    assert caught.value.body["code"] == "model_not_found"


def test_a_prompt_may_be_text_tokens_or_a_list_of_either(client):
    # The four forms of the same two prompts give the same choices.
    options = {"model": MODEL, "max_tokens": 4, "temperature": 0}
    texts = ["One two three", "Red green"]
    single = [client.completions.create(prompt=t, **options).choices[0].text for t in texts]
    both = client.completions.create(prompt=texts, **options)
    assert [c.text for c in both.choices] == single
    assert [c.index for c in both.choices] == [0, 1]
    echo = client.completions.create(
        prompt=texts[0],
        echo=True,
        logprobs=1,
        max_tokens=0,
        model=MODEL,
        extra_body={"return_tokens_as_token_ids": True},
    )
    tokens = [int(t.removeprefix("token_id:")) for t in echo.choices[0].logprobs.tokens]
    assert echo.choices[0].text == texts[0]
    assert client.completions.create(prompt=tokens, **options).choices[0].text == single[0]
    assert client.completions.create(prompt=[tokens], **options).choices[0].text == single[0]


def test_samples_of_one_prompt_differ_and_repeat_with_the_seed(client):
    request = CHAT | {"temperature": 1.5, "n": 4, "seed": 11, "max_tokens": 12}
    first = [c.message.content for c in client.chat.completions.create(**request).choices]
    second = [c.message.content for c in client.chat.completions.create(**request).choices]
    assert first == second
    assert len(set(first)) > 1
    chunks = client.chat.completions.create(**request, stream=True)
    texts = [""] * 4
    for chunk in chunks:
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == first


def test_a_missing_seed_is_chosen_and_told(client):
    raw = client.chat.completions.with_raw_response.create(**(CHAT | {"temperature": 1}))
    seed = int(raw.headers["x-seed"])
    again = client.chat.completions.create(**(CHAT | {"temperature": 1, "seed": seed}))
    assert again.choices[0].message.content == raw.parse().choices[0].message.content
