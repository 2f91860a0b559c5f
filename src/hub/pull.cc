#include "hub/pull.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "hub/api.h"
#include "hub/cache.h"
#include "hub/partial_file.h"
#include "hub/progress.h"
#include "model/json_fields.h"

namespace mlxd::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSpareBytes = std::int64_t{64} << 20;  // of the disk, for everybody else

// The blobs that are to come, each locked: in the order of their names, so that two processes that
// want the same ones do not wait for each other.
std::vector<FileLock> lock_blobs(const CachedRepository& repository,
                                 const std::map<std::string, RepositoryFile>& blobs,
                                 const PullOptions& options) {
  std::vector<FileLock> locks;
  bool told = false;
  for (const auto& [hash, file] : blobs) {
    FileLock lock(repository.locks() / (hash + ".lock"));
    while (!lock.try_lock()) {
      if (!std::exchange(told, true)) {
        options.say(fmt::format("another process fetches {}; waiting for it", file.path));
      }
      if (options.stopped && options.stopped()) {
        throw Interrupted("stopped while another process fetched the same");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    locks.push_back(std::move(lock));
  }
  return locks;
}

bool is_there(const CachedRepository& repository, const RepositoryFile& file) {
  std::error_code error;
  const auto size = fs::file_size(repository.blob(file.hash), error);
  return !error && static_cast<std::int64_t>(size) == file.size;
}

void check_space(const CachedRepository& repository, const std::vector<WantedFile>& files) {
  std::int64_t needed = 0;
  for (const WantedFile& wanted : files) {
    needed += wanted.file.size - PartialFile::bytes_there(wanted.blob, wanted.file.size);
  }
  std::error_code error;
  const auto space = fs::space(repository.folder(), error);
  if (error || needed + kSpareBytes <= static_cast<std::int64_t>(space.available)) return;
  throw StartupError(fmt::format(
      "{} is needed in {}, and {} is free there: make room (mlxd list shows models that "
      "are there), or name another place with HF_HOME",
      size_text(needed), repository.folder().parent_path().string(),
      size_text(static_cast<std::int64_t>(space.available))));
}

fs::path place_of(const CachedRepository& repository, const std::string& commit,
                  const Choice& choice) {
  const fs::path snapshot = repository.snapshot(commit);
  return choice.is_gguf ? snapshot / choice.files.front() : snapshot;
}

}  // namespace

Pulled pull(const HubId& id, const Settings& settings, const PullOptions& options) {
  if (settings.offline) {
    throw StartupError(fmt::format("{} is not in {}, and HF_HUB_OFFLINE says not to ask the hub",
                                   id.text(), settings.cache.string()));
  }
  const Revision revision = look_up(settings, id, options.stopped);
  const Choice choice = choose_files(id, revision.paths());
  Pulled pulled;
  std::map<std::string, RepositoryFile> blobs;  // by hash: two files may be the same
  std::map<std::string, std::string> hashes;    // by path
  for (const RepositoryFile& file : revision.files) {
    if (std::ranges::find(choice.files, file.path) == choice.files.end()) continue;
    blobs[file.hash] = file;
    hashes[file.path] = file.hash;
    pulled.bytes += file.size;
  }

  const CachedRepository repository(settings, id);
  repository.make_folders();
  std::erase_if(blobs, [&](const auto& blob) { return is_there(repository, blob.second); });
  const std::vector<FileLock> locks = lock_blobs(repository, blobs, options);
  std::vector<WantedFile> wanted;
  for (const std::string& path : choice.files) {
    const auto blob = blobs.find(hashes[path]);
    // What another process fetched while this one waited is there by now.
    if (blob == blobs.end() || is_there(repository, blob->second)) continue;
    const RepositoryFile file = blob->second;
    blobs.erase(blob);
    pulled.fetched += file.size;
    wanted.push_back(
        {file, address_of(settings, id, revision.commit, file.path), repository.blob(file.hash)});
  }
  check_space(repository, wanted);
  download(settings, id, revision.commit, std::move(wanted), options.connections, options.stopped,
           options.report);
  for (const std::string& path : choice.files) {
    repository.link(revision.commit, path, hashes[path]);
  }
  // Last: until then the revision is what it was, and whole.
  repository.write_reference(id.revision_or_main(), revision.commit);
  HubId chosen = id;
  if (choice.is_gguf && choice.quant != choice.files.front()) chosen.quant = choice.quant;
  pulled.id = chosen.text();
  pulled.path = place_of(repository, revision.commit, choice);
  return pulled;
}

bool has_all_weights(const fs::path& folder) {
  const fs::path index = folder / "model.safetensors.index.json";
  std::error_code error;
  if (!fs::exists(index, error)) return true;
  try {
    const auto map = JsonFields::open(index).object("weight_map");
    if (!map) return false;
    return std::ranges::all_of(map->members(), [&](const auto& entry) {
      return entry.value().is_string() &&
             fs::exists(folder / std::string_view(entry.value().get_string()), error);
    });
  } catch (const LoadError&) {
    return false;
  }
}

std::optional<fs::path> find_cached(const HubId& id, const Settings& settings) {
  const CachedRepository repository(settings, id);
  const auto commit = repository.commit_of(id.revision_or_main());
  if (!commit) return std::nullopt;
  const std::vector<std::string> paths = repository.files_of(*commit);
  if (id.quant.empty() && is_model_folder(paths)) {
    const fs::path folder = repository.snapshot(*commit);
    if (!has_all_weights(folder)) return std::nullopt;
    return folder;
  }
  const std::vector<GgufModel> models = gguf_models(paths);
  const GgufModel* model = choose_gguf(models, id.quant);
  if (model == nullptr || !model->complete) return std::nullopt;
  return repository.snapshot(*commit) / model->files.front();
}

}  // namespace mlxd::hub
