#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mlxd::api::responses {

// Answered responses with the conversations that led to them, in memory, for `previous_response_id`
// and for who asks for one again. Bounded in number and bytes: the least recently used one goes
// first. Each caller (http::Request::caller) finds its own alone. Any thread.
class ResponseStore {
 public:
  // An item of a conversation, shared by all responses that came after it.
  struct Item {
    std::string id;  // "" where it has none
    std::string json;
  };
  using Items = std::vector<std::shared_ptr<const Item>>;

  // Of 0 bytes it keeps nothing.
  explicit ResponseStore(std::size_t max_bytes = std::size_t{64} << 20,
                         std::size_t max_responses = 4096)
      : max_bytes_(max_bytes), max_responses_(max_responses) {}

  bool keeps() const { return max_bytes_ > 0; }
  // `response` is the object in JSON, `items` the conversation, the response's own `outputs` last.
  // One that is larger than the whole store is not kept.
  void put(std::uint64_t caller, const std::string& id, std::string response, Items items,
           std::size_t outputs);
  std::optional<Items> conversation(std::uint64_t caller, std::string_view id);
  std::optional<std::string> response(std::uint64_t caller, std::string_view id);
  // An item that a stored response put out.
  std::shared_ptr<const Item> item(std::uint64_t caller, std::string_view id);
  bool remove(std::uint64_t caller, std::string_view id);  // false: there is none

  std::size_t bytes() const;

 private:
  struct Entry {
    std::uint64_t caller = 0;
    std::string id;
    std::string response;
    Items items;
    std::size_t outputs = 0;
    std::size_t bytes = 0;  // of all items, though others may share them
  };
  using Entries = std::list<Entry>;
  using Key = std::pair<std::uint64_t, std::string>;

  Entry* find(std::uint64_t caller, std::string_view id);
  void erase(Entries::iterator entry);

  const std::size_t max_bytes_;
  const std::size_t max_responses_;
  mutable std::mutex mutex_;
  Entries entries_;  // the most recently used first
  std::map<Key, Entries::iterator> by_id_;
  std::map<Key, std::shared_ptr<const Item>> outputs_;
  std::size_t bytes_ = 0;
};

}  // namespace mlxd::api::responses
