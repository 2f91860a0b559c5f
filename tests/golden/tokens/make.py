#!/usr/bin/env python3
"""Makes reference.json: how llama.cpp tokenises a few thousand nasty strings with the real models.

    c++ -std=c++17 -O2 reference_tokens.cc -I $LLAMA/include -I $LLAMA/ggml/include \\
        -L $LIBRARIES -Wl,-rpath,$LIBRARIES -lllama -lggml -lggml-base -o /tmp/reference_tokens
    ./make.py --reference /tmp/reference_tokens --models $MODELS

reference.json holds the cases (text, whether special tokens are recognised) and for each model the
token ids of every eighth case, and of the others an FNV-1a hash of theirs, which keeps it small.
"pieces" is the hash of all tokens' bytes. Made with llama.cpp as in llama-cpp-python 0.3.36.

Left out is the token "</s>": llama.cpp takes it for a control token wherever it occurs, also in the
vocabularies of Qwen2 (where it is a piece of text) and Gemma 3 (the end of an HTML element), whose
own files say otherwise.
"""

import argparse
import json
import pathlib
import random
import subprocess

MODELS = {
    "smollm2": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "qwen2": "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    "gemma3": "gemma-3-270m-q4_k_m.gguf",
}
SPECIALS = [
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<bos>", "<eos>", "<pad>", "<unk>", "<mask>",
    "<start_of_turn>", "<end_of_turn>", "<|fim_prefix|>", "<|fim_middle|>", "<|file_sep|>",
    "<repo_name>", "<tool_call>", "</tool_call>", "<s>", "</h1>", "<0x0A>", "<0xE2>", "<unused3>",
    "<h1>", "</table>", "[multimodal]", "\u2581", "\u2581\u2581\u2581", "\u0120", "\u010a",
]
NEAR_SPECIALS = ["<|im_start", "|im_end|>", "<<|im_end|>>", "<|IM_END|>", "< bos>", "<end_of_turn",
                 "<|im_end|", "<|\u200bim_end|>", "<|im_<|im_end|>end|>", "<bos><bos>", "<bos> x"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\n\n\n", " \n", "\n ", "\u00a0", "\u2003",
          "\u3000", "\u200b", "\u2028", "\u0085", "\u000b", "\u000c", " " * 17, "\n" * 9, "\t" * 5]
WORDS = ["the", "The", "HELLO", "don't", "we'LL", "I'M", "it's", "o'clock", "can't've", "naïve",
         "straße", "ИНАЧЕ", "привет", "ελληνικά", "עברית", "العربية", "हिन्दी", "ไทย", "日本語",
         "中文字符", "한국어", "カタカナ", "ひらがな", "Tiếng", "Việt", "ﬁne", "Ⅷ", "x²", "½", "١٢٣",
         "१२३", "①", "e\u0301", "n\u0303o", "a\u0300\u0301\u0302\u0303", "ǅ", "ß", "İ", "ı"]
NUMBERS = ["0", "7", "42", "123", "1234", "12345", "3.14159", "1,000,000", "1e-10", "0xDEADBEEF",
           "2024-01-31", "192.168.0.1", "+49 (0)30 123456", "١٢٣٤٥", "00000000", "1" * 33]
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇩", "❤️", "❤", "☺︎", "⌚", "🧑🏿‍🚀", "#️⃣", "🫠", "🀄"]
PUNCTUATION = ["...", "!!!", "?!", "--", "—", "–", "“q”", "«x»", "#", "@@", "$$$", "%%", "&&", "||",
               "::", "->", "=>", "===", "!=", "<=", "/*", "*/", "//", "\\n", "\\\\", "`", "```", "~",
               "^_^", "(", ")", "[]", "{}", "<>", "¿", "¡", "§", "€", "£", "¥", "°", "。", "、", "「」"]
CODE = ["def f(x):\n    return x**2\n", "for (int i = 0; i < n; ++i) {\n\t\ta[i] += 1;\n}",
        "SELECT * FROM t WHERE a='b';", "<div class=\"x\">&nbsp;</div>", "if(!p)return nullptr;//x",
        "let mut v: Vec<_> = x.iter().map(|y| y?).collect();", "#include <stdio.h>\r\n",
        "\\frac{a}{b} \\leq \\sum_{i=1}^{n}", "{\"a\": [1, 2, {\"b\": null}]}", "x = 'it''s'",
        "https://example.org/a/b?c=d&e=f#g", "C:\\Users\\me\\x.txt", "a\n\n\n    b\n\tc",
        "fn main() { println!(\"{:>8.3}\", 1.0); }", "git commit -m \"fix\" && git push"]
CONTROLS = [chr(c) for c in [1, 2, 7, 8, 27, 31, 127, 0x80, 0x9f, 0xad, 0x200d, 0x200e, 0x202e,
                             0x2060, 0xfeff, 0xfffd, 0xfffe, 0xfdd0, 0xe000, 0x10fffd, 0x10ffff,
                             0xe0041, 0x1d400, 0x20000, 0x2fa1d, 0x3164, 0x115f]]


def random_character(rng):
    """Any assigned-looking code point; NUL ends strings in too many tools to be worth it."""
    while True:
        top = rng.choice([0x7f, 0x7f, 0xff, 0x24f, 0x7ff, 0x2fff, 0xffff, 0x1ffff, 0x10ffff])
        code = rng.randint(1, top)
        if not 0xd800 <= code <= 0xdfff:
            return chr(code)


def mixed(rng, pools, low, high):
    return "".join(rng.choice(rng.choice(pools)) for _ in range(rng.randint(low, high)))


def make_texts(rng):
    texts = ["", *SPACES, *WORDS, *NUMBERS, *EMOJI, *PUNCTUATION, *CODE, *CONTROLS]
    texts += [" " + word for word in WORDS] + [word + " " for word in WORDS]
    texts += [c * n for c in ["a", " ", "\n", "\t", "1", "é", "😀", "-", "\u0301", "ha", "\u3042"]
              for n in [2, 3, 4, 7, 8, 15, 16, 31, 32, 33, 64, 100]]
    texts += [chr(c) for c in range(1, 256)]
    pools = [WORDS, WORDS, SPACES, NUMBERS, PUNCTUATION, EMOJI]
    texts += [mixed(rng, pools, 2, 9) for _ in range(700)]
    texts += [mixed(rng, [WORDS, [" "], [" "], [", ", ". ", "\n"]], 4, 16) for _ in range(250)]
    texts += [mixed(rng, [CODE, SPACES, PUNCTUATION], 1, 3) for _ in range(100)]
    texts += [mixed(rng, [CONTROLS, WORDS, SPACES], 2, 6) for _ in range(250)]
    texts += ["".join(random_character(rng) for _ in range(rng.randint(1, 12))) for _ in range(700)]
    return texts


def make_cases(rng):
    cases = [(text, False) for text in make_texts(rng)]
    pools = [SPECIALS, SPECIALS, NEAR_SPECIALS, WORDS, SPACES]
    special = SPECIALS + NEAR_SPECIALS + [mixed(rng, pools, 2, 6) for _ in range(250)]
    cases += [(text, parse) for text in special for parse in (True, False)]
    rng.shuffle(cases)
    return cases


def fnv1a(data):
    value = 0xcbf29ce484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return value


def hash_ids(ids):
    return "%016x" % fnv1a(b"".join(i.to_bytes(4, "little") for i in ids))


def hash_pieces(pieces):
    return "%016x" % fnv1a(b"".join(len(p).to_bytes(4, "little") + p for p in pieces))


def tokenise(reference, model, cases):
    lines = "".join(f"{int(parse)} {text.encode().hex() or '-'}\n"
                    for text, parse in [*cases, ("</s>", True)])
    run = subprocess.run([reference, model], input=lines, capture_output=True, text=True, check=True)
    *ids, pieces, _, _ = run.stdout.split("\n")[:-1]
    assert len(ids) == len(cases) + 1 and pieces.startswith("pieces ")
    hexes = pieces.split(" ")[1:]
    overridden = ids.pop().split()
    if len(overridden) == 1:
        hexes[int(overridden[0])] = "-"
    return ([[int(i) for i in line.split()] for line in ids],
            [b"" if h == "-" else bytes.fromhex(h) for h in hexes])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", required=True, help="the compiled reference_tokens")
    parser.add_argument("--models", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    cases = make_cases(random.Random(20240131))
    models = {}
    for name, file in MODELS.items():
        ids, pieces = tokenise(arguments.reference, arguments.models / file, cases)
        tokens = [i if n % 8 == 0 else hash_ids(i) for n, i in enumerate(ids)]
        models[name] = {"file": file, "pieces": hash_pieces(pieces), "tokens": tokens}
    out = pathlib.Path(__file__).with_name("reference.json")
    result = {"cases": [[text, int(parse)] for text, parse in cases], "models": models}
    out.write_text(json.dumps(result, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(f"{len(cases)} cases, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
