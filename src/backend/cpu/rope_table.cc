#include "backend/cpu/rope_table.h"

#include <algorithm>
#include <cmath>

namespace mlxd::cpu {

void RopeTable::make_room(int end) {
  if (index(end) <= values_.size()) return;
  if (index(end) > values_.capacity()) {
    values_.reserve(index(std::clamp(2 * positions_, end, std::max(end, most_positions_))));
  }
  values_.resize(index(end));
}

void RopeTable::fill(int first, int end) {
  for (int position = first; position < end; ++position) {
    float* cosines = &values_[index(position)];
    float* sines = cosines + half();
    for (int i = 0; i < half(); ++i) {
      const double angle = static_cast<double>(position) * rope_.inverse_frequencies[i];
      cosines[i] = static_cast<float>(std::cos(angle) * rope_.magnitude);
      sines[i] = static_cast<float>(std::sin(angle) * rope_.magnitude);
    }
  }
}

}  // namespace mlxd::cpu
