#include "hub/inventory.h"

#include <algorithm>
#include <optional>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/folder.h"
#include "hub/cache.h"
#include "hub/model_choice.h"
#include "hub/pull.h"
#include "model/json_fields.h"
#include "model/weights/gguf.h"

namespace mlxd::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFolder = "models--";

std::int64_t bytes_of(const fs::path& root, const std::vector<std::string>& files) {
  std::int64_t sum = 0;
  for (const std::string& file : files) {
    std::error_code error;
    const auto size = fs::file_size(root / file, error);  // of the blob behind the link
    if (!error) sum += static_cast<std::int64_t>(size);
  }
  return sum;
}

// Not std::filesystem's time, whose epoch is each library's own.
std::time_t modified_at(const fs::path& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? status.st_mtime : 0;
}

// What is there of a commit, named as `main` is at that commit or not.
void add_snapshot(const CachedRepository& repository, const HubId& id, const std::string& commit,
                  std::vector<CachedModel>& models) {
  const std::vector<std::string> paths = repository.files_of(commit);
  const fs::path root = repository.snapshot(commit);
  HubId named = id;
  if (repository.commit_of("main") != commit) named.revision = commit;
  if (is_model_folder(paths)) {
    CachedModel& model = models.emplace_back();
    model.id = named.text();
    model.bytes = bytes_of(root, folder_files(paths));
    model.complete = has_all_weights(root);
    model.path = root;
    model.modified = modified_at(root);
    try {
      const JsonFields config = JsonFields::open(root / "config.json");
      model.family = config.string("model_type").value_or("");
      if (const auto quantization = config.object("quantization")) {
        if (const auto bits = quantization->integer("bits", 1, 64)) {
          model.quant = fmt::format("{} bits", *bits);
        }
      }
    } catch (const LoadError&) {  // it is listed all the same: it may have to be removed
    }
  }
  for (const GgufModel& gguf : gguf_models(paths)) {
    CachedModel& model = models.emplace_back();
    named.quant = gguf.quant;
    model.id = named.text();
    model.quant = gguf.quant == gguf.name ? "" : gguf.quant;
    model.bytes = bytes_of(root, gguf.files);
    model.complete = gguf.complete;
    model.path = root / gguf.files.front();
    model.modified = modified_at(model.path);
    try {
      const auto file = GgufFile::open(model.path);
      model.family = file->string("general.architecture").value_or("");
    } catch (const LoadError&) {
    }
  }
}

// The id that a folder of the cache is of.
std::optional<HubId> id_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with(kFolder)) return std::nullopt;
  const std::size_t middle = name.find("--", kFolder.size());
  if (middle == std::string::npos) return std::nullopt;
  const std::string text =
      name.substr(kFolder.size(), middle - kFolder.size()) + "/" + name.substr(middle + 2);
  if (!looks_like_hub_id(text)) return std::nullopt;
  return parse_hub_id(text);
}

// Names of the blobs that snapshots link to. Throws when one cannot be read: what it links to would
// seem unused.
std::set<std::string> linked_blobs(const CachedRepository& repository) {
  std::set<std::string> linked;
  const fs::path root = repository.folder() / "snapshots";
  std::error_code error;
  if (!fs::exists(root, error) && !error) return linked;
  for (auto entry = fs::recursive_directory_iterator(root, error);
       !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code no_link;
    const fs::path target = fs::read_symlink(entry->path(), no_link);
    if (!no_link) linked.insert(target.filename().string());
  }
  if (error) {
    throw StartupError(fmt::format("{} cannot be read: {}; its blobs are left alone", root.string(),
                                   error.message()));
  }
  return linked;
}

std::int64_t size_on_disk(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(fs::symlink_status(path, error))) return 0;
  const auto size = fs::file_size(path, error);
  return error ? 0 : static_cast<std::int64_t>(size);
}

// Removes the blobs that no snapshot links to any more.
std::int64_t sweep_blobs(const CachedRepository& repository) {
  const std::set<std::string> linked = linked_blobs(repository);
  std::int64_t freed = 0;
  std::error_code error;
  std::vector<fs::path> unused;
  for (const fs::path& blob : entries_of(repository.folder() / "blobs")) {
    if (!linked.contains(blob.filename().string())) unused.push_back(blob);
  }
  for (const fs::path& path : unused) {
    const std::int64_t size = size_on_disk(path);
    if (fs::remove(path, error)) freed += size;
  }
  return freed;
}

void remove_empty_folders(const fs::path& folder, const fs::path& root) {
  std::error_code error;
  for (fs::path each = folder; each != root && fs::is_empty(each, error) && !error;
       each = each.parent_path()) {
    if (!fs::remove(each, error)) return;
  }
}

// References to snapshots that are gone.
void remove_dead_references(const CachedRepository& repository) {
  std::error_code error;
  const fs::path root = repository.folder() / "refs";
  std::vector<fs::path> dead;
  for (auto entry = fs::recursive_directory_iterator(root, error);
       entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    if (!entry->is_regular_file(error)) continue;
    const auto commit = repository.commit_of(entry->path().lexically_relative(root).string());
    if (!commit || !fs::exists(repository.snapshot(*commit), error)) dead.push_back(entry->path());
  }
  for (const fs::path& path : dead) {
    fs::remove(path, error);
    remove_empty_folders(path.parent_path(), root);
  }
}

// Keeps others from writing there meanwhile.
std::vector<FileLock> lock_all(const CachedRepository& repository, const HubId& id) {
  std::vector<FileLock> locks;
  std::error_code error;
  for (const fs::path& entry : entries_of(repository.locks())) {
    if (!fs::is_regular_file(entry, error)) continue;
    FileLock lock(entry);
    if (!lock.try_lock()) {
      throw StartupError(
          fmt::format("{} is being fetched by another process: stop that first, or "
                      "wait until it is done",
                      id.repository()));
    }
    locks.push_back(std::move(lock));
  }
  return locks;
}

std::vector<CachedModel> models_of(const CachedRepository& repository, const HubId& id) {
  const HubId plain{id.owner, id.name, "", ""};
  std::vector<CachedModel> models;
  for (const std::string& commit : repository.commits()) {
    add_snapshot(repository, plain, commit, models);
  }
  return models;
}

[[noreturn]] void refuse(const HubId& id, const std::vector<CachedModel>& there) {
  if (there.empty()) {
    throw StartupError(fmt::format("{} is not in the cache; mlxd list shows what is", id.text()));
  }
  std::vector<std::string> names;
  for (const CachedModel& model : there) names.push_back(model.id);
  throw StartupError(
      fmt::format("{} is not in the cache; there are {}", id.text(), fmt::join(names, ", ")));
}

}  // namespace

std::vector<CachedModel> list_models(const Settings& settings) {
  std::vector<CachedModel> models;
  for (const fs::path& entry : entries_of(settings.cache)) {
    const auto id = id_of(entry);
    if (!id) continue;
    for (CachedModel& model : models_of(CachedRepository(settings, *id), *id)) {
      models.push_back(std::move(model));
    }
  }
  std::ranges::sort(models, {}, &CachedModel::id);
  return models;
}

Removed remove_models(const HubId& id, const Settings& settings) {
  const CachedRepository repository(settings, id);
  std::error_code error;
  const std::vector<CachedModel> there = models_of(repository, id);
  if (!fs::exists(fs::symlink_status(repository.folder(), error))) refuse(id, there);
  const std::vector<FileLock> locks = lock_all(repository, id);
  Removed removed;
  if (id.quant.empty() && id.revision.empty()) {
    for (const CachedModel& model : there) removed.models.push_back(model.id);
    if (removed.models.empty()) removed.models.push_back(id.repository());
    fs::remove_all(repository.folder() / "snapshots", error);
    removed.bytes = sweep_blobs(repository);
    fs::remove_all(repository.folder(), error);
    if (error) {
      throw StartupError(
          fmt::format("{} cannot be removed: {}", repository.folder().string(), error.message()));
    }
    return removed;
  }
  std::vector<std::string> commits = repository.commits();
  if (!id.revision.empty()) {
    const auto commit = repository.commit_of(id.revision);
    std::erase_if(commits, [&](const std::string& each) { return each != commit; });
  }
  for (const std::string& commit : commits) {
    const fs::path root = repository.snapshot(commit);
    if (id.quant.empty()) {
      removed.models.push_back(id.text());
      fs::remove_all(root, error);
      continue;
    }
    const std::vector<GgufModel> models = gguf_models(repository.files_of(commit));
    const GgufModel* model = choose_gguf(models, id.quant);
    if (model == nullptr) continue;
    removed.models.push_back(id.repository() + ":" + model->quant);
    for (const std::string& file : model->files) {
      fs::remove(root / file, error);
      remove_empty_folders((root / file).parent_path(), repository.folder() / "snapshots");
    }
  }
  if (removed.models.empty()) refuse(id, there);
  const auto repeated = std::ranges::unique(removed.models);
  removed.models.erase(repeated.begin(), repeated.end());
  remove_dead_references(repository);
  removed.bytes = sweep_blobs(repository);
  return removed;
}

}  // namespace mlxd::hub
