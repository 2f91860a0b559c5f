#include <array>
#include <charconv>
#include <map>
#include <string>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <fmt/format.h>

#include "base/error.h"
#include "base/mapped_file.h"
#include "model/config_limits.h"
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

struct Templates {
  std::string chat, tool_use;
};

// chat_template of tokenizer_config.json: the source, or a list of {name, template} of which
// "default" is meant, else the first; "tool_use" for chats with tools.
Templates read_listed_templates(const JsonFields& fields) {
  const boost::json::value* value = fields.find("chat_template");
  if (value == nullptr) return {};
  const auto* list = value->if_array();
  if (list == nullptr) return {fields.string("chat_template").value_or(""), {}};
  std::string first;
  Templates found;
  for (const boost::json::value& each : *list) {
    const JsonFields named = fields.nested("chat_template", each);
    const std::string source = named.string("template").value_or("");
    const std::string name = named.string("name").value_or("");
    if (name == "default") found.chat = source;
    if (name == "tool_use") found.tool_use = source;
    if (first.empty()) first = source;
  }
  if (found.chat.empty()) found.chat = first;
  return found;
}

Templates read_templates(const std::filesystem::path& folder, const JsonFields& tokenizer_config) {
  if (std::filesystem::exists(folder / "chat_template.jinja")) {
    Templates found{read_text(folder / "chat_template.jinja"), {}};
    const auto tool_use = folder / "additional_chat_templates" / "tool_use.jinja";
    if (std::filesystem::exists(tool_use)) found.tool_use = read_text(tool_use);
    return found;
  }
  const JsonFields file = open_optional(folder / "chat_template.json");
  if (file.has("chat_template")) return read_listed_templates(file);
  return read_listed_templates(tokenizer_config);
}

// The names that a template knows tokens under.
constexpr std::array<const char*, 7> kRoles = {"bos_token", "eos_token", "unk_token", "sep_token",
                                               "pad_token", "cls_token", "mask_token"};

// What the files beside tokenizer.json say of its tokens, read as transformers reads them
// (tokenization_utils_base.py, from_pretrained): "added_tokens_decoder" of tokenizer_config.json
// where that has one, else special_tokens_map.json before tokenizer_config.json, and
// added_tokens.json. A token that has a role is special whatever is said of it.
class AddedTokens {
 public:
  AddedTokens(const std::filesystem::path& folder, const JsonFields& config) {
    const auto decoder = config.object("added_tokens_decoder");
    if (decoder) {
      add_decoder(*decoder);
      read_roles(config);
    } else {
      add_list(open_optional(folder / "added_tokens.json"));
      read_roles(open_optional(folder / "special_tokens_map.json"));
      read_roles(config);
    }
    // In transformers' order, which decides the ids of tokens that no file gives one.
    for (const char* name : kRoles) add_special(roles_[name]);
    std::erase_if(roles_, [](const auto& role) { return role.second.empty(); });
    for (const auto& [name, text] : roles_) add_special(text);
    for (const std::string& text : unnamed_) add_special(text);
  }

  const std::map<std::string, std::string>& roles() const { return roles_; }
  std::string json() const { return tokens_.empty() ? "" : boost::json::serialize(tokens_); }

  // The id that these files state for a token, -1: none.
  int id_of(std::string_view text) const {
    const auto found = ids_.find(text);
    return found == ids_.end() ? -1 : found->second;
  }

 private:
  void add(boost::json::object token) { tokens_.emplace_back(std::move(token)); }
  void add_special(const std::string& text) {
    if (!text.empty()) add({{"content", text}, {"special", true}});
  }

  // {"151643": {"content": ..., "special": true, ...}, ...}
  void add_decoder(const JsonFields& decoder) {
    std::map<int, boost::json::object> by_id;
    for (const auto& [key, value] : decoder.members()) {
      const std::string digits(key.data(), key.size());
      int id = -1;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), id);
      if (error != std::errc() || end != digits.data() + digits.size() || id < 0 ||
          id >= kMaxVocabSize) {
        decoder.fail(digits, fmt::format("is no token id from 0 to {}", kMaxVocabSize - 1));
      }
      const JsonFields fields = decoder.nested(digits, value);
      boost::json::object token{{"id", id}, {"content", fields.string("content").value_or("")}};
      for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized", "special"}) {
        if (const auto stated = fields.boolean(flag)) token[flag] = *stated;
      }
      ids_[fields.string("content").value_or("")] = id;
      by_id[id] = std::move(token);
    }
    for (auto& [id, token] : by_id) add(std::move(token));
  }

  // {"<|im_end|>": 32000, ...}
  void add_list(const JsonFields& list) {
    std::map<int, std::string> by_id;
    for (const auto& [key, value] : list.members()) {
      const std::string text(key.data(), key.size());
      const auto id = static_cast<int>(list.integer(text, 0, kMaxVocabSize - 1).value_or(-1));
      if (id < 0) list.fail(text, "has no id");
      by_id[id] = text;
      ids_[text] = id;
    }
    for (const auto& [id, text] : by_id) add({{"id", id}, {"content", text}});
  }

  // What stands in an earlier file stays.
  void read_roles(const JsonFields& file) {
    for (const char* name : kRoles) name_token(name, read_token(file, name));
    const boost::json::value* extra = file.find("extra_special_tokens");
    if (extra != nullptr && extra->is_object()) {  // a model's own names, such as "image_token"
      const JsonFields named = file.nested("extra_special_tokens", *extra);
      for (const auto& [key, value] : named.members()) {
        const std::string name(key.data(), key.size());
        name_token(name, read_token(named, name));
      }
    }
    for (const char* list : {"additional_special_tokens", "extra_special_tokens"}) {
      const boost::json::value* value = file.find(list);
      if (value == nullptr || !value->is_array()) continue;
      for (const boost::json::value& each : value->get_array()) {
        const auto* text = each.if_string();
        const std::string content = text != nullptr
                                        ? std::string(text->data(), text->size())
                                        : file.nested(list, each).string("content").value_or("");
        unnamed_.push_back(content);
      }
    }
  }

  void name_token(const std::string& name, const std::string& text) {
    if (!text.empty()) roles_.emplace(name, text);
  }

  std::map<std::string, std::string> roles_;
  std::vector<std::string> unnamed_;  // special tokens without a role
  std::map<std::string, int, std::less<>> ids_;
  boost::json::array tokens_;
};

// The id of a special token: as the files beside tokenizer.json state it, or where they are silent,
// tokenizer.json itself; -1 when none does.
int find_added_token(const std::string& text, const AddedTokens& added,
                     const Vocabulary& vocabulary, int vocab_size) {
  if (text.empty()) return -1;
  if (const int id = added.id_of(text); id >= 0) return id < vocab_size ? id : -1;
  const JsonFields tokenizer = JsonFields::parse(vocabulary.tokenizer_json, vocabulary.source);
  const boost::json::array* tokens = tokenizer.array("added_tokens");
  if (tokens == nullptr) return -1;
  for (const boost::json::value& each : *tokens) {
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

  const AddedTokens added(folder, tokenizer_config);
  vocabulary.added_tokens = added.json();
  vocabulary.special_tokens = added.roles();
  const auto role = [&](const char* name) {
    const auto found = vocabulary.special_tokens.find(name);
    return found == vocabulary.special_tokens.end() ? std::string() : found->second;
  };
  vocabulary.bos_token = role("bos_token");
  vocabulary.eos_token = role("eos_token");
  // What goes around a text is its post-processor's to say: transformers 5 reads no add_bos_token.
  vocabulary.add_bos = vocabulary.add_eos = false;
  Templates templates = read_templates(folder, tokenizer_config);
  vocabulary.chat_template = std::move(templates.chat);
  vocabulary.tool_use_template = std::move(templates.tool_use);

  const int eos = find_added_token(vocabulary.eos_token, added, vocabulary, vocab_size);
  std::vector<int> bos_ids, eos_ids;
  for (const JsonFields* fields : {&generation, &config, &text_config}) {
    for (const int id : read_ids(*fields, "bos_token_id", vocab_size)) bos_ids.push_back(id);
    for (const int id : read_ids(*fields, "eos_token_id", vocab_size)) eos_ids.push_back(id);
  }
  // The tokeniser's own word counts first: it is what the chat template was written with.
  vocabulary.eos = eos >= 0 ? eos : first_or(eos_ids, -1);
  const int bos = find_added_token(vocabulary.bos_token, added, vocabulary, vocab_size);
  vocabulary.bos = bos >= 0 ? bos : first_or(bos_ids, -1);
  add_stop_id(vocabulary, eos);
  for (const int id : eos_ids) add_stop_id(vocabulary, id);
  return vocabulary;
}

}  // namespace mlxd
