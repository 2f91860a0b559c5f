"""Tiny models of families with latent attention (make_tiny_models.py)."""

import mlx.core as mx

LATENT = {
    "hidden_size": 64, "num_attention_heads": 3, "num_key_value_heads": 3, "tie_word_embeddings": False,
    "kv_lora_rank": 32, "q_lora_rank": 32, "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": 32,
    "attention_bias": False, "num_hidden_layers": 3, "first_k_dense_replace": 1, "moe_layer_freq": 1,
    "moe_intermediate_size": 32, "n_shared_experts": 1,
}
YARN = {"rope_type": "yarn", "type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32,
        "beta_fast": 32.0, "beta_slow": 1.0}
DEEPSEEK_V3 = LATENT | {
    "model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "rms_norm_eps": 1e-6,
    "num_attention_heads": 2, "num_key_value_heads": 2, "kv_lora_rank": 64, "q_lora_rank": 96,
    "qk_rope_head_dim": 32, "v_head_dim": 48, "rope_scaling": YARN | {"mscale": 0.7, "mscale_all_dim": 0.7},
    "n_routed_experts": 12, "num_experts_per_tok": 3, "n_shared_experts": 2, "n_group": 3, "topk_group": 2,
    "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": True, "routed_scaling_factor": 2.5,
    "num_nextn_predict_layers": 1,
}

WITH_GGUF = {
    # As GLM-4.7-Flash.
    "glm4-moe-lite": (LATENT | {
        "model_type": "glm4_moe_lite", "architectures": ["Glm4MoeLiteForCausalLM"], "rope_theta": 1000000.0,
        "rope_scaling": None, "n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
        "topk_method": "noaux_tc", "norm_topk_prob": True, "routed_scaling_factor": 1.8,
        "num_nextn_predict_layers": 1, "partial_rotary_factor": 1.0,
    }, mx.float16, None, 1),
    "deepseek-v3": (DEEPSEEK_V3, mx.float16, None, 1),
    # The text model of a multimodal folder.
    "mistral4": ({
        "model_type": "mistral3", "architectures": ["Mistral3ForConditionalGeneration"],
        "vision_config": {"model_type": "pixtral"}, "image_token_index": 10,
        "text_config": LATENT | {
            "model_type": "mistral4", "vocab_size": 272, "max_position_embeddings": 256, "intermediate_size": 64,
            "rms_norm_eps": 1e-6, "hidden_act": "silu", "n_routed_experts": 8, "num_experts_per_tok": 3,
            "n_group": 1, "topk_group": 1, "norm_topk_prob": True, "routed_scaling_factor": 1.0,
            "first_k_dense_replace": 0, "num_hidden_layers": 2, "rope_interleave": True,
            "rope_parameters": YARN | {"rope_theta": 10000.0, "mscale": 1.0, "mscale_all_dim": 1.0,
                                       "original_max_position_embeddings": 64, "llama_4_scaling_beta": 0.5},
        },
    }, mx.float16, None, 1),
}
WITHOUT_GGUF = {
    # A head's matrices in one, groups that their best expert ranks, as llama.cpp does not rank them.
    "deepseek-v2": (LATENT | {
        "model_type": "deepseek_v2", "architectures": ["DeepseekV2ForCausalLM"], "rms_norm_eps": 1e-6,
        "q_lora_rank": None, "rope_scaling": YARN | {"mscale": 0.707, "mscale_all_dim": 0.707},
        "n_routed_experts": 12, "num_experts_per_tok": 3, "n_group": 4, "topk_group": 2,
        "topk_method": "group_limited_greedy", "scoring_func": "softmax", "norm_topk_prob": False,
        "routed_scaling_factor": 4.0,
    }, mx.float16, None, 1),
    # The text model of a multimodal folder, dense, its heads' matrices in affine numbers.
    "kimi-4bit": ({
        "model_type": "kimi_k25", "architectures": ["KimiK25ForConditionalGeneration"],
        "text_config": DEEPSEEK_V3 | {
            "vocab_size": 272, "max_position_embeddings": 256, "rope_theta": 50000.0, "intermediate_size": 64,
            "hidden_act": "silu", "num_hidden_layers": 2, "n_routed_experts": None, "model_type": "kimi_k2",
            "num_attention_heads": 4, "num_key_value_heads": 4, "qk_nope_head_dim": 64, "q_lora_rank": 128,
            "rope_scaling": None,
        },
    }, mx.bfloat16, lambda path: {"group_size": 32, "bits": 4}, 1),
}
