#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "backend/mlx/paged_cache.h"

namespace mlxd::mlx_backend {

// What of a batch every attention block needs, made once a step.
class StepLayout {
 public:
  struct Part {
    int first_row, query_length, context_length;
    std::vector<SlotMap> maps;  // by KV group
    int state;                  // as BatchSequence has them
    std::span<const StateSave> saves;
  };

  // `batch` must outlive this.
  StepLayout(const Batch& batch, int block_size, int kv_groups);

  const mx::array& tokens() const { return tokens_; }        // [T] int32
  const mx::array& positions() const { return positions_; }  // [T] int32
  // That each row writes, of a KV group: [T] int32.
  const mx::array& slots(int group) const { return slots_[static_cast<std::size_t>(group)]; }

  // The factor of each row's queries, [T, 1, 1] float32.
  const mx::array& temperatures(const PositionTemperature& temperature);

  const std::vector<Part>& parts() const { return parts_; }

  // The first position that any row of the sequence sees through `window` (0: all).
  static int first_seen(const Part& part, int window);

  // Which of positions [first_seen, context_length) each row sees: [query_length, positions] bool.
  const mx::array& mask(const Part& part, int window);

 private:
  std::vector<Part> parts_;         // in the order of rows
  std::vector<int> row_positions_;  // [T]
  mx::array tokens_, positions_;
  std::vector<mx::array> slots_;  // by KV group
  std::vector<std::pair<PositionTemperature, mx::array>> temperatures_;
  std::map<std::pair<const Part*, int>, mx::array> masks_;
};

// Attention of all rows of a step, each over its own sequence, whose keys and values are in the
// cache already. queries [T, heads, head_dim] -> [T, heads * head_dim]. `sinks`: the block's,
// [heads] of the queries' type.
mx::array attend(const AttentionBlock& block, const mx::array& queries,
                 const std::optional<mx::array>& sinks, const PagedCache& cache,
                 StepLayout& layout);

}  // namespace mlxd::mlx_backend
