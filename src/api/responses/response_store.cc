#include "api/responses/response_store.h"

namespace mlxd::api::responses {
namespace {

constexpr std::size_t kOverhead = 128;  // of an entry or an item beside its text, about

}  // namespace

void ResponseStore::put(std::uint64_t caller, const std::string& id, std::string response,
                        Items items, std::size_t outputs) {
  Entry entry{caller, id, std::move(response), std::move(items), outputs, 0};
  entry.bytes = kOverhead + entry.response.size();
  for (const auto& item : entry.items) entry.bytes += kOverhead + item->json.size();
  if (entry.bytes > max_bytes_) return;

  std::lock_guard lock(mutex_);
  entries_.push_front(std::move(entry));
  const auto put = entries_.begin();
  bytes_ += put->bytes;
  by_id_[{caller, id}] = put;
  for (std::size_t i = put->items.size() - outputs; i < put->items.size(); ++i) {
    outputs_[{caller, put->items[i]->id}] = put->items[i];
  }
  while (bytes_ > max_bytes_ || entries_.size() > max_responses_) erase(--entries_.end());
}

std::optional<ResponseStore::Items> ResponseStore::conversation(std::uint64_t caller,
                                                                std::string_view id) {
  std::lock_guard lock(mutex_);
  const Entry* entry = find(caller, id);
  if (entry == nullptr) return std::nullopt;
  return entry->items;
}

std::optional<std::string> ResponseStore::response(std::uint64_t caller, std::string_view id) {
  std::lock_guard lock(mutex_);
  const Entry* entry = find(caller, id);
  if (entry == nullptr) return std::nullopt;
  return entry->response;
}

std::shared_ptr<const ResponseStore::Item> ResponseStore::item(std::uint64_t caller,
                                                               std::string_view id) {
  std::lock_guard lock(mutex_);
  const auto found = outputs_.find({caller, std::string(id)});
  return found == outputs_.end() ? nullptr : found->second;
}

bool ResponseStore::remove(std::uint64_t caller, std::string_view id) {
  std::lock_guard lock(mutex_);
  if (find(caller, id) == nullptr) return false;
  erase(entries_.begin());
  return true;
}

std::size_t ResponseStore::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

// The entry comes to the front.
ResponseStore::Entry* ResponseStore::find(std::uint64_t caller, std::string_view id) {
  const auto found = by_id_.find({caller, std::string(id)});
  if (found == by_id_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found->second);
  return &entries_.front();
}

void ResponseStore::erase(Entries::iterator entry) {
  for (std::size_t i = entry->items.size() - entry->outputs; i < entry->items.size(); ++i) {
    outputs_.erase({entry->caller, entry->items[i]->id});
  }
  by_id_.erase({entry->caller, entry->id});
  bytes_ -= entry->bytes;
  entries_.erase(entry);
}

}  // namespace mlxd::api::responses
