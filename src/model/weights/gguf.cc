#include "model/weights/gguf.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "model/quoted.h"
#include "model/weights/gguf_types.h"

namespace mlxd {

static_assert(std::endian::native == std::endian::little,
              "GGUF and safetensors files are read as they lie in memory");

namespace {

// Bounds far above any real model, so that hostile counts fail before they cost memory.
constexpr std::uint64_t kMaxKeyLength = 65535;       // gguf.md
constexpr std::uint64_t kMaxTensorNameLength = 255;  // gguf.md says 64; allow for other writers
constexpr std::uint32_t kMaxDimensions = 4;          // ggml: GGML_MAX_DIMS
constexpr std::uint64_t kMaxElements = std::uint64_t{1} << 48;
constexpr std::uint64_t kDefaultAlignment = 32;
constexpr std::uint64_t kMaxAlignment = 65536;

}  // namespace

// Reads a header from front to back; every read is checked against what is left of the file.
class GgufParser {
 public:
  GgufParser(std::span<const std::byte> bytes, GgufFile& file) : bytes_(bytes), file_(file) {}

  void parse() {
    check_magic();
    const auto tensor_count = number<std::uint64_t>("tensor_count");
    const auto metadata_count = number<std::uint64_t>("metadata_kv_count");
    // The least that an entry takes: a key's length, a type, a byte; a name's length, a count, a
    // type, an offset.
    check_count("metadata_kv_count", metadata_count, 8 + 4 + 1);
    check_count("tensor_count", tensor_count, 8 + 4 + 4 + 8);
    for (std::uint64_t i = 0; i < metadata_count; ++i) read_metadata(i);
    read_tensors(tensor_count);
  }

 private:
  struct Placed {
    std::size_t index;  // into file_.tensors_
    std::uint64_t offset, size;
  };

  std::uint64_t left() const { return bytes_.size() - position_; }

  std::span<const std::byte> take(std::string_view field, std::uint64_t size) {
    if (size > left()) {
      file_.fail(field, fmt::format("needs {} bytes at offset {}, and the file ends after {}", size,
                                    position_, bytes_.size()));
    }
    const auto part = bytes_.subspan(position_, static_cast<std::size_t>(size));
    position_ += static_cast<std::size_t>(size);
    return part;
  }

  template <class T>
  T number(std::string_view field) {
    return gguf::load<T>(take(field, sizeof(T)).data());
  }

  std::string_view string(std::string_view field) {
    const auto length = number<std::uint64_t>(field);
    const auto text = take(field, length);
    return {reinterpret_cast<const char*>(text.data()), text.size()};
  }

  void check_count(std::string_view field, std::uint64_t count, std::uint64_t least_bytes) {
    if (count > left() / least_bytes) {
      file_.fail(field, fmt::format("is {}, more than the {} bytes of the file can hold", count,
                                    bytes_.size()));
    }
  }

  void check_magic() {
    const auto magic = take("magic", 4);
    if (std::string_view(reinterpret_cast<const char*>(magic.data()), 4) != "GGUF") {
      file_.fail("magic", fmt::format("is {}, not \"GGUF\"; this is no GGUF file",
                                      in_quotes({reinterpret_cast<const char*>(magic.data()), 4})));
    }
    const auto version = number<std::uint32_t>("version");
    if (version == 0x02000000u || version == 0x03000000u) {
      file_.fail("version", "is that of a big-endian file; mlxd reads little-endian ones");
    }
    if (version != 2 && version != 3) {
      file_.fail("version", fmt::format("is {}; mlxd reads 2 and 3", version));
    }
  }

  void read_metadata(std::uint64_t index) {
    const std::string_view key = string(fmt::format("key of metadata entry {}", index));
    if (key.empty() || key.size() > kMaxKeyLength) {
      file_.fail(fmt::format("key of metadata entry {}", index),
                 fmt::format("is {} bytes long; 1 to {} are allowed", key.size(), kMaxKeyLength));
    }
    const std::string field = in_quotes(key);
    const auto type = number<std::uint32_t>(field);
    GgufValue value;
    if (type == gguf::kString) {
      value = string(field);
    } else if (type == gguf::kArray) {
      value = read_array(field);
    } else if (const std::size_t size = gguf::value_size(type)) {
      const auto bytes = take(field, size);
      if (type == gguf::kBool) check_bools(field, bytes);
      value = gguf::visit_number(type, bytes.data(), [](auto n) { return GgufValue(n); });
    } else {
      file_.fail(field, fmt::format("has value type {}, which GGUF does not define", type));
    }
    if (!file_.metadata_.emplace(key, value).second) file_.fail(field, "is there twice");
  }

  GgufArray read_array(std::string_view field) {
    GgufArray array;
    array.element_type = number<std::uint32_t>(field);
    array.count = number<std::uint64_t>(field);
    const std::size_t start = position_;
    if (array.element_type == gguf::kString) {
      check_count(field, array.count, 8);
      for (std::uint64_t i = 0; i < array.count; ++i) string(field);
    } else if (const std::size_t size = gguf::value_size(array.element_type)) {
      check_count(field, array.count, size);
      const auto bytes = take(field, array.count * size);
      if (array.element_type == gguf::kBool) check_bools(field, bytes);
    } else {
      file_.fail(field, fmt::format("is an array of type {} ({}); only numbers, bools and strings "
                                    "can be elements",
                                    array.element_type, gguf::value_type_name(array.element_type)));
    }
    array.bytes = bytes_.subspan(start, position_ - start);
    return array;
  }

  void check_bools(std::string_view field, std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes) {
      if (std::to_integer<int>(byte) > 1) {
        file_.fail(field, fmt::format("is a bool with the value {}", std::to_integer<int>(byte)));
      }
    }
  }

  void read_tensors(std::uint64_t count) {
    const auto alignment =
        static_cast<std::uint64_t>(file_.integer("general.alignment", 0, kMaxAlignment)
                                       .value_or(static_cast<std::int64_t>(kDefaultAlignment)));
    if (!std::has_single_bit(alignment) || alignment < 8) {
      file_.fail("general.alignment",
                 fmt::format("is {}, not a power of two from 8 to {}", alignment, kMaxAlignment));
    }
    check_count("tensor_count", count, 8 + 4 + 4 + 8);
    std::vector<Placed> placed;
    std::set<std::string_view> names;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::string_view name = string(fmt::format("name of tensor {}", i));
      if (name.empty() || name.size() > kMaxTensorNameLength) {
        file_.fail(fmt::format("name of tensor {}", i),
                   fmt::format("is {} bytes long; 1 to {} are allowed", name.size(),
                               kMaxTensorNameLength));
      }
      const std::string field = "tensor " + in_quotes(name);
      if (!names.insert(name).second) file_.fail(field, "is there twice");
      placed.push_back(read_tensor(field, name, alignment));
    }
    place(placed, alignment);
  }

  Placed read_tensor(std::string_view field, std::string_view name, std::uint64_t alignment) {
    Tensor tensor;
    tensor.name = name;
    const auto dimensions = number<std::uint32_t>(field);
    if (dimensions < 1 || dimensions > kMaxDimensions) {
      file_.fail(field,
                 fmt::format("has {} dimensions; 1 to {} are allowed", dimensions, kMaxDimensions));
    }
    // GGUF lists the dimensions innermost first: columns, then those that make up the rows.
    std::uint64_t elements = 1;
    for (std::uint32_t i = 0; i < dimensions; ++i) {
      const auto extent = number<std::uint64_t>(field);
      if (extent < 1 || extent > kMaxElements / elements) {
        file_.fail(field, fmt::format("has dimension {} of {}; the product must be 1 to {}", i,
                                      extent, kMaxElements));
      }
      elements *= extent;
      if (i == 0) tensor.columns = static_cast<std::int64_t>(extent);
    }
    tensor.rows = static_cast<std::int64_t>(elements) / tensor.columns;

    const auto type = number<std::uint32_t>(field);
    const auto encoding = gguf::tensor_encoding(type);
    if (!encoding) {
      file_.fail(field, fmt::format("is stored as {}, which mlxd does not read; take a file of a "
                                    "usual type, such as Q4_K_M or IQ4_XS",
                                    gguf::tensor_type_name(type)));
    }
    tensor.quantization.encoding = *encoding;
    const int block = block_columns(tensor.quantization);
    if (tensor.columns % block != 0) {
      file_.fail(field, fmt::format("has rows of {} columns, not a whole number of {} blocks of {}",
                                    tensor.columns, to_string(tensor.quantization), block));
    }
    const auto offset = number<std::uint64_t>(field);
    if (offset % alignment != 0) {
      file_.fail(field, fmt::format("has offset {}, not a multiple of the alignment {}", offset,
                                    alignment));
    }
    const std::uint64_t size =
        static_cast<std::uint64_t>(tensor.rows) * row_bytes(tensor.quantization, tensor.columns);
    file_.tensors_.push_back(std::move(tensor));
    return {file_.tensors_.size() - 1, offset, size};
  }

  // Gives every tensor its bytes, once the header's end is known.
  void place(std::vector<Placed>& placed, std::uint64_t alignment) {
    file_.header_ = bytes_.first(position_);
    const std::uint64_t padding = (alignment - position_ % alignment) % alignment;
    const std::uint64_t available = padding <= left() ? left() - padding : 0;
    std::sort(placed.begin(), placed.end(),
              [](const Placed& a, const Placed& b) { return a.offset < b.offset; });
    std::uint64_t end_of_previous = 0;
    for (const Placed& each : placed) {
      Tensor& tensor = file_.tensors_[each.index];
      const auto field = [&] { return "tensor " + in_quotes(tensor.name); };
      if (each.offset > available || each.size > available - each.offset) {
        file_.fail(field(), fmt::format("takes {} bytes at offset {} of the data, which has {}: "
                                        "the file is cut short or damaged",
                                        each.size, each.offset, available));
      }
      if (each.offset < end_of_previous) {
        file_.fail(field(), fmt::format("begins at offset {} of the data, inside the tensor that "
                                        "ends at {}",
                                        each.offset, end_of_previous));
      }
      end_of_previous = each.offset + each.size;
      const std::uint64_t start = position_ + padding + each.offset;
      tensor.data =
          bytes_.subspan(static_cast<std::size_t>(start), static_cast<std::size_t>(each.size));
    }
  }

  std::span<const std::byte> bytes_;
  GgufFile& file_;
  std::size_t position_ = 0;
};

std::shared_ptr<const GgufFile> GgufFile::open(const std::filesystem::path& path) {
  auto mapped = MappedFile::open(path);
  std::shared_ptr<GgufFile> file(new GgufFile(path.string()));
  file->file_ = mapped;
  GgufParser(mapped->bytes(), *file).parse();
  return file;
}

std::shared_ptr<const GgufFile> GgufFile::parse(std::span<const std::byte> bytes,
                                                std::string name) {
  std::shared_ptr<GgufFile> file(new GgufFile(std::move(name)));
  GgufParser(bytes, *file).parse();
  return file;
}

void GgufFile::fail(std::string_view field, std::string_view problem) const {
  throw LoadError(fmt::format("{}: {} {}", name_, field, problem));
}

}  // namespace mlxd
