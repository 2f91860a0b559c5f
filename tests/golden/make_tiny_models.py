#!/usr/bin/env python3
"""Makes tiny/<name>/ (Hugging Face folders with random weights) and tiny/<name>.json (their logits).

Usage: MLX_DISABLE_COMPILE=1 make_tiny_models.py [NAME...]       (needs: requirements.txt)

They stand for the architectures and formats of which no package carries a real model. The logits are
mlx-lm's, computed in float32 on the CPU from the weights as stored. Weights come from a fixed seed
and are scaled so that attention is neither flat nor a single spike; the fixture format is that of
make_logits.py, "file" being the folder.
"""

import json
import pathlib
import shutil
import sys
import zlib

import mlx.core as mx
import numpy as np
import tiny_gguf
import tiny_latent
import tiny_recurrent
import tiny_usual
from make_logits import HERE, fixture_rows, write_fixture
from mlx.utils import tree_flatten
from mlx_lm.utils import _get_classes, quantize_model
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

VOCAB = 272
COMMON = {
    "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": VOCAB, "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True, "bos_token_id": 256,
    "eos_token_id": 257, "hidden_act": "silu",
}

# name: (what differs in config.json, type of the stored weights, quantisation or None, shards)
MODELS = {
    "llama3": ({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"],
        "rope_theta": 500000.0,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 32},
    }, mx.float16, None, 1),
    "mistral": ({
        "model_type": "mistral", "architectures": ["MistralForCausalLM"],
        "sliding_window": None, "tie_word_embeddings": False, "num_key_value_heads": 1,
        "num_attention_heads": 3, "head_dim": 32, "hidden_size": 32, "intermediate_size": 96,
    }, mx.bfloat16, None, 1),
    "qwen2": ({
        "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "use_sliding_window": False,
        "sliding_window": 4096, "max_window_layers": 2,
    }, mx.bfloat16, None, 1),
    "qwen3": ({
        "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "head_dim": 32, "num_attention_heads": 3,
        "num_key_value_heads": 1, "rope_theta": 1000000.0, "attention_bias": False, "use_sliding_window": False,
        "sliding_window": None,
    }, mx.bfloat16, None, 2),
    # sqrt(64) is exact in every type: runtimes differ in how they round Gemma's embedding scale.
    "gemma3": ({
        "model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], "head_dim": 16,
        "num_hidden_layers": 3, "num_key_value_heads": 1, "num_attention_heads": 2,
        "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "query_pre_attn_scalar": 24,
        "sliding_window": 8, "sliding_window_pattern": 2, "rms_norm_eps": 1e-6,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_act": "gelu_pytorch_tanh",
        "intermediate_size": 64, "final_logit_softcapping": None, "attn_logit_softcapping": None,
    }, mx.float16, None, 1),
    "llama-4bit": ({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "intermediate_size": 160,
        "rope_scaling": {"type": "linear", "factor": 2.0},
    }, mx.float16, lambda path: {"group_size": 32, "bits": 4}, 1),
    # A different width and group in each kind of layer, as mixed recipes and DWQ write them.
    "qwen3-mixed": ({
        "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "head_dim": 32, "num_key_value_heads": 1,
        "num_attention_heads": 2, "hidden_size": 128, "intermediate_size": 128, "tie_word_embeddings": False,
    }, mx.bfloat16, lambda path: {
        "q_proj": {"group_size": 64, "bits": 2}, "k_proj": {"group_size": 32, "bits": 3},
        "v_proj": {"group_size": 128, "bits": 5}, "o_proj": {"group_size": 32, "bits": 6},
        "gate_proj": {"group_size": 64, "bits": 6}, "up_proj": {"group_size": 128, "bits": 3},
        "lm_head": {"group_size": 32, "bits": 8},
    }.get(path.split(".")[-1], {"group_size": 64, "bits": 4}), 1),
}

LONG_ROPE = {"rope_type": "longrope", "type": "longrope",
             "short_factor": [1.0, 1.05, 1.1, 1.2, 1.3, 1.4],
             "long_factor": [1.0, 1.5, 2.5, 4.0, 7.0, 11.0]}
YARN = {"rope_type": "yarn", "type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32,
        "beta_fast": 32.0, "beta_slow": 1.0}
SMALL = {"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1}

# As MODELS, of families that are also written as GGUF files (tiny_gguf.py).
WITH_GGUF = {
    "smollm3": (SMALL | {
        "model_type": "smollm3", "architectures": ["SmolLM3ForCausalLM"], "num_hidden_layers": 4,
        "no_rope_layers": [1, 1, 1, 0], "no_rope_layer_interval": 4, "use_sliding_window": False,
        "sliding_window": None, "layer_types": ["full_attention"] * 4,
    }, mx.float16, None, 1),
    "granite": (SMALL | {
        "model_type": "granite", "architectures": ["GraniteForCausalLM"], "attention_bias": False,
        "mlp_bias": False, "embedding_multiplier": 12.0, "residual_multiplier": 0.22,
        "attention_multiplier": 0.1, "logits_scaling": 1.5, "rope_scaling": None,
    }, mx.float16, None, 1),
    "olmo2": (SMALL | {
        "model_type": "olmo2", "architectures": ["Olmo2ForCausalLM"], "attention_bias": False,
        "tie_word_embeddings": False, "rope_theta": 500000.0, "rope_scaling": None,
        "rms_norm_eps": 1e-6,
    }, mx.float16, None, 1),
    "olmo3": (SMALL | {
        "model_type": "olmo3", "architectures": ["Olmo3ForCausalLM"], "attention_bias": False,
        "tie_word_embeddings": False, "num_hidden_layers": 4, "rope_theta": 500000.0,
        "rms_norm_eps": 1e-6, "sliding_window": 8, "rope_scaling": YARN,
        "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
    }, mx.float16, None, 1),
    "phi3": (SMALL | {
        "model_type": "phi3", "architectures": ["Phi3ForCausalLM"], "tie_word_embeddings": False,
        "original_max_position_embeddings": 256, "rope_scaling": None, "sliding_window": None,
    }, mx.float16, None, 1),
    # Phi-4-mini: a part of each head turns, by LongRoPE. mlx-lm knows the long factors alone, which
    # are what llama.cpp, vLLM and mlxd take for a context beyond the first training's.
    "phi3-longrope": (SMALL | {
        "model_type": "phi3", "architectures": ["Phi3ForCausalLM"], "partial_rotary_factor": 0.75,
        "original_max_position_embeddings": 64, "rope_scaling": LONG_ROPE, "sliding_window": 262144,
    }, mx.float16, None, 1),
    # The text model of a multimodal folder, under its prefix.
    "ministral3": ({
        "model_type": "mistral3", "architectures": ["Mistral3ForConditionalGeneration"],
        "vision_config": {"model_type": "pixtral"}, "image_token_index": 10,
        "text_config": {key: value for key, value in COMMON.items() if key != "rope_theta"} | SMALL | {
            "model_type": "ministral3", "head_dim": 32, "sliding_window": None,
            "rope_parameters": YARN | {"rope_theta": 10000.0, "mscale": 1.0, "mscale_all_dim": 1.0,
                                       "llama_4_scaling_beta": 0.5},
        },
    }, mx.float16, None, 1),
}
SMALL_FLOATS = {"mxfp4": {"group_size": 32, "bits": 4, "mode": "mxfp4"},
                "nvfp4": {"group_size": 16, "bits": 4, "mode": "nvfp4"},
                "mxfp8": {"group_size": 32, "bits": 8, "mode": "mxfp8"}}
MODELS |= WITH_GGUF | {
    # Fused matrices, of which each part has scales of its own.
    "phi3-4bit": ({
        "model_type": "phi3", "architectures": ["Phi3ForCausalLM"], "intermediate_size": 96,
        "original_max_position_embeddings": 256, "rope_scaling": None, "sliding_window": None,
    }, mx.bfloat16, lambda path: {"group_size": 32, "bits": 4}, 1),
}
# Of each layer's eight experts a row takes three.
QWEN3_MOE = SMALL | {
    "model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "head_dim": 32,
    "num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 32,
    "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": True,
    "use_sliding_window": False, "sliding_window": None, "rms_norm_eps": 1e-6,
}
EXPERTS_WITH_GGUF = {
    "qwen3-moe": (QWEN3_MOE, mx.float16, None, 1),
}
WITH_GGUF |= EXPERTS_WITH_GGUF
# Two key heads for four value heads, a gate on the heads of attention, which turn in part.
QWEN3_5 = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 32, "vocab_size": VOCAB, "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6, "tie_word_embeddings": True, "hidden_act": "silu",
    "attention_bias": False, "full_attention_interval": 4,
    "layer_types": ["linear_attention"] * 3 + ["full_attention"],
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 32,
    "linear_value_head_dim": 32, "linear_conv_kernel_dim": 4,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_interleaved": True,
                        "mrope_section": [2, 1, 1], "partial_rotary_factor": 0.25},
}
QWEN3_5_MOE = QWEN3_5 | {
    "model_type": "qwen3_5_moe_text", "num_experts": 6, "num_experts_per_tok": 2,
    "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "norm_topk_prob": True,
}


def multimodal(kind, text):
    return {"model_type": kind, "architectures": ["Qwen3_5ForConditionalGeneration"],
            "vision_config": {"model_type": kind}, "tie_word_embeddings": True, "text_config": text}


HYBRIDS_WITH_GGUF = {
    "qwen3-5": (multimodal("qwen3_5", QWEN3_5 | {"model_type": "qwen3_5_text"}), mx.float16, None, 1),
    "qwen3-5-moe": (multimodal("qwen3_5_moe", QWEN3_5_MOE), mx.float16, None, 1),
}
WITH_GGUF |= HYBRIDS_WITH_GGUF
MODELS |= EXPERTS_WITH_GGUF | {
    # The first layer is dense, and the weights of those chosen do not sum to 1.
    "qwen3-moe-4bit": (QWEN3_MOE | {
        "mlp_only_layers": [0], "norm_topk_prob": False, "num_hidden_layers": 3,
        "moe_intermediate_size": 64, "hidden_size": 64,
    }, mx.bfloat16, lambda path: {"group_size": 64, "bits": 8} if path.endswith("mlp.gate")
        else {"group_size": 32, "bits": 4}, 1),
}
# Routers by the sigmoid with a bias, in groups or not, beside a shared expert, behind dense layers.
SIGMOID = SMALL | {
    "num_hidden_layers": 3, "first_k_dense_replace": 1, "n_routed_experts": 8, "num_experts_per_tok": 3,
    "n_shared_experts": 1, "moe_intermediate_size": 32, "norm_topk_prob": True,
    "routed_scaling_factor": 1.5, "rope_scaling": None, "tie_word_embeddings": False,
}
ROUTED_WITH_GGUF = {
    "glm4-moe": (SIGMOID | {
        "model_type": "glm4_moe", "architectures": ["Glm4MoeForCausalLM"], "head_dim": 32,
        "use_qk_norm": True, "attention_bias": True, "partial_rotary_factor": 0.5,
        "n_group": 1, "topk_group": 1, "num_nextn_predict_layers": 0,
    }, mx.float16, None, 1),
    "dots1": (SIGMOID | {
        "model_type": "dots1", "architectures": ["Dots1ForCausalLM"], "head_dim": 32,
        "scoring_func": "noaux_tc", "num_key_value_heads": 2, "n_group": 1, "topk_group": 1, "attention_bias": False,
    }, mx.float16, None, 1),
    "olmoe": (SMALL | {
        "model_type": "olmoe", "architectures": ["OlmoeForCausalLM"], "num_experts": 8,
        "num_experts_per_tok": 2, "norm_topk_prob": False, "tie_word_embeddings": False,
        "num_key_value_heads": 2,
    }, mx.float16, None, 1),
    "minimax-m2": (SMALL | {
        "model_type": "minimax_m2", "architectures": ["MiniMaxM2ForCausalLM"], "head_dim": 32,
        "num_attention_heads": 2, "num_key_value_heads": 1, "num_local_experts": 8,
        "num_experts_per_tok": 2, "shared_intermediate_size": 0, "rotary_dim": 16,
        "scoring_func": "sigmoid", "use_qk_norm": True, "tie_word_embeddings": False,
    }, mx.float16, None, 1),
    "mixtral": (SMALL | {
        "model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "num_local_experts": 4,
        "num_experts_per_tok": 2, "tie_word_embeddings": False, "rope_scaling": None,
    }, mx.float16, None, 1),
    "seed-oss": (SMALL | {
        "model_type": "seed_oss", "architectures": ["SeedOssForCausalLM"], "head_dim": 32,
        "attention_bias": True, "attention_out_bias": False, "rope_scaling": None,
    }, mx.float16, None, 1),
}
WITH_GGUF |= ROUTED_WITH_GGUF

GEMMA4 = {
    "model_type": "gemma4_text", "architectures": ["Gemma4ForCausalLM"], "head_dim": 16, "global_head_dim": 32,
    "hidden_size": 64, "num_key_value_heads": 2, "sliding_window": 8, "rms_norm_eps": 1e-6, "rope_theta": None,
    "hidden_activation": "gelu_pytorch_tanh", "hidden_act": "gelu_pytorch_tanh", "num_kv_shared_layers": 0,
    "hidden_size_per_layer_input": 0, "use_double_wide_mlp": False, "enable_moe_block": False,
    "final_logit_softcapping": 30.0, "rope_parameters": {
        "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1000000.0, "rope_type": "proportional"},
        "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
    },
}
# As the 12B and 31B models, the E2B and E4B ones, and 26B-A4B.
GEMMA4_WITH_GGUF = {
    "gemma4": (GEMMA4 | {
        "num_hidden_layers": 3, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "attention_k_eq_v": True, "num_global_key_value_heads": 1,
    }, mx.float16, None, 1),
    "gemma4-shared": (GEMMA4 | {
        "num_hidden_layers": 5, "layer_types": ["sliding_attention", "sliding_attention", "full_attention",
                                                "sliding_attention", "full_attention"],
        "num_kv_shared_layers": 2, "use_double_wide_mlp": True, "hidden_size_per_layer_input": 32,
        "vocab_size_per_layer_input": VOCAB, "num_key_value_heads": 1,
    }, mx.float16, None, 1),
    "gemma4-moe": (GEMMA4 | {
        "num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"],
        "attention_k_eq_v": True, "num_global_key_value_heads": 1, "enable_moe_block": True,
        "num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 32,
    }, mx.float16, None, 1),
}
WITH_GGUF |= GEMMA4_WITH_GGUF
MODELS |= HYBRIDS_WITH_GGUF | {
    # The last layer is a delta net.
    "qwen3-5-4bit": (multimodal("qwen3_5", QWEN3_5 | {
        "model_type": "qwen3_5_text", "num_hidden_layers": 5,
        "layer_types": ["linear_attention"] * 3 + ["full_attention", "linear_attention"],
    }), mx.bfloat16, lambda path: {"group_size": 32, "bits": 4}, 1),
} | ROUTED_WITH_GGUF | {
    # MLX's modes of small floats, beside affine and unquantised matrices. The embedding is affine:
    # mlx-lm's rows of small floats are of 16 bits.
    "llama-small-floats": ({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False,
    }, mx.bfloat16, lambda path: {
        "q_proj": SMALL_FLOATS["mxfp4"], "k_proj": SMALL_FLOATS["nvfp4"],
        "v_proj": SMALL_FLOATS["mxfp8"], "o_proj": SMALL_FLOATS["nvfp4"],
        "gate_proj": SMALL_FLOATS["mxfp4"], "up_proj": SMALL_FLOATS["mxfp8"],
        "down_proj": SMALL_FLOATS["mxfp4"], "lm_head": False,
    }.get(path.split(".")[-1], {"group_size": 64, "bits": 8}), 1),
} | GEMMA4_WITH_GGUF | {
    # The text model of a multimodal folder, whose images alone see both ways.
    "gemma4-4bit": ({
        "model_type": "gemma4", "architectures": ["Gemma4ForConditionalGeneration"], "vocab_size": VOCAB,
        "vision_config": {"model_type": "gemma4_vision"}, "tie_word_embeddings": True,
        "text_config": {key: value for key, value in COMMON.items() if key != "rope_theta"}
        | GEMMA4_WITH_GGUF["gemma4-shared"][0] | {"use_bidirectional_attention": "vision"},
    }, mx.bfloat16, lambda path: {"group_size": 32, "bits": 4}, 1),
}

# YaRN's bounds are below 0 and 1e-5 below 3, so that readers which round them are as right.
GPT_OSS = SMALL | {
    "model_type": "gpt_oss", "architectures": ["GptOssForCausalLM"], "head_dim": 32,
    "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 3, "rope_theta": 237694.14,
    "attention_bias": True, "sliding_window": 8, "swiglu_limit": 7.0, "intermediate_size": 32,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "num_local_experts": 8, "num_experts_per_tok": 3, "tie_word_embeddings": False,
    "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64,
                     "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False},
}
SINKS_WITH_GGUF = {
    "gpt-oss": (GPT_OSS, mx.float16, None, 1),
}
WITH_GGUF |= SINKS_WITH_GGUF
MODELS |= SINKS_WITH_GGUF | {
    # As mlx-community has them: small floats for the experts, affine numbers for all else.
    "gpt-oss-mxfp4": (GPT_OSS | {
        "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"],
    }, mx.bfloat16, lambda path: SMALL_FLOATS["mxfp4"] if ".experts." in path
        else {"group_size": 32, "bits": 8}, 1),
}

# As OpenAI has them: only the experts are quantised, in a layout of its own.
MODELS |= {
    "gpt-oss-openai": (GPT_OSS | {
        "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"],
    }, mx.bfloat16, lambda path: SMALL_FLOATS["mxfp4"] if ".experts." in path else False, 1),
}
SMALL_ONES_WITH_GGUF = {
    "granitemoe": (SMALL | {
        "model_type": "granitemoe", "architectures": ["GraniteMoeForCausalLM"], "attention_bias": False,
        "embedding_multiplier": 12.0, "residual_multiplier": 0.22, "attention_multiplier": 0.1,
        "logits_scaling": 1.5, "rope_scaling": None, "num_local_experts": 8, "num_experts_per_tok": 3,
        "intermediate_size": 32,
    }, mx.float16, None, 1),
    "ernie4-5": (SMALL | {
        "model_type": "ernie4_5", "architectures": ["Ernie4_5ForCausalLM"], "head_dim": 32,
        "use_bias": False, "rope_theta": 500000.0,
    }, mx.float16, None, 1),
    "ernie4-5-moe": (SMALL | {
        "model_type": "ernie4_5_moe", "architectures": ["Ernie4_5_MoeForCausalLM"], "head_dim": 32,
        "use_bias": False, "rope_theta": 500000.0, "num_hidden_layers": 3, "moe_num_experts": 8,
        "moe_k": 3, "moe_intermediate_size": 32, "moe_num_shared_experts": 2,
        "moe_layer_start_index": 1, "moe_layer_interval": 1, "moe_gate_act": "softmax",
    }, mx.float16, None, 1),
    "exaone4": (SMALL | {
        "model_type": "exaone4", "architectures": ["Exaone4ForCausalLM"], "head_dim": 16,
        "rope_theta": 1000000.0, "sliding_window": None, "sliding_window_pattern": None,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 32},
    }, mx.float16, None, 1),
}
WITH_GGUF |= SMALL_ONES_WITH_GGUF
MODELS |= SMALL_ONES_WITH_GGUF | {
    # As the 32B model; llama.cpp knows its windows by its 64 layers.
    "exaone4-windows": (SMALL | {
        "model_type": "exaone4", "architectures": ["Exaone4ForCausalLM"], "head_dim": 32,
        "num_hidden_layers": 4, "sliding_window": 8, "sliding_window_pattern": "LLLG",
        "rope_scaling": None, "tie_word_embeddings": False,
    }, mx.float16, None, 1),
}

WITH_GGUF |= tiny_latent.WITH_GGUF | tiny_recurrent.WITH_GGUF | tiny_usual.WITH_GGUF
MODELS |= tiny_latent.WITH_GGUF | tiny_latent.WITHOUT_GGUF
MODELS |= tiny_recurrent.WITH_GGUF | tiny_recurrent.AFFINE | tiny_usual.WITH_GGUF

SEEDED_BY_PLACE = 27  # the first models; the seed of a later one comes from its name

LENGTHS = [1, 2, 7, 16, 17, 33, 80]


def random_weights(model, seed):
    generator = np.random.default_rng(seed)
    weights = []
    for name, value in sorted(tree_flatten(model.parameters())):
        noise = generator.standard_normal(value.shape).astype(np.float32)
        if value.ndim == 1 and "norm" in name:
            # Gemma stores its norm weights less 1, the others as they are.
            centre = 0.0 if model.model_type in ("gemma2", "gemma3_text") else 1.0
            noise = centre + 0.2 * noise
        elif name.endswith("scale") or name.endswith("layer_scalar"):
            noise = 1 + 0.2 * noise
        elif value.ndim == 1:
            noise = (0.05 if "e_score_correction" in name else 0.3) * noise
        elif "embed_tokens" in name:
            noise = (0.16 if model.model_type.startswith("gemma") else 0.4) * noise
        else:
            noise = 2.0 * noise / np.sqrt(value.shape[-1])
        weights.append((name, mx.array(noise)))
    model.load_weights(weights)


def openai_layout(weights):
    """Rows of gate and up in turns, and blocks of 16 bytes (what gpt_oss.py's sanitize undoes)."""
    weights, own = dict(weights), {}
    for name, value in weights.items():
        if ".experts." not in name:
            own[name] = value
        elif ".up_proj." not in name:
            if ".gate_proj." in name:
                up = weights[name.replace("gate_proj", "up_proj")]
                experts, rows = value.shape[:2]
                value = mx.stack([value, up], axis=2).reshape(experts, 2 * rows, *value.shape[2:])
                name = name.replace("gate_proj", "gate_up_proj")
            if name.endswith(".weight"):
                value = value.view(mx.uint8)
                value = value.reshape(*value.shape[:-1], value.shape[-1] // 16, 16)
            module, _, part = name.rpartition(".")
            own[f"{module}_{part.replace('weight', 'blocks')}"] = mx.contiguous(value)
    return sorted(own.items())


def save_weights(folder, model, shards, layout=lambda weights: weights):
    weights = layout(sorted(tree_flatten(model.parameters())))
    if shards == 1:
        mx.save_safetensors(str(folder / "model.safetensors"), dict(weights), {"format": "mlx"})
        return
    weight_map, total = {}, 0
    for shard in range(shards):
        name = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = dict(weights[shard::shards])
        mx.save_safetensors(str(folder / name), part, {"format": "mlx"})
        weight_map |= {key: name for key in part}
        total += sum(value.nbytes for value in part.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / "model.safetensors.index.json", index)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def write_tokenizer(folder):
    """Byte-level BPE over the 256 bytes, special tokens, and a few merges."""
    tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<bos>", "<eos>", "<pad>", "<user>", "<model>", "<end>"]
    merges = [("t", "h"), ("th", "e"), ("i", "n"), ("\u0120", "the"), ("e", "r"), ("o", "n"),
              ("a", "n"), ("r", "e"), ("in", "g"), ("\u0120", "a")]
    tokens += special + [a + b for a, b in merges]
    assert len(tokens) == VOCAB
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>", "eos_token": "<eos>",
        "chat_template": "{% for message in messages %}<user>{{ message.content }}<end>{% endfor %}"
                         "{% if add_generation_prompt %}<model>{% endif %}",
    })
    write_json(folder / "generation_config.json", {"bos_token_id": 256, "eos_token_id": [257, 261]})


def write_gguf(name, config, model):
    text = config.get("text_config", config)
    weights = {key.removeprefix("language_model."): np.array(value)
               for key, value in tree_flatten(model.parameters())}
    tokenizer = json.loads((HERE / "tiny" / name / "tokenizer.json").read_text())
    tiny_gguf.write(HERE / "tiny" / f"{name}.gguf", text, weights, tokenizer)


def rows_of(length):
    return sorted({0, length // 2, length - 2, length - 1} & set(range(length)))


def make(name, seed):
    differs, dtype, quantization, shards = MODELS[name]
    config = differs if "text_config" in differs else COMMON | differs
    config["torch_dtype"] = str(dtype).removeprefix("mlx.core.")
    model_class, args_class = _get_classes(config)
    model = model_class(args_class.from_dict(config))
    if config.get("tie_word_embeddings") and hasattr(model, "sanitize"):
        model.sanitize({})  # Gemma's class learns of the tied head from the absence of its weight
    random_weights(model, seed)
    model.set_dtype(dtype)
    if quantization:
        model, config = quantize_model(
            model, config, 64, 4, quant_predicate=lambda path, module: quantization(path)
            if hasattr(module, "to_quantized") else False)

    if name == "gpt-oss-openai":
        del config["quantization"]
        config["quantization_config"] = {"quant_method": "mxfp4"}
    folder = HERE / "tiny" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(folder / "config.json", config)
    write_tokenizer(folder)
    save_weights(folder, model, shards, *([openai_layout] if name == "gpt-oss-openai" else []))

    model.set_dtype(mx.float32)
    if name in WITH_GGUF:
        write_gguf(name, config, model)
    generator = np.random.default_rng(seed + 1000)
    prompts = []
    for length in LENGTHS:
        tokens = generator.integers(0, VOCAB, length).tolist()
        values = np.array(model(mx.array([tokens]))[0])
        rows = rows_of(length)
        prompts.append({"tokens": tokens, "rows": fixture_rows(rows, values[rows])})
    write_fixture(HERE / "tiny" / f"{name}.json", {"model": name, "file": name}, prompts)
    size = sum(file.stat().st_size for file in folder.iterdir())
    peak = np.mean([np.exp(r["logprobs"][0]) for p in prompts for r in p["rows"]])
    print(f"{name}: {size // 1024} KiB, mean top probability {peak:.2f}")


def main():
    mx.set_default_device(mx.cpu)
    for place, name in enumerate(MODELS):
        if not sys.argv[1:] or name in sys.argv[1:]:
            make(name, place if place < SEEDED_BY_PLACE else zlib.crc32(name.encode()))


if __name__ == "__main__":
    main()
