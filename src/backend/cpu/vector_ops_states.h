// The part of vector_ops_impl.h, which includes this, that layers with a recurrent state need.
#pragma once

namespace mlxd::cpu {
namespace {

void convolve(const ConvolvedRow& of) {
  for (int i = 0; i < of.count; i += kLanes) {
    Simd sum = of.bias != nullptr ? Simd::load(of.bias + i) : Simd::set(0);
    for (int k = 0; k < of.kernel; ++k) {
      sum = Simd::fma(Simd::load(of.rows[k] + i), Simd::load(of.weights + k * of.stride + i), sum);
    }
    if (of.silu) sum = sum * sigmoid(sum);
    sum.store(of.out + i);
  }
}

// Sums over the key's dimensions are four, of every fourth, so that they need not wait for each
// other.
constexpr int kStateSums = 4;

// A state of kVectors * kLanes columns and what a row leaves of it: each row i becomes
// decay * state[i] + key[i] * change, and `read` the sum of query[i] * state[i] after that.
template <int kVectors>
[[gnu::always_inline]] inline void move_state(const StateRows& of, const float* query,
                                              const float* key, Simd decay,
                                              const Simd (&change)[kVectors],
                                              Simd (&read)[kVectors]) {
  Simd out[kStateSums][kVectors];
  for (auto& sums : out) {
    for (Simd& sum : sums) sum = Simd::set(0);
  }
  for (int i = 0; i < of.key_dim; i += kStateSums) {
    for (int s = 0; s < kStateSums; ++s) {
      const Simd k = Simd::set(key[i + s]), q = Simd::set(query[i + s]);
      for (int v = 0; v < kVectors; ++v) {
        float* const at = of.state + (i + s) * kVectors * kLanes + v * kLanes;
        const Simd next = Simd::fma(Simd::load(at), decay, k * change[v]);
        next.store(at);
        out[s][v] = Simd::fma(next, q, out[s][v]);
      }
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    read[v] = (out[0][v] + out[1][v]) + (out[2][v] + out[3][v]);
  }
}

// kVectors: of the columns.
template <int kVectors>
void delta_rule_of(const StateRows& of) {
  for (int row = 0; row < of.rows; ++row) {
    const float* const query = of.query + row * of.stride;
    const float* const key = of.key + row * of.stride;
    const float* const value = of.value + row * of.stride;
    const Simd decay = Simd::set(of.decay[row * of.factor_stride]);
    const Simd beta = Simd::set(of.beta[row * of.factor_stride]);
    Simd known[kStateSums][kVectors];
    for (auto& sums : known) {
      for (Simd& sum : sums) sum = Simd::set(0);
    }
    for (int i = 0; i < of.key_dim; i += kStateSums) {
      for (int s = 0; s < kStateSums; ++s) {
        const Simd k = Simd::set(key[i + s]);
        for (int v = 0; v < kVectors; ++v) {
          const float* const at = of.state + (i + s) * kVectors * kLanes + v * kLanes;
          known[s][v] = Simd::fma(Simd::load(at), k, known[s][v]);
        }
      }
    }
    Simd delta[kVectors], read[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const Simd sum = (known[0][v] + known[1][v]) + (known[2][v] + known[3][v]);
      delta[v] = (Simd::load(value + v * kLanes) - decay * sum) * beta;
    }
    move_state<kVectors>(of, query, key, decay, delta, read);
    for (int v = 0; v < kVectors; ++v) read[v].store(of.out + row * of.out_stride + v * kLanes);
  }
}

void delta_rule(const StateRows& rows) {
  if (rows.columns == kLanes) {
    delta_rule_of<1>(rows);
  } else {
    delta_rule_of<2>(rows);
  }
}

template <int kVectors>
void scan_of(const StateRows& of) {
  const Simd skip = Simd::set(of.skip);
  for (int row = 0; row < of.rows; ++row) {
    const float* const value = of.value + row * of.stride;
    const Simd decay = Simd::set(of.decay[row * of.factor_stride]);
    const Simd beta = Simd::set(of.beta[row * of.factor_stride]);
    Simd change[kVectors], read[kVectors];
    for (int v = 0; v < kVectors; ++v) change[v] = Simd::load(value + v * kLanes) * beta;
    move_state<kVectors>(of, of.query + row * of.stride, of.key + row * of.stride, decay, change,
                         read);
    for (int v = 0; v < kVectors; ++v) {
      Simd::fma(skip, Simd::load(value + v * kLanes), read[v])
          .store(of.out + row * of.out_stride + v * kLanes);
    }
  }
}

void scan(const StateRows& rows) {
  if (rows.columns == kLanes) {
    scan_of<1>(rows);
  } else {
    scan_of<2>(rows);
  }
}

}  // namespace
}  // namespace mlxd::cpu
