#pragma once

#include <vector>

#include "model/model_plan.h"

namespace mlxd {

// Which layers' keys and values are let go together: those that see all positions, and those that
// see a window of one size.
struct KvLayout {
  std::vector<int> windows;   // by group, ascending; 0: all positions
  std::vector<int> group_of;  // by KV layer (AttentionBlock::layer)
};

// At most `most` groups: of more kinds of window, the widest ones share the widest's. A window that
// is as wide as the context is none. Throws LoadError for a KV layer that is out of range or has no
// attention block.
KvLayout kv_layout(const ModelPlan& plan, int most);

}  // namespace mlxd
