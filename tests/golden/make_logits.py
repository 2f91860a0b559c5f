#!/usr/bin/env python3
"""Makes the golden fixtures of the real models: logits/<model>.json.

Usage: make_logits.py --models FOLDER [--only smollm2,qwen2,gemma3]      (needs: numpy, gguf)

An independent forward pass: plain numpy in float32, written from the model cards and papers for this
purpose alone, with the GGUF reader and the dequantisers of llama.cpp's own `gguf` package. It shares
no line and no data structure with mlxd. `check_logits.py` holds it against mlx-lm.

A fixture: {"model", "file", "prompts": [{"tokens": [id...], "rows": [{"row": index,
"logsumexp": x, "ids": [20], "logprobs": [20]}]}]}, log-probabilities under the full softmax, most
likely first.
"""

import argparse
import json
import pathlib

import gguf
import numpy as np

HERE = pathlib.Path(__file__).parent
FILES = {
    "smollm2": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "qwen2": "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    "gemma3": "gemma-3-270m-q4_k_m.gguf",
}
TOP = 20


class Weights:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.tensors = {t.name: t for t in reader.tensors}
        self.fields = {name: field.contents() for name, field in reader.fields.items()
                       if not name.startswith("tokenizer.")}
        self.prefix = self.fields["general.architecture"]

    def key(self, name, default=None):
        return self.fields.get(f"{self.prefix}.{name}", default)

    def __contains__(self, name):
        return name in self.tensors

    def __call__(self, name):
        tensor = self.tensors[name]
        return gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)


def rms_norm(x, weight, epsilon):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(epsilon)) * weight


def rope(x, base, interleaved):
    """x: [length, heads, head_dim], at positions 0 .. length - 1; all of the head is rotated."""
    length, _, dim = x.shape
    frequencies = base ** (-np.arange(0, dim, 2, dtype=np.float64) / dim)
    angles = np.arange(length)[:, None] * frequencies[None]
    cos, sin = (f(angles).astype(np.float32)[:, None] for f in (np.cos, np.sin))
    out = np.empty_like(x)
    if interleaved:
        a, b, i, j = x[..., 0::2], x[..., 1::2], np.s_[..., 0::2], np.s_[..., 1::2]
    else:
        a, b, i, j = x[..., :dim // 2], x[..., dim // 2:], np.s_[..., :dim // 2], np.s_[..., dim // 2:]
    out[i] = a * cos - b * sin
    out[j] = b * cos + a * sin
    return out


def attend(q, k, v, scale, window):
    """q: [length, heads, d]; k, v: [length, kv_heads, d]. Causal; a window of 0 sees everything."""
    length, heads, dim = q.shape
    group = heads // k.shape[1]
    position = np.arange(length)
    allowed = position[None] <= position[:, None]
    if window:
        allowed &= position[None] > position[:, None] - window
    out = np.empty_like(q)
    for head in range(heads):
        scores = (q[:, head] @ k[:, head // group].T) * np.float32(scale)
        scores = np.where(allowed, scores, np.float32(-np.inf))
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        out[:, head] = (scores / scores.sum(axis=-1, keepdims=True)) @ v[:, head // group]
    return out.reshape(length, heads * dim)


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x**3)))


def hidden_states(w, prompts):
    """The last layer's normalised output for every prompt: a list of [length, hidden].

    Goes layer by layer over all prompts, so that one layer is dequantised at a time.
    """
    gemma = w.prefix == "gemma3"
    epsilon = w.key("attention.layer_norm_rms_epsilon")
    heads, kv_heads = w.key("attention.head_count"), w.key("attention.head_count_kv")
    dim = w.key("attention.key_length", w.key("embedding_length") // heads)
    bounds = np.cumsum([0] + [len(p) for p in prompts])
    spans = [slice(a, b) for a, b in zip(bounds[:-1], bounds[1:])]

    x = w("token_embd.weight")[np.concatenate(prompts)]
    if gemma:
        x = x * np.float32(np.sqrt(w.key("embedding_length")))
    for layer in range(w.key("block_count")):
        def weight(name):
            return w(f"blk.{layer}.{name}")

        def linear(h, name):
            y = h @ weight(f"{name}.weight").T
            return y + weight(f"{name}.bias") if f"blk.{layer}.{name}.bias" in w else y

        # Gemma 3: every sixth layer sees all with the model's own base, the others a window with
        # the base 10000 (model card; llama.cpp's gemma3 graph).
        full = not gemma or layer % 6 == 5
        window = 0 if full else w.key("attention.sliding_window")
        base = w.key("rope.freq_base") if full else 10000.0

        h = rms_norm(x, weight("attn_norm.weight"), epsilon)
        q = linear(h, "attn_q").reshape(-1, heads, dim)
        k = linear(h, "attn_k").reshape(-1, kv_heads, dim)
        v = linear(h, "attn_v").reshape(-1, kv_heads, dim)
        if gemma:
            q = rms_norm(q, weight("attn_q_norm.weight"), epsilon)
            k = rms_norm(k, weight("attn_k_norm.weight"), epsilon)
        interleaved = w.prefix == "llama"  # this format's q and k rows are permuted for it
        out = np.concatenate([
            attend(rope(q[s], base, interleaved), rope(k[s], base, interleaved), v[s],
                   1 / np.sqrt(dim), window)
            for s in spans
        ])
        out = linear(out, "attn_output")
        x = x + (rms_norm(out, weight("post_attention_norm.weight"), epsilon) if gemma else out)

        h = rms_norm(x, weight("ffn_norm.weight"), epsilon)
        activation = gelu_tanh if gemma else silu
        out = linear(activation(linear(h, "ffn_gate")) * linear(h, "ffn_up"), "ffn_down")
        x = x + (rms_norm(out, weight("post_ffw_norm.weight"), epsilon) if gemma else out)
    x = rms_norm(x, w("output_norm.weight"), epsilon)
    return [x[s] for s in spans]


def logits(w, hidden):
    head = w("output.weight" if "output.weight" in w else "token_embd.weight")
    return hidden @ head.T


def rows_of(length):
    """Which rows a fixture holds: the last, and inner ones that a chunked prefill must not spoil."""
    if length < 100:
        return sorted({length // 2, length - 1})
    return [130, 300, 511, 512, 513, 600, length - 1]


def log_softmax(values):
    values = values.astype(np.float64)
    top = values.max(axis=-1, keepdims=True)
    total = top + np.log(np.exp(values - top).sum(axis=-1, keepdims=True))
    return values - total, total[..., 0]


def fixture_rows(rows, values):
    """rows: indices; values: [len(rows), vocab] logits -> the "rows" of a fixture."""
    logprobs, totals = log_softmax(values)
    out = []
    for row, logprob, total in zip(rows, logprobs, totals):
        ids = np.argsort(-logprob, kind="stable")[:TOP]
        out.append({"row": int(row), "logsumexp": round(float(total), 5), "ids": ids.tolist(),
                    "logprobs": [round(float(logprob[i]), 5) for i in ids]})
    return out


def write_fixture(path, head, prompts):
    """One prompt a line, so that a change of one shows as one line."""
    lines = ",\n".join(json.dumps(p, separators=(",", ":")) for p in prompts)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(head, separators=(",", ":"))[:-1] + ',"prompts":[\n' + lines + "\n]}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=pathlib.Path, required=True)
    parser.add_argument("--only", default=",".join(FILES))
    args = parser.parse_args()
    prompts = json.loads((HERE / "prompts.json").read_text())
    for name in args.only.split(","):
        w = Weights(args.models / FILES[name])
        tokens = [p["ids"][name] for p in prompts]
        hidden = hidden_states(w, tokens)
        rows = [rows_of(len(t)) for t in tokens]
        values = logits(w, np.concatenate([h[r] for h, r in zip(hidden, rows)]))
        parts = np.split(values, np.cumsum([len(r) for r in rows])[:-1])
        write_fixture(HERE / "logits" / f"{name}.json", {"model": name, "file": FILES[name]},
                      [{"tokens": t, "rows": fixture_rows(r, part)}
                       for t, r, part in zip(tokens, rows, parts)])
        print(name, "done")


if __name__ == "__main__":
    main()
