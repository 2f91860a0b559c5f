#include "api/admin/model_states.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <boost/json/value.hpp>

#include "api/core.h"
#include "api/errors.h"
#include "api/generation/bell.h"
#include "api/generation/model_change.h"
#include "api/generation/text_job.h"
#include "api/json_reader.h"
#include "api/json_values.h"
#include "api/json_writer.h"

namespace mlxd::api {
namespace {

namespace json = boost::json;

// How long a change may go untold.
constexpr double kLookSeconds = 0.25;

std::string states_json(Core& core) {
  std::string text;
  JsonWriter json(text);
  json.begin_object();
  json.key("memory");
  json.begin_object();
  json.member("reserved_bytes", core.models.memory_reserved());
  json.member("bound_bytes", core.models.memory_bound());
  json.end_object();
  json.key("models");
  json.begin_array();
  for (const ModelStatus& model : core.models.status()) {
    json.begin_object();
    json.member("id", model.model->id);
    json.member("state", name_of(model.state));
    if (model.state == ModelState::loading) json.member("progress", model.loaded);
    json.member("pinned", model.pinned);
    json.member("bytes", model.bytes);
    json.member("requests", model.uses);
    if (!model.failure.empty()) json.member("failure", model.failure);
    json.end_object();
  }
  json.end_array();
  json.end_object();
  return text;
}

const NameRow kNamedModel[] = {
    {"model",
     NameRow::Rules::Custom{[](const json::value& value, NamedModel& fields) -> Result<void> {
                              if (!value.is_string())
                                return wrong_type("model", "the id of a model", value);
                              fields.model = std::string(value.get_string());
                              return {};
                            },
                            "ModelId"},
     "the id of a model"},
};

Result<std::string> read_name(std::string_view body) {
  const auto object = read_json_object(body);
  if (!object) return object.error();
  NamedModel fields;
  if (auto read = read_by_table(*object, kNamedModel, "", fields); !read) return read.error();
  if (fields.model.empty()) return bad_value("model", "'model' must be the id of a model.");
  return std::move(fields.model);
}

// Reads a model's name and waits for what `begin` has done with it.
template <class Begin>
Task<> change(Core& core, http::Exchange& exchange, Begin begin) {
  struct Silence {
    ~Silence() { bell->silence(); }
    const std::shared_ptr<Bell> bell;
  };
  const Silence handler{std::make_shared<Bell>(exchange.wakeup())};
  TextWork<std::string> work = [](http::Body& body, const ModelDirectory&) {
    return read_name(body.text);
  };
  auto name =
      co_await read_body<std::string>(core.generation, exchange, handler.bell, std::move(work));
  if (!name) co_return;
  std::optional<Error> failure;
  if (*name) {
    const auto changed = begin(**name, handler.bell);
    const bool done = co_await done_or_gone(*changed, exchange, core.generation.keep_alive_seconds);
    if (!done) co_return;
    if (auto result = changed->take(); !result) failure = std::move(result).error();
  } else {
    failure = name->error();
  }
  http::Response response;
  if (failure) {
    response = error_response(*failure);
  } else {
    response.body = states_json(core);
  }
  co_await exchange.respond(std::move(response));
}

Task<> load(Core& core, http::Exchange& exchange) {
  const auto begin = [&core](const std::string& name, const std::shared_ptr<Bell>& bell) {
    const TimePoint deadline = after_seconds(Clock::now(), core.generation.load_seconds);
    return ModelChange::load(core.models, name, deadline, bell);
  };
  co_await change(core, exchange, begin);
}

Task<> unload(Core& core, http::Exchange& exchange) {
  const auto begin = [&core](const std::string& name, const std::shared_ptr<Bell>& bell) {
    return ModelChange::unload(core.models, name, bell);
  };
  co_await change(core, exchange, begin);
}

http::Response show(Core& core) {
  http::Response response;
  response.body = states_json(core);
  return response;
}

// The same whenever it has changed, until the client goes or the server stops.
Task<> watch(Core& core, http::Exchange& exchange) {
  http::Headers headers;
  headers.emplace_back("cache-control", "no-cache");
  bool connected = co_await exchange.begin_stream(std::move(headers), http::kEventStream);
  std::string told;
  TimePoint written = Clock::now();
  while (connected && !core.draining) {
    std::string states = states_json(core);
    const bool silent =
        seconds_between(written, Clock::now()) >= core.generation.keep_alive_seconds;
    if (states != told || silent) {
      told = std::move(states);
      written = Clock::now();
      std::string frame = "data: " + told + "\n\n";
      connected = co_await exchange.write(std::move(frame));
    }
    co_await exchange.wakeup()->wait_for(kLookSeconds);
    connected = connected && !exchange.peer_gone();
  }
  if (connected) co_await exchange.end_stream();
}

}  // namespace

std::string_view name_of(ModelState state) {
  switch (state) {
    case ModelState::absent:
      return "unloaded";
    case ModelState::loading:
      return "loading";
    case ModelState::ready:
      return "loaded";
    case ModelState::failed:
      return "failed";
    case ModelState::unloading:
      return "unloading";
  }
  return "";
}

std::span<const NameRow> model_name_parameters() { return kNamedModel; }

void mount_model_states(http::Router& router, Core& core) {
  router.add(
      "GET", "/v1/admin/models",
      [&core](http::Exchange& exchange) { return exchange.respond(show(core)); }, http::Key::admin);
  router.add(
      "GET", "/v1/admin/events",
      [&core](http::Exchange& exchange) { return watch(core, exchange); }, http::Key::admin);
  router.add(
      "POST", "/v1/admin/models/load",
      [&core](http::Exchange& exchange) { return load(core, exchange); }, http::Key::admin);
  router.add(
      "POST", "/v1/admin/models/unload",
      [&core](http::Exchange& exchange) { return unload(core, exchange); }, http::Key::admin);
}

}  // namespace mlxd::api
