"""The tiny models of make_tiny_models.py whose layers keep a state, and how GGUF has them."""

import gguf
import mlx.core as mx
import numpy as np

# Two layers of three are short convolutions; the sizes of the feed-forward layers are adjusted.
LFM2 = {
    "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
    "vocab_size": 272, "max_position_embeddings": 256, "norm_eps": 2e-5, "rope_theta": 1000000.0,
    "conv_bias": False, "conv_L_cache": 3, "tie_word_embeddings": True,
    "layer_types": ["conv", "full_attention", "conv", "conv"],
}

# Two groups of Mamba-2 heads, in granite one, since llama.cpp norms each group there.
MAMBA2 = {
    "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 272,
    "max_position_embeddings": 256, "attention_bias": False, "mlp_bias": False, "mamba_proj_bias": False,
}
GRANITE_HYBRID = MAMBA2 | {
    "model_type": "granitemoehybrid", "architectures": ["GraniteMoeHybridForCausalLM"],
    "num_hidden_layers": 4, "layer_types": ["mamba", "attention", "mamba", "mamba"],
    "position_embedding_type": "nope", "embedding_multiplier": 12.0, "residual_multiplier": 0.22,
    "attention_multiplier": 0.1, "logits_scaling": 3.0, "tie_word_embeddings": True,
    "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 32, "mamba_d_conv": 4, "mamba_n_groups": 1,
    "mamba_conv_bias": True, "time_step_limit": [0.0, 100.0], "rms_norm_eps": 1e-5,
}
NEMOTRON_H = MAMBA2 | {
    "model_type": "nemotron_h", "architectures": ["NemotronHForCausalLM"], "head_dim": 32,
    "mamba_num_heads": 6, "mamba_head_dim": 16, "ssm_state_size": 16, "conv_kernel": 4, "n_groups": 2,
    "use_bias": False, "use_conv_bias": True, "layer_norm_epsilon": 2e-5, "mlp_hidden_act": "relu2",
    "tie_word_embeddings": False, "intermediate_size": 96, "time_step_limit": [0.0, float("inf")],
}

QWEN3_NEXT = {
    "model_type": "qwen3_next", "architectures": ["Qwen3NextForCausalLM"], "hidden_size": 64,
    "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1,
    "head_dim": 32, "vocab_size": 272, "max_position_embeddings": 256, "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False, "attention_bias": False, "full_attention_interval": 4,
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 32,
    "linear_value_head_dim": 32, "linear_conv_kernel_dim": 4, "rope_theta": 10000.0,
    "partial_rotary_factor": 0.25, "num_experts": 6, "num_experts_per_tok": 2, "decoder_sparse_step": 1,
    "mlp_only_layers": [], "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32,
    "norm_topk_prob": True,
}

# As make_tiny_models.MODELS, of which these are written as GGUF files too.
WITH_GGUF = {
    "lfm2": (LFM2 | {
        "model_type": "lfm2", "architectures": ["Lfm2ForCausalLM"], "block_dim": 64, "block_ff_dim": 128,
        "block_multiple_of": 32, "block_ffn_dim_multiplier": 1.0, "block_auto_adjust_ff_dim": True,
    }, mx.float16, None, 1),
    "lfm2-moe": (LFM2 | {
        "model_type": "lfm2_moe", "architectures": ["Lfm2MoeForCausalLM"], "num_key_value_heads": 1,
        "layer_types": ["conv", "conv", "full_attention", "conv"], "intermediate_size": 96,
        "moe_intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 3, "num_dense_layers": 1,
        "norm_topk_prob": True, "use_expert_bias": True,
    }, mx.float16, None, 1),
    "granite-hybrid": (GRANITE_HYBRID | {
        "num_local_experts": 8, "num_experts_per_tok": 3, "intermediate_size": 32,
        "shared_intermediate_size": 64,
    }, mx.float16, None, 1),
    "granite-hybrid-dense": (GRANITE_HYBRID | {
        "num_local_experts": 0, "num_experts_per_tok": 0, "num_hidden_layers": 3,
        "layer_types": ["mamba", "mamba", "attention"], "intermediate_size": 96,
        "shared_intermediate_size": 96,
    }, mx.float16, None, 1),
    "nemotron-h": (NEMOTRON_H | {
        "hybrid_override_pattern": "M-*-M-", "num_hidden_layers": 6,
    }, mx.float16, None, 1),
    "nemotron-h-moe": (NEMOTRON_H | {
        "hybrid_override_pattern": "MEM*EM", "num_hidden_layers": 6, "n_routed_experts": 8,
        "num_experts_per_tok": 3, "n_shared_experts": 1, "moe_intermediate_size": 32,
        "moe_shared_expert_intermediate_size": 64, "norm_topk_prob": True, "routed_scaling_factor": 2.5,
        "n_group": 1, "topk_group": 1,
    }, mx.float16, None, 1),
    "qwen3-next": (QWEN3_NEXT, mx.float16, None, 1),
}

AFFINE = {
    "qwen3-next-4bit": (QWEN3_NEXT | {
        "num_experts": 0, "num_hidden_layers": 5, "linear_num_key_heads": 1, "linear_num_value_heads": 3,
    }, mx.bfloat16, lambda path: {"group_size": 32, "bits": 4}, 1),
    "lfm2-4bit": (WITH_GGUF["lfm2"][0] | {"layer_types": ["conv", "conv", "full_attention", "conv"]},
                  mx.bfloat16, lambda path: {"group_size": 32, "bits": 4}, 1),
    "granite-hybrid-4bit": (WITH_GGUF["granite-hybrid-dense"][0], mx.bfloat16,
                            lambda path: {"group_size": 32, "bits": 4}, 1),
}

FAMILIES = {
    "lfm2": (gguf.MODEL_ARCH.LFM2, False),
    "lfm2_moe": (gguf.MODEL_ARCH.LFM2MOE, False),
    "qwen3_next": (gguf.MODEL_ARCH.QWEN3NEXT, False),
    "granitemoehybrid": (gguf.MODEL_ARCH.GRANITE_HYBRID, True),
    "nemotron_h": (gguf.MODEL_ARCH.NEMOTRON_H, False),
    "nemotron_h_moe": (gguf.MODEL_ARCH.NEMOTRON_H_MOE, False),
}


def kv_heads(config):
    """Of each layer: those that do not attend have none."""
    attend = config.get("hybrid_override_pattern") or config["layer_types"]
    return [config["num_key_value_heads"] if kind in ("full_attention", "attention", "*") else 0
            for kind in attend]


def lfm2_hidden_size(config):
    size = int(2 * config["block_ff_dim"] / 3 * config["block_ffn_dim_multiplier"])
    multiple = config["block_multiple_of"]
    return (size + multiple - 1) // multiple * multiple


def usual(config):
    """The config with the names that the other families have."""
    kind = config["model_type"]
    if kind not in FAMILIES or kind == "qwen3_next":
        return config
    own = {"kv_heads": kv_heads(config)}
    if kind.startswith("lfm2"):
        own["rms_norm_eps"] = config["norm_eps"]
    if kind == "lfm2":
        own["intermediate_size"] = lfm2_hidden_size(config)
    if kind == "granitemoehybrid":
        if config["num_local_experts"]:
            own["shared_expert_intermediate_size"] = config["shared_intermediate_size"]
        own["mamba2"] = {name: config["mamba_" + key] for name, key in {
            "heads": "n_heads", "head_dim": "d_head", "state": "d_state", "groups": "n_groups",
            "kernel": "d_conv"}.items()}
    if kind == "nemotron_h":
        sizes = {"-": config["intermediate_size"], "E": config.get("moe_intermediate_size")}
        own |= {"rms_norm_eps": config["layer_norm_epsilon"], "first_k_dense_replace": 0,
                "hidden_sizes": [sizes.get(kind, 0) for kind in config["hybrid_override_pattern"]],
                "mamba2": {"heads": config["mamba_num_heads"], "head_dim": config["mamba_head_dim"],
                           "state": config["ssm_state_size"], "groups": config["n_groups"],
                           "kernel": config["conv_kernel"]}}
        if "n_routed_experts" in config:
            own |= {"model_type": "nemotron_h_moe",
                    "shared_expert_intermediate_size": config["moe_shared_expert_intermediate_size"]}
    return config | own


def add_own(writer, config):
    kind = config["model_type"]
    if kind.startswith("lfm2"):
        writer.add_shortconv_l_cache(config["conv_L_cache"])
    if kind == "lfm2_moe":
        writer.add_leading_dense_block_count(config["num_dense_layers"])
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    if kind == "granitemoehybrid":
        writer.add_rope_scaling_finetuned(False)
    if kind == "nemotron_h_moe":
        writer.add_expert_group_count(config["n_group"])
        writer.add_expert_group_used_count(config["topk_group"])
    if mamba2 := config.get("mamba2"):
        writer.add_ssm_conv_kernel(mamba2["kernel"])
        writer.add_ssm_state_size(mamba2["state"])
        writer.add_ssm_group_count(mamba2["groups"])
        writer.add_ssm_inner_size(mamba2["heads"] * mamba2["head_dim"])
        writer.add_ssm_time_step_rank(mamba2["heads"])


def converted_mamba2(name, value, config):
    part = name.split(".")[-1]
    if part == "A_log":
        value = -np.exp(value)
    if part in ("A_log", "D"):
        value = value.reshape(-1, 1)
    if name.endswith("conv1d.weight"):
        value = value.reshape(value.shape[0], -1)
    if name.endswith((".mamba.norm.weight", ".mixer.norm.weight")):
        value = value.reshape(config["mamba2"]["groups"], -1)
    return name.replace("mixer.dt_bias", "mixer.dt.bias").replace("mamba.dt_bias", "mamba.dt_proj.bias"), value


def converted(name, value, config):
    """A tensor as the converter names it and has its numbers; of a fused one its parts."""
    if config["model_type"].startswith("lfm2"):
        if name.endswith("conv.conv.weight"):
            value = value.reshape(value.shape[0], -1)
        name = name.replace("switch_mlp.", "experts.").replace("expert_bias", "expert_bias.bias")
    if "mamba2" in config:
        name, value = converted_mamba2(name, value, config)
    if config["model_type"] == "granitemoehybrid":
        layer = name.split(".")[2]
        name = name.replace("switch_mlp.", "experts.")
        if "shared_mlp.input_linear" in name:
            gate, up = np.split(value, 2)
            return [(f"blk.{layer}.ffn_gate_shexp.weight", gate), (f"blk.{layer}.ffn_up_shexp.weight", up)]
    if config["model_type"] == "nemotron_h_moe":
        for own, other in {"fc1": "up_proj", "fc2": "down_proj"}.items():
            if f"mixer.switch_mlp.{own}" in name:
                name = name.replace("backbone.", "model.").replace(f"mixer.switch_mlp.{own}", f"mlp.experts.{other}")
    return [(name, value)]
