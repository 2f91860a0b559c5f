#!/usr/bin/env python3
"""Writes quantization_fixtures.txt: encoded rows and the numbers that independent decoders read.

GGUF blocks are random bytes with sane half-precision scales, decoded by the numpy code of the PyPI
package `gguf`; MLX matrices are quantised and decoded by mlx.core itself.

    pip install gguf==0.19.0 numpy mlx==0.32.4 mlx-cpu==0.32.4
    python make_quantization_fixtures.py > quantization_fixtures.txt

One line a case: encoding bits group_size scale_encoding rows columns data scales biases numbers,
the last four as hex of the little-endian bytes ("-" when empty, numbers as float32).
"""

import gguf
import mlx.core as mx
import numpy as np

# GGUF type -> byte offsets of the block's half-precision numbers.
HALVES = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
}


# The formats whose weights are small integers out of a table (src/model/coded_blocks.h).
CODED_HALVES = {
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "IQ4_NL": [0],
    "IQ4_XS": [0],
    "IQ3_XXS": [0],
    "IQ3_S": [0],
    "IQ2_XXS": [0],
    "IQ2_XS": [0],
    "IQ2_S": [0],
    "IQ1_S": [0],
    "IQ1_M": [],
    "TQ1_0": [52],
    "TQ2_0": [64],
    "MXFP4": [],
    "NVFP4": [],
}


def line(*fields):
    print(*[(f.hex() or "-") if isinstance(f, bytes) else f for f in fields])


def blocks_of(name, count, random):
    kind = gguf.GGMLQuantizationType[name]
    columns, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
    for offset in {**HALVES, **CODED_HALVES}[name]:
        put_halves(blocks, offset, random)
    if name == "IQ1_M":  # its half lies in the top nibbles of four words
        halves = random.normal(0, 0.1, count).astype(np.float16).view(np.uint16)
        for i in range(4):
            top = ((halves >> (4 * i)) & 15) << 4
            blocks[:, 49 + 2 * i] = (blocks[:, 49 + 2 * i] & 15) | top.astype(np.uint8)
    if name == "MXFP4":  # exponents: the two subnormal ones, then ordinary ones
        blocks[:, 0] = random.integers(110, 140, count)
        blocks[:2, 0] = [0, 1]
    return kind, columns, blocks


def put_halves(blocks, offset, random):
    scales = random.normal(0, 0.1, len(blocks)).astype(np.float16)
    blocks[:, offset : offset + 2] = scales.view(np.uint8).reshape(-1, 2)


def gguf_cases(random, names):
    for name in names:
        rows, columns = 2, 256
        per_row = columns // gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]][0]
        kind, _, blocks = blocks_of(name, rows * per_row, random)
        encoded = blocks.reshape(rows, -1)
        numbers = gguf.quants.dequantize(encoded, kind).astype("<f4")
        line(name, 0, 0, "F32", rows, columns, encoded.tobytes(), b"", b"", numbers.tobytes())


# Q1_0 and Q2_0, which the package cannot decode yet, by their definition in ggml-common.h: an f16
# scale, then a bit (-1, +1) or two (-1, 0, 1, 2) a column, the first lowest.
def binary_cases(random):
    for name, columns, bits in (("Q1_0", 128, 1), ("Q2_0", 64, 2)):
        count = 2 * 256 // columns
        blocks = random.integers(0, 256, (count, 2 + columns * bits // 8), dtype=np.uint8)
        put_halves(blocks, 0, random)
        scales = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        codes = ((blocks[:, 2:, None] >> shifts) & (2**bits - 1)).reshape(count, columns)
        values = codes.astype(np.float32) * (3 - bits) - 1
        numbers = (scales * values).reshape(2, 256).astype("<f4")
        line(name, 0, 0, "F32", 2, 256, blocks.tobytes(), b"", b"", numbers.tobytes())


def float_cases(random):
    numbers = random.normal(0, 1, (2, 33)).astype("<f4")
    line("F32", 0, 0, "F32", 2, 33, numbers.tobytes(), b"", b"", numbers.tobytes())
    halves = numbers.astype("<f2")
    halves[0, :4] = [6e-8, -6e-5, 65504, -0.0]  # subnormals, the largest, negative zero
    line("F16", 0, 0, "F32", 2, 33, halves.tobytes(), b"", b"", halves.astype("<f4").tobytes())
    brains = mx.array(numbers).astype(mx.bfloat16)
    widened = np.array(brains.astype(mx.float32)).astype("<f4")
    line("BF16", 0, 0, "F32", 2, 33, bits_of(brains), b"", b"", widened.tobytes())


def bits_of(array):
    word = {2: mx.uint16, 4: mx.uint32}[array.dtype.size]
    return np.array(array.view(word)).astype(f"<u{array.dtype.size}").tobytes()


def mlx_cases(random):
    kinds = [("F16", mx.float16), ("BF16", mx.bfloat16), ("F32", mx.float32)]
    for bits in (2, 3, 4, 5, 6, 8):
        for position, group_size in enumerate((32, 64, 128)):
            name, kind = kinds[(bits + position) % 3]
            weight = mx.array(random.normal(0, 1, (2, 128)).astype(np.float32)).astype(kind)
            words, scales, biases = mx.quantize(weight, group_size=group_size, bits=bits)
            numbers = mx.dequantize(
                words,
                scales.astype(mx.float32),
                biases.astype(mx.float32),
                group_size=group_size,
                bits=bits,
            )
            line(
                "affine", bits, group_size, name, 2, 128,
                bits_of(words), bits_of(scales), bits_of(biases),
                np.array(numbers).astype("<f4").tobytes(),
            )  # fmt: skip


def mlx_float_cases(random):
    for mode, bits, group_size in (("mxfp4", 4, 32), ("nvfp4", 4, 16), ("mxfp8", 8, 32)):
        weight = mx.array(random.normal(0, 1, (2, 128)).astype(np.float32))
        words, scales = mx.quantize(weight, group_size=group_size, bits=bits, mode=mode)
        if mode == "nvfp4":  # E4M3 has a sign, though MLX itself makes no negative scales
            scales = mx.array(np.array(scales) | np.arange(16, dtype=np.uint8).reshape(2, 8) % 2 * 128)
        numbers = mx.dequantize(
            words, scales, group_size=group_size, bits=bits, mode=mode, dtype=mx.float32
        )
        line(
            mode, bits, group_size, "F32", 2, 128,
            bits_of(words), np.array(scales).tobytes(), b"",
            np.array(numbers).astype("<f4").tobytes(),
        )  # fmt: skip


if __name__ == "__main__":
    seeded = np.random.default_rng(20240607)
    float_cases(seeded)
    gguf_cases(seeded, HALVES)
    with mx.stream(mx.cpu):
        mlx_cases(seeded)
        mlx_float_cases(seeded)
    gguf_cases(seeded, CODED_HALVES)
    binary_cases(seeded)
