#include "serve/encoded_chats.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace mlxd {
namespace {

// Up to where both texts are the same, and the client's in the same places.
std::size_t common_prefix(const RenderedChat& a, const RenderedChat& b) {
  const auto differs = std::ranges::mismatch(a.text, b.text);
  auto common = static_cast<std::size_t>(differs.in1 - a.text.begin());
  const auto parting = std::ranges::mismatch(a.client, b.client);
  const bool ends_a = parting.in1 == a.client.end(), ends_b = parting.in2 == b.client.end();
  if (ends_a && ends_b) return common;
  // Behind the smaller of two beginnings, or ends, one of them is the client's alone.
  if (ends_a) return std::min(common, parting.in2->begin);
  if (ends_b) return std::min(common, parting.in1->begin);
  if (parting.in1->begin != parting.in2->begin) {
    return std::min({common, parting.in1->begin, parting.in2->begin});
  }
  return std::min({common, parting.in1->end, parting.in2->end});
}

// The last border that a text has which is the same up to there; null: none.
const ChatBorder* last_within(const std::vector<ChatBorder>& borders, std::size_t common) {
  const auto beyond = std::ranges::upper_bound(borders, common, {}, &ChatBorder::settled);
  return beyond == borders.begin() ? nullptr : &*std::prev(beyond);
}

}  // namespace

std::size_t EncodedChats::Chat::bytes() const {
  return rendered.text.size() + rendered.client.size() * sizeof(ByteRange) +
         tokens.size() * sizeof(int) + borders.size() * sizeof(ChatBorder) + sizeof(Chat);
}

Result<std::vector<int>> EncodedChats::encode(RenderedChat chat,
                                              std::optional<std::uint64_t> salt) {
  if (!salt || chat.text.size() < kWorthKeeping) return tokenizer_->encode_chat(chat);
  Kept source;
  const ChatBorder* from = nullptr;
  for (const Kept& kept : kept_of(*salt)) {
    const ChatBorder* border = last_within(kept->borders, common_prefix(kept->rendered, chat));
    if (border == nullptr || (from != nullptr && border->at <= from->at)) continue;
    source = kept;
    from = border;
  }
  auto encoded = std::make_shared<Chat>();
  encoded->salt = *salt;
  if (from != nullptr) {
    encoded->tokens.assign(source->tokens.begin(),
                           source->tokens.begin() + static_cast<long>(from->tokens));
    encoded->borders.assign(source->borders.data(), from + 1);
  }
  const std::size_t at = from == nullptr ? 0 : from->at;
  const auto done = tokenizer_->continue_chat(chat, at, encoded->tokens, encoded->borders);
  if (!done) return done.error();
  encoded->rendered = std::move(chat);
  std::vector<int> tokens = encoded->tokens;
  const bool continues = from != nullptr && from == &source->borders.back();
  keep(std::move(encoded), continues ? source : nullptr);
  const std::lock_guard lock(mutex_);
  found_bytes_ += at;
  return tokens;
}

std::size_t EncodedChats::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

std::size_t EncodedChats::found_bytes() const {
  const std::lock_guard lock(mutex_);
  return found_bytes_;
}

// They are compared without the lock: what is kept never changes.
std::vector<EncodedChats::Kept> EncodedChats::kept_of(std::uint64_t salt) const {
  std::vector<Kept> kept;
  const std::lock_guard lock(mutex_);
  std::ranges::copy_if(kept_, std::back_inserter(kept),
                       [&](const Kept& one) { return one->salt == salt; });
  return kept;
}

void EncodedChats::keep(Kept chat, const Kept& continued) {
  const std::size_t bytes = chat->bytes();
  if (bytes > most_bytes_ || chat->borders.empty()) return;
  const std::lock_guard lock(mutex_);
  if (const auto old = std::ranges::find(kept_, continued); continued && old != kept_.end()) {
    bytes_ -= (*old)->bytes();
    kept_.erase(old);
  }
  bytes_ += bytes;
  kept_.push_front(std::move(chat));
  while (bytes_ > most_bytes_ || kept_.size() > kKeptChats) {
    bytes_ -= kept_.back()->bytes();
    kept_.pop_back();
  }
}

}  // namespace mlxd
