#!/usr/bin/env python3
"""Makes tiny/gguf-types.gguf, a Llama whose matrices are of many GGUF types, and its logits.

Usage: make_tiny_types.py                                            (needs: numpy, gguf, tokenizers)

No package writes the IQ types, but any bytes are a block of them: weights are random blocks, with
factors that give them the spread of a trained layer. The logits are those of make_logits.py, numpy
over the numbers that the `gguf` package decodes; it cannot decode Q1_0 and Q2_0, which are left out.
"""

import json
import pathlib
import tempfile

import gguf
import numpy as np
import tiny_gguf
from gguf import GGMLQuantizationType as Type
from make_logits import HERE, Weights, fixture_rows, hidden_states, logits, write_fixture
from make_tiny_models import LENGTHS, VOCAB, rows_of, write_tokenizer

HIDDEN, HEAD_DIM, FEED_FORWARD = 256, 32, 32
# Where a block keeps its f16 factors; IQ1_M, MXFP4 and NVFP4 are seen to below.
HALVES = {
    Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.IQ4_XS: [0], Type.IQ4_NL: [0],
    Type.IQ3_XXS: [0], Type.IQ3_S: [0], Type.IQ2_XXS: [0], Type.IQ2_XS: [0], Type.IQ2_S: [0],
    Type.IQ1_S: [0], Type.TQ1_0: [52], Type.TQ2_0: [64],
}  # fmt: skip
# Layer by layer: query, key, value, gate and up have rows of 256 columns, output and down of 32.
TYPES = [
    (Type.IQ4_XS, Type.Q3_K, Type.Q2_K, Type.IQ4_NL, Type.IQ3_S, Type.IQ3_XXS, Type.MXFP4),
    (Type.IQ2_XXS, Type.IQ2_XS, Type.NVFP4, Type.MXFP4, Type.IQ2_S, Type.IQ4_XS, Type.IQ4_NL),
    (Type.TQ2_0, Type.IQ1_S, Type.IQ1_M, Type.Q8_0, Type.TQ1_0, Type.Q3_K, Type.MXFP4),
]
NAMES = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]


def blocks(kind, shape, factor, seed):
    random = np.random.default_rng(seed)
    columns, size = gguf.GGML_QUANT_SIZES[kind]
    count = shape[0] * shape[1] // columns
    out = random.integers(0, 256, (count, size), dtype=np.uint8)
    half = np.full(count, factor, dtype=np.float16)
    # A minimum that takes half of the range away, where there is one.
    for offset, value in zip(HALVES.get(kind, []), (half, half * np.float16(1.5))):
        out[:, offset : offset + 2] = value.view(np.uint8).reshape(count, 2)
    if kind == Type.IQ1_M:
        for i in range(4):
            top = ((half.view(np.uint16) >> (4 * i)) & 15) << 4
            out[:, 49 + 2 * i] = (out[:, 49 + 2 * i] & 15) | top.astype(np.uint8)
    if kind == Type.MXFP4:
        out[:, 0] = 127 + np.round(np.log2(factor)) + random.integers(-1, 2, count)
    if kind == Type.NVFP4:
        scale = gguf.quants.NVFP4.fp32_to_ue4m3(np.array([factor]))[0]
        out[:, :4] = scale + random.integers(-4, 5, (count, 4))
    return out.reshape(shape[0], -1)


def matrix(kind, shape, spread, seed):
    """Random blocks whose numbers have that root mean square."""
    if kind == Type.Q8_0:
        values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32) * spread
        return gguf.quants.quantize(values, kind)
    factor = 0.01
    for _ in range(3):  # E4M3 and E8M0 are coarse
        rms = np.sqrt(np.mean(gguf.quants.dequantize(blocks(kind, shape, factor, seed), kind) ** 2))
        factor *= spread / rms
    return blocks(kind, shape, factor, seed)


def write(path):
    config = {
        "num_hidden_layers": len(TYPES), "max_position_embeddings": 256, "hidden_size": HIDDEN,
        "intermediate_size": FEED_FORWARD, "num_attention_heads": 1, "num_key_value_heads": 1,
        "head_dim": HEAD_DIM, "rms_norm_eps": 1e-5, "vocab_size": VOCAB, "rope_theta": 10000.0,
    }  # fmt: skip
    writer = gguf.GGUFWriter(path, "llama")
    tiny_gguf.add_usual(writer, config)
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(pathlib.Path(folder))
        tokenizer = json.loads((pathlib.Path(folder) / "tokenizer.json").read_text())
    tiny_gguf.add_tokenizer(writer, tokenizer, config)
    norm = lambda seed: (1 + 0.2 * np.random.default_rng(seed).standard_normal(HIDDEN)).astype("f4")
    add = lambda name, kind, shape, spread, seed: writer.add_tensor(
        name, matrix(kind, shape, spread, seed), raw_dtype=kind)
    add("token_embd.weight", Type.Q2_K, (VOCAB, HIDDEN), 0.2, 1)
    for layer, kinds in enumerate(TYPES):
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", norm(100 + layer))
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", norm(200 + layer))
        for i, (name, kind) in enumerate(zip(NAMES, kinds)):
            shape = (HIDDEN, 32) if name in ("attn_output", "ffn_down") else (32, HIDDEN)
            add(f"blk.{layer}.{name}.weight", kind, shape, 2 / np.sqrt(shape[1]), 10 * layer + i + 2)
    writer.add_tensor("output_norm.weight", norm(300))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    path = HERE / "tiny" / "gguf-types.gguf"
    write(path)
    weights = Weights(path)
    random = np.random.default_rng(1)
    tokens = [random.integers(0, VOCAB, length).tolist() for length in LENGTHS]
    rows = [rows_of(length) for length in LENGTHS]
    values = [logits(weights, h[r]) for h, r in zip(hidden_states(weights, tokens), rows)]
    write_fixture(HERE / "tiny" / "gguf-types.json", {"model": path.stem, "file": path.name},
                  [{"tokens": t, "rows": fixture_rows(r, v)} for t, r, v in zip(tokens, rows, values)])
    print(path.stat().st_size // 1024, "KiB, logits' spread", float(np.std(np.concatenate(values))))


if __name__ == "__main__":
    main()
