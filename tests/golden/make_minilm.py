"""What sentence-transformers makes of some texts with all-MiniLM-L6-v2: tests/golden/minilm.json.

    python -m venv VENV && VENV/bin/pip install sentence-transformers
    VENV/bin/python tests/golden/make_minilm.py
"""

import json
import pathlib

from sentence_transformers import SentenceTransformer

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXTS = [
    "a",
    "The quick brown fox jumps over the lazy dog.",
    "Der schnelle braune Fuchs springt über den faulen Hund; très déjà vu, naïve café!",
    "日本語のテキストと English 混在, 你好世界。 \U0001f600",
    "def add(a, b):\n    return a + b  # x_1 <= 3.14",
    "Supercalifragilisticexpialidocious " * 9,
    "Water boils at one hundred degrees when the pressure is that of the sea's level. " * 12,
]


def main():
    model = SentenceTransformer(str(ROOT / ".cache/models/all-MiniLM-L6-v2"), device="cpu")
    texts = []
    for text in TEXTS:
        vector = model.encode(text)
        ids = model.tokenizer(text)["input_ids"]
        assert len(ids) <= model.max_seq_length
        texts.append({"text": text, "tokens": [int(i) for i in ids],
                      "vector": [float(f"{v:.6g}") for v in vector]})
    path = ROOT / "tests/golden/minilm.json"
    path.write_text(json.dumps({"model": "all-MiniLM-L6-v2", "texts": texts}) + "\n")


if __name__ == "__main__":
    main()
