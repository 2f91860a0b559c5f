#include "api/anthropic/models.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_writer.h"

namespace mlxd::api::anthropic {
namespace {

struct Entry {
  std::string_view name;
  const ModelFacts* model;
};

void write(JsonWriter& json, const Entry& entry) {
  json.begin_object();
  json.member("type", "model");
  json.member("id", entry.name);
  json.member("display_name", entry.name);
  const auto created = static_cast<std::time_t>(entry.model->created);
  json.member("created_at", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(created)));
  json.member("lifecycle", "active");
  json.member("max_input_tokens", entry.model->card.summary.context_length);
  json.member("max_tokens", entry.model->card.summary.context_length);
  json.end_object();
}

// The value of a key in a query, as it was sent; "" without one.
std::string_view value_in(std::string_view query, std::string_view key) {
  while (!query.empty()) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    if (pair.starts_with(key) && pair.substr(key.size()).starts_with('=')) {
      return pair.substr(key.size() + 1);
    }
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return {};
}

// Ids may hold slashes and the like, which a query has as %2F.
std::string decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int byte = 0;
    const auto hex = text.substr(i + 1 <= text.size() ? i + 1 : text.size(), 2);
    if (text[i] == '%' && hex.size() == 2 &&
        std::from_chars(hex.data(), hex.data() + 2, byte, 16).ptr == hex.data() + 2) {
      out += static_cast<char>(byte);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

Result<std::size_t> limit_of(std::string_view query) {
  const std::string_view text = value_in(query, "limit");
  if (text.empty()) return std::size_t{20};
  std::size_t limit = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, limit);
  if (parsed.ec != std::errc{} || parsed.ptr != end || limit < 1 || limit > 1000) {
    return bad_value("limit", "'limit' is out of range; send an integer from 1 to 1000.");
  }
  return limit;
}

}  // namespace

Result<std::string> models_json(const std::vector<std::shared_ptr<const ModelFacts>>& models,
                                std::string_view query) {
  const auto limit = limit_of(query);
  if (!limit) return limit.error();
  std::vector<Entry> entries;
  for (const auto& model : models) {
    entries.push_back({model->id, model.get()});
    for (const std::string& alias : model->aliases) entries.push_back({alias, model.get()});
  }
  auto first = entries.begin(), last = entries.end();
  for (const std::string_view key : {"after_id", "before_id"}) {
    const std::string id = decoded(value_in(query, key));
    if (id.empty()) continue;
    const auto found = std::ranges::find(entries, id, &Entry::name);
    if (found == entries.end()) {
      return bad_value(std::string(key), fmt::format("'{}' names no model of the list.", key));
    }
    (key == "after_id" ? first : last) = key == "after_id" ? found + 1 : found;
  }
  const bool backwards = !value_in(query, "before_id").empty();
  const auto there = static_cast<std::size_t>(std::max<std::ptrdiff_t>(last - first, 0));
  const auto shown = static_cast<std::ptrdiff_t>(std::min(*limit, there));
  if (backwards) first = last - shown;
  last = first + shown;

  std::string text;
  JsonWriter json(text);
  json.begin_object();
  json.key("data");
  json.begin_array();
  std::for_each(first, last, [&json](const Entry& entry) { write(json, entry); });
  json.end_array();
  json.member("has_more", static_cast<std::size_t>(shown) < there);
  for (const std::string_view key : {"first_id", "last_id"}) {
    if (shown == 0) {
      json.null_member(key);
    } else {
      json.member(key, (key == "first_id" ? first : last - 1)->name);
    }
  }
  json.end_object();
  return text;
}

std::string model_json(const ModelFacts& model, std::string_view name) {
  std::string text;
  JsonWriter json(text);
  write(json, {name, &model});
  return text;
}

}  // namespace mlxd::api::anthropic
