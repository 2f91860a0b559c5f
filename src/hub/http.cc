#include "hub/http.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>

#include "transfer/certificates.h"

namespace mlxd::hub {
namespace {

constexpr long kMostRedirects = 5;
constexpr long kConnectSeconds = 20;
constexpr long kSilentSeconds = 30;  // without a byte, after which a connection counts as dead
constexpr int kTries = 3;

bool equals(std::string_view a, std::string_view b) {  // b in lower case
  return std::ranges::equal(a, b, [](unsigned char x, unsigned char y) {
    return std::tolower(x) == static_cast<int>(y);
  });
}

struct Body {
  std::string text;
  std::size_t most;
  const Stopped& stopped;
};

std::size_t read_body(char* data, std::size_t size, std::size_t count, void* target) {
  auto& body = *static_cast<Body*>(target);
  if (size * count > body.most - body.text.size()) return 0;
  body.text.append(data, size * count);
  return size * count;
}

int check_stopped(void* target, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& stopped = static_cast<Body*>(target)->stopped;
  return stopped && stopped() ? 1 : 0;
}

std::string host_of(const Settings& settings) {
  return settings.endpoint.substr(settings.endpoint.find("//") + 2);
}

}  // namespace

Easy make_request(const Settings& settings, const std::string& url, char* error,
                  HeaderList& headers) {
  Easy easy = transfer::make_easy(error);
  CURL* handle = easy.get();
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  const char* schemes = settings.is_https() ? "https" : "https,http";
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, schemes);
  curl_easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS_STR, schemes);
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(handle, CURLOPT_MAXREDIRS, kMostRedirects);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, kSilentSeconds);
  // One stream a connection: several are what makes it fast.
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  if (const std::string file =
          transfer::certificates_for(settings.certificates, settings.is_https());
      !file.empty()) {
    curl_easy_setopt(handle, CURLOPT_CAINFO, file.c_str());
  }
  if (!settings.token.empty()) {
    const std::string line = "Authorization: Bearer " + settings.token;
    headers.reset(curl_slist_append(nullptr, line.c_str()));
    // curl leaves it out where a redirect leads to another host, port or scheme.
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
  }
  return easy;
}

void AnswerHeaders::read(std::string_view line) {
  if (line.starts_with("HTTP/")) {
    error_code.clear();
    content_range.clear();
    retry_after = 0;
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  const std::string_view name = line.substr(0, colon);
  std::string_view value = line.substr(colon + 1);
  const auto begin = value.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return;
  value = value.substr(begin, value.find_last_not_of(" \t\r\n") - begin + 1);
  if (equals(name, "x-error-code")) error_code = value;
  if (equals(name, "x-repo-commit") && commit.empty()) commit = value;
  if (equals(name, "x-linked-size") && linked_size.empty()) linked_size = value;
  if (equals(name, "content-range")) content_range = value;
  if (equals(name, "x-linked-etag") && linked_etag.empty()) {
    if (value.size() >= 2 && value.front() == '"') value = value.substr(1, value.size() - 2);
    linked_etag = value;
  }
  if (equals(name, "retry-after")) {
    int seconds = 0;
    std::from_chars(value.data(), value.data() + value.size(), seconds);
    retry_after = std::clamp(seconds, 0, 24 * 3600);
  }
}

std::size_t read_header(char* data, std::size_t size, std::size_t count, void* headers) {
  static_cast<AnswerHeaders*>(headers)->read({data, size * count});
  return size * count;
}

Answer get(const Settings& settings, const std::string& url, std::size_t most_bytes,
           const Stopped& stopped) {
  for (int tried = 1;; ++tried) {
    Answer answer;
    std::array<char, CURL_ERROR_SIZE> error;
    HeaderList headers;
    Body body{"", most_bytes, stopped};
    const Easy easy = make_request(settings, url, error.data(), headers);
    CURL* handle = easy.get();
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, read_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &body);
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, read_header);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, &answer.headers);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, check_stopped);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &body);
    const CURLcode code = curl_easy_perform(handle);
    if (stopped && stopped()) throw Interrupted("stopped before the download began");
    if (code == CURLE_WRITE_ERROR) {
      throw StartupError(
          fmt::format("{} answers with more than {} MiB where a list of files was "
                      "asked for",
                      host_of(settings), most_bytes >> 20));
    }
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &answer.status);
    const bool passing = code == CURLE_OK ? is_passing_status(answer.status) && answer.status != 429
                                          : is_passing(code);
    if (passing && tried < kTries) {
      std::this_thread::sleep_for(std::chrono::milliseconds(300 << tried));
      continue;
    }
    if (code != CURLE_OK) throw StartupError(failure(settings, code, error.data()));
    answer.body = std::move(body.text);
    return answer;
  }
}

bool is_passing_status(long status) {
  return status == 408 || status == 429 || status == 500 || (status >= 502 && status <= 504);
}

std::string failure(const Settings& settings, CURLcode code, const char* error) {
  const std::string reason = error[0] != '\0' ? error : curl_easy_strerror(code);
  if (code == CURLE_UNSUPPORTED_PROTOCOL) {
    return fmt::format(
        "{} sends on to an address that is not https, which is not followed ({}); HF_ENDPOINT "
        "names "
        "another hub",
        host_of(settings), reason);
  }
  if (code == CURLE_TOO_MANY_REDIRECTS) {
    return fmt::format("{} sends on from one address to the next more than {} times",
                       host_of(settings), kMostRedirects);
  }
  if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE) {
    return fmt::format(
        "the certificate of {} cannot be checked: {}; SSL_CERT_FILE names the file of a proxy's "
        "own certificates",
        host_of(settings), reason);
  }
  if (code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING) {
    return fmt::format("the connection to {} broke off: {}", host_of(settings), reason);
  }
  return fmt::format(
      "{} cannot be reached: {}; check the network, or HTTPS_PROXY, or HF_ENDPOINT for a mirror",
      host_of(settings), reason);
}

std::string refusal(const Settings& settings, const HubId& id, std::string_view what, long status,
                    const AnswerHeaders& headers) {
  const std::string repository = id.repository();
  const std::string page = fmt::format("{}/{}", settings.endpoint, repository);
  const bool has_token = !settings.token.empty();
  if (status == 429) {
    return fmt::format("{} takes no more requests for now; {}{}", host_of(settings),
                       headers.retry_after > 0
                           ? fmt::format("try again in {:.0f} seconds", headers.retry_after)
                           : "try again later",
                       has_token ? "" : ", or set HF_TOKEN, with which more are taken");
  }
  if (headers.error_code == "GatedRepo" || (status == 403 && headers.error_code.empty())) {
    return fmt::format(
        "{} is given only to those who accepted its terms: do so at {}{}", repository, page,
        has_token ? ", as the user whose token this is"
                  : fmt::format(", then set HF_TOKEN to a token of yours ({}/settings/"
                                "tokens)",
                                settings.endpoint));
  }
  if (headers.error_code == "RevisionNotFound") {
    return fmt::format("{} has no revision {}; {}/tree/main lists branches and tags", repository,
                       id.revision_or_main(), page);
  }
  if (status == 401 || headers.error_code == "RepoNotFound") {
    return fmt::format("{} is not on {}, or private: check its name{}", repository,
                       host_of(settings),
                       has_token ? ", and that the token in use may read it"
                                 : "; for a private one set HF_TOKEN to a token that may read it");
  }
  if (status == 404) {
    return fmt::format("{} has no {} at {}; check the name at {}", repository, what,
                       id.revision_or_main(), page);
  }
  return fmt::format("{} answers {} with the status {}; try again later", host_of(settings), what,
                     status);
}

std::string escaped(std::string_view text, bool keep_slashes) {
  std::string result;
  for (const unsigned char c : text) {
    if (std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_' || c == '~' ||
        (c == '/' && keep_slashes)) {
      result += static_cast<char>(c);
    } else {
      result += fmt::format("%{:02X}", c);
    }
  }
  return result;
}

}  // namespace mlxd::hub
