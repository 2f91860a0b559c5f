// backend/cpu: the model on the processor's own vector units. packed_matrix.* and kernels_*.cc are
// the arithmetic (one file per instruction set, picked once at start); worker_pool.* the threads;
// step_phases.*, the *_layers.* and forward.* the forward step over them and kv_cache.*.
// docs/performance.md argues the layout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "model/tensor.h"

namespace mlxd::cpu {

inline constexpr int kTileRows = 16;      // output rows that one tile of a packed matrix holds
inline constexpr int kGroupColumns = 32;  // columns that share an activation scale

// The input rows of a matrix product, in both forms. A view; the arrays are 64-byte aligned and
// each row begins at a multiple of 64 bytes of its array.
struct InputRows {
  int rows = 0;
  int columns = 0;                         // multiple of 32
  const float* values = nullptr;           // [rows, columns]
  const std::int8_t* quantized = nullptr;  // [rows, columns]: round(values / scale)
  const float* scales = nullptr;           // [rows, columns / 32]: max |value| / 127
  const float* sums = nullptr;             // [rows, columns / 32]: scale * sum of the quantized
  std::ptrdiff_t value_stride = 0, quantized_stride = 0, group_stride = 0;  // elements between rows
};

// Input rows as the products of one kind of matrix read them (kernel_input.h).
class PreparedInput;

// Rows of a prepared input from which a product may begin: the multiples of this.
inline constexpr int kPreparedRows = 48;

inline constexpr int kInputKinds = 11;

// A weight matrix repacked at load into tiles of 16 rows for the kernels of one instruction set.
// Opaque to the runner; owns its memory (2 MiB pages where the system gives them).
class PackedMatrix {
 public:
  virtual ~PackedMatrix() = default;
  int rows() const { return rows_; }        // outputs, before padding to a whole tile
  int columns() const { return columns_; }  // inputs
  int tiles() const { return (rows_ + kTileRows - 1) / kTileRows; }
  std::size_t bytes() const { return bytes_; }
  // Matrices of one kind, 0 .. kInputKinds - 1, read the same prepared input.
  int input_kind() const { return input_kind_; }
  // Kind 0 reads InputRows::values, all others the quantised form.
  bool reads_quantized() const { return input_kind_ != 0; }
  // The packed bytes of a tile, in the order in which they are read.
  virtual std::span<const std::byte> tile_bytes(int index) const = 0;

 protected:
  int rows_ = 0, columns_ = 0, input_kind_ = 0;
  std::size_t bytes_ = 0;
};

struct PromptKernels;

// The functions of one instruction set. All are pure, reentrant, and row independent: what they
// compute for one row or tile is the same bits whatever other rows and tiles a call covers.
struct Kernels {
  // "portable", "avx2", "avx512_vnni", "amx", "neon", "neon_dotprod", "neon_i8mm"; "amx_model",
  // which computes on vector units what AMX does and is for tests.
  std::string_view name;

  // Repacks `tensor` (any Quantization). Throws LoadError when columns are no multiple of 32.
  // Different tensors may be packed on several threads at once.
  std::unique_ptr<PackedMatrix> (*pack)(const Tensor& tensor);

  // The same in two steps, for several threads on one tensor: room for the matrix, then its tiles
  // [first_tile, end_tile), each of which must be packed exactly once.
  std::unique_ptr<PackedMatrix> (*allocate)(const Tensor& tensor);
  void (*pack_tiles)(PackedMatrix& matrix, const Tensor& tensor, int first_tile, int end_tile);

  // Makes `prepared` the input of products by `matrix` and all others of its kind. `input` must
  // live as long as it is used.
  void (*prepare)(const PackedMatrix& matrix, const InputRows& input, PreparedInput& prepared);

  // out[row, r] = sum_c matrix[r, c] * input[first_row + row, c] for row < rows and the matrix rows
  // of tiles [first_tile, end_tile): out + row * out_stride + r. A padded tile writes only real
  // rows. `rows` ends at the input's last row or at a multiple of kPreparedRows, as first_row does.
  void (*multiply)(const PackedMatrix& matrix, const PreparedInput& input, int first_row, int rows,
                   int first_tile, int end_tile, float* out, std::ptrdiff_t out_stride);

  // One row of the matrix as floats (embedding look-up), decoded from the packed form.
  void (*decode_row)(const PackedMatrix& matrix, int row, float* out);

  // values[columns] -> int8, scales, sums, as InputRows says.
  void (*quantize)(const float* values, int columns, std::int8_t* quantized, float* scales,
                   float* sums);

  // Products of prompt rows where these have arithmetic of their own (prompt_kernels.h); else null.
  const PromptKernels* prompts = nullptr;
};

// The kernels of that name, or the best that this processor runs when `name` is empty; null when
// the name is unknown or the processor cannot run it.
const Kernels* find_kernels(std::string_view name);

}  // namespace mlxd::cpu
