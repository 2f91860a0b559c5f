"""/tokenize and its relatives, as llama-server's and vLLM's clients ask them. The remote tokeniser
of lm-evaluation-harness makes the calls of `test_a_remote_tokeniser...`."""

import json
import random

import jinja2
import pytest

from conftest import MODEL, PROMPTS

ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why, 🦊?"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@pytest.fixture
def ask(server):
    def ask(path, body):
        status, _, answer = server.post(path, body)
        assert status == 200, answer
        return json.loads(answer)

    return ask


def test_tokens_and_text_are_each_others(ask):
    for text in PROMPTS + ["", " ", "\n\n a  b", "a<|im_end|>b"]:
        tokens = ask("/tokenize", {"content": text})["tokens"]
        assert ask("/tokenize", {"prompt": text, "add_special_tokens": False})["tokens"] == tokens
        assert ask("/detokenize", {"tokens": tokens}) == {"content": text, "prompt": text}


def test_pieces_are_the_tokens_bytes(ask):
    for text in PROMPTS:
        pieces = ask("/tokenize", {"content": text, "with_pieces": True})["tokens"]
        data = b"".join(
            p["piece"].encode() if isinstance(p["piece"], str) else bytes(p["piece"])
            for p in pieces
        )
        assert data.decode() == text
        strings = ask("/tokenize", {"prompt": text, "return_token_strs": True})
        assert strings["count"] == len(strings["tokens"]) == len(strings["token_strs"])
        assert strings["tokens"][-len(pieces) :] == [p["id"] for p in pieces]


def test_special_tokens_in_a_text_are_themselves_unless_that_is_declined(ask):
    whole = ask("/tokenize", {"content": "<|im_end|>"})["tokens"]
    assert len(whole) == 1
    apart = ask("/tokenize", {"content": "<|im_end|>", "parse_special": False})["tokens"]
    assert len(apart) > 1
    assert ask("/detokenize", {"tokens": whole})["content"] == "<|im_end|>"


@pytest.mark.parametrize("extra", [{}, {"tools": [TOOL]}, {"add_generation_prompt": False}])
def test_a_chat_is_counted_as_its_answer_counts_it(ask, client, extra):
    chat = {"messages": ASK, **extra}
    arguments = {k: v for k, v in extra.items() if k == "tools"}
    rest = {k: v for k, v in extra.items() if k != "tools"}
    answer = client.chat.completions.create(
        model=MODEL, messages=ASK, max_tokens=1, extra_body=rest, **arguments
    )
    counted = ask("/v1/chat/completions/input_tokens", {"model": MODEL, **chat})
    assert counted == {
        "object": "response.input_tokens",
        "input_tokens": answer.usage.prompt_tokens,
    }
    tokens = ask("/tokenize", chat)
    assert tokens["count"] == answer.usage.prompt_tokens and tokens["max_model_len"] == 8192
    prompt = ask("/apply-template", chat)["prompt"]
    assert ask("/detokenize", {"tokens": tokens["tokens"]})["prompt"] == prompt


class RemoteTokenizer:
    """What lm-evaluation-harness asks of a server that has the tokeniser, and makes of it."""

    def __init__(self, server):
        self.server = server
        status, body = server.get("/tokenizer_info")
        assert status == 200
        self.info = json.loads(body)

    def encode(self, text):
        body = {"prompt": text, "add_special_tokens": False}
        return json.loads(self.server.post("/tokenize", body)[2])["tokens"]

    def decode(self, tokens):
        return json.loads(self.server.post("/detokenize", {"tokens": tokens})[2])["prompt"]

    def apply_chat_template(self, messages, add_generation_prompt):
        environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
        return environment.from_string(self.info["chat_template"]).render(
            messages=messages, add_generation_prompt=add_generation_prompt
        )


def test_a_remote_tokeniser_works_as_one_that_is_here(server, ask, client):
    remote = RemoteTokenizer(server)
    assert [len(remote.encode(remote.info[name])) for name in ("bos_token", "eos_token")] == [1, 1]
    generator = random.Random(1)
    for _ in range(20):
        text = " ".join(generator.choices(PROMPTS, k=3))
        assert remote.decode(remote.encode(text)) == text
    for begun in (True, False):
        chat = {"messages": ASK, "add_generation_prompt": begun}
        assert remote.apply_chat_template(ASK, begun) == ask("/apply-template", chat)["prompt"]
    prompt = remote.encode("The sky is")
    answer = client.completions.create(model=MODEL, prompt=prompt, max_tokens=1)
    assert answer.usage.prompt_tokens == len(prompt)


def test_tokenizer_info_of_a_model_by_name(ask, server):
    assert ask("/tokenizer_info", {"model": MODEL}) == json.loads(server.get("/tokenizer_info")[1])


def test_mistakes_have_openais_shape(server):
    for path, body, param in [
        ("/tokenize", {}, "content"),
        ("/tokenize", {"content": "a", "speed": 1}, "speed"),
        ("/detokenize", {"tokens": [10**6]}, "tokens"),
        ("/apply-template", {"messages": "x"}, "messages"),
        ("/v1/chat/completions/input_tokens", {"model": MODEL}, "messages"),
    ]:
        status, _, answer = server.post(path, body)
        assert status == 400 and json.loads(answer)["error"]["param"] == param
    status, _, answer = server.post("/tokenize", {"content": "a", "model": "nobody"})
    assert status == 404 and json.loads(answer)["error"]["code"] == "model_not_found"
