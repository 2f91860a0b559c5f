#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "hub/http.h"
#include "hub/model_choice.h"

namespace mlxd::hub {

// What a repository holds at a revision.
struct Revision {
  std::string commit;  // 40 hexadecimal digits
  std::vector<RepositoryFile> files;

  std::vector<std::string> paths() const;
};

// Asks the hub. Throws StartupError, with what to do about it.
Revision look_up(const Settings& settings, const HubId& id, const Stopped& stopped);

// Its answer, which may say anything: `hub` is who answered. Files whose names could not stand in a
// folder of ours are left out. Throws StartupError that says what is wrong.
Revision read_revision(std::string_view json, std::string_view hub);

// Where a file's bytes are.
std::string address_of(const Settings& settings, const HubId& id, const std::string& commit,
                       std::string_view path);

}  // namespace mlxd::hub
