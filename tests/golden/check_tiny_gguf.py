#!/usr/bin/env python3
"""Holds the tiny GGUF files and mlx-lm's logits of them against a second opinion: llama.cpp.

Usage: check_tiny_gguf.py [NAME...]       (needs: requirements.txt and cyllama==0.2.18, llama.cpp in a wheel)

llama.cpp multiplies 16-bit matrices by inputs rounded to 16 bits, so it is given a copy with 32-bit
floats, and keeps keys and values in them too. Exits 1 where it is further from mlx-lm than rounding.
"""

import json
import pathlib
import sys
import tempfile

import mlx.core as mx
import numpy as np
import tiny_gguf
from cyllama.llama import llama_cpp
from make_logits import HERE, log_softmax

TINY = HERE / "tiny"
BOUND = 2e-3
GELU_BOUND = 5e-3  # of Gemma: llama.cpp looks GELU up in a table of 16-bit floats


class Model(llama_cpp.LlamaModel):
    @property
    def n_vocab(self):  # which LlamaContext asks for, and its own LlamaModel does not have
        return self.get_vocab().n_vocab


def logits(model, tokens):
    params = llama_cpp.LlamaContextParams()
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_threads = 256, 256, 256, 1
    params.type_k = params.type_v = 0  # GGML_TYPE_F32
    params.flash_attn_type = 0  # disabled
    context = llama_cpp.LlamaContext(model, params, verbose=False)
    rows = []
    for position, token in enumerate(tokens):  # token by token, and so against mlx-lm's prefill
        batch = llama_cpp.LlamaBatch(n_tokens=1, embd=0, n_seq_max=1)
        batch.set_batch([token], position, True)
        context.decode(batch)
        rows.append(np.array(context.get_logits_ith(0), dtype=np.float32))
    return np.stack(rows)


def text_part(config, weights):
    if "text_config" not in config:
        return config, weights
    prefix = "language_model."
    return config["text_config"], {name.removeprefix(prefix): value for name, value in weights.items()
                                   if name.startswith(prefix)}


def check(name, folder):
    config = json.loads((TINY / name / "config.json").read_text())
    stored = mx.load(str(TINY / name / "model.safetensors"))
    weights = {key: np.array(value.astype(mx.float32)) for key, value in stored.items()}
    config, weights = text_part(config, weights)
    tokenizer = json.loads((TINY / name / "tokenizer.json").read_text())
    path = pathlib.Path(folder) / f"{name}.gguf"
    tiny_gguf.write(path, config, weights, tokenizer, np.float32)
    model = Model(str(path), llama_cpp.LlamaModelParams(), verbose=False)
    worst = 0.0
    for prompt in json.loads((TINY / f"{name}.json").read_text())["prompts"]:
        values = logits(model, prompt["tokens"])
        for row in prompt["rows"]:
            logprobs, total = log_softmax(values[row["row"]])
            got = np.append(logprobs[row["ids"]], total)
            worst = max(worst, float(np.abs(got - np.append(row["logprobs"], row["logsumexp"])).max()))
    print(f"{name}: largest difference {worst:.6f}", flush=True)
    return worst < (GELU_BOUND if name.startswith("gemma") else BOUND)


def main():
    llama_cpp.disable_logging()
    names = sys.argv[1:] or sorted(path.stem for path in TINY.glob("*.gguf"))
    with tempfile.TemporaryDirectory() as folder:
        results = [check(name, folder) for name in names]
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
