#!/usr/bin/env python3
"""Makes SmolLM2 in MLX format with mlx-lm's own converter. Called by scripts/make-mlx-models.

Usage: make_mlx_models.py --models FOLDER       (needs: requirements.txt)

No package carries a model in MLX format, so this writes a Hugging Face folder with the dequantised
weights of the GGUF file and its tokenizer, and has `mlx_lm.convert` quantise it: 4 bits with bfloat16
scales and 8 bits with float16 scales, both in groups of 64.
"""

import argparse
import json
import os
import pathlib
import shutil
import tempfile

os.environ["MLX_DISABLE_COMPILE"] = "1"  # on a CPU it would start a compiler

import mlx.core as mx
from check_logits import hugging_face_name, unpermute
from make_logits import FILES, HERE, Weights
from mlx_lm.convert import convert
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

import gguf

CONTROL = 3  # gguf token type
RESULTS = [("SmolLM2-135M-Instruct-4bit", 4, "bfloat16"), ("SmolLM2-135M-Instruct-8bit", 8, "float16")]


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_weights(w, folder):
    heads = {"attn_q.weight": w.key("attention.head_count"),
             "attn_k.weight": w.key("attention.head_count_kv")}
    weights = {}
    for name in w.tensors:
        value = w(name)
        kind = name.split(".", 2)[-1]
        if kind in heads:
            value = unpermute(value, heads[kind])
        weights[hugging_face_name(name, gemma=False)] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def write_config(w, folder, tokenizer_fields):
    ids = {name: tokenizer_fields(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": ids["bos"],
        "eos_token_id": ids["eos"],
        "hidden_act": "silu",
        "hidden_size": w.key("embedding_length"),
        "intermediate_size": w.key("feed_forward_length"),
        "max_position_embeddings": w.key("context_length"),
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": w.key("attention.head_count"),
        "num_hidden_layers": w.key("block_count"),
        "num_key_value_heads": w.key("attention.head_count_kv"),
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": w.key("rope.freq_base"),
        "tie_word_embeddings": True,
        "vocab_size": w.key("vocab_size"),
    }
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {
        "_from_model_config": True, "bos_token_id": ids["bos"], "eos_token_id": ids["eos"],
        "pad_token_id": tokenizer_fields("tokenizer.ggml.padding_token_id"),
    })


def write_tokenizer(folder, field):
    """Byte-level BPE with single digits: what GGUF calls the pre-tokeniser "smollm"."""
    tokens = field("tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    special = [t for t, kind in zip(tokens, field("tokenizer.ggml.token_type")) if kind == CONTROL]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "bos_token": tokens[field("tokenizer.ggml.bos_token_id")],
        "eos_token": tokens[field("tokenizer.ggml.eos_token_id")],
        "unk_token": tokens[field("tokenizer.ggml.unknown_token_id")],
        "pad_token": tokens[field("tokenizer.ggml.padding_token_id")],
        "clean_up_tokenization_spaces": False,
        "model_max_length": 8192,
        "chat_template": field("tokenizer.chat_template"),
    })


def check_tokenizer(folder):
    """The converted folder's tokenizer must give the ids that llama.cpp gave for prompts.json."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for prompt in json.loads((HERE / "prompts.json").read_text()):
        got = tokenizer.encode(prompt["text"], add_special_tokens=False).ids
        if got != prompt["ids"]["smollm2"]:
            raise SystemExit(f"{folder.name}: tokenizer disagrees with llama.cpp on {prompt['text']!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=pathlib.Path, required=True)
    models_folder = parser.parse_args().models
    wanted = [r for r in RESULTS if not (models_folder / r[0]).exists()]
    if not wanted:
        return
    mx.set_default_device(mx.cpu)
    path = models_folder / FILES["smollm2"]
    w = Weights(path)
    fields = gguf.GGUFReader(path).fields
    # Work beside the result, so that a finished folder appears by one rename or not at all.
    with tempfile.TemporaryDirectory(dir=models_folder, prefix=".mlx-") as work:
        source = pathlib.Path(work) / "source"
        source.mkdir()
        field = lambda name: fields[name].contents()
        write_weights(w, source)
        write_config(w, source, field)
        write_tokenizer(source, field)
        for name, bits, dtype in wanted:
            made = pathlib.Path(work) / name
            convert(str(source), str(made), quantize=True, q_group_size=64, q_bits=bits, dtype=dtype)
            if not (made / "generation_config.json").exists():
                shutil.copy(source / "generation_config.json", made)
            check_tokenizer(made)
            made.rename(models_folder / name)


if __name__ == "__main__":
    main()
