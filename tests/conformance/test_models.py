"""The real models, through the server: each answers, on each backend that is meant for it."""

import pytest

from conftest import MODELS, SMOLLM2

QWEN = MODELS / "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
GEMMA = MODELS / "gemma-3-270m-q4_k_m.gguf"
MLX4 = MODELS / "SmolLM2-135M-Instruct-4bit"
MLX8 = MODELS / "SmolLM2-135M-Instruct-8bit"


def chat(server, text, limit=24):
    return server.client().chat.completions.create(
        model="m", messages=[{"role": "user", "content": text}], max_tokens=limit, temperature=0
    ).choices[0].message.content


def test_qwen_answers(start_server):
    server = start_server(model=f"m={QWEN}")
    assert "def " in chat(server, "Write a Python function that adds two numbers. Code only.")
    assert "Paris" in chat(server, "What is the capital of France?")


def test_gemma_completes_and_refuses_chat_without_a_template(start_server):
    server = start_server(model=f"m={GEMMA}")
    completion = server.client().completions.create(
        model="m", prompt="One, two, three, four,", max_tokens=8, temperature=0
    )
    assert completion.choices[0].text.startswith(" five, six, seven")
    status, _, body = server.post(
        "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    )
    assert status == 400 and b"template" in body


@pytest.mark.parametrize("folder", [MLX4, MLX8], ids=["4bit", "8bit"])
@pytest.mark.parametrize("backend", ["cpu", "mlx"])
def test_mlx_format_on_both_backends(start_server, folder, backend):
    server = start_server("--backend", backend, model=f"m={folder}")
    # A fact that survives four bits, as mlx-lm's own answers show.
    completion = server.client().completions.create(
        model="m", prompt="The Eiffel Tower stands in the city of", max_tokens=4, temperature=0
    )
    assert "Paris" in completion.choices[0].text
    assert chat(server, "What is the capital of France?", 10)


def test_gguf_on_the_mlx_backend(start_server):
    server = start_server("--backend", "mlx", model=f"m={SMOLLM2}")
    assert "Paris" in chat(server, "What is the capital of France?", 10)


def test_two_models_in_one_process(start_server):
    server = start_server("--model", f"other={MLX4}", model=f"m={SMOLLM2}")
    assert {m.id for m in server.client().models.list().data} == {"m", "other"}
    for name in ("m", "other"):
        answer = server.client().completions.create(model=name, prompt="One, two,", max_tokens=4)
        assert answer.model == name
