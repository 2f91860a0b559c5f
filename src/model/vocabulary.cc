#include <algorithm>

#include "model/vocabulary_reader.h"

namespace mlxd {

void add_stop_id(Vocabulary& vocabulary, int id) {
  std::vector<int>& ids = vocabulary.stop_ids;
  if (id >= 0 && std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
}

}  // namespace mlxd
