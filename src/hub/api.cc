#include "hub/api.h"

#include <algorithm>
#include <cctype>

#include <boost/json.hpp>
#include <fmt/format.h>

namespace mlxd::hub {
namespace {

namespace json = boost::json;

constexpr std::size_t kMostBytes = std::size_t{32} << 20;  // of a list of files
constexpr std::size_t kMostFiles = 100'000;
constexpr std::int64_t kLargestFile = std::int64_t{1} << 46;  // 64 TiB

bool is_hash(std::string_view text, std::size_t digits) {
  return text.size() == digits && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isdigit(c) != 0 || (c >= 'a' && c <= 'f');
         });
}

std::string_view string_of(const json::object& object, std::string_view field) {
  const json::value* value = object.if_contains(field);
  return value != nullptr && value->is_string() ? std::string_view(value->get_string()) : "";
}

std::int64_t size_of(const json::object& object) {
  const json::value* value = object.if_contains("size");
  return value != nullptr && value->is_int64() ? value->get_int64() : -1;
}

}  // namespace

std::vector<std::string> Revision::paths() const {
  std::vector<std::string> result;
  for (const RepositoryFile& file : files) result.push_back(file.path);
  return result;
}

Revision read_revision(std::string_view text, std::string_view hub) {
  const auto fail = [&](std::string_view problem) {
    throw StartupError(fmt::format(
        "{} does not answer as a hub of models does: {}; is HF_ENDPOINT right?", hub, problem));
  };
  boost::system::error_code error;
  const json::value root = json::parse(text, error);
  if (error || !root.is_object()) fail("its list of files is no JSON object");
  const json::object& object = root.get_object();
  Revision revision;
  revision.commit = string_of(object, "sha");
  if (!is_hash(revision.commit, 40)) fail("\"sha\" is no commit");
  const json::value* siblings = object.if_contains("siblings");
  if (siblings == nullptr || !siblings->is_array()) fail("\"siblings\" is no list");
  if (siblings->get_array().size() > kMostFiles) {
    fail(fmt::format("it lists more than {} files", kMostFiles));
  }
  for (const json::value& entry : siblings->get_array()) {
    if (!entry.is_object()) fail("an entry of \"siblings\" is no object");
    const json::object& sibling = entry.get_object();
    RepositoryFile file;
    file.path = string_of(sibling, "rfilename");
    if (!is_safe_path(file.path)) continue;
    file.size = size_of(sibling);
    file.hash = string_of(sibling, "blobId");
    if (const json::value* lfs = sibling.if_contains("lfs"); lfs != nullptr && lfs->is_object()) {
      file.is_sha256 = true;
      file.hash = string_of(lfs->get_object(), "sha256");
      file.size = size_of(lfs->get_object());
    }
    if (file.size < 0 || file.size > kLargestFile ||
        !is_hash(file.hash, file.is_sha256 ? 64 : 40)) {
      fail(fmt::format("it tells no size or no hash of {}", file.path));
    }
    revision.files.push_back(std::move(file));
  }
  return revision;
}

Revision look_up(const Settings& settings, const HubId& id, const Stopped& stopped) {
  const std::string url =
      fmt::format("{}/api/models/{}/revision/{}?blobs=true", settings.endpoint, id.repository(),
                  escaped(id.revision_or_main(), /*keep_slashes=*/false));
  const Answer answer = get(settings, url, kMostBytes, stopped);
  if (answer.status != 200) {
    throw StartupError(refusal(settings, id, "list of files", answer.status, answer.headers));
  }
  return read_revision(answer.body, settings.endpoint);
}

std::string address_of(const Settings& settings, const HubId& id, const std::string& commit,
                       std::string_view path) {
  return fmt::format("{}/{}/resolve/{}/{}", settings.endpoint, id.repository(), commit,
                     escaped(path, /*keep_slashes=*/true));
}

}  // namespace mlxd::hub
