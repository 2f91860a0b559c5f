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
    "deepseek-v3", "falcon", "bloom", "viking", "seed-coder", "bailingmoe", "spark2_5", "jais-2",
    "chameleon", "ufakzeka", "laguna", "minicpm5", "exaone-moe",
]
# Those whose tokens are written as they are, with a vocabulary of their own. ("whitespace" is one too;
# llama.cpp stops the program at two spaces with it.)
UNENCODED_NAMES = ["gemma4", "granite-embed-multi-311m", "sarvam-moe"]
# Here llama.cpp comes near the models' own patterns without meeting them (combining marks, U+2028
# and U+3000, digits beside other things), so the reference is `tokenizers` with the patterns of the models' tokenizer.json.
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
_AFTER = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_ENDING = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_LATIN_GREEK_CYRILLIC = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-"
    "\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-"
    "\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5"
    "\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00"
    "-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-"
    "\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-"
    "\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-"
    "\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149"
    "\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d"
    "\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13"
    "-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3"
    "\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df"
    "\U0001e900-\U0001e943")
_SCRIPTS_WITHOUT_SPACES = (
    "[\u4e00-\u9fff\u3400-\u4dbf\u8c48-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f"
    "\u2f00-\u2fdf\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0"
    "-\ua9ff\uac00-\ud7af\u1100-\u11ff]+")
_DEEPSEEK3 = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
              r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
              r"|\s*[\r\n]+|\s+(?!\S)|\s+")
_NOT_HAN = r"&&[^\p{Han}]]"
_WORDS = f"{_BEFORE}{_UPPER}*{_LOWER}+{_ENDING}|{_BEFORE}{_UPPER}+{_LOWER}*{_ENDING}"
PATTERNS = {
    "deepseek-coder": ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+",
                       "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}"],
    "tekken": [f"{_BEFORE}{_UPPER}*{_LOWER}+|{_BEFORE}{_UPPER}+{_LOWER}*|\\p{{N}}|{_AFTER}"],
    "gpt-4o": [_WORDS + r"|\p{N}{1,3}|" + _AFTER],
    "granite-embed-multi-97m": [_WORDS + r"|\p{N}{1,3}|" + _AFTER],
    "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", _WORDS + r"|\p{N}{1,3}|" + _AFTER],
    "youtu": ["[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u3040-ゟ゠-ヿ]+",
              _WORDS + r"|\p{N}|" + _AFTER],
    "deepseek-llm": ["[\r\n]", r"\s?[" + _LATIN_GREEK_CYRILLIC + "]+",
                     "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+", r"\s+$",
                     "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}+"],
    "superbpe": [r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
    "afmoe": [r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))", _SCRIPTS_WITHOUT_SPACES, _DEEPSEEK3],
    "kimi-k2": [r"[\p{Han}]+|" + _WORDS.replace(_UPPER, _UPPER[:-1] + _NOT_HAN)
                .replace(_LOWER, _LOWER[:-1] + _NOT_HAN)
                + r"|\p{N}{1,3}|" + _AFTER.replace("/", "")],
}
WHOLE_TOKENS = {"tekken", "granite-embed-multi-97m", "youtu"}  # a piece that is a token is not built from merges

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


def train_unencoded(texts):
    """Byte tokens, a small alphabet and 500 merges of lines whose spaces are marked."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.normalizer = tokenizers.normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"[^\n]+|[\n]+"),
                                                              "isolated")
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=600, limit_alphabet=100, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    # llama.cpp does not look merges with a line end up; a file that has them is read the same way.
    merges = [m for m in model["merges"] if "\n" not in m[0] + m[1]]
    merges = [m for m in merges if " " not in m[0] + m[1]]
    made = {m[0] + m[1] for m in merges}
    alphabet = [t for t in sorted(model["vocab"]) if len(t) == 1]
    known = set(alphabet) | made
    merges = [m for m in merges if m[0] in known and m[1] in known]
    return alphabet, [" ".join(m) for m in merges]


def write_gguf(path, tokens, merges, types=None):
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
    writer.add_token_types(types or [1] * len(tokens))
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


def hash_names(reference, path, names, texts):
    """For each pre-tokeniser, the hash of all ids that llama.cpp gives with the vocabulary at `path`."""
    lines = "".join(f"0 {text.encode().hex() or '-'}\n" for text in texts)
    hashes = {}
    for name in names:
        run = subprocess.run([reference, path, name], input=lines, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True, check=True)
        ids = [[int(i) for i in line.split()] for line in run.stdout.split("\n")[:len(texts)]]
        hashes[name] = hash_lists(ids)
    return hashes


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
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    letters, line_merges = train_unencoded(corpus)
    line_tokens = byte_tokens + letters + [merge.replace(" ", "") for merge in line_merges]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "vocabulary.gguf"
        write_gguf(path, tokens, merges)
        hashes = hash_names(arguments.reference, path, NAMES, texts)
        write_gguf(path, line_tokens, line_merges, [6] * 256 + [1] * (len(line_tokens) - 256))
        unencoded_hashes = hash_names(arguments.reference, path, UNENCODED_NAMES, texts)
    for name, patterns in PATTERNS.items():
        tokenizer = with_patterns(tokens, merges, patterns, name in WHOLE_TOKENS)
        hashes[name] = hash_lists([tokenizer.encode(text).ids for text in texts])
    result = {"alphabet": alphabet, "merges": merges, "hashes": hashes,
              "unencoded": {"alphabet": letters, "merges": line_merges,
                            "hashes": unencoded_hashes}}
    out = FOLDER / "pre_tokenizers.json"
    out.write_text(json.dumps(result, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(f"{len(texts)} texts, {len(merges)} merges, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
