#!/usr/bin/env python3
"""Makes gguf_defaults.json: what llama.cpp makes of vocabularies whose files leave things out.

    pip install tokenizers gguf
    ./make_gguf_defaults.py --reference /tmp/reference_tokens

(make.py says how reference_tokens is compiled.) Each case is a small vocabulary: the bytes, "ab",
then `tokens` with their types, and further keys. The reference holds the ids of `texts` with special
tokens recognised and BOS and EOS where the model wants them, the ids that end a generation, and the
control tokens. Two of llama.cpp's ways are not in it, since mlxd does not share them: gpt-oss's
channel tokens stay control tokens, and a "</s>" that is no control token is text wherever another
token ends the text.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import gguf
import tokenizers

FOLDER = pathlib.Path(__file__).parent
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
BOS = [["<bos>", CONTROL], ["<eos>", CONTROL]]


def case_of(name, tokens, bos, eos, pre="gpt-2", texts=("Hello",), general_name="small", **flags):
    return {"name": name, "general_name": general_name, "pre": pre, "tokens": tokens, "bos": bos,
            "eos": eos, "flags": flags, "texts": list(texts)}


CASES = [
    *[case_of(f"add_bos of {pre}", BOS, "<bos>", "<eos>", pre)
      for pre in ["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0",
                  "lfm2", "jina-v5-nano", "tekken", "chameleon", "gpt-2", "qwen2", "glm4",
                  "minicpm5", "gpt-4o", "deepseek-v3", "smollm", "kimi-k2", "youtu"]],
    case_of("a file that says no", BOS, "<bos>", "<eos>", "llama-bpe", add_bos_token=False),
    case_of("a file that says both", BOS, "<bos>", "<eos>", "qwen2", add_bos_token=True,
         add_eos_token=True),
    case_of("ends that were typed as text",
         [["<|im_end|>", NORMAL], ["<|endoftext|>", USER_DEFINED], ["<|eot_id|>", NORMAL],
          ["<|eom_id|>", USER_DEFINED], ["plain", NORMAL], ["<user>", USER_DEFINED]],
         "<|endoftext|>", "<|endoftext|>", texts=["a<|im_end|>b<user>c<|endoftext|>"]),
    case_of("ends of many families",
         [[text, CONTROL] for text in
          ["<|end|>", "<end_of_turn>", "<|end_of_text|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]",
           "<end_of_utterance>", "<eos>", "<turn|>", "<｜end▁of▁sentence｜>", "[e~[", "<s>",
           "<|start_header_id|>", "</s>"]], "<s>", "<eos>"),
    case_of("gpt-oss", [[text, CONTROL] for text in
                     ["<|return|>", "<|call|>", "<|end|>", "<|endoftext|>"]],
         "<|endoftext|>", "<|return|>", "gpt-4o"),
    case_of("fill-in-the-middle",
         [[text, USER_DEFINED] for text in
          ["<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>",
           "<|file_sep|>"]] + [["<|endoftext|>", CONTROL]],
         "<|endoftext|>", "<|endoftext|>", "qwen2",
         ["<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>"]),
    case_of("phi-3", [["<|user|>", CONTROL], ["<|end|>", CONTROL], ["<|endoftext|>", CONTROL],
                   ["<|custom|>", USER_DEFINED], ["</s>", CONTROL], ["<s>", CONTROL],
                   ["<unk>", UNKNOWN]],
         "<|endoftext|>", "<|endoftext|>", general_name="Phi-3 mini",
         texts=["<|user|>\n a <|end|> \n<|endoftext|> x<|custom|>\n\n"]),
]


def write(path, case, alphabet):
    writer = gguf.GGUFWriter(path, "llama")
    texts = alphabet + ["ab"] + [text for text, _ in case["tokens"]]
    writer.add_name(case["general_name"])
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_feed_forward_length(64)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(case["pre"])
    writer.add_token_list(texts)
    writer.add_token_types([NORMAL] * 257 + [kind for _, kind in case["tokens"]])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(texts.index(case["bos"]))
    writer.add_eos_token_id(texts.index(case["eos"]))
    for flag, value in case["flags"].items():
        writer.add_bool(f"tokenizer.ggml.{flag}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", required=True, help="the compiled reference_tokens")
    arguments = parser.parse_args()
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "vocabulary.gguf"
        for case in CASES:
            write(path, case, alphabet)
            lines = "".join(f"2 {text.encode().hex()}\n" for text in case["texts"])
            run = subprocess.run([arguments.reference, path, "-"], input=lines, capture_output=True,
                                 text=True, check=True)
            *ids, _, ends, control = run.stdout.split("\n")[:-1]
            case["ids"] = [[int(i) for i in line.split()] for line in ids]
            case["ends"] = [int(i) for i in ends.split()[1:]]
            case["control"] = [int(i) for i in control.split()[1:]]
    out = FOLDER / "gguf_defaults.json"
    result = {"alphabet": alphabet, "cases": CASES}
    out.write_text(json.dumps(result, ensure_ascii=True) + "\n")
    print(f"{len(CASES)} cases, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
