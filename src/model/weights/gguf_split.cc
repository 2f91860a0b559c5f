#include "model/weights/gguf_split.h"

#include <cstdint>

#include <fmt/format.h>

#include "base/error.h"
#include "model/quoted.h"

namespace mlxd {
namespace {

constexpr int kMaxParts = 65535;  // split.count has 16 bits
constexpr std::int64_t kMaxTensors = INT32_MAX;

// "-00002" -> 2; five digits, as printf's "%05d" writes them.
std::optional<int> read_number(std::string_view text) {
  if (text.size() != 5 || text.find_first_not_of("0123456789") != std::string_view::npos) {
    return std::nullopt;
  }
  int number = 0;
  for (const char digit : text) number = 10 * number + (digit - '0');
  return number;
}

int split_count(const GgufFile& file) {
  return static_cast<int>(file.integer("split.count", 0, kMaxParts).value_or(1));
}

void check_part(const GgufFile& file, const GgufPart& part) {
  const auto number = file.integer("split.no", 0, kMaxParts);
  if (!number) file.fail("\"split.no\"", "is missing, and the file's name says that it is a part");
  if (split_count(file) != part.count || *number != part.number - 1) {
    file.fail("\"split.no\"", fmt::format("says part {} of {}, and the file's name part {} of {}",
                                          *number + 1, split_count(file), part.number, part.count));
  }
}

}  // namespace

std::string GgufPart::file_name() const {
  return fmt::format("{}-{:05}-of-{:05}.gguf", stem, number, count);
}

std::optional<GgufPart> gguf_part(std::string_view file_name) {
  constexpr std::string_view kEnding = "-00001-of-00003.gguf";
  if (file_name.size() < kEnding.size()) return std::nullopt;
  const std::string_view ending = file_name.substr(file_name.size() - kEnding.size());
  const auto number = read_number(ending.substr(1, 5));
  const auto count = read_number(ending.substr(10, 5));
  if (!number || !count || ending[0] != '-' || ending.substr(6, 4) != "-of-" ||
      ending.substr(15) != ".gguf" || *number < 1 || *number > *count || *count > kMaxParts) {
    return std::nullopt;
  }
  return GgufPart{std::string(file_name.substr(0, file_name.size() - kEnding.size())), *number,
                  *count};
}

std::vector<std::shared_ptr<const GgufFile>> open_gguf_parts(const std::filesystem::path& path) {
  auto file = GgufFile::open(path);
  const int stated = split_count(*file);
  if (stated <= 1) return {std::move(file)};
  const auto named = gguf_part(path.filename().string());
  if (!named) {
    file->fail("\"split.count\"",
               fmt::format("says that this is one of {} parts, and its name does not end in "
                           "-00001-of-{:05}.gguf, by which the others would be found",
                           stated, stated));
  }
  const auto path_of = [&](int number) {
    return path.parent_path() / GgufPart{named->stem, number, named->count}.file_name();
  };
  std::vector<std::string> absent;
  for (int number = 1; number <= named->count; ++number) {
    std::error_code error;
    if (!std::filesystem::exists(path_of(number), error)) {
      absent.push_back(path_of(number).filename().string());
    }
  }
  if (!absent.empty()) {
    file->fail(
        "\"split.count\"",
        fmt::format("says that the model has {} parts, of which {} are missing beside it: {}",
                    stated, absent.size(), list_of(absent)));
  }
  std::vector<std::shared_ptr<const GgufFile>> parts;
  std::size_t tensors = 0;
  for (int number = 1; number <= named->count; ++number) {
    parts.push_back(number == named->number ? file : GgufFile::open(path_of(number)));
    check_part(*parts.back(), {named->stem, number, named->count});
    tensors += parts.back()->tensors().size();
  }
  const auto expected = parts.front()->integer("split.tensors.count", 0, kMaxTensors);
  if (expected && static_cast<std::size_t>(*expected) != tensors) {
    parts.front()->fail(
        "\"split.tensors.count\"",
        fmt::format("is {}, and the {} parts hold {} tensors", *expected, named->count, tensors));
  }
  return parts;
}

}  // namespace mlxd
