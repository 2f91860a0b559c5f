#include "tracing/otlp_client.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include <fmt/format.h>

#include "base/error.h"
#include "transfer/certificates.h"
#include "transfer/easy.h"

namespace mlxd::tracing {
namespace {

constexpr std::size_t kMostBytes = std::size_t{64} << 10;  // of an answer that are read
constexpr double kLongestWait = 300;                       // seconds that a collector may ask for

std::size_t read_body(char* data, std::size_t size, std::size_t count, void* target) {
  auto& body = *static_cast<std::string*>(target);
  body.append(data, std::min(size * count, kMostBytes - body.size()));
  return size * count;
}

int check_stopped(void* stopped, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return (*static_cast<const std::function<bool()>*>(stopped))() ? 1 : 0;
}

// By the protocol's list; the others are for good.
bool is_passing_status(long status) {
  return status == 429 || status == 502 || status == 503 || status == 504;
}

}  // namespace

struct OtlpClient::State {
  std::array<char, CURL_ERROR_SIZE> error{};
  transfer::HeaderList headers;
  transfer::Easy easy;

  void add_header(const std::string& line) {
    curl_slist* longer = curl_slist_append(headers.get(), line.c_str());
    if (longer == nullptr) throw StartupError("libcurl has no memory for a header");
    static_cast<void>(headers.release());  // it is the head of `longer`
    headers.reset(longer);
  }
};

OtlpClient::OtlpClient(const Settings& settings) : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.easy = transfer::make_easy(state.error.data());
  state.add_header("Content-Type: application/json");
  state.add_header("Expect:");  // the body goes with its header
  for (const auto& [name, value] : settings.headers) {
    // With a semicolon curl sends a header that has no value.
    state.add_header(value.empty() ? name + ";" : name + ": " + value);
  }
  CURL* handle = state.easy.get();
  curl_easy_setopt(handle, CURLOPT_URL, settings.url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, state.headers.get());
  curl_easy_setopt(handle, CURLOPT_POST, 1L);
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(settings.timeout_seconds * 1000));
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, read_body);
  curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, check_stopped);
#if LIBCURL_VERSION_NUM >= 0x075700
  curl_easy_setopt(handle, CURLOPT_QUICK_EXIT, 1L);  // no waiting for a resolver that hangs
#endif
  const std::string of_the_user =
      settings.certificates.empty() ? transfer::certificates_of_the_user() : settings.certificates;
  const std::string file =
      transfer::certificates_for(of_the_user, settings.url.starts_with("https://"));
  if (!file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, file.c_str());
}

OtlpClient::~OtlpClient() = default;

Sent OtlpClient::post(const std::string& body, const std::function<bool()>& stopped) {
  CURL* handle = state_->easy.get();
  std::string answer;
  state_->error[0] = '\0';
  curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(handle, CURLOPT_POSTFIELDS, body.data());
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &answer);
  curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &stopped);
  const CURLcode code = curl_easy_perform(handle);
  Sent sent;
  if (code != CURLE_OK) {
    sent.may_pass = transfer::is_passing(code);
    if (code == CURLE_ABORTED_BY_CALLBACK) {
      sent.failure = "it had not answered when the server stopped";
    } else {
      sent.failure = state_->error[0] != '\0' ? state_->error.data() : curl_easy_strerror(code);
    }
    return sent;
  }
  long status = 0;
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  if (status >= 200 && status < 300) {
    sent.taken = true;
    PartialSuccess partial = read_partial_success(answer);
    sent.rejected_spans = partial.rejected_spans;
    if (partial.rejected_spans > 0) {
      sent.failure = fmt::format("it refuses some ({})", partial.message);
    }
    return sent;
  }
  curl_off_t seconds = 0;
  curl_easy_getinfo(handle, CURLINFO_RETRY_AFTER, &seconds);
  sent.may_pass = is_passing_status(status);
  sent.retry_after_seconds = std::clamp(static_cast<double>(seconds), 0.0, kLongestWait);
  sent.failure = fmt::format("it answers with the status {}", status);
  return sent;
}

}  // namespace mlxd::tracing
