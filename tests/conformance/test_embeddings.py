"""Embeddings, rankings and scores through official clients and as plain HTTP: with MiniLM, and with
tiny models whose answers transformers gave."""

import base64
import json
import struct
import threading

import ollama
import openai
import pytest

from conftest import MODELS, ROOT, Server

TINY = ROOT / "tests/golden/tiny"
MINILM = MODELS / "all-MiniLM-L6-v2"
TEXTS = json.loads((ROOT / "tests/golden/minilm.json").read_text())["texts"]
TINY_ENCODERS = ["nomic-bert", "xlm-roberta", "modernbert"]
PAIRS = json.loads((TINY / "bert-cross.json").read_text())["pairs"]


@pytest.fixture(scope="module")
def server():
    running = Server("--model", f"cross={TINY / 'bert-cross'}", "--model", f"chat={TINY / 'qwen3'}",
                     model=f"minilm={MINILM}")
    yield running
    assert running.stop() == 0, running.log()


@pytest.fixture(scope="module")
def gguf_server():
    names = TINY_ENCODERS + ["xlm-roberta-cross"]
    more = [part for name in names[1:] for part in ("--model", f"{name}={TINY / name}.gguf")]
    running = Server(*more, model=f"{names[0]}={TINY / names[0]}.gguf")
    yield running
    assert running.stop() == 0, running.log()


@pytest.fixture(scope="module")
def client(server):
    return server.client()


def cosine(a, b):
    def dot(x, y):
        return sum(i * j for i, j in zip(x, y))

    return dot(a, b) / (dot(a, a) * dot(b, b)) ** 0.5


def test_vectors_are_those_of_sentence_transformers(client):
    # The official client asks for base64 by itself.
    answer = client.embeddings.create(model="minilm", input=[text["text"] for text in TEXTS])
    assert [each.index for each in answer.data] == list(range(len(TEXTS)))
    for each, text in zip(answer.data, TEXTS):
        assert cosine(each.embedding, text["vector"]) > 1 - 1e-3
    assert answer.usage.prompt_tokens == sum(len(text["tokens"]) for text in TEXTS)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens
    assert answer.model == "minilm"


@pytest.mark.parametrize("name", TINY_ENCODERS)
def test_vectors_of_gguf_files_are_those_of_transformers(gguf_server, name):
    texts = json.loads((TINY / f"{name}.json").read_text())["texts"]
    answer = gguf_server.client().embeddings.create(model=name, input=[t["text"] for t in texts])
    for each, text in zip(answer.data, texts):
        assert cosine(each.embedding, text["vector"]) > 1 - 1e-4, text["text"]
    assert answer.usage.prompt_tokens == sum(len(text["tokens"]) for text in texts)


def test_scores_of_an_xlm_roberta_in_a_gguf_file(gguf_server):
    pairs = json.loads((TINY / "xlm-roberta-cross.json").read_text())["pairs"]
    body = {"model": "xlm-roberta-cross", "text_1": [p["first"] for p in pairs],
            "text_2": [p["second"] for p in pairs]}
    data = json.loads(gguf_server.post("/v1/score", body)[2])["data"]
    assert [d["score"] for d in data] == pytest.approx([p["score"] for p in pairs], abs=1e-3)


def test_floats_and_base64_are_the_same_numbers(client, server):
    floats = client.embeddings.create(model="minilm", input="a", encoding_format="float")
    body = json.loads(server.post("/v1/embeddings", {
        "model": "minilm", "input": "a", "encoding_format": "base64"})[2])
    packed = base64.b64decode(body["data"][0]["embedding"])
    assert packed == struct.pack("<384f", *floats.data[0].embedding)


def test_tokens_and_fewer_dimensions(client):
    text = TEXTS[1]
    whole = client.embeddings.create(model="minilm", input=text["text"]).data[0].embedding
    tokens = client.embeddings.create(model="minilm", input=[text["tokens"], text["tokens"]])
    assert tokens.data[0].embedding == tokens.data[1].embedding == whole
    part = client.embeddings.create(model="minilm", input=text["text"], dimensions=100)
    assert len(part.data[0].embedding) == 100
    assert cosine(part.data[0].embedding, whole[:100]) == pytest.approx(1, abs=1e-6)
    assert sum(x * x for x in part.data[0].embedding) == pytest.approx(1, abs=1e-5)


def test_answers_do_not_depend_on_company(client):
    alone = client.embeddings.create(model="minilm", input=TEXTS[2]["text"]).data[0].embedding
    answers = {}

    def ask(number):
        texts = [TEXTS[(number + i) % len(TEXTS)]["text"] for i in range(64)]
        data = client.embeddings.create(model="minilm", input=texts).data
        answers[number] = [each.embedding for each, text in zip(data, texts)
                           if text == TEXTS[2]["text"]]

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    for vectors in answers.values():
        assert vectors and all(vector == alone for vector in vectors)


def test_what_is_too_long_is_refused_or_cut(client):
    text = "water " * 400
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model="minilm", input=["a", text])
    assert refused.value.code == "context_length_exceeded"
    assert "256 tokens, but 'input[1]'" in refused.value.message
    cut = client.embeddings.create(model="minilm", input=text,
                                   extra_body={"truncate_prompt_tokens": -1})
    assert cut.usage.prompt_tokens == 256


def test_each_model_says_what_it_is_for(client, server):
    with pytest.raises(openai.BadRequestError, match="/v1/embeddings"):
        client.chat.completions.create(model="minilm", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.BadRequestError, match="/v1/embeddings"):
        client.completions.create(model="minilm", prompt="x")
    with pytest.raises(openai.BadRequestError, match="embedding model"):
        client.embeddings.create(model="chat", input="x")
    with pytest.raises(openai.BadRequestError, match="/v1/rerank"):
        client.embeddings.create(model="cross", input="x")
    listed = json.loads(server.get("/v1/models")[1])["data"]
    capabilities = {model["id"]: model["capabilities"] for model in listed}
    assert capabilities == {"minilm": ["embedding"], "cross": ["rerank"], "chat": ["completion"]}


def test_rankings_of_a_cross_encoder(server):
    for pair in PAIRS:
        body = {"model": "cross", "query": pair["first"], "documents": [pair["second"], "x y z"]}
        status, _, answer = server.post("/v1/rerank", body)
        assert status == 200, answer
        results = json.loads(answer)["results"]
        scores = [result["relevance_score"] for result in results]
        assert scores == sorted(scores, reverse=True)
        [mine] = [result for result in results if result["index"] == 0]
        assert mine["relevance_score"] == pytest.approx(pair["score"], abs=1e-3)
        assert mine["document"] == {"text": pair["second"]}


def test_scores_of_both_kinds_of_model(server):
    body = {"model": "cross", "text_1": [p["first"] for p in PAIRS],
            "text_2": [p["second"] for p in PAIRS]}
    data = json.loads(server.post("/v1/score", body)[2])["data"]
    assert [d["score"] for d in data] == pytest.approx([p["score"] for p in PAIRS], abs=1e-3)
    body = {"model": "minilm", "text_1": "a small dog", "text_2": ["a little puppy", "tax law"]}
    near, far = [d["score"] for d in json.loads(server.post("/score", body)[2])["data"]]
    assert 1 > near > 0.6 > 0.2 > far


def test_ollamas_client(server):
    client = ollama.Client(host=server.url)
    answer = client.embed("minilm", [TEXTS[0]["text"], "water " * 400])  # is cut
    assert cosine(answer.embeddings[0], TEXTS[0]["vector"]) > 1 - 1e-3
    assert answer.prompt_eval_count == 3 + 256
    old = client.embeddings("minilm", TEXTS[0]["text"])
    assert list(old.embedding) == list(answer.embeddings[0])
    with pytest.raises(ollama.ResponseError, match="256 tokens"):
        client.embed("minilm", "water " * 400, truncate=False)
    assert client.show("minilm").capabilities == ["embedding"]


def test_a_client_that_leaves_is_forgotten(server):
    impatient = server.client(timeout=0.5)
    with pytest.raises(openai.APITimeoutError):
        impatient.embeddings.create(model="minilm", input=[TEXTS[6]["text"]] * 2000)
    server.wait_for_metric("mlxd_running_sequences", 0)
    assert server.metric("mlxd_queued_requests") == 0
