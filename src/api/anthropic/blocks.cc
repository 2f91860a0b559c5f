#include "api/anthropic/blocks.h"

#include <utility>

namespace mlxd::api::anthropic {
namespace {

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\r\n") == std::string::npos;
}

BlockKind kind_of(AnswerChannel channel) {
  switch (channel) {
    case AnswerChannel::content:
      return BlockKind::text;
    case AnswerChannel::reasoning:
      return BlockKind::thinking;
    case AnswerChannel::tool_name:
    case AnswerChannel::tool_arguments:
      break;
  }
  return BlockKind::tool_use;
}

}  // namespace

BlockSequence::Change BlockSequence::next(const TextDelta& delta) {
  Change change;
  if (delta.text.empty()) return change;
  const BlockKind kind = kind_of(delta.channel);
  change.text = delta.text;
  if (kind == open_ && delta.channel != AnswerChannel::tool_name) return change;
  if (kind != BlockKind::tool_use) {
    if (held_kind_ != kind) held_.clear();
    held_kind_ = kind;
    held_ += delta.text;
    if (is_blank(held_)) return {};
    change.text = std::move(held_);
  }
  held_.clear();
  change.ends = open_ != BlockKind::none;
  change.begins = true;
  open_ = kind;
  ++index_;
  return change;
}

}  // namespace mlxd::api::anthropic
