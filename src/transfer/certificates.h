#pragma once

#include <filesystem>
#include <span>
#include <string>

namespace mlxd::transfer {

// The file of certificates that the user names for all programs (CURL_CA_BUNDLE,
// REQUESTS_CA_BUNDLE, SSL_CERT_FILE); "": none.
std::string certificates_of_the_user();

// The file with which the certificates of others are checked: the user's; "" where libcurl was
// built with a place of its own, as a system's is; else, since a libcurl inside a program that runs
// on any system has none, the one of those that systems have. Throws StartupError where they are
// `needed`, as for https, and there is none.
std::string certificates_for(const std::string& of_the_user, bool needed);

// The first of these files that can be read; "" where there is none.
std::string find_certificates(std::span<const std::filesystem::path> places);

}  // namespace mlxd::transfer
