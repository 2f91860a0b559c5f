// The forward pass of a ModelPlan in double precision, written to be read: one sequence, every
// position anew, no cache. Keys and values are rounded to 16-bit floats as the cache holds them.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "base/overloaded.h"
#include "model/architectures/plan_builder.h"
#include "model/model_plan.h"

namespace mlxd::cpu {

using Row = std::vector<double>;

class Reference {
 public:
  explicit Reference(const ModelPlan& plan) : plan_(plan) {}

  // [tokens, V]
  std::vector<Row> logits(const std::vector<int>& tokens) const {
    std::vector<Row> x;
    for (const int token : tokens) x.push_back(embed(token));
    std::vector<Row> inputs;  // of all layers, by position
    for (std::size_t i = 0; plan_.layer_inputs && i < x.size(); ++i) {
      inputs.push_back(layer_inputs(*plan_.layer_inputs, tokens[i], x[i]));
    }
    Kept kept(plan_.kv_layers);
    const Overloaded apply_block = {
        [&](const AttentionBlock& block) { apply(block, kept[block.layer], x); },
        [&](const LayerInputBlock& block) { apply(block, inputs, x); },
        [&](const auto& block) { apply(block, x); },
    };
    for (const auto& block : plan_.blocks) std::visit(apply_block, block);
    std::vector<Row> result;
    for (const Row& row : x) {
      result.push_back(product(plan_.head.weight, normed(row, plan_.head.norm)));
      for (double& value : result.back()) value = capped(value, plan_.head.softcap);
    }
    return result;
  }

 private:
  // The keys and values of a KV layer, by position.
  struct KeysAndValues {
    std::vector<Row> keys, values;
  };
  using Kept = std::vector<KeysAndValues>;

  static double capped(double x, double cap) { return cap == 0 ? x : cap * std::tanh(x / cap); }

  static double rounded(double x) { return half_to_float(float_to_half(static_cast<float>(x))); }

  static Row product(const Linear& linear, const Row& x) {
    const std::vector<float> weight = dequantize(linear.weight);
    Row y(linear.order.empty() ? linear.weight.rows : linear.out());
    for (std::size_t i = 0; i < y.size(); ++i) {
      const std::size_t row = linear.order.empty() ? i : linear.order[i];
      for (std::size_t j = 0; j < x.size(); ++j) y[i] += weight[row * x.size() + j] * x[j];
      if (!linear.bias.empty()) y[i] += linear.bias[i];
    }
    return y;
  }

  static Row normed(const Row& x, const RmsNorm& norm) {
    double squares = 0;
    for (const double value : x) squares += value * value;
    const double root = std::sqrt(squares / x.size() + norm.epsilon);
    Row y(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] / root * norm.weight[i];
    return y;
  }

  Row embed(int token) const {
    const Tensor& table = plan_.embed.table;
    std::vector<float> row(table.columns);
    dequantize_rows(table, token, 1, row);
    Row x(row.begin(), row.end());
    for (double& value : x) value *= plan_.embed.scale;
    return x;
  }

  static void rotate(double* head, const Rope& rope, int position) {
    const int half = static_cast<int>(rope.inverse_frequencies.size());
    for (int i = 0; i < half; ++i) {
      double& a = head[rope.interleaved ? 2 * i : i];
      double& b = head[rope.interleaved ? 2 * i + 1 : i + half];
      const double angle = static_cast<double>(position) * rope.inverse_frequencies[i];
      const double turned = a * std::cos(angle) - b * std::sin(angle);
      b = (a * std::sin(angle) + b * std::cos(angle)) * rope.magnitude;
      a = turned * rope.magnitude;
    }
  }

  static void prepare_heads(Row& row, int head_dim, const std::optional<RmsNorm>& norm,
                            const std::optional<Rope>& rope, int position) {
    const std::size_t span = norm ? norm->weight.size() : 0;  // of a head, or of all
    for (std::size_t at = 0; norm && at < row.size(); at += span) {
      const Row part = normed(Row(row.begin() + at, row.begin() + at + span), *norm);
      std::copy(part.begin(), part.end(), row.begin() + at);
    }
    for (std::size_t at = 0; rope && at < row.size(); at += head_dim) {
      rotate(&row[at], *rope, position);
    }
  }

  static Row attended(const AttentionBlock& block, const Row& query, const std::vector<Row>& keys,
                      const std::vector<Row>& values, int position) {
    const int d = block.head_dim;
    Row out(query.size());
    for (int h = 0; h < block.heads; ++h) {
      const int kv = h / (block.heads / block.kv_heads);
      const int first = block.window == 0 ? 0 : std::max(0, position - block.window + 1);
      Row weights;
      double highest = -std::numeric_limits<double>::infinity(), sum = 0;
      for (int p = first; p <= position; ++p) {
        double score = 0;
        for (int i = 0; i < d; ++i) score += query[h * d + i] * keys[p][kv * d + i];
        weights.push_back(capped(score * block.scale, block.softcap));
        highest = std::max(highest, weights.back());
      }
      for (double& weight : weights) sum += weight = std::exp(weight - highest);
      if (!block.sinks.empty()) sum += std::exp(block.sinks[h] - highest);
      for (int p = first; p <= position; ++p) {
        for (int i = 0; i < d; ++i) {
          out[h * d + i] += weights[p - first] / sum * values[p][kv * d + i];
        }
      }
    }
    return out;
  }

  // Of rows of q and a gate for each head, leaves those of q and returns the others.
  static Row take_gate(Row& query, int head_dim) {
    Row both = std::exchange(query, {}), gate;
    for (std::size_t i = 0; i < both.size(); ++i) {
      (i / head_dim % 2 == 0 ? query : gate).push_back(both[i]);
    }
    return gate;
  }

  static void add(Row& x, const Row& y, const std::optional<RmsNorm>& post_norm, double scale,
                  double stream_scale = 1) {
    const Row change = post_norm ? normed(y, *post_norm) : y;
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = stream_scale * (x[i] + scale * change[i]);
  }

  static Row layer_inputs(const LayerInputs& inputs, int token, const Row& x) {
    std::vector<float> own(inputs.table.columns);
    dequantize_rows(inputs.table, token, 1, own);
    Row projected = product(inputs.projection, x), all;
    for (double& value : projected) value *= inputs.projection_scale;
    for (int layer = 0; layer < inputs.layers; ++layer) {
      const auto first = projected.begin() + layer * inputs.size;
      for (const double value : normed(Row(first, first + inputs.size), inputs.norm)) {
        all.push_back(inputs.scale * (value + inputs.table_scale * own[all.size()]));
      }
    }
    return all;
  }

  static void apply(const LayerInputBlock& block, const std::vector<Row>& inputs,
                    std::vector<Row>& x) {
    for (std::size_t p = 0; p < x.size(); ++p) {
      Row gate = product(block.gate, x[p]);
      for (std::size_t i = 0; i < gate.size(); ++i) {
        gate[i] =
            activated(gate[i], Activation::gelu_tanh) * inputs[p][block.index * gate.size() + i];
      }
      add(x[p], product(block.output, gate), block.post_norm, 1, block.stream_scale);
    }
  }

  static void apply(const AttentionBlock& block, KeysAndValues& kept, std::vector<Row>& x) {
    std::vector<Row> queries, gates;
    auto& [keys, values] = kept;
    for (std::size_t position = 0; position < x.size(); ++position) {
      const Row h = block.input_norm ? normed(x[position], *block.input_norm) : x[position];
      queries.push_back(product(block.query, h));
      if (block.gated) gates.push_back(take_gate(queries.back(), block.head_dim));
      const int p = static_cast<int>(position);
      prepare_heads(queries.back(), block.head_dim, block.query_norm, block.rope, p);
      if (const auto& temperature = block.temperature) {
        const double factor = 1 + temperature->beta * std::log(1 + p / temperature->length);
        for (double& value : queries.back()) value *= factor;
      }
      if (block.shares_cache) continue;
      keys.push_back(product(block.key, h));
      values.push_back(product(block.value, h));
      prepare_heads(keys.back(), block.head_dim, block.key_norm, block.rope, p);
      prepare_heads(values.back(), block.head_dim, block.value_norm, std::nullopt, p);
      for (double& value : keys.back()) value = rounded(value);
      for (double& value : values.back()) value = rounded(value);
    }
    for (std::size_t p = 0; p < x.size(); ++p) {
      Row heads = attended(block, queries[p], keys, values, static_cast<int>(p));
      for (std::size_t i = 0; block.gated && i < heads.size(); ++i)
        heads[i] *= sigmoid(gates[p][i]);
      add(x[p], product(block.output, heads), block.post_norm, block.residual_scale);
    }
  }

  // With keys and values of each head, which the backends never make.
  static void apply(const LatentAttentionBlock& block, std::vector<Row>& x) {
    const int n = block.plain_dim, r = block.rotary_dim, rank = block.rank;
    std::vector<Row> kept;  // by position
    for (std::size_t position = 0; position < x.size(); ++position) {
      const int p = static_cast<int>(position);
      const Row h = block.input_norm ? normed(x[position], *block.input_norm) : x[position];
      Row both = product(block.latent, h);
      rotate(&both[rank], block.rope, p);
      const Row latent = normed(Row(both.begin(), both.begin() + rank), block.latent_norm);
      std::ranges::copy(latent, both.begin());
      for (double& value : both) value = rounded(value);
      kept.push_back(both);
      Row query =
          block.query_down
              ? product(block.query, normed(product(*block.query_down, h), *block.query_norm))
              : product(block.query, h);
      Row out;
      for (int head = 0; head < block.heads; ++head) {
        double* const q = &query[head * (n + r)];
        rotate(q + n, block.rope, p);
        const Linear up = rows_of(block.key_up, std::int64_t{head} * rank, rank);
        const std::vector<float> keys = dequantize(up.weight);  // [rank, n]
        Row weights, values(rank);
        double sum = 0;
        for (const Row& token : kept) {
          double score = 0;
          for (int i = 0; i < n; ++i) {
            double key = 0;
            for (int c = 0; c < rank; ++c) key += keys[c * n + i] * token[c];
            score += q[i] * key;
          }
          for (int i = 0; i < r; ++i) score += q[n + i] * token[rank + i];
          const double factor = block.temperature ? block.temperature->at(p) : 1;
          weights.push_back(std::exp(score * block.scale * factor));
          sum += weights.back();
        }
        for (std::size_t t = 0; t < kept.size(); ++t) {
          for (int c = 0; c < rank; ++c) values[c] += weights[t] / sum * kept[t][c];
        }
        const Row made = product(
            rows_of(block.value_up, std::int64_t{head} * block.value_dim, block.value_dim), values);
        out.insert(out.end(), made.begin(), made.end());
      }
      add(x[position], product(block.output, out), std::nullopt, block.residual_scale);
    }
  }

  static Row unit(const double* x, int count) {
    double squares = 0;
    for (int i = 0; i < count; ++i) squares += x[i] * x[i];
    Row y(x, x + count);
    for (double& value : y) value /= std::sqrt(squares + 1e-6);
    return y;
  }

  static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

  // A causal convolution's value of the last of `rows`, each channel by itself.
  static Row convolved(const std::vector<Row>& rows, const std::vector<float>& weights, int kernel,
                       const std::vector<float>& bias) {
    Row mixed(rows.back().size());
    for (std::size_t channel = 0; channel < mixed.size(); ++channel) {
      for (int i = 0; i < kernel; ++i) {
        const int from = static_cast<int>(rows.size()) - kernel + i;
        if (from < 0) continue;
        mixed[channel] += weights[channel * kernel + i] * rows[from][channel];
      }
      if (!bias.empty()) mixed[channel] += bias[channel];
    }
    return mixed;
  }

  static void apply(const ShortConvBlock& block, std::vector<Row>& x) {
    std::vector<Row> gated;
    for (Row& row : x) {
      const Row h = block.input_norm ? normed(row, *block.input_norm) : row;
      gated.push_back(product(block.inner_gate, h));
      const Row value = product(block.value, h);
      for (std::size_t i = 0; i < value.size(); ++i) gated.back()[i] *= value[i];
      Row y = convolved(gated, block.convolution, block.kernel, block.convolution_bias);
      const Row outer = product(block.outer_gate, h);
      for (std::size_t i = 0; i < y.size(); ++i) y[i] *= outer[i];
      add(row, product(block.output, y), std::nullopt, block.residual_scale);
    }
  }

  static void apply(const Mamba2Block& block, std::vector<Row>& x) {
    const int d = block.head_dim, n = block.state_size, values = block.values();
    std::vector<Row> inputs, states(block.heads, Row(n * d));
    for (Row& row : x) {
      const Row h = block.input_norm ? normed(row, *block.input_norm) : row;
      inputs.push_back(product(block.input, h));
      Row mixed = convolved(inputs, block.convolution, block.kernel, block.convolution_bias);
      for (double& value : mixed) value = activated(value, Activation::silu);
      const Row raw = product(block.time, h);
      Row y = product(block.gate, h);
      for (int head = 0; head < block.heads; ++head) {
        const double t =
            std::clamp<double>(std::log(1 + std::exp(raw[head] + block.time_bias[head])),
                               block.least_time, block.most_time);
        const int group = head / (block.heads / block.groups);
        const double* const b = &mixed[values + group * n];
        const double* const c = &mixed[values + (block.groups + group) * n];
        for (int j = 0; j < d; ++j) {
          const double v = mixed[head * d + j];
          double out = block.skip[head] * v;
          for (int i = 0; i < n; ++i) {
            double& state = states[head][i * d + j];
            state = state * std::exp(block.decay[head] * t) + b[i] * t * v;
            out += state * c[i];
          }
          y[head * d + j] = activated(y[head * d + j], Activation::silu) * out;
        }
      }
      const int size = values / block.norm_groups;
      for (int first = 0; first < values; first += size) {
        const auto weight = block.norm.weight.begin() + first;
        const Row part = normed(Row(y.begin() + first, y.begin() + first + size),
                                {{weight, weight + size}, block.norm.epsilon});
        std::ranges::copy(part, y.begin() + first);
      }
      add(row, product(block.output, y), std::nullopt, block.residual_scale);
    }
  }

  static void apply(const DeltaNetBlock& block, std::vector<Row>& x) {
    const int keys = block.key_heads * block.key_dim, d = block.key_dim, e = block.value_dim;
    std::vector<Row> qkv;
    std::vector<Row> states(block.value_heads, Row(d * e));
    for (Row& row : x) {
      const Row h = block.input_norm ? normed(row, *block.input_norm) : row;
      qkv.push_back(product(block.qkv, h));
      Row mixed = convolved(qkv, block.convolution, block.kernel, {});
      for (double& value : mixed) value = activated(value, Activation::silu);
      const Row alpha = product(block.alpha, h), beta = product(block.beta, h);
      Row gate = product(block.gate, h);
      for (int head = 0; head < block.value_heads; ++head) {
        const int from = block.key_head_of(head);
        Row q = unit(&mixed[from * d], d), k = unit(&mixed[keys + from * d], d);
        for (double& value : q) value /= std::sqrt(d);
        const double* v = &mixed[2 * keys + head * e];
        const double softplus = std::log(1 + std::exp(alpha[head] + block.time_bias[head]));
        const double g = std::exp(block.decay[head] * softplus);
        Row& state = states[head];
        Row out(e);
        for (int j = 0; j < e; ++j) {
          double known = 0;
          for (int i = 0; i < d; ++i) known += state[i * e + j] * g * k[i];
          const double delta = sigmoid(beta[head]) * (v[j] - known);
          for (int i = 0; i < d; ++i) {
            state[i * e + j] = state[i * e + j] * g + k[i] * delta;
            out[j] += state[i * e + j] * q[i];
          }
        }
        const Row heads = normed(out, block.norm);
        for (int j = 0; j < e; ++j) {
          double& at = gate[head * e + j];
          at = activated(at, Activation::silu) * heads[j];
        }
      }
      add(row, product(block.output, gate), std::nullopt, block.residual_scale);
    }
  }

  static void apply(const FeedForwardBlock& block, std::vector<Row>& x) {
    for (Row& row : x) {
      const Row h = block.input_norm ? normed(row, *block.input_norm) : row;
      add(row, mlp(block.gate, block.up, block.down, block.activation, h), block.post_norm,
          block.residual_scale, block.stream_scale);
    }
  }

  // The part of a matrix that is one expert's.
  static Linear expert(const Linear& all, int experts, int index) {
    if (all.rows.stride > 0) {
      return rows_of(all, std::int64_t{index} * all.rows.stride + all.rows.first, all.rows.count);
    }
    const std::int64_t rows = all.weight.rows / experts;
    return rows_of(all, index * rows, rows);
  }

  static Row mlp(const std::optional<Linear>& gate, const Linear& up, const Linear& down,
                 Activation activation, const Row& h) {
    const Row other = product(up, h);
    Row hidden = gate ? product(*gate, h) : other;
    for (std::size_t i = 0; !gate && i < hidden.size(); ++i) {
      hidden[i] = std::pow(std::max(hidden[i], 0.0), 2);  // squared_relu
    }
    if (!gate) return product(down, hidden);
    for (std::size_t i = 0; i < hidden.size(); ++i) {
      if (activation == Activation::clamped_swiglu) {
        const double g = std::min(hidden[i], 7.0), u = std::clamp(other[i], -7.0, 7.0);
        hidden[i] = g / (1 + std::exp(-1.702 * g)) * (u + 1);
      } else {
        hidden[i] = activated(hidden[i], activation) * other[i];
      }
    }
    return product(down, hidden);
  }

  static double scored(double x, ExpertScoring scoring) {
    switch (scoring) {
      case ExpertScoring::sigmoid:
        return 1 / (1 + std::exp(-x));
      case ExpertScoring::sqrt_softplus:
        return std::sqrt(std::log(1 + std::exp(x)));
      default:
        return std::exp(x);  // a softmax but for its sum
    }
  }

  // The weight of each expert for a row, 0 of those that it does not go to.
  static Row expert_weights(const ExpertChoice& choice, const Row& raw) {
    const int experts = static_cast<int>(raw.size());
    Row scores;
    double all = 0;
    for (const double score : raw) all += scores.emplace_back(scored(score, choice.scoring));
    if (choice.scoring == ExpertScoring::softmax) {
      for (double& score : scores) score /= all;
    }
    Row merits = scores;
    for (std::size_t e = 0; e < choice.bias.size(); ++e) merits[e] += choice.bias[e];
    const int size = experts / choice.groups;
    std::vector<std::pair<double, int>> groups;
    for (int group = 0; group < choice.groups; ++group) {
      Row best(merits.begin() + group * size, merits.begin() + (group + 1) * size);
      std::ranges::sort(best, std::greater());
      groups.push_back({-(best[0] + (size > 1 && !choice.groups_by_best ? best[1] : 0)), group});
    }
    std::ranges::sort(groups);
    std::vector<std::pair<double, int>> order;
    for (int i = 0; i < choice.chosen_groups; ++i) {
      for (int e = groups[i].second * size; e < (groups[i].second + 1) * size; ++e) {
        order.push_back({-merits[e], e});
      }
    }
    std::ranges::sort(order);
    Row weights(experts);
    double sum = 0;
    for (int i = 0; i < choice.chosen; ++i)
      sum += weights[order[i].second] = scores[order[i].second];
    const bool divides = choice.normalised || choice.scoring == ExpertScoring::softmax_chosen;
    for (double& weight : weights) weight *= choice.scale / (divides ? sum : 1);
    return weights;
  }

  static void apply(const ExpertsBlock& block, std::vector<Row>& x) {
    for (Row& row : x) {
      const Row h = block.input_norm ? normed(row, *block.input_norm) : row;
      const Row weights = expert_weights(
          block.choice,
          product(block.router, block.router_norm ? normed(row, *block.router_norm) : h));
      Row y(row.size());
      const auto add_part = [&](const Row& part, double weight) {
        for (std::size_t i = 0; i < y.size(); ++i) y[i] += weight * part[i];
      };
      for (int e = 0; e < block.experts; ++e) {
        if (weights[e] == 0) continue;
        const auto own = [&](const Linear& all) { return expert(all, block.experts, e); };
        const double scale = block.choice.expert_scales.empty() ? 1 : block.choice.expert_scales[e];
        std::optional<Linear> gate;
        if (block.gate) gate = own(*block.gate);
        add_part(mlp(gate, own(block.up), own(block.down), block.activation, h),
                 scale * weights[e]);
      }
      if (block.experts_norm) y = normed(y, *block.experts_norm);
      if (const auto& shared = block.shared) {
        const double weight =
            shared->weight ? 1 / (1 + std::exp(-product(*shared->weight, h)[0])) : 1;
        const Row read = shared->input_norm ? normed(row, *shared->input_norm) : h;
        const Row out = mlp(shared->gate, shared->up, shared->down, block.activation, read);
        add_part(shared->output_norm ? normed(out, *shared->output_norm) : out, weight);
      }
      add(row, y, block.post_norm, block.residual_scale, block.stream_scale);
    }
  }

  static double activated(double x, Activation activation) {
    if (activation == Activation::silu) return x / (1 + std::exp(-x));
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }

  const ModelPlan& plan_;
};

}  // namespace mlxd::cpu
