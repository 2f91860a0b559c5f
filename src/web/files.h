#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace mlxd::web {

// A built file of the page; everything is of static storage.
struct File {
  std::string_view path;  // "index.html", "assets/index-CDj5_lDs.js"
  std::string_view hash;  // SHA-256 of the plain bytes, in hex
  std::string_view plain, gzip, brotli;
};

const std::vector<File>& files();

}  // namespace mlxd::web
