"""Tiny models with random weights that make embeddings and scores, and what transformers makes of
texts with them: tests/golden/tiny/<name>/ and <name>.json, and a GGUF file beside two of them.

    python -m venv VENV && VENV/bin/pip install sentence-transformers gguf
    VENV/bin/python tests/golden/make_tiny_encoders.py
"""

import json
import pathlib
import shutil

import gguf
import numpy as np
import torch
from tokenizers import (AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors)
from transformers import (BertConfig, BertForSequenceClassification, BertModel, Qwen3Config,
                          Qwen3Model, XLMRobertaConfig, XLMRobertaModel)

TINY = pathlib.Path(__file__).parent / "tiny"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "a", "cat", "dog", "sat", "on", "mat", "what", "is", "in", "box", "cafe", "über",
         "."] + list("abcdefghijklmnopqrstuvwxyz0123456789,!?")
PIECES = ["##s", "##ing", "##ed", "##er"] + ["##" + c for c in "abcdefghijklmnopqrstuvwxyz"]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 64, "max_position_embeddings": 200}
TEXTS = ["a", "The cat sat on the mat.", "What is in the box? A dog, sitting!",
         "Café zebra 42 [SEP] 漢字", " ".join(["the dog sat in a box ,"] * 14),
         " ".join(["what cats"] * 60)]
PAIRS = [["what is in the box", "a cat"], ["the dog", " ".join(["dogs sat on the mat"] * 20)],
         ["a", "b"]]


def vocabulary():
    return list(dict.fromkeys(SPECIAL + WORDS + PIECES))


def word_piece(ends):
    tokens = vocabulary()
    first, last = ends
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}".strip(), pair=f"{first} $A {last} $B:1 {last}:1".strip(),
        special_tokens=[(t, tokens.index(t)) for t in ends if t])
    return tokenizer


def write_json(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_modules(folder, mode, normalizes):
    kinds = ["Transformer", "Pooling"] + ["Normalize"] * normalizes
    paths = ["", "1_Pooling", "2_Normalize"]
    write_json(folder / "modules.json", [
        {"idx": i, "name": str(i), "path": paths[i],
         "type": f"sentence_transformers.models.{kind}"} for i, kind in enumerate(kinds)])
    modes = {"mean": "mean_tokens", "cls": "cls_token", "last": "lasttoken"}
    write_json(folder / "1_Pooling" / "config.json",
               {"word_embedding_dimension": 32} |
               {f"pooling_mode_{flag}": name == mode for name, flag in modes.items()})


def random_weights(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.named_parameters():
        noise = torch.randn(value.shape, generator=generator)
        if "norm" in name.lower() and name.endswith("weight"):
            noise = 1 + 0.3 * noise
        elif value.ndim == 1:
            noise = 0.3 * noise
        elif "embed" in name:
            noise = 0.7 * noise
        else:
            noise = 1.7 * noise / value.shape[-1] ** 0.5
        value.data = noise
    return model.eval()


def save(name, model, tokenizer):
    folder = TINY / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]", "sep_token": "[SEP]",
        "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"})
    return folder


def vector(model, ids, mode, normalizes):
    with torch.no_grad():
        states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    pooled = {"mean": states.mean(0), "cls": states[0], "last": states[-1]}[mode]
    return torch.nn.functional.normalize(pooled, dim=0) if normalizes else pooled


def embedder(name, model, tokenizer, mode, normalizes):
    folder = save(name, model, tokenizer)
    write_modules(folder, mode, normalizes)
    texts = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        values = vector(model, ids, mode, normalizes)
        texts.append({"text": text, "tokens": ids, "vector": [float(f"{v:.8g}") for v in values]})
    write_json(TINY / f"{name}.json", {"model": name, "texts": texts})
    return folder


def cross_encoder(name, model, tokenizer):
    save(name, model, tokenizer)
    pairs = []
    for first, second in PAIRS:
        encoding = tokenizer.encode(first, second)
        with torch.no_grad():
            logit = model(input_ids=torch.tensor([encoding.ids]),
                          token_type_ids=torch.tensor([encoding.type_ids])).logits[0, 0]
        pairs.append({"first": first, "second": second, "tokens": encoding.ids,
                      "second_begin": encoding.type_ids.index(1),
                      "score": float(torch.sigmoid(logit))})
    write_json(TINY / f"{name}.json", {"model": name, "pairs": pairs})


def write_gguf(name, model, pooling):
    """As llama.cpp's converter does it: its names, and its way to mark the beginnings of words."""
    writer = gguf.GGUFWriter(TINY / f"{name}.gguf", "bert")
    config = model.config
    writer.add_name(name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)

    def written(token):
        if token in SPECIAL:
            return token
        return token[2:] if token.startswith("##") else "\u2581" + token

    tokens = vocabulary()
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([written(t) for t in tokens])
    writer.add_token_types([gguf.TokenType.CONTROL if t in SPECIAL else gguf.TokenType.NORMAL
                            for t in tokens])
    writer.add_token_type_count(config.type_vocab_size)
    for key, token in [("unknown", "[UNK]"), ("seperator", "[SEP]"), ("padding", "[PAD]"),
                       ("cls", "[CLS]"), ("mask", "[MASK]")]:
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", tokens.index(token))
    names = {"embeddings.word_embeddings": "token_embd",
             "embeddings.position_embeddings": "position_embd",
             "embeddings.token_type_embeddings": "token_types",
             "embeddings.LayerNorm": "token_embd_norm", "pooler.dense": "cls",
             "classifier": "cls.output"}
    parts = {"attention.self.query": "attn_q", "attention.self.key": "attn_k",
             "attention.self.value": "attn_v", "attention.output.dense": "attn_output",
             "attention.output.LayerNorm": "attn_output_norm", "intermediate.dense": "ffn_up",
             "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}
    for full, value in model.state_dict().items():
        module, parameter = full.removeprefix("bert.").rsplit(".", 1)
        if module.startswith("encoder.layer."):
            _, _, layer, part = module.split(".", 3)
            module = f"blk.{layer}.{parts[part]}"
        elif module in names:
            module = names[module]
        else:
            continue
        if pooling != gguf.PoolingType.RANK and module.startswith("cls"):
            continue
        writer.add_tensor(f"{module}.{parameter}", value.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    size = len(vocabulary())
    ends = word_piece(("[CLS]", "[SEP]"))
    bert = BertConfig(vocab_size=size, **SIZES)
    model = random_weights(BertModel(bert, add_pooling_layer=False), 1)
    embedder("bert", model, ends, "mean", True)
    write_gguf("bert", model, gguf.PoolingType.MEAN)

    one = BertConfig(vocab_size=size, num_labels=1, **SIZES)
    model = random_weights(BertForSequenceClassification(one), 2)
    cross_encoder("bert-cross", model, ends)
    write_gguf("bert-cross", model, gguf.PoolingType.RANK)

    roberta = XLMRobertaConfig(vocab_size=size, type_vocab_size=1, pad_token_id=0, **SIZES)
    model = random_weights(XLMRobertaModel(roberta, add_pooling_layer=False), 3)
    embedder("xlm-roberta", model, ends, "cls", False)

    qwen = Qwen3Config(vocab_size=size, num_key_value_heads=1, head_dim=16,
                       tie_word_embeddings=True, **SIZES)
    model = random_weights(Qwen3Model(qwen), 4)
    embedder("qwen3-embed", model, word_piece(("", "[SEP]")), "last", True)


if __name__ == "__main__":
    main()
