// llama-logits MODEL TOKENS OUT THREADS [f32]: what llama.cpp predicts after each token of a text.
//
// TOKENS holds ids separated by white space; OUT becomes float32 [tokens, vocabulary], as
// bench_logits writes it for mlxd. With the defaults of llama.cpp's own programs, or, with "f32",
// keys, values and attention in 32-bit floats.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "llama.h"

namespace {

constexpr int kRowsPerStep = 512;  // llama.cpp's own default

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "llama-logits: %s\n", why.c_str());
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) fail("usage: llama-logits MODEL TOKENS OUT THREADS [f32]");
  std::ifstream text(argv[2]);
  std::vector<llama_token> tokens{std::istream_iterator<llama_token>(text), {}};
  if (tokens.empty()) fail(std::string("no tokens in ") + argv[2]);

  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_backend_init();
  llama_model* model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (!model) fail(std::string("cannot load ") + argv[1]);
  llama_context_params params = llama_context_default_params();
  params.n_ctx = tokens.size();
  params.n_batch = params.n_ubatch = kRowsPerStep;
  params.n_threads = params.n_threads_batch = std::atoi(argv[4]);
  if (argc > 5 && std::string(argv[5]) == "f32") {
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  }
  llama_context* context = llama_init_from_model(model, params);
  if (!context) fail("cannot make a context");

  const std::size_t vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
  std::ofstream out(argv[3], std::ios::binary);
  for (std::size_t first = 0; first < tokens.size(); first += kRowsPerStep) {
    const int rows = static_cast<int>(std::min<std::size_t>(kRowsPerStep, tokens.size() - first));
    llama_batch batch = llama_batch_get_one(&tokens[first], rows);
    std::vector<int8_t> wanted(rows, 1);
    batch.logits = wanted.data();
    if (llama_decode(context, batch) != 0) fail("llama_decode failed");
    for (int row = 0; row < rows; ++row) {
      out.write(reinterpret_cast<const char*>(llama_get_logits_ith(context, row)),
                static_cast<std::streamsize>(vocabulary * sizeof(float)));
    }
  }
  if (!out.flush()) fail(std::string("cannot write ") + argv[3]);
}
