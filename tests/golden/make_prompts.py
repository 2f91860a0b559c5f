#!/usr/bin/env python3
"""Writes prompts.json: the texts below and their token ids, as llama.cpp's tokeniser makes them.

Usage: make_prompts.py --tokenizer PATH_TO_llama-tokenize --models FOLDER

The ids are committed so that neither make_logits.py nor any test needs a tokeniser: a golden test of
logits must not change with one of text.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

MODELS = {
    "smollm2": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "qwen2": "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    "gemma3": "gemma-3-270m-q4_k_m.gguf",
}

TEXTS = [
    "Hello",
    "The capital of France is",
    "Once upon a time, in a village by the sea, there lived",
    "Water boils at 100 degrees Celsius, and freezes at",
    "To be, or not to be: that is the",
    "The quick brown fox jumps over the lazy dog.",
    "I think, therefore I",
    "Monday, Tuesday, Wednesday, Thursday,",
    "1, 1, 2, 3, 5, 8, 13, 21,",
    "3.14159265358979",
    "12345 + 54321 =",
    "0x1F 0b1010 1e-9 -42",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "for (int i = 0; i < 10; ++i) {\n  std::cout << i << ",
    "SELECT name, COUNT(*) FROM users WHERE age >= 18 GROUP BY",
    "<html>\n  <head>\n    <title>",
    '{"name": "Ada", "born": 1815, "fields": ["mathematics", ',
    "import numpy as np\n\nx = np.arange(10)\nprint(x.",
    "\n\n\n",
    "a",
    "    leading spaces, and trailing   ",
    "ALL CAPITALS WITHOUT A STOP",
    "Le chat est assis sur le",
    "Der schnelle braune Fuchs springt \u00fcber den",
    "\u4eca\u65e5\u306f\u3044\u3044\u5929\u6c17\u3067\u3059\u306d\u3002",
    "\u6211\u4eec\u53bb\u5317\u4eac\u770b\u957f\u57ce\uff0c\u7136\u540e",
    "\uc548\ub155\ud558\uc138\uc694, \uc81c \uc774\ub984\uc740",
    "\u041c\u043e\u0441\u043a\u0432\u0430 \u2014 \u0441\u0442\u043e\u043b\u0438\u0446\u0430",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "I \u2764\ufe0f \U0001f355 and \U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7 \U0001f600\U0001f600",
    "na\u00efve cafe\u0301 \u2013 \u201cquoted\u201d \u2026 \u00bd \u221e",
    "word word word word word word word word word word word word",
]

# Longer than Gemma 3's sliding window of 512 tokens in every vocabulary: a log whose entries differ,
# so that attention to what lies far back shows.
LONG = "The harbour master kept a log of every ship.\n" + "".join(
    f"On day {day} the {ship} came from {port} with {40 + 7 * day % 90} barrels of {cargo}.\n"
    for day, (ship, port, cargo) in enumerate(
        [
            (ship, port, cargo)
            for ship, port in [
                ("Aurora", "Lisbon"), ("Bellerophon", "Riga"), ("Calypso", "Genoa"),
                ("Dolphin", "Bergen"), ("Endeavour", "Boston"), ("Fortuna", "Cadiz"),
                ("Griffin", "Hamburg"), ("Halcyon", "Smyrna"),
            ]
            for cargo in ["salt", "olive oil", "tar", "pepper"]
        ],
        start=1,
    )
) + "On day 33 the Aurora came from"


def tokenize(binary, model, text):
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        command = [binary, "-m", model, "-f", file.name, "--ids", "--log-disable"]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out[out.index("["):])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--models", type=pathlib.Path, required=True)
    args = parser.parse_args()
    prompts = []
    for text in TEXTS + [LONG]:
        ids = {
            name: tokenize(args.tokenizer, args.models / file, text)
            for name, file in MODELS.items()
        }
        prompts.append({"text": text, "ids": ids})
    lines = ",\n".join(json.dumps(p, separators=(",", ":")) for p in prompts)
    path = pathlib.Path(__file__).parent / "prompts.json"
    path.write_text("[\n" + lines + "\n]\n")
    for name in MODELS:
        print(name, [len(p["ids"][name]) for p in prompts])


if __name__ == "__main__":
    main()
