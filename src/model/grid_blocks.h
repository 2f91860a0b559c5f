#pragma once

#include <cstdint>

#include "model/coded_blocks.h"

namespace mlxd {

// The GGUF formats IQ1, IQ2 and IQ3, which choose 4 or 8 columns at a time out of a grid. One block
// of 256 columns becomes 16 runs of codes; a code is the magnitude's index in the grid, and above
// it the sign (IQ1: the sign of the shift by an eighth).
inline constexpr CodeTable kIq1Table = {3, {-7, 1, 9, 0, -9, -1, 7, 0}};  // in eighths
inline constexpr CodeTable kIq2Table = {3, {8, 25, 43, 0, -8, -25, -43, 0}};
inline constexpr CodeTable kIq3XxsTable = {
    4, {4, 12, 20, 28, 36, 44, 52, 62, -4, -12, -20, -28, -36, -44, -52, -62}};
inline constexpr CodeTable kIq3STable = {
    4, {1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15}};

void read_iq1_s(const std::uint8_t* block, CodeRun* runs);
void read_iq1_m(const std::uint8_t* block, CodeRun* runs);
void read_iq2_xxs(const std::uint8_t* block, CodeRun* runs);
void read_iq2_xs(const std::uint8_t* block, CodeRun* runs);
void read_iq2_s(const std::uint8_t* block, CodeRun* runs);
void read_iq3_xxs(const std::uint8_t* block, CodeRun* runs);
void read_iq3_s(const std::uint8_t* block, CodeRun* runs);

}  // namespace mlxd
