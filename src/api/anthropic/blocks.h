#pragma once

#include <string>

#include "serve/text_delta.h"

namespace mlxd::api::anthropic {

enum class BlockKind { none, thinking, text, tool_use };

// Puts the deltas of one choice into the blocks of a message, one after the other. White space
// between blocks, which models write there, is in none. What a streamed and a whole answer say is
// the same because both come by here.
class BlockSequence {
 public:
  // What a delta does, in this order: the block that is open ends, another begins, and the one that
  // is open gets text (of a tool_use that begins, its name).
  struct Change {
    bool ends = false;
    bool begins = false;
    std::string text;
  };
  Change next(const TextDelta& delta);

  BlockKind open() const { return open_; }
  int index() const { return index_; }  // of the block that is open

 private:
  BlockKind open_ = BlockKind::none;
  int index_ = -1;
  BlockKind held_kind_ = BlockKind::none;
  std::string held_;  // white space with which a block of that kind may begin
};

}  // namespace mlxd::api::anthropic
