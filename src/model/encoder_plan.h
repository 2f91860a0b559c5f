#pragma once

#include <optional>
#include <vector>

#include "model/activation.h"
#include "model/linear.h"
#include "model/rope.h"
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

// y = output(attend(rope(q(h)), rope(k(h)), v(h))), where a row sees those of its sequence that are
// at most `window` away; then y = down(activation(gate(h)) * up(h)). After each its norm: of what
// goes where, EncoderPlan tells.
struct EncoderLayer {
  Linear query, key, value;  // [D, D]
  Linear output;             // [D, D]
  std::optional<Rope> rope;
  int window = 0;  // 0: a row sees all of its sequence
  LayerNorm attention_norm;
  std::optional<Linear> gate;  // [F, D]
  Linear up;                   // [F, D]
  Linear down;                 // [D, F]
  Activation activation = Activation::gelu;
  LayerNorm output_norm;
};

// score = output(tanh(dense(pooled))): what a cross-encoder says of a pair of texts.
struct Classifier {
  Linear dense;               // [D, D]
  std::vector<float> weight;  // [D]
  float bias = 0;
};

// Where norms stand in an encoder.
enum class EncoderNorms {
  on_stream,      // x = h = norm(x + y), as in BERT (Devlin et al. 2019)
  beside_stream,  // x = x + y, h = norm(x): the norm is the next block's, of the last one the
                  // model's
};

// An encoder: every row sees all of its sequence, or those near it, and nothing is drawn. The rows
// of words are ModelPlan::embed. At first
// x = h = embedding_norm(words[token] + positions[first_position + p] + types[0 or 1]);
// what is pooled is h behind the last layer.
struct EncoderPlan {
  std::optional<Tensor> positions;  // [P, D], learnt; none: the layers' ropes tell positions
  int first_position = 0;           // the row of position 0
  std::vector<float> types;         // [2, D]: of the first text of a pair, and of the second
  LayerNorm embedding_norm;
  EncoderNorms norms = EncoderNorms::on_stream;
  std::vector<EncoderLayer> layers;
  int heads = 0, head_dim = 0;
  std::optional<Classifier> classifier;  // of a model whose output is a score
};

}  // namespace mlxd
