"""Tiny models of families whose blocks are the usual ones, for make_tiny_models.py."""

import mlx.core as mx

SMALL = {"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1}

WITH_GGUF = {
    # sqrt(64) is exact in every type. mlx-lm knows no window of Gemma 2: this one is not reached.
    "gemma2": ({
        "model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "head_dim": 16, "num_hidden_layers": 2,
        "num_key_value_heads": 1, "num_attention_heads": 2, "query_pre_attn_scalar": 16, "sliding_window": 4096,
        "rms_norm_eps": 1e-6, "hidden_activation": "gelu_pytorch_tanh", "hidden_act": "gelu_pytorch_tanh",
        "attn_logit_softcapping": 5.0, "final_logit_softcapping": 8.0,
    }, mx.float16, None, 1),
    "glm4": (SMALL | {
        "model_type": "glm4", "architectures": ["Glm4ForCausalLM"], "head_dim": 32, "attention_bias": True,
        "partial_rotary_factor": 0.5, "tie_word_embeddings": False, "intermediate_size": 96,
    }, mx.float16, None, 1),
    # Of each layer's eight experts a row takes three, beside one that a gate weighs.
    "qwen2-moe": (SMALL | {
        "model_type": "qwen2_moe", "architectures": ["Qwen2MoeForCausalLM"], "num_experts": 8,
        "num_experts_per_tok": 3, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 64,
        "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": False, "use_sliding_window": False,
        "sliding_window": None, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
    }, mx.float16, None, 1),
}
