"""Writes a tiny model of make_tiny_models.py as a GGUF file, as llama.cpp's converter would.

convert_hf_to_gguf.py needs torch; this does for these families what its classes do (llama.cpp,
conversion/llama.py, granite.py, olmo.py, phi.py, mistral3.py): names from gguf's own map, rows of q
and k permuted where that converter permutes them, and its metadata keys. check_tiny_gguf.py shows
that llama.cpp reads the files so.
"""

import gguf
import numpy as np
import tiny_recurrent

# model_type: (GGUF's architecture, whether the rows of q and k are permuted)
FAMILIES = {
    "smollm3": (gguf.MODEL_ARCH.SMOLLM3, True),
    "granite": (gguf.MODEL_ARCH.GRANITE, True),
    "ministral3": (gguf.MODEL_ARCH.MISTRAL3, True),
    "olmo2": (gguf.MODEL_ARCH.OLMO2, False),
    "olmo3": (gguf.MODEL_ARCH.OLMO2, False),
    "phi3": (gguf.MODEL_ARCH.PHI3, False),
    "qwen3_5_text": (gguf.MODEL_ARCH.QWEN35, False),
    "qwen3_5_moe_text": (gguf.MODEL_ARCH.QWEN35MOE, False),
    "dots1": (gguf.MODEL_ARCH.DOTS1, False),
    "glm4_moe": (gguf.MODEL_ARCH.GLM4_MOE, False),
    "minimax_m2": (gguf.MODEL_ARCH.MINIMAXM2, False),
    "mixtral": (gguf.MODEL_ARCH.LLAMA, True),
    "olmoe": (gguf.MODEL_ARCH.OLMOE, False),
    "gemma4_text": (gguf.MODEL_ARCH.GEMMA4, False),
    "ernie4_5": (gguf.MODEL_ARCH.ERNIE4_5, False),
    "ernie4_5_moe": (gguf.MODEL_ARCH.ERNIE4_5_MOE, False),
    "exaone4": (gguf.MODEL_ARCH.EXAONE4, False),
    "granitemoe": (gguf.MODEL_ARCH.GRANITE_MOE, True),
    "glm4_moe_lite": (gguf.MODEL_ARCH.DEEPSEEK2, False),
    "deepseek_v3": (gguf.MODEL_ARCH.DEEPSEEK2, False),
    "mistral4": (gguf.MODEL_ARCH.MISTRAL4, False),
    "gpt_oss": (gguf.MODEL_ARCH.GPT_OSS, False),
    "seed_oss": (gguf.MODEL_ARCH.SEED_OSS, False),
    "qwen3_moe": (gguf.MODEL_ARCH.QWEN3MOE, False),
    "qwen2_moe": (gguf.MODEL_ARCH.QWEN2MOE, False),
    "gemma2": (gguf.MODEL_ARCH.GEMMA2, False),
    "glm4": (gguf.MODEL_ARCH.GLM4, False),
} | tiny_recurrent.FAMILIES


def permute(weight, heads):
    """Rows for rotating halves -> rows for rotating neighbours (LlamaModel.permute)."""
    rows = weight.shape[0] // heads // 2
    return weight.reshape(heads, 2, rows, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def tile_value_heads(value, config, axis, size):
    """Heads grouped by the key head that they read -> in turns (_LinearAttentionVReorderBase)."""
    keys, values = config["linear_num_key_heads"], config["linear_num_value_heads"]
    shape = value.shape
    split = shape[:axis] + (keys, values // keys, size) + shape[axis + 1:]
    return value.reshape(split).swapaxes(axis, axis + 1).reshape(shape)


def qwen3_next(part, name, value, config):
    """All but the fused matrix."""
    if part == "conv1d.weight":
        value = value.reshape(value.shape[0], -1)
    if part == "A_log":
        value = -np.exp(value)
    return name.replace("dt_bias", "dt_proj.bias"), value


def split_qkvz(name, value, config):
    """Of each key head q, k, v and z -> all q, k, v; all z (Qwen3NextModel.modify_tensors)."""
    heads, keys = config["linear_num_key_heads"], config["linear_key_head_dim"]
    values = config["linear_num_value_heads"] // heads * config["linear_value_head_dim"]
    parts = np.split(value.reshape(heads, -1, value.shape[-1]), [keys, 2 * keys, 2 * keys + values], axis=1)
    q, k, v, z = (part.reshape(-1, value.shape[-1]) for part in parts)
    return [(name.replace("qkvz", "qkv"), np.concatenate([q, k, v])), (name.replace("qkvz", "z"), z)]


def delta_net(name, value, config):
    """A tensor of a gated delta net as the converter names and orders it (conversion/qwen.py)."""
    part = name.split("linear_attn.")[-1]
    if config["model_type"] == "qwen3_next":
        return qwen3_next(part, name, value, config)
    values = config["linear_value_head_dim"]
    keys = 2 * config["linear_num_key_heads"] * config["linear_key_head_dim"]
    if part == "conv1d.weight":
        value = value.reshape(value.shape[0], -1)
    if part in ("in_proj_qkv.weight", "conv1d.weight"):
        tiled = tile_value_heads(value[keys:], config, 0, values)
        value = np.concatenate([value[:keys], tiled])
    elif part == "in_proj_z.weight":
        value = tile_value_heads(value, config, 0, values)
    elif part == "out_proj.weight":
        value = tile_value_heads(value, config, 1, values)
    elif part in ("in_proj_a.weight", "in_proj_b.weight", "A_log", "dt_bias"):
        value = tile_value_heads(value, config, 0, 1)
    if part == "A_log":
        value = -np.exp(value)
    return name.replace("dt_bias", "dt_proj.bias"), value


def gemma4(weights, config):
    """The weights under names that gguf's map knows, or GGUF's own (conversion/gemma.py)."""
    named = {}
    for name, value in weights.items():
        layer = name.split(".")[2] if ".layers." in name else None
        if "switch_glu.up_proj" in name:
            continue
        if "switch_glu.gate_proj" in name:
            up = weights[name.replace("gate_proj", "up_proj")]
            named[f"blk.{layer}.ffn_gate_up_exps.weight"] = np.concatenate([value, up], axis=1)
        elif name.endswith("router.scale"):
            named[f"blk.{layer}.ffn_gate_inp.scale"] = value
        elif name.endswith("per_expert_scale"):
            named[f"blk.{layer}.ffn_down_exps.scale"] = value
        elif name.endswith("layer_scalar"):
            named[name + ".weight"] = value
        else:
            named[name.replace("experts.switch_glu.down_proj.weight", "experts.down_proj.weight")] = value
    rope = config["rope_parameters"]["full_attention"]
    pairs = config["global_head_dim"] // 2
    turned = int(pairs * rope["partial_rotary_factor"])
    named["rope_freqs.weight"] = np.array([1.0] * turned + [1e30] * (pairs - turned), dtype=np.float32)
    return named


def add_gemma4(writer, config):
    windowed = [kind == "sliding_attention" for kind in config["layer_types"]]
    writer.add_shared_kv_layers(config["num_kv_shared_layers"])
    writer.add_embedding_length_per_layer_input(config["hidden_size_per_layer_input"])
    writer.add_sliding_window(config["sliding_window"])
    writer.add_sliding_window_pattern(windowed)
    writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    writer.add_key_length_swa(config["head_dim"])
    writer.add_value_length_swa(config["head_dim"])
    writer.add_rope_dimension_count_swa(config["head_dim"])
    writer.add_rope_freq_base_swa(config["rope_parameters"]["sliding_attention"]["rope_theta"])


def add_latent(writer, config):
    """The cache as of one KV head, and the sizes of heads (conversion/deepseek.py)."""
    rank, rotary = config["kv_lora_rank"], config["qk_rope_head_dim"]
    writer.add_rope_dimension_count(rotary)
    writer.add_q_lora_rank(config["q_lora_rank"])
    writer.add_kv_lora_rank(rank)
    writer.add_key_length(rank + rotary)
    writer.add_value_length(rank)
    writer.add_key_length_mla(config["qk_nope_head_dim"] + rotary)
    writer.add_value_length_mla(config["v_head_dim"])
    writer.add_expert_group_count(config["n_group"])
    writer.add_expert_group_used_count(config["topk_group"])


def by_layer(config):
    """The KV heads and hidden sizes of the feed-forward layers, which the families of one number a
    model have as such."""
    heads = config.get("kv_heads", config["num_key_value_heads"])
    size = config.get("hidden_sizes", config["intermediate_size"])
    if "kv_lora_rank" in config:
        return 1, size
    if config["model_type"] != "gemma4_text":
        return heads, size
    if config.get("attention_k_eq_v"):
        heads = [heads if kind == "sliding_attention" else config["num_global_key_value_heads"]
                 for kind in config["layer_types"]]
    if config["use_double_wide_mlp"]:
        layers, shared = config["num_hidden_layers"], config["num_kv_shared_layers"]
        size = [size * (2 if i >= layers - shared else 1) for i in range(layers)]
    return heads, size


def add_usual(writer, config):
    head_dim = config.get("global_head_dim") or config.get("head_dim") or (
        config["hidden_size"] // config["num_attention_heads"])
    kv_heads, intermediate_size = by_layer(config)
    rope = config.get("rope_parameters") or {}
    rope = rope.get("full_attention", rope)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(intermediate_size)
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_rope_freq_base(config.get("rope_theta") or rope["rope_theta"])
    partial = (rope or config).get("partial_rotary_factor", 1)
    if rope.get("rope_type") == "proportional":
        partial = 1  # rope_freqs tells what turns
    if "kv_lora_rank" in config:
        add_latent(writer, config)
    else:
        writer.add_rope_dimension_count(config.get("rotary_dim") or int(head_dim * partial))
    if "head_dim" in config:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    add_experts(writer, config)
    if "shared_expert_intermediate_size" in config:
        writer.add_expert_shared_feed_forward_length(config["shared_expert_intermediate_size"])
    if "linear_num_key_heads" in config:
        heads = config["linear_num_value_heads"]
        writer.add_ssm_conv_kernel(config["linear_conv_kernel_dim"])
        writer.add_ssm_state_size(config["linear_key_head_dim"])
        writer.add_ssm_group_count(config["linear_num_key_heads"])
        writer.add_ssm_time_step_rank(heads)
        writer.add_ssm_inner_size(heads * config["linear_value_head_dim"])
        writer.add_full_attention_interval(config["full_attention_interval"])
        if "rope_parameters" in config:
            writer.add_rope_dimension_sections([*config["rope_parameters"]["mrope_section"], 0])


def add_experts(writer, config):
    count = next((config[key] for key in ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
                  if key in config), 0)
    if not count:
        return
    writer.add_expert_count(count)
    used = next(config[key] for key in ("num_experts_per_tok", "top_k_experts", "moe_k") if key in config)
    writer.add_expert_used_count(used)
    if config["model_type"] not in ("mixtral", "olmoe"):
        writer.add_expert_feed_forward_length(config.get("moe_intermediate_size", config["intermediate_size"]))
    if "routed_scaling_factor" in config:
        writer.add_expert_weights_scale(config["routed_scaling_factor"])
        writer.add_expert_weights_norm(config["norm_topk_prob"])
        writer.add_expert_shared_count(config["n_shared_experts"])
        writer.add_leading_dense_block_count(config["first_k_dense_replace"])
    if config["model_type"] in ("dots1", "glm4_moe", "glm4_moe_lite", "deepseek_v3", "minimax_m2"):
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)


def add_yarn(writer, rope):
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(rope["factor"])
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
    writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])


def add_llama3_frequencies(writer, config, rope):
    """The divisors of the frequencies (LlamaModel.generate_extra_tensors)."""
    head_dim = config["head_dim"]
    frequencies = 1 / config["rope_theta"] ** (np.arange(0, head_dim, 2) / head_dim)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = rope["original_max_position_embeddings"] * frequencies / (2 * np.pi)
    smooth = (turns - low) / (high - low)
    between = 1 / ((1 - smooth) / rope["factor"] + smooth)
    divisors = np.where(turns > high, 1, np.where(turns < low, rope["factor"], between))
    writer.add_tensor("rope_freqs.weight", divisors.astype(np.float32))


def add_own(writer, config):
    kind = config["model_type"]
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type") == "yarn":
        add_yarn(writer, rope)
    if kind.startswith("granite"):
        writer.add_attention_scale(config["attention_multiplier"])
        writer.add_embedding_scale(config["embedding_multiplier"])
        writer.add_residual_scale(config["residual_multiplier"])
        writer.add_logit_scale(config["logits_scaling"])
    elif kind == "olmo3":
        writer.add_sliding_window(config["sliding_window"])
        writer.add_sliding_window_pattern([t == "sliding_attention" for t in config["layer_types"]])
    elif kind == "gemma4_text":
        add_gemma4(writer, config)
    elif kind == "gemma2":
        writer.add_sliding_window(config["sliding_window"])
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    elif kind == "ernie4_5_moe":
        writer.add_expert_shared_count(config["moe_num_shared_experts"])
        writer.add_expert_shared_feed_forward_length(
            config["moe_num_shared_experts"] * config["moe_intermediate_size"])
        writer.add_leading_dense_block_count(config["moe_layer_start_index"])
        writer.add_interleave_moe_layer_step(config["moe_layer_interval"])
    elif kind == "exaone4":
        add_llama3_frequencies(writer, config, rope)
    elif kind == "gpt_oss":
        writer.add_sliding_window(config["sliding_window"])
    elif kind == "ministral3":
        writer.add_rope_scaling_yarn_log_mul(rope["mscale_all_dim"])
        writer.add_attn_temperature_scale(rope["llama_4_scaling_beta"])
    elif kind in ("deepseek_v3", "mistral4"):
        writer.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])
        if "llama_4_scaling_beta" in rope:  # as of Mistral Large 3; the converter forgets it here
            writer.add_attn_temperature_scale(rope["llama_4_scaling_beta"])
            writer.add_attn_temperature_length(rope["original_max_position_embeddings"])
    elif kind == "phi3":
        original = config["original_max_position_embeddings"]
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_sliding_window(config.get("sliding_window") or 0)
        if "long_factor" in rope:
            scale = config["max_position_embeddings"] / original
            writer.add_rope_scaling_attn_factors(
                float(np.sqrt(1 + np.log(scale) / np.log(original))) if scale > 1 else 1.0)
            for length in ("long", "short"):
                writer.add_tensor(f"rope_factors_{length}.weight",
                                  np.array(rope[f"{length}_factor"], dtype=np.float32))


def add_tokenizer(writer, tokenizer, config):
    """A byte-level BPE, from the parsed tokenizer.json."""
    tokens = [""] * config["vocab_size"]
    for token, index in tokenizer["model"]["vocab"].items():
        tokens[index] = token
    special = {token["id"] for token in tokenizer["added_tokens"]}
    kinds = [gguf.TokenType.CONTROL if i in special else gguf.TokenType.NORMAL
             for i in range(len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m)
                             for m in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(257)
    writer.add_add_bos_token(False)


def write(path, config, weights, tokenizer, matrix_type=np.float16):
    """config: config.json's (text) part; weights: {name: float32 array} under Hugging Face names."""
    config = tiny_recurrent.usual(config)
    arch, permuted = FAMILIES[config["model_type"]]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    add_usual(writer, config)
    add_own(writer, config)
    tiny_recurrent.add_own(writer, config)
    add_tokenizer(writer, tokenizer, config)
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    if config["model_type"] == "gemma4_text":
        weights = gemma4(weights, config)
    weights = [part for name, value in weights.items()
               for part in (split_qkvz(name, value, config) if "in_proj_qkvz" in name
                            else tiny_recurrent.converted(name, value, config))]
    for name, value in weights:
        heads = {"q_proj": config["num_attention_heads"],
                 "k_proj": config["num_key_value_heads"]}.get(name.split(".")[-2])
        if permuted and heads:
            value = permute(value, heads)
        if config["model_type"] == "gemma2" and "norm" in name:
            value = value + 1
        if name.endswith(".sinks"):
            name += ".weight"
        if "linear_attn." in name:
            name, value = delta_net(name, value, config)
        # gguf's map has the stacked experts under transformers' name, mlx-lm under its own; the
        # converter calls the bias of a router one.
        own = name if name.startswith(("blk.", "rope_freqs.")) else names.get_name(
            name.replace("block_sparse_moe.", "mlp.").replace("mlp.router.layer.", "mlp.gate.")
            .replace("mlp.switch_mlp.", "mlp.experts.")
            .replace("self_attn.embed_q.", "self_attn.k_b_proj.").replace("self_attn.unembed_out.", "self_attn.v_b_proj.")
            .replace("mlp.e_score", "mlp.gate.e_score").replace("e_score_correction_bias", "e_score_correction.bias"),
            try_suffixes=(".weight", ".bias"))
        assert own, name
        # The converter keeps vectors and routers in 32 bits.
        is_wide = value.ndim == 1 or name.endswith(
            (".bias", "mlp.router.weight", "router.layer.weight", "router.proj.weight", "mlp.gate.weight",
             "shared_expert_gate.weight", "conv1d.weight", "conv.conv.weight", "feed_forward.gate.weight",
             "mixer.gate.weight", ".A_log", ".D", "mamba.norm.weight", "mixer.norm.weight"))
        writer.add_tensor(own, value.astype(np.float32 if is_wide else matrix_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
