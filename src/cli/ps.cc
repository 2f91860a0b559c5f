// `mlxd ps`: what a server that runs has loaded.
#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <string_view>

#include <boost/json.hpp>
#include <curl/curl.h>
#include <fmt/format.h>

#include "base/error.h"
#include "cli/cli.h"
#include "hub/http.h"
#include "hub/progress.h"

namespace mlxd {
namespace {

namespace json = boost::json;

constexpr std::size_t kLongestAnswer = 16 << 20;

std::size_t append(char* data, std::size_t size, std::size_t count, void* target) {
  auto& body = *static_cast<std::string*>(target);
  if (body.size() + size * count > kLongestAnswer) return 0;
  body.append(data, size * count);
  return size * count;
}

// The states of its models, as GET /v1/admin/models has them. Throws StartupError.
json::value ask(const ProcessesSettings& settings) {
  hub::Settings server;
  server.endpoint = settings.url;
  while (server.endpoint.ends_with('/')) server.endpoint.pop_back();
  server.token = settings.admin_key;
  std::array<char, CURL_ERROR_SIZE> error;
  hub::HeaderList headers;
  const hub::Easy easy =
      hub::make_request(server, server.endpoint + "/v1/admin/models", error.data(), headers);
  std::string body;
  long status = 0;
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, append);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &body);
  const CURLcode code = curl_easy_perform(easy.get());
  if (code != CURLE_OK) {
    throw StartupError(fmt::format(
        "no server answers at {}: {}; mlxd serve starts one, and mlxd ps URL asks another",
        server.endpoint, error[0] != '\0' ? error.data() : curl_easy_strerror(code)));
  }
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status == 401 || status == 403) {
    throw StartupError(
        fmt::format("{} tells its administrator alone what it has loaded: give its --admin-key",
                    server.endpoint));
  }
  boost::system::error_code refused;
  json::value answer = json::parse(body, refused);
  if (status != 200 || refused || !answer.is_object() || !answer.as_object().contains("models")) {
    throw StartupError(fmt::format("{} is no mlxd: it answers /v1/admin/models with status {}",
                                   server.endpoint, status));
  }
  return answer;
}

std::string memory_of(const json::value& model) {
  return model.at("state") == "loaded" ? hub::size_text(model.at("bytes").to_number<std::int64_t>())
                                       : "";
}

}  // namespace

int run_processes(const ProcessesSettings& settings) try {
  const json::value answer = ask(settings);
  if (settings.json) {
    std::printf("%s\n", json::serialize(answer).c_str());
    return 0;
  }
  const json::array& models = answer.at("models").as_array();
  std::size_t widest = 2;
  for (const json::value& model : models) {
    widest = std::max<std::size_t>(widest, model.at("id").as_string().size());
  }
  const auto print = [widest](std::string_view id, std::string_view state, std::string_view memory,
                              std::string_view requests) {
    std::printf(
        "%s\n",
        fmt::format("{:<{}}  {:<9}  {:>8}  {:>8}", id, widest, state, memory, requests).c_str());
  };
  print("ID", "STATE", "MEMORY", "REQUESTS");
  for (const json::value& model : models) {
    print(std::string_view(model.at("id").as_string()),
          std::string_view(model.at("state").as_string()), memory_of(model),
          std::to_string(model.at("requests").to_number<int>()));
  }
  return 0;
} catch (const boost::system::system_error&) {
  throw StartupError(
      fmt::format("{} tells its models in words that this program does not know", settings.url));
}

}  // namespace mlxd
