#!/usr/bin/env python3
"""Holds the GGUF files of tiny encoders, and what transformers makes of texts with them, to a second
opinion: llama.cpp's vectors, and its tokens where it knows the tokeniser.

Usage: check_tiny_encoders.py [NAME...]   (needs: gguf, numpy and cyllama==0.2.18)

llama.cpp multiplies 16-bit matrices by inputs rounded to 16 bits. Exits 1 where it is further from
transformers than such rounding, or finds other tokens.
"""

import json
import pathlib
import sys

import numpy as np
from cyllama.llama import llama_cpp

TINY = pathlib.Path(__file__).parent / "tiny"
BOUND = 1e-3  # 1 - cosine

class Model(llama_cpp.LlamaModel):
    @property
    def n_vocab(self):  # which LlamaContext asks for, and its own LlamaModel does not have
        return self.get_vocab().n_vocab


def states(model, tokens):
    params = llama_cpp.LlamaContextParams()
    params.n_ctx = params.n_batch = params.n_ubatch = 512
    params.n_threads = 1
    params.embeddings = True
    params.pooling_type = 0  # none: a vector for each row
    params.flash_attn_type = 0  # disabled
    context = llama_cpp.LlamaContext(model, params, verbose=False)
    batch = llama_cpp.LlamaBatch(n_tokens=len(tokens), embd=0, n_seq_max=1)
    batch.set_batch(tokens, 0, True)
    context.decode(batch)
    return np.array([context.get_embeddings_ith(i) for i in range(len(tokens))])


def cosine(a, b):
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def pooling_of(name):
    modes = json.loads((TINY / name / "1_Pooling" / "config.json").read_text())
    return next(mode for mode, flag in [("mean", "mean_tokens"), ("cls", "cls_token")]
                if modes[f"pooling_mode_{flag}"])


def check(name):
    model = Model(str(TINY / f"{name}.gguf"), llama_cpp.LlamaModelParams(), verbose=False)
    vocabulary = model.get_vocab()
    mode = pooling_of(name)
    worst, good = 0.0, True
    for text in json.loads((TINY / f"{name}.json").read_text())["texts"]:
        found = list(vocabulary.tokenize(text["text"], True, True))
        if found != text["tokens"]:
            print(f"{name}: other tokens of {text['text']!r}: {found}, not {text['tokens']}")
            good = False
        rows = states(model, text["tokens"])
        pooled = rows.mean(0) if mode == "mean" else rows[0]
        worst = max(worst, 1 - cosine(pooled, np.array(text["vector"])))
    print(f"{name}: furthest vector 1 - {worst:.2e}", flush=True)
    return good and worst < BOUND


def main():
    llama_cpp.disable_logging()
    names = sys.argv[1:] or ["xlm-roberta", "nomic-bert", "modernbert"]
    sys.exit(not all([check(name) for name in names]))


if __name__ == "__main__":
    main()
