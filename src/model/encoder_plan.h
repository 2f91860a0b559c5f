#pragma once

#include <optional>
#include <vector>

#include "model/linear.h"
#include "model/tensor.h"

namespace mlxd {

// How the hidden states of a text become one vector.
enum class Pooling {
  mean,   // of all rows
  first,  // the first row, of a token that was put there for it ([CLS])
  last,   // the last row
};

// What a model makes of a whole text. Of a decoder, of its rows after the last norm.
struct PooledOutput {
  Pooling pooling = Pooling::mean;
  bool normalizes = true;  // vectors are brought to length 1
  // It is one number that says how well the two texts of a pair go together, and no vector.
  bool is_score = false;
  bool squashes = true;  // of a score: it is brought between 0 and 1 by the logistic function
};

// y = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias (Ba et al. 2016).
struct LayerNorm {
  std::vector<float> weight, bias;
  float epsilon = 1e-12f;
};

// x = attention_norm(x + output(attend(q(x), k(x), v(x)))), where every row sees all of its
// sequence; x = output_norm(x + down(gelu(up(x)))), with the exact GELU (by erf).
struct EncoderLayer {
  Linear query, key, value;  // [D, D]
  Linear output;             // [D, D]
  LayerNorm attention_norm;
  Linear up;    // [F, D]
  Linear down;  // [D, F]
  LayerNorm output_norm;
};

// score = output(tanh(dense(pooled))): what a cross-encoder says of a pair of texts.
struct Classifier {
  Linear dense;               // [D, D]
  std::vector<float> weight;  // [D]
  float bias = 0;
};

// An encoder of the BERT family (Devlin et al. 2019): norms come after what is added, positions are
// learnt, and nothing is drawn. The rows of words are ModelPlan::embed.
// x = embedding_norm(words[token] + positions[first_position + p] + types[0 or 1]).
struct EncoderPlan {
  Tensor positions;          // [P, D]
  int first_position = 0;    // the row of position 0
  std::vector<float> types;  // [2, D]: of the first text of a pair, and of the second
  LayerNorm embedding_norm;
  std::vector<EncoderLayer> layers;
  int heads = 0, head_dim = 0;
  std::optional<Classifier> classifier;  // of a model whose output is a score
};

}  // namespace mlxd
