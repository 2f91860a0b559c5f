"""The GGUF files of make_tiny_encoders.py: as llama.cpp's converter writes them, with its names of
tensors and its ways with vocabularies."""

import json
import pathlib

import gguf
import numpy as np

TINY = pathlib.Path(__file__).parent / "tiny"
BERT_NAMES = {"embeddings.word_embeddings": "token_embd",
              "embeddings.position_embeddings": "position_embd",
              "embeddings.token_type_embeddings": "token_types",
              "embeddings.LayerNorm": "token_embd_norm", "pooler.dense": "cls",
              "classifier.dense": "cls", "classifier.out_proj": "cls.output",
              "classifier": "cls.output"}
BERT_PARTS = {"attention.self.query": "attn_q", "attention.self.key": "attn_k",
              "attention.self.value": "attn_v", "attention.output.dense": "attn_output",
              "attention.output.LayerNorm": "attn_output_norm", "intermediate.dense": "ffn_up",
              "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
NOMIC_NAMES = BERT_NAMES
NOMIC_PARTS = {"self_attn.o_proj": "attn_output", "post_attention_layernorm": "attn_output_norm",
               "mlp.up_proj": "ffn_up", "mlp.gate_proj": "ffn_gate", "mlp.down_proj": "ffn_down",
               "post_mlp_layernorm": "layer_output_norm", "attn_qkv": "attn_qkv"}
MODERN_NAMES = {"embeddings.tok_embeddings": "token_embd", "embeddings.norm": "token_embd_norm",
                "final_norm": "output_norm"}
MODERN_PARTS = {"attn_norm": "attn_norm", "attn.Wqkv": "attn_qkv", "attn.Wo": "attn_output",
                "mlp_norm": "ffn_norm", "mlp.Wi": "ffn_up", "mlp.Wo": "ffn_down"}


def fuse_nomic(weights):
    """Query, key and value of a layer as one matrix, as Nomic's own files have them."""
    fused = {}
    for name, value in weights.items():
        if ".self_attn.q_proj." in name:
            parts = [weights[name.replace("q_proj", p + "_proj")] for p in "qkv"]
            fused[name.replace("self_attn.q_proj", "attn_qkv")] = np.concatenate(parts)
        elif not any(f".self_attn.{p}_proj." in name for p in "kv"):
            fused[name] = value
    return fused


def tensors(model, ranks):
    kind = model.config.model_type
    names, parts = {"nomic_bert": (NOMIC_NAMES, NOMIC_PARTS),
                    "modernbert": (MODERN_NAMES, MODERN_PARTS)}.get(kind, (BERT_NAMES, BERT_PARTS))
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    if kind == "nomic_bert":
        weights = fuse_nomic(weights)
    for full, value in weights.items():
        full = full.removeprefix("bert.").removeprefix("roberta.").removeprefix("encoder.")
        module, parameter = full.rsplit(".", 1)
        if module.startswith(("layer.", "layers.")):
            _, layer, part = module.split(".", 2)
            module = f"blk.{layer}.{parts[part]}"
        elif module in names:
            module = names[module]
        else:
            continue
        if module.startswith("cls") and not ranks:
            continue
        if module == "position_embd" and kind == "xlm-roberta":
            value = value[model.config.pad_token_id + 1:]
        if model.halves and value.ndim == 2 and module not in ("position_embd", "token_types"):
            value = value.astype(np.float16)
        yield f"{module}.{parameter}", value


def add_word_pieces(writer, tokenizer, size):
    def written(token):
        if token.startswith("["):
            return token
        return token[2:] if token.startswith("##") else "\u2581" + token

    special = {id for id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    tokens = [tokenizer.id_to_token(id) for id in range(tokenizer.get_vocab_size())]
    unused = [f"[PAD{id}]" for id in range(len(tokens), size)]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([written(t) for t in tokens] + unused)
    writer.add_token_types([gguf.TokenType.CONTROL if id in special else gguf.TokenType.NORMAL
                            for id in range(len(tokens))] + [gguf.TokenType.UNUSED] * len(unused))
    return {"unknown": "[UNK]", "seperator": "[SEP]", "padding": "[PAD]", "cls": "[CLS]",
            "mask": "[MASK]"}


def add_unigram(writer, tokenizer, proto):
    vocabulary = json.loads(tokenizer.to_str())["model"]["vocab"]
    types = {"<unk>": gguf.TokenType.UNKNOWN} | {
        token: gguf.TokenType.CONTROL for token in ["<s>", "<pad>", "</s>", "<mask>"]}
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_scores([score for _, score in vocabulary])
    writer.add_token_types([types.get(token, gguf.TokenType.NORMAL) for token, _ in vocabulary])
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(True)
    writer.add_precompiled_charsmap(proto.normalizer_spec.precompiled_charsmap)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    return {"bos": "<s>", "eos": "</s>", "unknown": "<unk>", "seperator": "</s>", "padding": "<pad>",
            "cls": "<s>", "mask": "<mask>"}


def add_byte_pairs(writer, tokenizer):
    model = json.loads(tokenizer.to_str())["model"]
    special = {id for id, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("modern-bert")
    size = tokenizer.get_vocab_size()
    writer.add_token_list([tokenizer.id_to_token(id) for id in range(size)])
    writer.add_token_types([gguf.TokenType.CONTROL if id in special else gguf.TokenType.NORMAL
                            for id in range(size)])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    return {"bos": "[CLS]", "eos": "[SEP]", "unknown": "[UNK]", "seperator": "[SEP]",
            "padding": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}


def write(name, model, tokenizer, pooling, proto=None):
    """`proto`: SentencePiece's file, of a tokenizer that was made of it."""
    config = model.config
    kind = {"nomic_bert": "nomic-bert", "modernbert": "modern-bert"}.get(config.model_type, "bert")
    writer = gguf.GGUFWriter(TINY / f"{name}.gguf", kind)
    writer.add_name(name)
    shift = config.pad_token_id + 1 if config.model_type == "xlm-roberta" else 0
    writer.add_context_length(config.max_position_embeddings - shift)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    modern = kind == "modern-bert"
    writer.add_layer_norm_eps(config.norm_eps if modern else config.layer_norm_eps)
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)
    if kind == "nomic-bert":
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if modern:
        writer.add_rope_freq_base(config.rope_parameters["full_attention"]["rope_theta"])
        writer.add_rope_freq_base_swa(config.rope_parameters["sliding_attention"]["rope_theta"])
        writer.add_sliding_window(config.local_attention)
        writer.add_sliding_window_pattern(3)
        writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
        writer.add_vocab_size(config.vocab_size)
    else:
        writer.add_token_type_count(config.type_vocab_size)
    if proto is not None:
        roles = add_unigram(writer, tokenizer, proto)
    elif modern:
        roles = add_byte_pairs(writer, tokenizer)
    else:
        roles = add_word_pieces(writer, tokenizer, config.vocab_size)
    if kind == "nomic-bert":  # where they are not said, llama.cpp takes the ids of the real ones
        roles |= {"bos": "[CLS]", "eos": "[SEP]"}
    for role, token in roles.items():
        writer.add_uint32(f"tokenizer.ggml.{role}_token_id", tokenizer.token_to_id(token))
    for tensor, value in tensors(model, pooling == gguf.PoolingType.RANK):
        writer.add_tensor(tensor, np.ascontiguousarray(value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
