#!/usr/bin/env python3
"""Holds the fixtures of make_logits.py against a second opinion: mlx-lm over the same weights.

Usage: MLX_DISABLE_COMPILE=1 check_logits.py --models FOLDER [--only ...] [--longest N]
(needs: numpy, gguf, mlx-cpu, mlx-lm)

The weights are dequantised to float32 and given to mlx-lm's own model classes, so both the numpy
forward pass and its reading of the GGUF metadata are under test. Exits 1 on disagreement.
MLX's matrix products on a CPU are slow: allow minutes for gemma3 and an hour for all of qwen2.
"""

import argparse
import json
import pathlib
import sys

import mlx.core as mx
import numpy as np
from make_logits import FILES, HERE, Weights, log_softmax

NAMES = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
GEMMA_NAMES = NAMES | {
    "post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}


def hugging_face_name(name, gemma):
    fixed = {"token_embd.weight": "model.embed_tokens.weight", "output.weight": "lm_head.weight",
             "output_norm.weight": "model.norm.weight"}
    if name in fixed:
        return fixed[name]
    _, layer, module, kind = name.split(".")
    return f"model.layers.{layer}.{(GEMMA_NAMES if gemma else NAMES)[module]}.{kind}"


def unpermute(weight, heads):
    """Rows in GGUF's order for rotating neighbours -> Hugging Face's order for rotating halves."""
    rows = weight.shape[0] // heads
    return (weight.reshape(heads, rows // 2, 2, -1).swapaxes(1, 2).reshape(weight.shape))


def build(w):
    gemma = w.prefix == "gemma3"
    heads, kv_heads = w.key("attention.head_count"), w.key("attention.head_count_kv")
    args = {
        "model_type": w.prefix, "hidden_size": w.key("embedding_length"),
        "num_hidden_layers": w.key("block_count"), "intermediate_size": w.key("feed_forward_length"),
        "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "rms_norm_eps": w.key("attention.layer_norm_rms_epsilon"),
        "vocab_size": w.tensors["token_embd.weight"].shape[1],
        "rope_theta": w.key("rope.freq_base"),
    }
    if gemma:
        from mlx_lm.models import gemma3_text as module
        args |= {"head_dim": w.key("attention.key_length"), "sliding_window": 512}
    elif w.prefix == "qwen2":
        from mlx_lm.models import qwen2 as module
        args |= {"tie_word_embeddings": "output.weight" not in w}
    else:
        from mlx_lm.models import llama as module
    model = module.Model(module.ModelArgs.from_dict(args))
    weights = []
    for name in w.tensors:
        value = w(name)
        if w.prefix == "llama" and name.endswith(("attn_q.weight", "attn_k.weight")):
            value = unpermute(value, heads if "attn_q" in name else kv_heads)
        if gemma and name.endswith("norm.weight"):
            value = value - 1  # mlx-lm adds it
        weights.append((hugging_face_name(name, gemma), mx.array(value)))
    model.load_weights(list(model.sanitize(dict(weights)).items()))
    if gemma:
        undo_bfloat16_embedding_scale(model, args["hidden_size"])
    return model


def undo_bfloat16_embedding_scale(model, hidden):
    """mlx-lm rounds sqrt(hidden_size) to bfloat16 whatever the weights are; llama.cpp and
    transformers with float32 weights do not."""
    rounded = float(mx.array(hidden**0.5, mx.bfloat16).astype(mx.float32))
    weight = model.model.embed_tokens.weight
    model.model.embed_tokens.weight = weight * (hidden**0.5 / rounded)
    model.tie_word_embeddings = False
    model.lm_head = lambda x: x @ weight.T


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=pathlib.Path, required=True)
    parser.add_argument("--only", default=",".join(FILES))
    parser.add_argument("--longest", type=int, default=10000, help="skip prompts of more tokens")
    args = parser.parse_args()
    mx.set_default_device(mx.cpu)
    worst = 0.0
    for name in args.only.split(","):
        fixture = json.loads((HERE / "logits" / f"{name}.json").read_text())
        model = build(Weights(args.models / FILES[name]))
        difference = 0.0
        for prompt in (p for p in fixture["prompts"] if len(p["tokens"]) <= args.longest):
            values = np.array(model(mx.array([prompt["tokens"]]))[0])
            for row in prompt["rows"]:
                logprobs, total = log_softmax(values[row["row"]])
                got = np.append(logprobs[row["ids"]], total)
                want = np.append(row["logprobs"], row["logsumexp"])
                difference = max(difference, float(np.abs(got - want).max()))
        print(f"{name}: largest difference {difference:.6f}", flush=True)
        worst = max(worst, difference)
    sys.exit(worst > 2e-3)


if __name__ == "__main__":
    main()
