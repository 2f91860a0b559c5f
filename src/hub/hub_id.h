#pragma once

#include <string>
#include <string_view>

namespace mlxd::hub {

// What `owner/name[:QUANT][@REVISION]` says.
struct HubId {
  std::string owner, name;
  std::string quant;     // "Q4_K_M", or a .gguf file of the repository by name; "" when not said
  std::string revision;  // a branch, a tag or a commit; "" for main

  std::string repository() const { return owner + "/" + name; }
  const std::string& revision_or_main() const;
  std::string text() const;  // as it was written
};

// Throws StartupError that says how an id is written. "hf:" before it is taken away.
HubId parse_hub_id(std::string_view text);

// Whether a text could be an id, and no path: two plain names around one slash, and what may
// follow.
bool looks_like_hub_id(std::string_view text);

// A path inside a repository, each of its parts a name that may stand in a folder of ours: nothing
// that leads elsewhere, nothing absolute, no control characters.
bool is_safe_path(std::string_view path);

}  // namespace mlxd::hub
