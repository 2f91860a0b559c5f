#include "hub/hub_id.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include <fmt/format.h>

#include "base/error.h"

namespace mlxd::hub {
namespace {

constexpr std::size_t kLongestPart = 255;  // bytes of a name in a folder
constexpr std::size_t kLongestPath = 1024;

// Of owners, repositories, quantisations and parts of revisions.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= kLongestPart && name.front() != '.' &&
         name.front() != '-' && name.find("..") == std::string_view::npos &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

template <class Check>
bool all_parts(std::string_view path, Check check) {
  while (true) {
    const std::size_t slash = path.find('/');
    if (!check(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

std::optional<HubId> read(std::string_view text) {
  HubId id;
  if (const std::size_t at = text.find('@'); at != std::string_view::npos) {
    id.revision = text.substr(at + 1);
    if (id.revision.size() > kLongestPart || !all_parts(id.revision, is_plain_name)) return {};
    text = text.substr(0, at);
  }
  if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    id.quant = text.substr(colon + 1);
    if (!all_parts(id.quant, is_plain_name)) return {};
    text = text.substr(0, colon);
  }
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return {};
  id.owner = text.substr(0, slash);
  id.name = text.substr(slash + 1);
  // A folder of the cache is models--owner--name, which must mean one repository.
  const auto is_name = [](const std::string& part) {
    return is_plain_name(part) && part.size() <= 96 && part.find("--") == std::string::npos;
  };
  if (!is_name(id.owner) || !is_name(id.name)) return {};
  return id;
}

}  // namespace

const std::string& HubId::revision_or_main() const {
  static const std::string kMain = "main";
  return revision.empty() ? kMain : revision;
}

std::string HubId::text() const {
  return repository() + (quant.empty() ? "" : ":" + quant) +
         (revision.empty() ? "" : "@" + revision);
}

HubId parse_hub_id(std::string_view text) {
  if (text.starts_with("hf:")) text.remove_prefix(3);
  if (auto id = read(text)) return *std::move(id);
  throw StartupError(fmt::format(
      "\"{}\" is no id of a model on the hub, which is written owner/name, owner/name:QUANT for "
      "one of several .gguf files, and @REVISION after it for a branch, tag or commit",
      text));
}

bool looks_like_hub_id(std::string_view text) { return read(text).has_value(); }

bool is_safe_path(std::string_view path) {
  return path.size() <= kLongestPath && all_parts(path, [](std::string_view part) {
           return !part.empty() && part.size() <= kLongestPart && part != "." && part != ".." &&
                  std::all_of(part.begin(), part.end(), [](unsigned char c) {
                    return c >= 0x20 && c != 0x7f && c != '\\' && c != ':';
                  });
         });
}

}  // namespace mlxd::hub
