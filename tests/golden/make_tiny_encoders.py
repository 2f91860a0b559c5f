"""Tiny models with random weights that make embeddings and scores, and what transformers makes of
texts with them: tests/golden/tiny/<name>/ and <name>.json, and a GGUF file beside most of them.

    python -m venv VENV && VENV/bin/pip install sentence-transformers gguf sentencepiece protobuf
    VENV/bin/python tests/golden/make_tiny_encoders.py [NAME...]

check_tiny_encoders.py holds the GGUF files to llama.cpp.
"""

import copy
import json
import pathlib
import shutil
import sys

import gguf
import torch
import tiny_encoder_gguf
from tiny_tokenizers import PIECE_TEXTS, byte_pairs, unigram
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (BertConfig, BertForSequenceClassification, BertModel, ModernBertConfig,
                          ModernBertModel, NomicBertConfig, NomicBertModel, Qwen3Config, Qwen3Model,
                          XLMRobertaConfig, XLMRobertaForSequenceClassification, XLMRobertaModel)

TINY = pathlib.Path(__file__).parent / "tiny"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "a", "cat", "dog", "sat", "on", "mat", "what", "is", "in", "box", "cafe", "über",
         "."] + list("abcdefghijklmnopqrstuvwxyz0123456789,!?")
ENDS = ("[CLS]", "[SEP]")
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


def random_weights(model, seed, halves=False):
    """`halves`: numbers of 16 bits, and kept as such."""
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
        value.data = noise.half().float() if halves else noise
    model.halves = halves
    return model.eval()


def save(name, model, tokenizer):
    folder = TINY / name
    shutil.rmtree(folder, ignore_errors=True)
    copy.deepcopy(model).to(torch.float16 if model.halves else torch.float32).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    named = dict(unk="[UNK]", sep="[SEP]", pad="[PAD]", cls="[CLS]", mask="[MASK]")
    if tokenizer.token_to_id("</s>") is not None:
        named = dict(unk="<unk>", sep="</s>", pad="<pad>", cls="<s>", mask="<mask>", bos="<s>",
                     eos="</s>")
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{role}_token": token for role, token in named.items()}})
    return folder


def vector(model, ids, mode, normalizes):
    with torch.no_grad():
        states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    pooled = {"mean": states.mean(0), "cls": states[0], "last": states[-1]}[mode]
    return torch.nn.functional.normalize(pooled, dim=0) if normalizes else pooled


def embedder(name, model, tokenizer, mode, normalizes, all_texts=TEXTS):
    folder = save(name, model, tokenizer)
    write_modules(folder, mode, normalizes)
    texts = []
    for text in all_texts:
        ids = tokenizer.encode(text).ids
        values = vector(model, ids, mode, normalizes)
        texts.append({"text": text, "tokens": ids, "vector": [float(f"{v:.8g}") for v in values]})
    write_json(TINY / f"{name}.json", {"model": name, "texts": texts})
    return folder


def second_begin(encoding):
    """Where the second text of a pair begins, behind what ends the first: RoBERTa has one type."""
    if 1 in encoding.type_ids:
        return encoding.type_ids.index(1)
    return encoding.tokens.index("</s>") + 2


def cross_encoder(name, model, tokenizer, all_pairs=PAIRS):
    save(name, model, tokenizer)
    pairs = []
    for first, second in all_pairs:
        encoding = tokenizer.encode(first, second)
        with torch.no_grad():
            logit = model(input_ids=torch.tensor([encoding.ids]),
                          token_type_ids=torch.tensor([encoding.type_ids])).logits[0, 0]
        pairs.append({"first": first, "second": second, "tokens": encoding.ids,
                      "second_begin": second_begin(encoding),
                      "score": float(torch.sigmoid(logit))})
    write_json(TINY / f"{name}.json", {"model": name, "pairs": pairs})


def make_bert():
    bert = BertConfig(vocab_size=len(vocabulary()), **SIZES)
    model = random_weights(BertModel(bert, add_pooling_layer=False), 1)
    embedder("bert", model, word_piece(ENDS), "mean", True)
    tiny_encoder_gguf.write("bert", model, word_piece(ENDS), gguf.PoolingType.MEAN)


def make_bert_cross():
    one = BertConfig(vocab_size=len(vocabulary()), num_labels=1, **SIZES)
    model = random_weights(BertForSequenceClassification(one), 2)
    cross_encoder("bert-cross", model, word_piece(ENDS))
    tiny_encoder_gguf.write("bert-cross", model, word_piece(ENDS), gguf.PoolingType.RANK)


def make_xlm_roberta():
    """With SentencePiece's Unigram, as the models of this family have it."""
    tokenizer, proto = unigram()
    config = XLMRobertaConfig(vocab_size=tokenizer.get_vocab_size(), type_vocab_size=1,
                              pad_token_id=1, **SIZES)
    model = random_weights(XLMRobertaModel(config, add_pooling_layer=False), 3, halves=True)
    embedder("xlm-roberta", model, tokenizer, "cls", False, PIECE_TEXTS)
    tiny_encoder_gguf.write("xlm-roberta", model, tokenizer, gguf.PoolingType.CLS, proto)


def make_xlm_roberta_cross():
    tokenizer, proto = unigram()
    config = XLMRobertaConfig(vocab_size=tokenizer.get_vocab_size(), type_vocab_size=1,
                              pad_token_id=1, num_labels=1, **SIZES)
    model = random_weights(XLMRobertaForSequenceClassification(config), 7, halves=True)
    pairs = [[first, PIECE_TEXTS[3]] for first in PIECE_TEXTS[:3]]
    cross_encoder("xlm-roberta-cross", model, tokenizer, pairs)
    tiny_encoder_gguf.write("xlm-roberta-cross", model, tokenizer, gguf.PoolingType.RANK, proto)


def make_qwen3_embed():
    qwen = Qwen3Config(vocab_size=len(vocabulary()), num_key_value_heads=1, head_dim=16,
                       tie_word_embeddings=True, **SIZES)
    model = random_weights(Qwen3Model(qwen), 4)
    embedder("qwen3-embed", model, word_piece(("", "[SEP]")), "last", True)


def make_nomic_bert():
    """With the config.json of the model's own code, which is what its folders have."""
    size = len(vocabulary()) + 3  # rows that no token has, as in the real ones
    config = NomicBertConfig(vocab_size=size, rope_parameters={"rope_type": "default",
                                                               "rope_theta": 1000.0}, **SIZES)
    model = random_weights(NomicBertModel(config, add_pooling_layer=False), 5, halves=True)
    folder = embedder("nomic-bert", model, word_piece(ENDS), "mean", True)
    write_json(folder / "config.json", {
        "model_type": "nomic_bert", "architectures": ["NomicBertModel"], "vocab_size": size,
        "n_embd": config.hidden_size, "n_head": config.num_attention_heads,
        "n_inner": config.intermediate_size, "n_layer": config.num_hidden_layers,
        "n_positions": config.max_position_embeddings, "type_vocab_size": 2,
        "layer_norm_epsilon": config.layer_norm_eps, "activation_function": "swiglu",
        "prenorm": False, "use_rms_norm": False, "parallel_block": False, "causal": False,
        "qkv_proj_bias": False, "mlp_fc1_bias": False, "mlp_fc2_bias": False,
        "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None, "rotary_scaling_factor": None})
    tiny_encoder_gguf.write("nomic-bert", model, word_piece(ENDS), gguf.PoolingType.MEAN)


def make_modernbert():
    """With a window that is shorter than most texts."""
    tokenizer = byte_pairs()
    ids = {f"{role}_token_id": tokenizer.token_to_id(token) for role, token in
           [("bos", "[CLS]"), ("cls", "[CLS]"), ("eos", "[SEP]"), ("sep", "[SEP]"), ("pad", "[PAD]")]}
    config = ModernBertConfig(vocab_size=tokenizer.get_vocab_size(), local_attention=24, **ids,
                              **SIZES | {"num_hidden_layers": 4, "max_position_embeddings": 320})
    model = random_weights(ModernBertModel(config), 6, halves=True)
    embedder("modernbert", model, tokenizer, "cls", True)
    tiny_encoder_gguf.write("modernbert", model, tokenizer, gguf.PoolingType.CLS)


MAKERS = {name.removeprefix("make_").replace("_", "-"): maker
          for name, maker in list(globals().items()) if name.startswith("make_")}


def main():
    for name in sys.argv[1:] or MAKERS:
        MAKERS[name]()


if __name__ == "__main__":
    main()
