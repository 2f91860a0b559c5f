#pragma once

#include <cstdint>
#include <vector>

#include "model/tensor.h"

namespace mlxd {

// Some of a matrix's rows: of every `stride` the `count` from `first` on. So files lie that store
// several projections of each head or expert as one matrix.
struct RowPattern {
  int first = 0, count = 0;
  int stride = 0;  // 0: all rows
};

// y = W x + b. W [out, in] are all rows of the weight or some of them.
struct Linear {
  Tensor weight;
  std::vector<float> bias;  // [out], empty when there is none
  RowPattern rows = {};
  std::vector<int> order = {};  // or these of them, one after another; empty: as `rows` says

  std::int64_t out() const {
    if (!order.empty()) return static_cast<std::int64_t>(order.size());
    return rows.stride == 0 ? weight.rows : weight.rows / rows.stride * rows.count;
  }
};

}  // namespace mlxd
