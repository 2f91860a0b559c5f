#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace mlxd {

// What a model file says of its tokens, as raw and as untrusted as it was read; text/ makes a
// Tokenizer and a ChatTemplate of it. Either `tokenizer_json` is set (Hugging Face folder) or the
// arrays are (GGUF keys tokenizer.ggml.*).
struct Vocabulary {
  std::string source;  // file name, for errors

  std::string tokenizer_json;  // the whole of tokenizer.json
  // A JSON array of the tokens that the files beside it know, in the form of its "added_tokens"; an
  // "id" that no file states is left out. Empty: there are none.
  std::string added_tokens;

  // tokenizer.ggml.model: "gpt2" (byte-level BPE), "llama" (SentencePiece), "t5" (Unigram), ...
  std::string model;
  std::string pre_tokenizer;  // tokenizer.ggml.pre: "smollm", "qwen2", "llama-bpe", ...
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<std::int32_t>
      types;  // ggml: 1 normal, 2 unknown, 3 control, 4 user, 5 unused, 6 byte
  std::vector<std::string> merges;  // "left right"
  std::string charsmap;  // tokenizer.ggml.precompiled_charsmap: bytes, what characters become
  bool add_space_prefix = true;
  // Tokens that take the white space before or after them with them, where a text writes them.
  std::vector<std::uint32_t> left_stripped, right_stripped;

  int bos = -1, eos = -1, unknown = -1;  // -1: none
  bool add_bos = false, add_eos = false;
  // Every id that ends a generation: GGUF eos/eot/eom and what llama.cpp knows by its text,
  // generation_config.json's list, config.json's.
  std::vector<int> stop_ids;

  std::string chat_template;         // Jinja source, "" for a base model
  std::string tool_use_template;     // another for chats with tools; "": the same
  std::string bos_token, eos_token;  // as the template sees them; may be empty
  // The texts of all tokens that have a role, by the names that a template knows them under:
  // "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token".
  std::map<std::string, std::string> special_tokens;
};

}  // namespace mlxd
