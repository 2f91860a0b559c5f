// Written by tests/model/make_grid_tables.py.
#pragma once

#include <cstdint>

namespace mlxd {

// The grids of GGUF's IQ formats. An entry holds the columns' indices of magnitude, the first
// lowest: eight of two bits for IQ1 and IQ2, four of three bits for IQ3.
extern const std::uint16_t kIq1Grid[2048];
extern const std::uint16_t kIq2XxsGrid[256];
extern const std::uint16_t kIq2XsGrid[512];
extern const std::uint16_t kIq2SGrid[1024];
extern const std::uint16_t kIq3XxsGrid[256];
extern const std::uint16_t kIq3SGrid[512];

}  // namespace mlxd
