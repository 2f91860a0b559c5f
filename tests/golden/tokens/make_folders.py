#!/usr/bin/env python3
"""Makes folders.json: how transformers reads the tokens of folders whose files disagree on them.

    pip install transformers
    ./make_folders.py

Each case holds the files beside one and the same tokenizer.json, some texts, their ids, the added
tokens (id, text, whether special) and the tokens that have a role.
"""

import json
import pathlib
import tempfile

import transformers

FOLDER = pathlib.Path(__file__).parent


def token(content, special=True, **flags):
    return {"content": content, "lstrip": False, "rstrip": False, "normalized": False,
            "single_word": False, "special": special, **flags}


def listed(content, special):
    return {"id": 0, **token(content, special)}


LETTERS = {letter: i for i, letter in enumerate(["a", "b", "x", "y", "<", "|", ">", "s", "\u0120"])}
TOKENIZER = {
    "version": "1.0", "truncation": None, "padding": None,
    "added_tokens": [{**listed("<s>", True), "id": 10}, {**listed("<think>", False), "id": 11}],
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                      "use_regex": True},
    "post_processor": None,
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                "use_regex": True},
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
              "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
              "ignore_merges": False, "vocab": {**LETTERS, "ab": 9}, "merges": ["a b"]},
}
BEGINS_WITH_S = {"type": "TemplateProcessing",
                 "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                            {"Sequence": {"id": "A", "type_id": 0}}],
                 "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                          {"Sequence": {"id": "B", "type_id": 1}}],
                 "special_tokens": {"<s>": {"id": "<s>", "ids": [10], "tokens": ["<s>"]}}}
CASES = {
    "add_bos_token says nothing": {
        "tokenizer_config.json": {"bos_token": "<s>", "eos_token": "<think>",
                                  "add_bos_token": True, "add_eos_token": True}},
    "the post-processor does": {
        "tokenizer.json": {**TOKENIZER, "post_processor": BEGINS_WITH_S},
        "tokenizer_config.json": {"bos_token": "<s>", "add_bos_token": False}},
    "a token of tokenizer_config.json": {
        "tokenizer_config.json": {"added_tokens_decoder": {"12": token("<|x|>"),
                                                           "13": token("<y>", False)},
                                  "pad_token": "<|x|>", "unk_token": "<s>"}},
    "a token of added_tokens.json": {"added_tokens.json": {"<|x|>": 12}},
    "added_tokens.json beside a list in tokenizer_config.json": {
        "added_tokens.json": {"<|x|>": 12},
        "tokenizer_config.json": {"added_tokens_decoder": {"10": token("<s>")}}},
    "a token of special_tokens_map.json": {
        "special_tokens_map.json": {"eos_token": "<|x|>", "pad_token": token("<y>")}},
    "special_tokens_map.json comes before tokenizer_config.json": {
        "special_tokens_map.json": {"eos_token": "<|x|>"},
        "tokenizer_config.json": {"eos_token": "<s>", "bos_token": "<s>"}},
    "but not before its list": {
        "special_tokens_map.json": {"eos_token": "<|x|>"},
        "tokenizer_config.json": {"eos_token": "<s>", "added_tokens_decoder": {"10": token("<s>")}}},
    "a role makes a token special": {"tokenizer_config.json": {"eos_token": "<think>"}},
    "roles and further special tokens are added in that order": {
        "tokenizer_config.json": {"eos_token": "<|x|>", "additional_special_tokens": ["<y>"]}},
    "tokenizer_config.json changes a token's flags": {
        "tokenizer_config.json": {"added_tokens_decoder": {"10": token("<s>", rstrip=True),
                                                           "11": token("<think>")}}},
    "a name of the model's own": {
        "tokenizer_config.json": {"extra_special_tokens": {"image_token": "<y>"}}},
    "both lists": {
        "added_tokens.json": {"<y>": 13, "<|x|>": 12},
        "special_tokens_map.json": {"unk_token": "<|x|>"}},
}
TEXTS = ["ab<|x|>a", "a<s>  b", "b<think>a", "<y><|x|>ab<s>"]


def main():
    cases = []
    for name, files in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            for file, content in {"tokenizer.json": TOKENIZER, **files}.items():
                (pathlib.Path(folder) / file).write_text(json.dumps(content))
            tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        added = [[i, t.content, t.special] for i, t in tokenizer.added_tokens_decoder.items()]
        roles = {k: v for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
        cases.append({"name": name, "files": files, "added": sorted(added), "roles": roles,
                      "ids": [tokenizer(text)["input_ids"] for text in TEXTS]})
    out = FOLDER / "folders.json"
    result = {"tokenizer": TOKENIZER, "texts": TEXTS, "cases": cases}
    out.write_text(json.dumps(result, ensure_ascii=True) + "\n")
    print(f"{len(cases)} cases, {out.stat().st_size} bytes, transformers {transformers.__version__}")


if __name__ == "__main__":
    main()
