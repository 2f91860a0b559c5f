#pragma once

#include <string>
#include <vector>

#include "model/vocabulary.h"

namespace mlxd::testing {

// A SentencePiece vocabulary: <unk>, <s>, </s>, the 256 byte tokens from id 3, then the pieces.
inline Vocabulary sentencepiece_vocabulary(std::vector<std::string> pieces = {}) {
  Vocabulary vocabulary;
  vocabulary.source = "small.gguf";
  vocabulary.model = "llama";
  vocabulary.tokens = {"<unk>", "<s>", "</s>"};
  vocabulary.types = {2, 3, 3};
  const std::string digits = "0123456789ABCDEF";
  for (unsigned byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.push_back(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">");
    vocabulary.types.push_back(6);
  }
  for (std::string& piece : pieces) {
    vocabulary.tokens.push_back(std::move(piece));
    vocabulary.types.push_back(1);
  }
  // Earlier pieces merge first.
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    vocabulary.scores.push_back(-static_cast<float>(id));
  }
  vocabulary.bos = 1;
  vocabulary.eos = 2;
  vocabulary.bos_token = "<s>";
  vocabulary.eos_token = "</s>";
  vocabulary.add_bos = true;
  return vocabulary;
}

// How GPT-2 writes a byte: itself where printable, else from U+0100 on.
inline std::string byte_level(unsigned char byte) {
  const auto printable = [](unsigned b) {
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
  };
  unsigned code = byte;
  if (!printable(byte)) {
    code = 0x100;
    for (unsigned b = 0; b < byte; ++b) code += !printable(b);
  }
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

// A byte-level BPE vocabulary: the 256 bytes as ids 0..255, then the results of the merges, then
// <|im_start|> and <|im_end|> as control tokens.
inline Vocabulary byte_level_vocabulary(std::vector<std::string> merges = {}) {
  Vocabulary vocabulary;
  vocabulary.source = "small.gguf";
  vocabulary.model = "gpt2";
  vocabulary.pre_tokenizer = "gpt-2";
  for (unsigned byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.push_back(byte_level(static_cast<unsigned char>(byte)));
  }
  for (const std::string& merge : merges) {
    const std::size_t space = merge.find(' ', 1);
    vocabulary.tokens.push_back(merge.substr(0, space) + merge.substr(space + 1));
  }
  vocabulary.types.assign(vocabulary.tokens.size(), 1);
  vocabulary.merges = std::move(merges);
  for (const char* control : {"<|im_start|>", "<|im_end|>"}) {
    vocabulary.tokens.push_back(control);
    vocabulary.types.push_back(3);
  }
  vocabulary.eos = static_cast<int>(vocabulary.tokens.size()) - 1;
  return vocabulary;
}

}  // namespace mlxd::testing
