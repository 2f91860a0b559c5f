"""Tokenisers of a few dozen tokens for make_tiny_encoders.py."""

import io
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)

CORPUS = ["the cat sat on the mat", "what is in the box", "a dog sitting in a box", "over the hills",
          "les chats étaient assis", "où est la boîte ?", "die Katze saß über der Matte",
          "кошка сидит на коврике", "где коробка ?", "猫が箱の上に座った", "finally 42 fields , ok !"]
# Texts with what normalisation changes, white space of all kinds, and characters that none knows.
PIECE_TEXTS = ["a", "The cat sat  on the mat.", "кошка сидит на коврике", "où est\tla boîte ?\n  ok",
               "ＣＡＴ４２ ﬁnally\u00a0ﬁelds…", "☃☃ cat☃dog 猫が箱 ", " ", "the </s> <s> mat",
               " ".join(["что the box"] * 18)]

# What normalisation makes of characters, besides SentencePiece's own collapsing of white space.
RULES = {**{chr(0xFF01 + i): chr(0x21 + i) for i in range(94)}, "ﬁ": "fi", "ﬂ": "fl", "\t": " ",
         "\n": " ", "\u00a0": " ", "…": "...", "e\u0301": "é", "\u200b": ""}


def unigram_proto():
    def points(text):
        return " ".join(f"{ord(c):X}" for c in text)

    trained = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        for source, target in RULES.items():
            rules.write(f"{points(source)}\t{points(target)}\n")
        rules.flush()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(CORPUS * 20), model_writer=trained, model_type="unigram",
            vocab_size=120, character_coverage=1.0, normalization_rule_tsv=rules.name,
            hard_vocab_limit=False, num_threads=1, minloglevel=2)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(trained.getvalue())
    return proto


def unigram():
    """XLM-R's, as transformers makes it of SentencePiece's file, and that file's own ids beside it."""
    proto = unigram_proto()
    ends = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces = ends + [(p.piece, p.score) for p in proto.pieces[3:]] + [("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap),
        normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", prepend_scheme="always")])
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False)
                                  for t in ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)])
    check_against_sentencepiece(tokenizer, proto)
    return tokenizer, proto


def check_against_sentencepiece(tokenizer, proto):
    own = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    for text in PIECE_TEXTS:
        if "<s>" in text:  # a token of its own there, and text here
            continue
        expected = [3 if id == 0 else id + 1 for id in own.encode(text)]
        found = tokenizer.encode(text, add_special_tokens=False).ids
        assert found == expected, (text, found, expected)


def byte_pairs():
    """ModernBERT's: GPT-2's with BERT's tokens around a text."""
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return tokenizer
