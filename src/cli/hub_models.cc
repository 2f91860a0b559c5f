#include "cli/hub_models.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "cli/line_reader.h"
#include "hub/progress.h"

namespace mlxd {
namespace {

constexpr auto kLineEvery = std::chrono::seconds(5);
constexpr auto kDrawEvery = std::chrono::milliseconds(200);

// A terminal that understands "back to the line's begin" and "clear from here".
bool can_draw() {
  const char* kind = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) != 0 && kind != nullptr && std::string_view(kind) != "dumb";
}

int columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

bool is_in_models_folder(const std::string& id) {
  const char* folder = std::getenv("MLXD_MODELS_DIR");
  std::error_code error;
  return folder != nullptr && *folder != '\0' &&
         std::filesystem::exists(std::filesystem::path(folder) / id, error);
}

}  // namespace

struct PullDisplay::State {
  std::string name;
  Line line;
  bool draws = false;
  bool drawn = false;  // a bar stands in the last line
  hub::Speed speed;
  TimePoint next{};
  hub::Progress last;

  void end_bar() {
    if (std::exchange(drawn, false)) std::fputs("\n", stderr);
  }
};

PullDisplay::PullDisplay(std::string name, Line line) : state_(std::make_unique<State>()) {
  state_->name = std::move(name);
  state_->draws = line == nullptr && can_draw();
  state_->line = line ? std::move(line)
                      : [](const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); };
  state_->next = Clock::now() + (state_->draws ? Clock::duration(0) : kLineEvery);
}

PullDisplay::~PullDisplay() { state_->end_bar(); }

void PullDisplay::show(const hub::Progress& progress) {
  State& state = *state_;
  const TimePoint now = Clock::now();
  state.speed.add(progress.bytes_done, now);
  const bool ended = progress.files_done == progress.files;
  if (now < state.next && !(ended && state.drawn)) return;
  const double speed = state.speed.bytes_per_second();
  if (state.draws) {
    const std::string bar = hub::progress_bar(state.name, progress, speed, columns() - 1);
    std::fprintf(stderr, "\r%s\x1b[K", bar.c_str());
    state.drawn = true;
    state.next = now + kDrawEvery;
  } else {
    state.line(hub::progress_line(state.name, progress, speed));
    state.next = now + kLineEvery;
  }
}

void PullDisplay::say(const std::string& sentence) {
  state_->end_bar();
  state_->line(sentence);
}

hub::Pulled pull_model(const hub::HubId& id, int connections, bool catches_interrupts,
                       PullDisplay::Line line) {
  const hub::Settings settings = hub::settings_from_environment();
  PullDisplay display(id.text(), std::move(line));
  Interrupts interrupts(catches_interrupts);
  hub::PullOptions options;
  options.connections = connections;
  // Once come, it is to be seen by all who ask.
  options.stopped = [&interrupts, stopped = false]() mutable {
    return stopped = stopped || interrupts.take();
  };
  options.report = [&display](const hub::Progress& progress) { display.show(progress); };
  options.say = [&display](const std::string& sentence) { display.say(sentence); };
  return hub::pull(id, settings, options);
}

void locate_models(std::vector<ModelSetting>& models, Missing missing, PullDisplay::Line line) {
  for (ModelSetting& model : models) {
    const bool is_asked_for = model.where.starts_with("hf:");
    std::error_code error;
    if (!is_asked_for &&
        (std::filesystem::exists(model.where, error) || !hub::looks_like_hub_id(model.where) ||
         is_in_models_folder(model.where))) {
      continue;
    }
    const hub::HubId id = hub::parse_hub_id(model.where);
    if (const auto path = hub::find_cached(id, hub::settings_from_environment())) {
      model.where = path->string();
    } else if (is_asked_for || missing == Missing::pull) {
      model.where =
          pull_model(id, hub::PullOptions{}.connections, line == nullptr, line).path.string();
    } else if (!id.quant.empty() || !id.revision.empty()) {
      throw StartupError(
          fmt::format("{0} is not in the Hugging Face cache; mlxd pull {0} fetches it", id.text()));
    }
  }
}

}  // namespace mlxd
