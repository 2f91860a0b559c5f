#!/usr/bin/env python3
"""Makes pre_tokenizers.json: how a text is cut by each pre-tokeniser that textkit knows.

    pip install tokenizers gguf
    ./make_pre_tokenizers.py --reference /tmp/reference_tokens

(make.py says how reference_tokens is compiled.) Real vocabularies would hide a wrong cut where they
have no token across it; this one is trained on uncut text, so its merges run across words, digits,
spaces and punctuation. pre_tokenizers.json holds its merges and, for each name, a hash of the ids of
all cases of reference.json in which special tokens are not recognised.
"""

import argparse
import json
import pathlib
import random
import subprocess
import tempfile

import gguf
import tokenizers

import make

FOLDER = pathlib.Path(__file__).parent
NAMES = [
    "default", "gpt-2", "smollm", "llama-bpe", "glm4", "dbrx", "qwen2", "qwen35", "grok-2",
    "deepseek-v3", "falcon", "bloom", "viking", "seed-coder", "bailingmoe",
]
# Here llama.cpp comes near the models' own patterns without meeting them (combining marks, U+2028
# and U+3000), so the reference is `tokenizers` with the patterns of the models' tokenizer.json.
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
_AFTER = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_ENDING = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
PATTERNS = {
    "deepseek-coder": ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+",
                       "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}"],
    "tekken": [f"{_BEFORE}{_UPPER}*{_LOWER}+|{_BEFORE}{_UPPER}+{_LOWER}*|\\p{{N}}|{_AFTER}"],
    "gpt-4o": [f"{_BEFORE}{_UPPER}*{_LOWER}+{_ENDING}|{_BEFORE}{_UPPER}+{_LOWER}*{_ENDING}"
               f"|\\p{{N}}{{1,3}}|{_AFTER}"],
}
WHOLE_TOKENS = {"tekken"}  # a piece that is a token is not built from merges

def train(texts):
    """The byte-level alphabet and 2,500 merges of uncut text."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False,
                                                                  use_regex=False)
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=2756, initial_alphabet=alphabet,
                                             show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return alphabet, merges


def write_gguf(path, tokens, merges):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_feed_forward_length(64)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    writer.add_token_merges(merges)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def with_patterns(tokens, merges, patterns, ignore_merges):
    vocabulary = {token: i for i, token in enumerate(tokens)}
    pairs = [tuple(merge.split(" ")) for merge in merges]
    model = tokenizers.models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=ignore_merges)
    tokenizer = tokenizers.Tokenizer(model)
    steps = [tokenizers.pre_tokenizers.Split(tokenizers.Regex(p), "isolated") for p in patterns]
    steps.append(tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(steps)
    return tokenizer


def hash_lists(lists):
    return make.hash_ids([i for ids in lists for i in [len(ids), *ids]])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", required=True, help="the compiled reference_tokens")
    arguments = parser.parse_args()
    cases = json.loads((FOLDER / "reference.json").read_text())["cases"]
    texts = [text for text, parse in cases if not parse]
    rng = random.Random(5)
    pools = [make.WORDS, make.SPACES, make.NUMBERS, make.PUNCTUATION, make.EMOJI, make.CODE]
    corpus = texts + [make.mixed(rng, pools, 1, 12) for _ in range(20000)]
    alphabet, merges = train(corpus)
    tokens = alphabet + [merge.replace(" ", "") for merge in merges]
    lines = "".join(f"0 {text.encode().hex() or '-'}\n" for text in texts)
    hashes = {}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "vocabulary.gguf"
        write_gguf(path, tokens, merges)
        for name in NAMES:
            run = subprocess.run([arguments.reference, path, name], input=lines,
                                 capture_output=True, text=True, check=True)
            ids = [[int(i) for i in line.split()] for line in run.stdout.split("\n")[:len(texts)]]
            hashes[name] = hash_lists(ids)
    for name, patterns in PATTERNS.items():
        tokenizer = with_patterns(tokens, merges, patterns, name in WHOLE_TOKENS)
        hashes[name] = hash_lists([tokenizer.encode(text).ids for text in texts])
    result = {"alphabet": alphabet, "merges": merges, "hashes": hashes}
    out = FOLDER / "pre_tokenizers.json"
    out.write_text(json.dumps(result, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(f"{len(texts)} texts, {len(merges)} merges, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
