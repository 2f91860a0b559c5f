#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "api/embeddings/request.h"
#include "api/generation/dialect.h"

namespace mlxd::api::embeddings {

// What an answer repeats of its request, and how it is to look.
struct AnswerForm {
  Endpoint endpoint = Endpoint::embeddings;
  std::string model;
  bool base64 = false;
  // Of pairs: the choices are the vectors of `queries` texts and of those that they are compared
  // with. Otherwise each is the score of a pair.
  bool by_cosine = false;
  std::size_t queries = 0;
  std::size_t most_results = 0;        // 0: all
  std::vector<std::string> documents;  // that are returned; empty: none
};

// Answers are never streamed.
std::unique_ptr<AnswerWriter> make_writer(AnswerForm form);

// Of 32-bit floats, little endian.
std::string base64_of(const std::vector<float>& values);

}  // namespace mlxd::api::embeddings
