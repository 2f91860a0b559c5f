#include "backend/cpu/convolution_rows.h"

#include <algorithm>

namespace mlxd::cpu {

// A row of the sequence, counted from its first in this step: those before that are in the state.
const float* ConvolutionRows::at(const Layer& of, const BatchSequence& sequence, int row) const {
  if (row >= 0) return rows_.row(sequence.first_row + row);
  if (sequence.state < 0) return zeros_.data();
  const int kept = row + of.kernel - 1;
  return states_.convolution(of.layer, sequence.state) +
         static_cast<std::ptrdiff_t>(kept) * of.channels;
}

ConvolutionRows::Window ConvolutionRows::window(const Layer& of, const BatchSequence& sequence,
                                                int row, int channel) const {
  Window rows;
  for (int i = 0; i < of.kernel; ++i) {
    rows[i] = at(of, sequence, row - of.kernel + 1 + i) + channel;
  }
  return rows;
}

// The slot that the sequence goes on from last, since what others are given may be read from it.
void ConvolutionRows::save(const Layer& of, const BatchSequence& sequence, Range channels) const {
  const int kept = of.kernel - 1, count = channels.end - channels.first;
  const auto save_to = [&](const StateSave& save) {
    float* const to = states_.convolution(of.layer, save.slot);
    const int after = save.after_row - sequence.first_row + 1;
    for (int i = 0; i < kept; ++i) {  // ascending: within one slot rows move to the front
      const float* const from = at(of, sequence, after - kept + i);
      float* const into = to + static_cast<std::ptrdiff_t>(i) * of.channels;
      if (from != into) std::copy_n(from + channels.first, count, into + channels.first);
    }
  };
  for (const StateSave& save : sequence.saves) {
    if (save.slot != sequence.state) save_to(save);
  }
  for (const StateSave& save : sequence.saves) {
    if (save.slot == sequence.state) save_to(save);
  }
}

}  // namespace mlxd::cpu
