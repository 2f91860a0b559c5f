#include <charconv>
#include <string>

#include <boost/json/array.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "base/mapped_file.h"
#include "model/quoted.h"
#include "model/vocabulary_reader.h"

namespace mlxd {
namespace {

constexpr std::size_t kMaxTextFile = std::size_t{256} << 20;  // the largest real one is 35 MB

std::string read_text(const std::filesystem::path& path) {
  const auto mapped = MappedFile::open(path);
  const auto bytes = mapped->bytes();
  if (bytes.size() > kMaxTextFile) {
    throw LoadError(
        fmt::format("{}: has {} bytes; {} are allowed", path.string(), bytes.size(), kMaxTextFile));
  }
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A file that a folder may lack, as fields: an empty object then.
JsonFields open_optional(const std::filesystem::path& path) {
  return std::filesystem::exists(path) ? JsonFields::open(path)
                                       : JsonFields::parse("{}", path.string());
}

// A token id, or a list of them.
std::vector<int> read_ids(const JsonFields& fields, std::string_view field, int vocab_size) {
  const boost::json::value* value = fields.find(field);
  if (value == nullptr) return {};
  std::vector<int> ids;
  const auto add = [&](const boost::json::value& each) {
    const std::int64_t* id = each.if_int64();
    if (id == nullptr || *id < 0 || *id >= vocab_size) {
      fields.fail_type(field, each, fmt::format("a token id from 0 to {}", vocab_size - 1));
    }
    ids.push_back(static_cast<int>(*id));
  };
  if (const auto* list = value->if_array()) {
    for (const boost::json::value& each : *list) add(each);
  } else {
    add(*value);
  }
  return ids;
}

// A special token: its text, or an object with the text as "content".
std::string read_token(const JsonFields& fields, std::string_view field) {
  const boost::json::value* value = fields.find(field);
  if (value == nullptr) return {};
  if (value->is_object()) return fields.nested(field, *value).string("content").value_or("");
  return fields.string(field).value_or("");
}

// chat_template of tokenizer_config.json: the source, or a list of {name, template} of which
// "default" is meant, else the first.
std::string read_listed_template(const JsonFields& fields) {
  const boost::json::value* value = fields.find("chat_template");
  if (value == nullptr) return {};
  const auto* list = value->if_array();
  if (list == nullptr) return fields.string("chat_template").value_or("");
  std::string first;
  for (const boost::json::value& each : *list) {
    const JsonFields named = fields.nested("chat_template", each);
    const std::string source = named.string("template").value_or("");
    if (named.string("name").value_or("") == "default") return source;
    if (first.empty()) first = source;
  }
  return first;
}

std::string read_template(const std::filesystem::path& folder, const JsonFields& tokenizer_config) {
  if (std::filesystem::exists(folder / "chat_template.jinja")) {
    return read_text(folder / "chat_template.jinja");
  }
  const JsonFields file = open_optional(folder / "chat_template.json");
  if (file.has("chat_template")) return read_listed_template(file);
  return read_listed_template(tokenizer_config);
}

// The id of a special token, as tokenizer_config.json or, where that is silent, tokenizer.json
// lists it; -1 when neither does.
int find_added_token(const std::string& text, const JsonFields& tokenizer_config,
                     const Vocabulary& vocabulary, int vocab_size) {
  if (text.empty()) return -1;
  if (const auto added = tokenizer_config.object("added_tokens_decoder")) {
    for (const auto& [key, value] : added->members()) {
      const std::string digits(key.data(), key.size());
      if (added->nested(digits, value).string("content").value_or("") != text) continue;
      int id = -1;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), id);
      if (error == std::errc() && end == digits.data() + digits.size() && id >= 0 &&
          id < vocab_size) {
        return id;
      }
      added->fail(digits, fmt::format("is no token id from 0 to {}", vocab_size - 1));
    }
  }
  const JsonFields tokenizer = JsonFields::parse(vocabulary.tokenizer_json, vocabulary.source);
  const boost::json::array* added = tokenizer.array("added_tokens");
  if (added == nullptr) return -1;
  for (const boost::json::value& each : *added) {
    const JsonFields fields = tokenizer.nested("added_tokens", each);
    if (fields.string("content").value_or("") == text) {
      return static_cast<int>(fields.integer("id", 0, vocab_size - 1).value_or(-1));
    }
  }
  return -1;
}

int first_or(const std::vector<int>& ids, int otherwise) {
  return ids.empty() ? otherwise : ids.front();
}

}  // namespace

Vocabulary read_folder_vocabulary(const std::filesystem::path& folder, const JsonFields& config,
                                  int vocab_size) {
  const auto tokenizer_path = folder / "tokenizer.json";
  if (!std::filesystem::exists(tokenizer_path)) {
    throw LoadError(
        fmt::format("{}: tokenizer.json is missing; mlxd needs it to read text", folder.string()));
  }
  Vocabulary vocabulary;
  vocabulary.source = tokenizer_path.string();
  vocabulary.tokenizer_json = read_text(tokenizer_path);
  const JsonFields tokenizer_config = open_optional(folder / "tokenizer_config.json");
  const JsonFields generation = open_optional(folder / "generation_config.json");
  const JsonFields text_config = config.object("text_config").value_or(config);

  vocabulary.bos_token = read_token(tokenizer_config, "bos_token");
  vocabulary.eos_token = read_token(tokenizer_config, "eos_token");
  vocabulary.add_bos = tokenizer_config.boolean("add_bos_token").value_or(false);
  vocabulary.add_eos = tokenizer_config.boolean("add_eos_token").value_or(false);
  vocabulary.chat_template = read_template(folder, tokenizer_config);

  const int eos = find_added_token(vocabulary.eos_token, tokenizer_config, vocabulary, vocab_size);
  std::vector<int> bos_ids, eos_ids;
  for (const JsonFields* fields : {&generation, &config, &text_config}) {
    for (const int id : read_ids(*fields, "bos_token_id", vocab_size)) bos_ids.push_back(id);
    for (const int id : read_ids(*fields, "eos_token_id", vocab_size)) eos_ids.push_back(id);
  }
  // The tokeniser's own word counts first: it is what the chat template was written with.
  vocabulary.eos = eos >= 0 ? eos : first_or(eos_ids, -1);
  const int bos = find_added_token(vocabulary.bos_token, tokenizer_config, vocabulary, vocab_size);
  vocabulary.bos = bos >= 0 ? bos : first_or(bos_ids, -1);
  add_stop_id(vocabulary, eos);
  for (const int id : eos_ids) add_stop_id(vocabulary, id);
  return vocabulary;
}

}  // namespace mlxd
