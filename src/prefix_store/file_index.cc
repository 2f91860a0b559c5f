#include "prefix_store/file_index.h"

#include <algorithm>

namespace mlxd {

void FileIndex::insert(const BlockName& name) {
  const Entry& entry = entries_[name.key] = {name.parent, ++clock_};
  try {
    children_[name.parent].insert(name.key);
    if (is_end(name.key)) ends_.emplace(entry.used, name.key);
  } catch (...) {
    erase(name.key);
    throw;
  }
  if (const auto parent = entries_.find(name.parent); parent != entries_.end()) {
    ends_.erase({parent->second.used, name.parent});
  }
}

void FileIndex::use(const Digest& key) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return;
  auto end = ends_.extract({found->second.used, key});
  found->second.used = ++clock_;
  if (!end) return;
  end.value() = {clock_, key};
  ends_.insert(std::move(end));
}

bool FileIndex::erase(const Digest& key) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return false;
  const Entry gone = found->second;
  entries_.erase(found);
  auto end = ends_.extract({gone.used, key});
  const auto siblings = children_.find(gone.parent);
  if (siblings == children_.end()) return true;  // an insertion that failed
  siblings->second.erase(key);
  if (!siblings->second.empty()) return true;
  children_.erase(siblings);
  const auto parent = entries_.find(gone.parent);
  if (parent == entries_.end()) return true;
  if (ends_.contains({parent->second.used, gone.parent})) return true;  // likewise
  // It was used whenever what continued it was.
  parent->second.used = std::max(parent->second.used, gone.used);
  if (!end) {
    ends_.emplace(parent->second.used, gone.parent);
  } else {
    end.value() = {parent->second.used, gone.parent};
    ends_.insert(std::move(end));
  }
  return true;
}

std::optional<BlockName> FileIndex::oldest_end(const Digest& spared) const {
  auto oldest = ends_.begin();
  if (oldest != ends_.end() && oldest->second == spared) ++oldest;
  if (oldest == ends_.end()) return std::nullopt;
  return BlockName{oldest->second, entries_.at(oldest->second).parent};
}

std::vector<BlockName> FileIndex::take_subtree(const Digest& key) {
  std::vector<BlockName> taken;
  std::vector<Digest> keys = {key};
  Keys seen = {key};  // names come from a folder: no trust in them
  for (std::size_t next = 0; next < keys.size(); ++next) {
    const Digest at = keys[next];
    if (const auto children = children_.find(at); children != children_.end()) {
      for (const Digest& child : children->second) {
        if (seen.insert(child).second) keys.push_back(child);
      }
    }
    if (const auto found = entries_.find(at); found != entries_.end()) {
      taken.push_back({at, found->second.parent});
    }
  }
  // Ends first, so that each is an end when its turn comes.
  for (auto name = taken.rbegin(); name != taken.rend(); ++name) erase(name->key);
  return taken;
}

}  // namespace mlxd
