// Tokenises with llama.cpp, for make.py. Not part of the build: compile it against a llama.cpp of
// your own (make.py's text says how).
//
//   reference_tokens MODEL.gguf [PRE_TOKENIZER] < cases > ids
//
// PRE_TOKENIZER takes the place of the file's tokenizer.ggml.pre, unless it is "-".
// A line of input is a 0 or 1 (are special tokens recognised?) or a 2 (with BOS and EOS around the
// text as well), a space, and the text in hexadecimal; the line of output has its token ids. At the
// end come the lines "pieces" with the bytes of every token in hexadecimal, "-" for none, in the
// order of ids; "ends" with the ids that end a generation; and "control" with the control tokens.
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "llama.h"

namespace {

std::string from_hex(const std::string& hex) {
  std::string text;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    text += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return text;
}

std::string piece_of(const llama_vocab* vocab, llama_token token) {
  std::string piece(4096, '\0');
  const int size = llama_token_to_piece(vocab, token, piece.data(), 4096, 0, false);
  piece.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
  return piece;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc != 3) return 2;
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  llama_model_kv_override overrides[2] = {};
  if (argc == 3 && std::string(argv[2]) != "-") {
    overrides[0].tag = LLAMA_KV_OVERRIDE_TYPE_STR;
    std::snprintf(overrides[0].key, sizeof overrides[0].key, "tokenizer.ggml.pre");
    std::snprintf(overrides[0].val_str, sizeof overrides[0].val_str, "%s", argv[2]);
    params.kv_overrides = overrides;
  }
  llama_model* model = llama_model_load_from_file(argv[1], params);
  if (model == nullptr) return 1;
  const llama_vocab* vocab = llama_model_get_vocab(model);

  std::string flag, hex;
  while (std::cin >> flag >> hex) {
    const std::string text = hex == "-" ? "" : from_hex(hex);
    std::vector<llama_token> ids(text.size() + 8);
    const int count = llama_tokenize(vocab, text.data(), static_cast<int>(text.size()), ids.data(),
                                     static_cast<int>(ids.size()), flag == "2", flag != "0");
    if (count < 0) return 1;
    for (int i = 0; i < count; ++i) std::printf("%s%d", i == 0 ? "" : " ", ids[i]);
    std::printf("\n");
  }
  std::printf("pieces");
  for (llama_token token = 0; token < llama_vocab_n_tokens(vocab); ++token) {
    const std::string piece = piece_of(vocab, token);
    std::printf(piece.empty() ? " -" : " ");
    for (const unsigned char byte : piece) std::printf("%02x", byte);
  }
  std::printf("\nends");
  for (llama_token token = 0; token < llama_vocab_n_tokens(vocab); ++token) {
    if (llama_vocab_is_eog(vocab, token)) std::printf(" %d", token);
  }
  std::printf("\ncontrol");
  for (llama_token token = 0; token < llama_vocab_n_tokens(vocab); ++token) {
    if (llama_vocab_is_control(vocab, token)) std::printf(" %d", token);
  }
  std::printf("\n");
  return 0;
}
