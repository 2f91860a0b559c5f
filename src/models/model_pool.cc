#include "models/model_pool.h"

#include <algorithm>
#include <future>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "models/model_pool_state.h"

namespace mlxd {

Error model_unavailable(const char* code, std::string message) {
  return {.status = 503,
          .code = code,
          .param = "model",
          .message = std::move(message),
          .retry_after_seconds = kModelRetrySeconds};
}

Error models_loading() {
  Error error = model_unavailable(
      "model_loading", "The server is loading its models; send the request again in a while.");
  error.param.clear();
  return error;
}

Error model_busy(std::string_view name) {
  return model_unavailable(
      "model_busy",
      fmt::format("{:.200} could not be loaded in time, since other models are in use or "
                  "being loaded; send the request again in a while.",
                  name));
}

Error server_stopping() {
  return model_unavailable("server_stopping", "The server is stopping; send the request again.");
}

Error model_not_found(std::string_view name, const std::vector<std::string_view>& ids) {
  return {.status = 404,
          .code = "model_not_found",
          .param = "model",
          .message = fmt::format("The model '{:.200}' is not served here; send one of: {}.", name,
                                 fmt::join(ids, ", "))};
}

void ModelPool::State::open(std::vector<PooledModel> models, std::size_t memory_bytes) {
  Lock lock(mutex_);
  book_.emplace(memory_bytes);
  for (PooledModel& model : models) {
    entries_.push_back(std::make_unique<Entry>(std::move(model)));
  }
}

void ModelPool::State::set_started() {
  Lock lock(mutex_);
  started_ = true;
}

bool ModelPool::State::started() const {
  Lock lock(mutex_);
  return started_;
}

ModelPool::State::Entry* ModelPool::State::find(std::string_view name) {
  const auto found = find_named(
      entries_, name, [](const auto& entry) -> const ModelFacts& { return entry->pooled.model; });
  return found == entries_.end() ? nullptr : found->get();
}

Error ModelPool::State::not_found(std::string_view name) const {
  std::vector<std::string_view> ids;
  for (const auto& entry : entries_) ids.push_back(entry->pooled.model.id);
  return model_not_found(name, ids);
}

bool ModelPool::State::failed_lately(const Entry& entry) const {
  return entry.state == ModelState::failed &&
         seconds_between(entry.failed_at, Clock::now()) < times_.retry_seconds;
}

Error ModelPool::State::why_not_ready(const Entry& entry) const {
  const std::string& id = entry.pooled.model.id;
  if (entry.state == ModelState::failed) {
    return model_unavailable("model_failed",
                             fmt::format("{} could not be loaded: {}", id, entry.failure));
  }
  return model_unavailable(
      entry.leaving ? "model_busy" : "model_loading",
      fmt::format("{} is not loaded now; send the request again in a while.", id));
}

// Leases. `hold` counts one, under the mutex; the lease itself is made outside of it, since what
// ends it takes the mutex.
void ModelPool::State::hold(Entry& entry, bool is_use) {
  ++entry.leases;
  if (!is_use) return;
  ++entry.uses;
  entry.last_used = ++uses_;
  entry.stays.reset();
}

ModelLease ModelPool::State::make_lease(Entry& entry, bool is_use) {
  return ModelLease(&entry.pooled.model, [self = shared_from_this(), &entry, is_use](ServedModel*) {
    self->release(entry, is_use);
  });
}

void ModelPool::State::release(Entry& entry, bool is_use) noexcept {
  std::unique_ptr<Engine> ended;
  bool is_news = false;
  {
    Lock lock(mutex_);
    --entry.leases;
    if (is_use) {
      --entry.uses;
      if (!entry.leaving) entry.last_used = ++uses_;  // or another would have to leave in its place
      entry.used_at = Clock::now();
    }
    is_news = entry.leases == 0 && (anybody_waits() || idle_until(entry) != TimePoint::max());
    // No thread is left to see to it.
    if (stopping_ && entry.leases == 0) ended = std::move(entry.pooled.model.engine);
  }
  if (is_news) changed_.notify_all();
}

bool ModelPool::State::anybody_waits() const {
  return std::ranges::any_of(entries_, [](const auto& entry) {
    return !entry->asks.empty() || !entry->dismissals.empty();
  });
}

Result<ModelLease> ModelPool::State::lease(std::string_view name) {
  Lock lock(mutex_);
  if (closed_) return server_stopping();
  if (!started_) return models_loading();
  Entry* const entry = find(name);
  if (entry == nullptr) return not_found(name);
  if (!entry->may_be_leased()) return why_not_ready(*entry);
  hold(*entry, true);
  lock.unlock();
  return make_lease(*entry, true);
}

std::uint64_t ModelPool::State::acquire(std::string_view name, TimePoint deadline, Done done) {
  Lock lock(mutex_);
  const std::uint64_t number = ++uses_;
  Entry* const entry = find(name);
  std::optional<Error> refusal;
  if (closed_) {
    refusal = server_stopping();
  } else if (entry == nullptr) {
    refusal = book_ ? not_found(name) : models_loading();
  } else if (failed_lately(*entry)) {
    refusal = why_not_ready(*entry);
  } else if (!entry->may_be_leased()) {
    entry->asks.push_back({number, deadline, std::move(done)});
    lock.unlock();
    changed_.notify_all();
    return number;
  } else {
    hold(*entry, true);
  }
  lock.unlock();
  if (refusal) {
    done(*std::move(refusal));
  } else {
    done(make_lease(*entry, true));
  }
  return number;
}

void ModelPool::State::withdraw(std::uint64_t number) {
  Ask withdrawn;  // ends outside the mutex: it may hold a lease, whose end takes it
  {
    Lock lock(mutex_);
    for (const auto& entry : entries_) {
      const auto ask = std::ranges::find(entry->asks, number, &Ask::number);
      if (ask == entry->asks.end()) continue;
      withdrawn = std::move(*ask);
      entry->asks.erase(ask);
      break;
    }
  }
  if (withdrawn.done) changed_.notify_all();  // what was to make room for it need not leave
}

void ModelPool::State::close() {
  Lock lock(mutex_);
  closed_ = true;
  for (const auto& entry : entries_) {
    while (!entry->asks.empty()) refuse(*entry, 0, server_stopping(), lock);
  }
}

void ModelPool::State::unload(std::string_view name, Gone done) {
  Lock lock(mutex_);
  Entry* const entry = find(name);
  std::optional<Error> refusal;
  if (closed_) {
    refusal = server_stopping();
  } else if (entry == nullptr) {
    refusal = book_ ? not_found(name) : models_loading();
  } else {
    entry->dismissals.push_back(std::move(done));
  }
  lock.unlock();
  if (refusal) return done(*std::move(refusal));
  changed_.notify_all();
}

void ModelPool::State::keep_alive(std::string_view name, double seconds) {
  {
    const Lock lock(mutex_);
    Entry* const entry = find(name);
    if (entry == nullptr) return;
    constexpr double kYears = 1e9;  // of which a time can tell
    entry->stays = std::min(seconds, kYears);
  }
  changed_.notify_all();
}

std::vector<ModelLease> ModelPool::State::ready() {
  std::vector<ModelLease> leases;
  for (std::size_t i = 0;; ++i) {
    Lock lock(mutex_);
    if (i >= entries_.size()) return leases;
    Entry& entry = *entries_[i];
    if (entry.state != ModelState::ready) continue;
    hold(entry, false);
    lock.unlock();
    leases.push_back(make_lease(entry, false));
  }
}

std::vector<ModelStatus> ModelPool::State::status() {
  std::vector<ModelStatus> all;
  const TimePoint now = Clock::now();
  const auto self = shared_from_this();
  Lock lock(mutex_);
  for (const auto& entry : entries_) {
    ModelStatus& status = all.emplace_back();
    status.model = {self, &entry->pooled.model};
    status.state = entry->state;
    if (entry->state == ModelState::loading) status.loaded = entry->loaded;
    status.pinned = entry->pooled.pinned;
    status.bytes = entry->pooled.bytes;
    status.uses = entry->uses;
    if (entry->state == ModelState::ready && entry->uses == 0) {
      status.idle_seconds = seconds_between(entry->used_at, now);
    }
    status.failure = entry->failure;
  }
  return all;
}

std::size_t ModelPool::State::memory_reserved() const {
  Lock lock(mutex_);
  return book_ ? book_->reserved() : 0;
}

std::size_t ModelPool::State::memory_bound() const {
  Lock lock(mutex_);
  return book_ ? book_->bound() : 0;
}

void ModelPool::State::stop() {
  {
    Lock lock(mutex_);
    closed_ = stopping_ = true;
  }
  changed_.notify_all();
}

void ModelPool::State::let_idle_go() {
  for (const auto& entry : entries_) {
    std::unique_ptr<Engine> ended;
    Lock lock(mutex_);
    if (entry->leases == 0) ended = std::move(entry->pooled.model.engine);
  }
}

ModelPool::ModelPool(PoolTimes times)
    : state_(std::make_shared<State>(times)), thread_([state = state_] { state->run(); }) {}

ModelPool::~ModelPool() {
  state_->stop();
  thread_.join();
  state_->let_idle_go();
}

void ModelPool::start(std::vector<PooledModel> models, std::size_t memory_bytes) {
  std::vector<std::string> pinned;
  for (const PooledModel& model : models) {
    if (model.pinned) pinned.push_back(model.model.id);
  }
  state_->open(std::move(models), memory_bytes);
  for (const std::string& id : pinned) {
    const auto answer = std::make_shared<std::promise<Result<ModelLease>>>();
    acquire(id, TimePoint::max(),
            [answer](Result<ModelLease> lease) { answer->set_value(std::move(lease)); });
    const Result<ModelLease> lease = answer->get_future().get();
    if (lease) continue;
    for (const ModelStatus& model : status()) {
      if (model.model->id == id && !model.failure.empty()) throw StartupError(model.failure);
    }
    throw StartupError(lease.error().message);
  }
  state_->set_started();
}

bool ModelPool::started() const { return state_->started(); }

Result<ModelLease> ModelPool::lease(std::string_view name) { return state_->lease(name); }

std::uint64_t ModelPool::acquire(std::string_view name, TimePoint deadline, Done done) {
  return state_->acquire(name, deadline, std::move(done));
}

void ModelPool::withdraw(std::uint64_t ask) { state_->withdraw(ask); }

void ModelPool::close() { state_->close(); }

void ModelPool::unload(std::string_view name, Gone done) { state_->unload(name, std::move(done)); }

void ModelPool::keep_alive(std::string_view name, double seconds) {
  state_->keep_alive(name, seconds);
}

std::vector<ModelLease> ModelPool::ready() { return state_->ready(); }

std::vector<ModelStatus> ModelPool::status() const { return state_->status(); }

std::size_t ModelPool::memory_reserved() const { return state_->memory_reserved(); }

std::size_t ModelPool::memory_bound() const { return state_->memory_bound(); }

}  // namespace mlxd
