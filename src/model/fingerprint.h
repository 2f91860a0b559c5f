#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace mlxd {

// A name for what a model's headers say, not a defence against forgery: 64-bit FNV-1a, of which
// twelve hex digits are shown.
class Fingerprint {
 public:
  void add(std::span<const std::byte> bytes);
  std::string hex() const;

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325u;
};

}  // namespace mlxd
