#!/usr/bin/env python3
"""Makes logits/smollm2-4bit.json and -8bit.json: mlx-lm's logits of the models that
scripts/make-mlx-models made, in float32 on the CPU, over the first prompts of prompts.json.

Usage: MLX_DISABLE_COMPILE=1 make_mlx_logits.py --models FOLDER       (needs: requirements.txt)
"""

import argparse
import json
import pathlib

import mlx.core as mx
import numpy as np
from make_logits import HERE, fixture_rows, rows_of, write_fixture
from mlx_lm.utils import dequantize_model, load_model


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=pathlib.Path, required=True)
    models = parser.parse_args().models
    mx.set_default_device(mx.cpu)
    texts = json.loads((HERE / "prompts.json").read_text())
    for bits in ("4bit", "8bit"):
        file = f"SmolLM2-135M-Instruct-{bits}"
        model, _ = load_model(models / file)
        model.set_dtype(mx.float32)  # scales too, so that dequantising rounds nothing
        model = dequantize_model(model)
        prompts = []
        for text in texts[1:16]:
            tokens = text["ids"]["smollm2"]
            rows = rows_of(len(tokens))
            values = np.array(model(mx.array([tokens]))[0])[rows]
            prompts.append({"tokens": tokens, "rows": fixture_rows(rows, values)})
        name = f"smollm2-{bits}"
        write_fixture(HERE / "logits" / f"{name}.json", {"model": name, "file": file}, prompts)


if __name__ == "__main__":
    main()
