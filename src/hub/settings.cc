#include "hub/settings.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include <fmt/format.h>

#include "base/error.h"
#include "model/model_lookup.h"
#include "transfer/certificates.h"

namespace mlxd::hub {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_true(std::string value) {
  std::ranges::transform(value, value.begin(), [](unsigned char c) { return std::toupper(c); });
  return value == "1" || value == "TRUE" || value == "YES" || value == "ON";
}

// A token goes into a header, where a line's end would begin another.
std::string checked_token(std::string text, const std::string& where) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return "";
  text = text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
  if (std::ranges::all_of(text, [](unsigned char c) { return c > 0x20 && c < 0x7f; })) return text;
  throw StartupError(
      fmt::format("{} holds no token: it has blanks or other characters that none has", where));
}

std::string find_token() {
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (const std::string token = checked_token(variable(name), name); !token.empty()) return token;
  }
  std::filesystem::path path = variable("HF_TOKEN_PATH");
  if (path.empty()) {
    if (hub_home().empty()) return "";
    path = hub_home() / "token";
  }
  std::ifstream file(path);
  std::string token;
  std::getline(file, token);
  return checked_token(token, path.string());
}

}  // namespace

Settings settings_from_environment() {
  Settings settings;
  if (std::string endpoint = variable("HF_ENDPOINT"); !endpoint.empty()) {
    while (endpoint.ends_with('/')) endpoint.pop_back();
    const bool is_web = endpoint.starts_with("https://") || endpoint.starts_with("http://");
    if (!is_web || std::ranges::any_of(endpoint, [](unsigned char c) { return c <= 0x20; })) {
      throw StartupError(fmt::format(
          "HF_ENDPOINT is \"{}\"; it must be an address such as https://huggingface.co", endpoint));
    }
    settings.endpoint = std::move(endpoint);
  }
  settings.cache = hub_cache();
  if (settings.cache.empty()) {
    throw StartupError("there is no place for models: set HF_HOME, HF_HUB_CACHE or HOME");
  }
  settings.token = find_token();
  settings.offline = is_true(variable("HF_HUB_OFFLINE"));
  settings.certificates = transfer::certificates_of_the_user();
  return settings;
}

}  // namespace mlxd::hub
