#pragma once

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

#include <boost/json.hpp>
#include <fmt/format.h>

namespace mlxd::testing {

// A file of tests/golden/tokens.
inline boost::json::value read_golden(const std::string& file) {
  std::ifstream stream(std::string(MLXD_TEST_DATA "/golden/tokens/") + file);
  std::stringstream text;
  text << stream.rdbuf();
  return boost::json::parse(text.str());
}

// The hash of the scripts there (Fowler, Noll & Vo), over bytes and little-endian numbers.
class Fnv1a {
 public:
  void add(std::string_view bytes) {
    for (const char byte : bytes) {
      value_ = (value_ ^ static_cast<unsigned char>(byte)) * 0x100000001b3U;
    }
  }
  void add(std::uint32_t number) {
    for (int shift = 0; shift < 32; shift += 8) {
      const char byte = static_cast<char>(number >> shift);
      add(std::string_view(&byte, 1));
    }
  }
  std::string str() const { return fmt::format("{:016x}", value_); }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325U;
};

}  // namespace mlxd::testing
