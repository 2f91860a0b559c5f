#include "http/access.h"

#include <algorithm>
#include <cstring>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "http/ascii.h"

namespace mlxd::http {
namespace {

// As an address stands in a Host header: IPv6 in brackets.
std::string as_host(std::string_view name) {
  std::string host = ascii_lower(name);
  if (host.find(':') != host.npos && !host.starts_with('[')) host = "[" + host + "]";
  return host;
}

}  // namespace

ApiKeys::ApiKeys(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) {
    Hash& hash = hashes_.emplace_back();
    SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), hash.data());
  }
}

std::optional<std::uint64_t> ApiKeys::find_either(std::string_view authorization,
                                                  std::string_view x_api_key) const {
  constexpr std::string_view scheme = "bearer ";
  const bool bearer = ascii_lower(authorization.substr(0, scheme.size())) == scheme;
  auto key = bearer ? authorization.substr(scheme.size()) : std::string_view();
  key.remove_prefix(std::min(key.find_first_not_of(' '), key.size()));
  const auto found = find(key);
  return found ? found : find(x_api_key);
}

std::optional<std::uint64_t> ApiKeys::find(std::string_view key) const {
  Hash presented;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), presented.data());
  unsigned matches = 0;
  for (const Hash& hash : hashes_) {
    matches |= CRYPTO_memcmp(hash.data(), presented.data(), hash.size()) == 0 ? 1u : 0u;
  }
  if (key.empty() || matches == 0) return std::nullopt;
  std::uint64_t number = 0;
  std::memcpy(&number, presented.data(), sizeof number);
  return number;
}

HostList::HostList(const std::vector<std::string>& allowed, const std::string& bound_host) {
  names_ = {"localhost", "127.0.0.1", "[::1]", as_host(bound_host)};
  // Bound to every address: the one that the client connected to is the bound one.
  local_address_too_ = bound_host == "0.0.0.0" || names_.back() == "[::]";
  for (const std::string& name : allowed) {
    if (name == "*") any_ = true;
    names_.push_back(as_host(name));
  }
}

bool HostList::accept(std::string_view host, std::string_view local_address) const {
  if (any_ || std::find(names_.begin(), names_.end(), host) != names_.end()) return true;
  if (!local_address_too_) return false;
  constexpr std::string_view mapped = "::ffff:";  // IPv4 on a socket of both families
  if (local_address.starts_with(mapped) && local_address.find('.') != local_address.npos) {
    local_address.remove_prefix(mapped.size());
  }
  return host == as_host(local_address);
}

bool Origins::accept(std::string_view origin) const {
  return !origin.empty() && std::any_of(allowed_.begin(), allowed_.end(), [&](auto& allowed) {
    return allowed == "*" || allowed == origin;
  });
}

}  // namespace mlxd::http
