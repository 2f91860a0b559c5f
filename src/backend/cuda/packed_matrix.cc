#include "backend/cuda/packed_matrix.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include "backend/cuda/affine_rows.h"
#include "base/error.h"

namespace mlxd::cuda_backend {
namespace {

constexpr int kRun = kLaneColumns;

bool is_plain(Encoding encoding) {
  return encoding == Encoding::f32 || encoding == Encoding::f16 || encoding == Encoding::bf16;
}

std::uint16_t element_bits(float value, Element element) {
  if (element == Element::f16) return float_to_half(value);
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);  // of an exact one
}

float element_value(std::uint16_t bits, Element element) {
  return element == Element::f16 ? half_to_float(bits) : bfloat16_to_float(bits);
}

// Packs a tile of 16 rows.
class TilePacker {
 public:
  TilePacker(const PackedShape& shape, Element element) : shape_(shape), element_(element) {}

  void pack_row(const SourceRow& source, int row, std::byte* codes, std::byte* scales) {
    if (shape_.packing == Packing::plain) return pack_plain(source, row, codes);
    read_affine_row(*source.tensor, source.row, affine_);
    for (int column = 0; column < shape_.columns; column += kRun) {
      const auto run = static_cast<std::size_t>(column / kRun);
      std::array<std::byte, 2 * kRun> bytes{};
      const std::uint8_t* from = affine_.codes.data() + column;
      if (shape_.packing == Packing::affine8) {
        std::memcpy(bytes.data(), from, kRun);
        place(bytes.data(), kRun, row, column, codes);
      } else {
        for (int i = 0; i < kRun; ++i) {
          const int nibble = i % 2 * 4 + i % 8 / 2;  // in the word of eight columns
          bytes[static_cast<std::size_t>(i / 8 * 4 + nibble / 2)] |=
              static_cast<std::byte>(from[i] << nibble % 2 * 4);
        }
        place(bytes.data(), kRun / 2, row, column, codes);
      }
      place_scale(affine_.scales[run], affine_.biases[run], row, column, scales);
    }
  }

 private:
  void pack_plain(const SourceRow& source, int row, std::byte* codes) {
    values_.resize(static_cast<std::size_t>(shape_.columns));
    dequantize_rows(*source.tensor, source.row, 1, values_);
    for (int column = 0; column < shape_.columns; column += kRun) {
      std::array<std::uint16_t, kRun> bits{};
      for (int i = 0; i < std::min(kRun, shape_.columns - column); ++i) {
        const float value = values_[static_cast<std::size_t>(column + i)];
        auto& of_value = bits[static_cast<std::size_t>(i)];
        of_value = element_bits(value, element_);
        if (element_value(of_value, element_) != value) refuse(*source.tensor, value);
      }
      place(reinterpret_cast<const std::byte*>(bits.data()), sizeof bits, row, column, codes);
    }
  }

  [[noreturn]] void refuse(const Tensor& tensor, float value) const {
    throw LoadError(tensor.name + ": the cuda backend computes this model in " +
                    (element_ == Element::f16 ? "float16" : "bfloat16") + ", in which " +
                    std::to_string(value) +
                    " is another number: store the tensor in that type, or use --backend cpu");
  }

  // What a lane holds of a row: its bytes from where the row's begin, cut into chunks of 16.
  void place(const std::byte* bytes, int count, int row, int column, std::byte* codes) const {
    const auto unit = static_cast<std::size_t>(column / kUnitColumns);
    const int lane = row % 8 * 4 + column % kUnitColumns / kLaneColumns;
    std::byte* of_unit = codes + unit * shape_.unit_bytes();
    const int piece = std::min(count, 16);
    for (int done = 0; done < count; done += piece) {
      const int at = row / 8 * count + done;
      std::memcpy(of_unit + at / 16 * (16 * kLanes) + 16 * lane + at % 16, bytes + done,
                  static_cast<std::size_t>(piece));
    }
  }

  void place_scale(float scale, float bias, int row, int column, std::byte* scales) const {
    const auto unit = static_cast<std::size_t>(column / kUnitColumns);
    const int run = column % kUnitColumns / (kUnitColumns / shape_.scale_runs);
    const auto index = static_cast<std::size_t>(run * kUnitRows + row);
    std::byte* of_unit = scales + unit * shape_.unit_scale_bytes();
    if (shape_.wide_scales) {
      const float pair[] = {scale, bias};
      std::memcpy(of_unit + index * sizeof pair, pair, sizeof pair);
    } else {
      const std::uint16_t pair[] = {element_bits(scale, element_), element_bits(bias, element_)};
      std::memcpy(of_unit + index * sizeof pair, pair, sizeof pair);
    }
  }

  const PackedShape& shape_;
  Element element_;
  AffineRow affine_;
  std::vector<float> values_;
};

}  // namespace

PackedShape packed_shape(const Tensor& tensor, Element element) {
  PackedShape shape{.rows = static_cast<int>(tensor.rows),
                    .columns = static_cast<int>(tensor.columns)};
  const Quantization& form = tensor.quantization;
  if (is_plain(form.encoding)) return shape;
  const AffineForm affine = affine_form(form);
  if (affine.bits == 0 || tensor.columns % kRun != 0) {
    throw LoadError(tensor.name + ": the cuda backend cannot run " + to_string(form) +
                    "; use --backend cpu");
  }
  shape.packing = affine.bits == 4 ? Packing::affine4 : Packing::affine8;
  shape.scale_runs = kUnitColumns / affine.run;
  const Encoding own = element == Element::f16 ? Encoding::f16 : Encoding::bf16;
  shape.wide_scales = form.encoding != Encoding::mlx_affine || form.scale_encoding != own;
  return shape;
}

std::optional<PackedShape> common_shape(const PackedShape& a, const PackedShape& b) {
  if (a.columns != b.columns) return std::nullopt;
  if ((a.packing == Packing::plain) != (b.packing == Packing::plain)) return std::nullopt;
  return PackedShape{.packing = std::max(a.packing, b.packing),
                     .scale_runs = std::max(a.scale_runs, b.scale_runs),
                     .wide_scales = a.wide_scales || b.wide_scales,
                     .rows = a.rows + b.rows,
                     .columns = a.columns};
}

PackedMatrix pack(std::span<const SourceRow> rows, const PackedShape& shape, Element element) {
  PackedMatrix packed{.shape = shape, .codes = {}, .scales = {}};
  packed.shape.rows = static_cast<int>(rows.size());
  packed.codes.resize(packed.shape.code_bytes());
  packed.scales.resize(packed.shape.scale_bytes());
  const auto tiles = static_cast<std::size_t>(packed.shape.tiles());
  const auto units = static_cast<std::size_t>(packed.shape.units());
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      TilePacker packer(packed.shape, element);
      for (std::size_t tile; (tile = next++) < tiles;) {
        for (std::size_t i = 0; i < kUnitRows; ++i) {
          const std::size_t row = tile * kUnitRows + i;
          if (row >= rows.size() || !rows[row].tensor) continue;
          packer.pack_row(rows[row], static_cast<int>(i),
                          packed.codes.data() + tile * units * packed.shape.unit_bytes(),
                          packed.scales.data() + tile * units * packed.shape.unit_scale_bytes());
        }
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
      next = tiles;
    }
  };
  {
    const std::size_t most = std::max(1u, std::thread::hardware_concurrency());
    std::vector<std::jthread> threads(std::min(most, (tiles + 63) / 64) - 1);
    for (std::jthread& thread : threads) thread = std::jthread(work);
    work();
  }
  if (failure) std::rethrow_exception(failure);
  return packed;
}

}  // namespace mlxd::cuda_backend
