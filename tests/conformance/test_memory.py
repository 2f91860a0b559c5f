"""What a server holds when its cache is full of long contexts, beside what it said that it would."""

import concurrent.futures
import re

import pytest
from conftest import GEMMA3, MODELS, SMOLLM2

# The program, its libraries, the tokeniser's tables and what threads and sockets take.
PROGRAM = 64 << 20


@pytest.mark.parametrize(
    "model,arguments,prompts,words",
    [
        pytest.param(SMOLLM2, [], 4, 500, id="gguf"),
        pytest.param(GEMMA3, [], 2, 700, id="windows"),
        pytest.param(MODELS / "SmolLM2-135M-Instruct-4bit", ["--backend", "cpu"], 2, 500, id="mlx folder"),
    ],
)
def test_long_contexts_stay_within_the_plan_and_the_ledger(start_server, model, arguments, prompts, words):
    server = start_server("--max-running", prompts, *arguments, model=model)
    planned = re.search(r"weights and buffers of at most (\d+) MiB, KV cache of at most (\d+) MiB", server.log())
    weights_and_buffers, cache = (int(group) << 20 for group in planned.groups())
    client = server.client(timeout=400)

    def ask(i):
        prompt = f"{i} " + "the sea is wide and " * words
        return client.completions.create(model="default", prompt=prompt, max_tokens=16).usage.prompt_tokens

    with concurrent.futures.ThreadPoolExecutor(prompts) as pool:
        assert min(pool.map(ask, range(prompts))) > 5 * words
    resident = server.metric("process_resident_memory_bytes")
    assert resident < weights_and_buffers + cache + PROGRAM
    ledger = sum(server.metric("mlxd_memory_bytes", part=part) for part in ("weights", "kv_reserved", "buffers", "states"))
    held = sum(server.metric("mlxd_memory_bytes", part=part) for part in ("weights", "kv_cache", "buffers", "states"))
    assert held * 0.9 < resident < ledger + PROGRAM
    assert ledger < weights_and_buffers + cache + (1 << 20)
