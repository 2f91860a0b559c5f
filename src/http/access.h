// Who may ask: API keys, Host names and origins of web pages.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlxd::http {

// Keys are kept as SHA-256 alone. A presented key is compared with every stored one in a time that
// depends on neither.
class ApiKeys {
 public:
  explicit ApiKeys(const std::vector<std::string>& keys);
  bool required() const { return !hashes_.empty(); }
  // `authorization` is the value of that header, "Bearer KEY", and `x_api_key` that of X-Api-Key,
  // the key alone. Either will do.
  bool accept(std::string_view authorization, std::string_view x_api_key = {}) const {
    return find_either(authorization, x_api_key).has_value();
  }
  // A number that stands for the key, the same in every run; 0 when it is none of these.
  std::uint64_t caller(std::string_view authorization, std::string_view x_api_key = {}) const {
    return find_either(authorization, x_api_key).value_or(0);
  }

 private:
  std::optional<std::uint64_t> find_either(std::string_view authorization,
                                           std::string_view x_api_key) const;
  std::optional<std::uint64_t> find(std::string_view key) const;

  using Hash = std::array<unsigned char, 32>;
  std::vector<Hash> hashes_;
};

// The Host names that this server answers to. A web page can point its own name at 127.0.0.1 (DNS
// rebinding) but cannot send another name than its own in Host. Addresses are safe in that respect,
// but only the one that the connection came in on is certainly ours.
class HostList {
 public:
  // `allowed` replaces the default, which is `bound_host` and the loopback names; "*" allows all.
  HostList(const std::vector<std::string>& allowed, const std::string& bound_host);
  // `host` in lower case, without port; `local_address` is the connection's own end, as text.
  bool accept(std::string_view host, std::string_view local_address) const;

 private:
  bool any_ = false;
  bool local_address_too_ = false;
  std::vector<std::string> names_;
};

// The origins whose pages may read answers; "*" allows all.
class Origins {
 public:
  explicit Origins(std::vector<std::string> allowed) : allowed_(std::move(allowed)) {}
  bool enabled() const { return !allowed_.empty(); }
  bool accept(std::string_view origin) const;

 private:
  std::vector<std::string> allowed_;
};

}  // namespace mlxd::http
