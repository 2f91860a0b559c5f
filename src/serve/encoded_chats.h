#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/error.h"
#include "text/rendered_chat.h"
#include "text/tokenizer.h"

namespace mlxd {

// The tokens of rendered chats, so that of a chat that begins as an earlier one did, as each turn
// of an agent does, only the rest is tokenised. What is found never depends on what is kept: a text
// is continued from its borders alone (ChatBorder). Any thread.
//
// A chat is found by those of its own salt: no key learns from the time what another has sent.
class EncodedChats {
 public:
  // A chat of 25,000 tokens takes some 250 KB; one that is larger than the bound is not kept.
  static constexpr std::size_t kKeptBytes = std::size_t{16} << 20;
  static constexpr std::size_t kKeptChats = 256;
  // Shorter ones are tokenised in less time than they are looked for in.
  static constexpr std::size_t kWorthKeeping = 4096;

  // Keeps chats of no more than `kept_bytes` in all.
  explicit EncodedChats(std::shared_ptr<const Tokenizer> tokenizer,
                        std::size_t kept_bytes = kKeptBytes)
      : tokenizer_(std::move(tokenizer)), most_bytes_(kept_bytes) {}

  // As Tokenizer::encode_chat. `salt`, none: neither found nor kept.
  Result<std::vector<int>> encode(RenderedChat chat, std::optional<std::uint64_t> salt);

  std::size_t bytes() const;  // that are kept
  // For tests: bytes of text that did not have to be tokenised.
  std::size_t found_bytes() const;

 private:
  struct Chat {
    std::uint64_t salt = 0;
    RenderedChat rendered;
    std::vector<int> tokens;
    std::vector<ChatBorder> borders;
    std::size_t bytes() const;
  };
  using Kept = std::shared_ptr<const Chat>;

  std::vector<Kept> kept_of(std::uint64_t salt) const;
  // `continued`, which may be null, is a beginning of the chat and goes.
  void keep(Kept chat, const Kept& continued);

  const std::shared_ptr<const Tokenizer> tokenizer_;
  const std::size_t most_bytes_;
  mutable std::mutex mutex_;  // of all that follows
  std::list<Kept> kept_;      // the last used first
  std::size_t bytes_ = 0;
  std::size_t found_bytes_ = 0;
};

}  // namespace mlxd
