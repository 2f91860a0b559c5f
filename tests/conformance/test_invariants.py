"""What holds for every request, whatever else the server does."""

import concurrent.futures
import random

import openai
import pytest

from conftest import MODEL, random_chat


def fold(chunks, samples):
    """Streamed chunks put together: per sample text, finish reason and log-probabilities."""
    text = [""] * samples
    finish = [None] * samples
    logprobs = [[] for _ in range(samples)]
    for chunk in chunks:
        for choice in chunk.choices:
            text[choice.index] += choice.delta.content or ""
            finish[choice.index] = choice.finish_reason or finish[choice.index]
            if choice.logprobs:
                logprobs[choice.index] += choice.logprobs.content
    return text, finish, logprobs


def unfold(answer):
    ordered = sorted(answer.choices, key=lambda c: c.index)
    return (
        [c.message.content for c in ordered],
        [c.finish_reason for c in ordered],
        [c.logprobs.content if c.logprobs else [] for c in ordered],
    )


def test_stream_equals_non_stream(server):
    generator = random.Random(20261123)
    requests = [random_chat(generator) for _ in range(300)]
    client = server.client()

    def differs(request):
        whole = unfold(client.chat.completions.create(**request))
        streamed = fold(
            client.chat.completions.create(**request, stream=True), request.get("n", 1)
        )
        return None if whole == streamed else (request, whole, streamed)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert [d for d in pool.map(differs, requests) if d] == []


def test_the_same_seed_gives_the_same_text_alone_and_among_sixteen(server):
    generator = random.Random(5)
    requests = [random_chat(generator) for _ in range(16)]
    client = server.client()

    def text(request):
        return unfold(client.chat.completions.create(**request))

    alone = [text(r) for r in requests]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for _ in range(4):
            assert list(pool.map(text, requests)) == alone


@pytest.mark.parametrize("limit", [1, 2, 7, 33])
def test_max_tokens_is_exact(client, limit):
    answer = client.completions.create(
        model=MODEL,
        prompt="Once upon a time",
        max_tokens=limit,
        temperature=0,
        extra_body={"ignore_eos": True},
    )
    assert answer.usage.completion_tokens == limit
    assert answer.choices[0].finish_reason == "length"


def test_a_stop_string_never_shows_nor_a_beginning_of_it(client):
    request = {"model": MODEL, "prompt": "1, 2, 3, 4,", "max_tokens": 40, "temperature": 0}
    free = client.completions.create(**request).choices[0].text
    for stop in (" 7", "7, 8", free[3:9], free[10:11]):
        expected = free[: free.index(stop)] if stop in free else free
        whole = client.completions.create(**request, stop=stop)
        pieces = [c.choices[0].text for c in client.completions.create(**request, stop=stop, stream=True)]
        assert whole.choices[0].text == expected
        assert "".join(pieces) == expected
        if stop in free:
            assert whole.choices[0].finish_reason == "stop"


def test_the_context_limit_is_exact(server, client):
    def complete(tokens, limit):
        return client.completions.create(
            model=MODEL,
            prompt=[1000] * tokens,
            max_tokens=limit,
            temperature=0,
            extra_body={"ignore_eos": True},
        )

    fits = complete(8192 - 5, 5)
    assert fits.usage.completion_tokens == 5
    with pytest.raises(openai.BadRequestError) as caught:
        complete(8192 - 5, 6)
    assert caught.value.body["code"] == "context_length_exceeded"
    assert "8192" in caught.value.body["message"]
    assert "8193" in caught.value.body["message"]


def test_greedy_logprobs_are_consistent(client):
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Count to five. 数字 🎈"}],
        max_tokens=20,
        temperature=0,
        logprobs=True,
        top_logprobs=5,
    )
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens or len(content) + 1 == answer.usage.completion_tokens
    for token in content:
        assert token.logprob <= 0
        assert token.top_logprobs[0].logprob == token.logprob
        values = [t.logprob for t in token.top_logprobs]
        assert values == sorted(values, reverse=True) and len(values) == 5
    joined = b"".join(bytes(t.bytes) for t in content)
    assert joined.decode(errors="replace").startswith(answer.choices[0].message.content)
