// A conversation out of what a client sends and what the store has of it.
#include <memory>
#include <utility>

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_reader.h"
#include "api/json_values.h"
#include "api/responses/conversation.h"
#include "api/responses/read_item.h"
#include "api/responses/readers.h"

namespace mlxd::api::responses {
namespace {

namespace json = boost::json;

using StoredItem = std::shared_ptr<const ResponseStore::Item>;

StoredItem stored(const json::value& value) {
  const auto* id = value.get_object().if_contains("id");
  const bool named = id != nullptr && id->is_string();
  return std::make_shared<ResponseStore::Item>(ResponseStore::Item{
      named ? std::string(view(id->get_string())) : std::string(), json::serialize(value)});
}

// What the store has is what was read before, or what the server wrote.
Result<void> read_stored(const StoredItem& item, const std::string& place,
                         Conversation& conversation, Fields& fields) {
  auto value = read_json(item->json);
  if (!value) return value.error();
  return read_item(value->get_object(), place, conversation, fields);
}

Result<StoredItem> referenced(const json::object& in, const std::string& place,
                              ResponseStore& store, std::uint64_t caller) {
  const auto* id = in.if_contains("id");
  if (id == nullptr || !id->is_string()) {
    return bad_value(place + ".id",
                     fmt::format("'{}.id' is missing; send the id of an item.", place));
  }
  auto item = store.item(caller, view(id->get_string()));
  if (item) return item;
  Error error = bad_value(place + ".id",
                          fmt::format("Item with id '{:.100}' not found: it belongs to no stored "
                                      "response. Send the item itself.",
                                      view(id->get_string())));
  error.code = "item_not_found";
  return error;
}

std::string unavailable_words(const std::vector<std::string>& types) {
  std::string words = "These tools are not available here, so do not try to use them:";
  for (const auto& type : types) words += (&type == &types.front() ? " " : ", ") + type;
  return words + ".";
}

// What is read of one request.
struct Reading {
  Fields& fields;
  ResponseStore& store;
  std::uint64_t caller;
  ResponseStore::Items& items;  // for the store
  Conversation conversation = {};
};

Result<void> read_one(const json::value& value, const std::string& place, Reading& reading) {
  if (!value.is_object()) return wrong_type(place, "an item", value);
  const json::object& in = value.get_object();
  if (item_type(in) == "item_reference") {
    auto item = referenced(in, place, reading.store, reading.caller);
    if (!item) return item.error();
    reading.items.push_back(*item);
    return read_stored(*item, place, reading.conversation, reading.fields);
  }
  auto read = read_item(in, place, reading.conversation, reading.fields);
  if (read && reading.fields.store) reading.items.push_back(stored(value));
  return read;
}

Result<void> read_input(const json::value& input, Reading& reading) {
  if (input.is_string()) {
    return read_one({{"type", "message"}, {"role", "user"}, {"content", input}}, "input", reading);
  }
  if (!input.is_array()) return wrong_type("input", "a string or an array of items", input);
  const json::array& list = input.get_array();
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (auto read = read_one(list[i], fmt::format("input[{}]", i), reading); !read) return read;
  }
  return {};
}

}  // namespace

Result<std::string> read_conversation(Fields& fields, ResponseStore& store, std::uint64_t caller,
                                      ResponseStore::Items& earlier) {
  const bool is_list = fields.input != nullptr && fields.input->is_array();
  const std::size_t added = is_list ? fields.input->get_array().size() : 1;
  if (earlier.size() + added > kMaxItems) {
    return bad_value("input", fmt::format("the conversation has {} items; send at most {}.",
                                          earlier.size() + added, kMaxItems));
  }
  Reading reading{fields, store, caller, earlier};
  Conversation& conversation = reading.conversation;
  if (!fields.instructions.empty()) conversation.add_system("system", fields.instructions);
  if (!fields.tools.unavailable.empty()) {
    conversation.add_system("system", unavailable_words(fields.tools.unavailable));
  }
  fields.tools.in_items = true;
  for (const auto& item : earlier) {
    auto read = read_stored(item, "previous_response_id", conversation, fields);
    if (!read) return read.error();
  }
  if (fields.input != nullptr) {
    if (auto read = read_input(*fields.input, reading); !read) return read.error();
  }
  return json::serialize(conversation.take());
}

}  // namespace mlxd::api::responses
