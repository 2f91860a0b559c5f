#pragma once

#include <filesystem>
#include <string>

namespace mlxd::hub {

// Where the hub is and who asks, as huggingface_hub's variables say it.
struct Settings {
  std::string endpoint = "https://huggingface.co";  // HF_ENDPOINT, without a slash at its end
  std::string token;                                // HF_TOKEN, or the file "token" in HF_HOME
  std::filesystem::path cache;                      // HF_HUB_CACHE, or "hub" in HF_HOME
  bool offline = false;                             // HF_HUB_OFFLINE
  std::string certificates;  // a file of CAs (SSL_CERT_FILE); "": the system's

  bool is_https() const { return endpoint.starts_with("https://"); }
};

// Throws StartupError that names the variable and its value.
Settings settings_from_environment();

}  // namespace mlxd::hub
