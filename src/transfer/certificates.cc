#include "transfer/certificates.h"

#include <array>
#include <cstdlib>
#include <fstream>

#include <curl/curl.h>

#include "base/error.h"

namespace mlxd::transfer {

std::string certificates_of_the_user() {
  for (const char* name : {"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return "";
}

std::string certificates_for(const std::string& of_the_user, bool needed) {
  if (!of_the_user.empty()) return of_the_user;
  const curl_version_info_data* curl = curl_version_info(CURLVERSION_NOW);
  if (curl->cainfo != nullptr || curl->capath != nullptr) return "";
  static const std::array<std::filesystem::path, 5> kPlaces = {
      "/etc/ssl/certs/ca-certificates.crt",  // Debian, Ubuntu, Arch, Alpine, Gentoo, NixOS
      "/etc/pki/tls/certs/ca-bundle.crt",    // Fedora, RHEL and its kin, Amazon Linux
      "/etc/ssl/ca-bundle.pem",              // openSUSE
      "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
      "/etc/ssl/cert.pem",  // macOS, the BSDs
  };
  std::string found = find_certificates(kPlaces);
  if (found.empty() && needed) {
    throw StartupError(
        "this system has no certificates with which others' could be checked: install its package "
        "ca-certificates, or set SSL_CERT_FILE to a file of them");
  }
  return found;
}

std::string find_certificates(std::span<const std::filesystem::path> places) {
  for (const std::filesystem::path& place : places) {
    std::error_code error;
    if (std::filesystem::is_regular_file(place, error) && std::ifstream(place)) return place;
  }
  return "";
}

}  // namespace mlxd::transfer
