#include "tracing/settings.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <iterator>

#include <fmt/format.h>

#include "base/error.h"
#include "base/utf8.h"

namespace mlxd::tracing {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_address(std::string_view text) {
  const std::size_t slashes = text.find("://");
  const bool is_web = text.starts_with("https://") || text.starts_with("http://");
  return is_web && text.size() > slashes + 3 && text[slashes + 3] != '/' &&
         std::ranges::all_of(text, [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

std::string checked_address(std::string text, std::string_view where) {
  if (is_address(text)) return text;
  throw StartupError(fmt::format(
      "{} is \"{}\"; it must be the address of a collector such as http://localhost:4318", where,
      without_credentials(text)));
}

std::string traces_of(std::string endpoint) {
  while (endpoint.ends_with('/')) endpoint.pop_back();
  return endpoint + "/v1/traces";
}

std::string url_of_traces(std::string_view option) {
  if (!option.empty()) {
    return traces_of(checked_address(std::string(option), "--otlp-endpoint"));
  }
  constexpr const char* kTraces = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
  if (std::string url = variable(kTraces); !url.empty()) {
    return checked_address(std::move(url), kTraces);
  }
  constexpr const char* kAll = "OTEL_EXPORTER_OTLP_ENDPOINT";
  std::string url = variable(kAll);
  return url.empty() ? "" : traces_of(checked_address(std::move(url), kAll));
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// With "%2C" as a comma. Nothing where a "%" is not followed by two digits.
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    unsigned code = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
    if (digits.size() != 2 || read.ptr != digits.data() + 2) return std::nullopt;
    decoded += static_cast<char>(code);
    i += 2;
  }
  return decoded;
}

// "name=value,name=value". Nothing where it is not of this form.
std::optional<Pairs> read_pairs(std::string_view text) {
  Pairs pairs;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t comma = std::min(text.find(',', start), text.size());
    const std::string_view part = trimmed(text.substr(start, comma - start));
    start = comma + 1;
    if (part.empty()) continue;
    const std::size_t equals = part.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    auto name = percent_decoded(trimmed(part.substr(0, equals)));
    auto value = percent_decoded(trimmed(part.substr(equals + 1)));
    if (!name || name->empty() || !value) return std::nullopt;
    pairs.emplace_back(*std::move(name), *std::move(value));
  }
  return pairs;
}

// RFC 9110's tchar, beside letters and digits.
constexpr std::string_view kOtherTokenCharacters = "!#$%&'*+-.^_`|~";

bool is_header(const std::pair<std::string, std::string>& header) {
  const auto is_token = [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           kOtherTokenCharacters.find(static_cast<char>(c)) != std::string_view::npos;
  };
  const auto is_text = [](unsigned char c) { return c == '\t' || (c >= 0x20 && c != 0x7f); };
  return std::ranges::all_of(header.first, is_token) && std::ranges::all_of(header.second, is_text);
}

// Reads the variables of OpenTelemetry, and says which cannot be used.
class Reader {
 public:
  explicit Reader(std::vector<std::string>& warnings) : warnings_(warnings) {}

  // The first of the two that is set; its name is then `name`.
  std::string first(const char* specific, const char* general, const char*& name) const {
    name = specific;
    std::string value = variable(specific);
    if (!value.empty()) return value;
    name = general;
    return variable(general);
  }

  Pairs headers() {
    const char* name = nullptr;
    const std::string text =
        first("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS", name);
    auto pairs = read_pairs(text);
    if (pairs && std::ranges::all_of(*pairs, is_header)) return *std::move(pairs);
    warn(name, "is left out: it is no list NAME=VALUE,NAME=VALUE of headers");  // may be secret
    return {};
  }

  Resource resource() {
    constexpr const char* kName = "OTEL_RESOURCE_ATTRIBUTES";
    Resource resource;
    auto pairs = read_pairs(variable(kName));
    if (pairs && std::ranges::all_of(*pairs, [](const auto& pair) {
          return is_valid_utf8(pair.first) && is_valid_utf8(pair.second);
        })) {
      resource = *std::move(pairs);
    } else {
      warn(kName, "is left out: it is no list NAME=VALUE,NAME=VALUE");
    }
    const std::string service = variable("OTEL_SERVICE_NAME");
    const auto named = [](const auto& pair) { return pair.first == "service.name"; };
    if (!service.empty()) std::erase_if(resource, named);
    if (std::ranges::none_of(resource, named)) {
      resource.insert(resource.begin(), {"service.name", service.empty() ? "mlxd" : service});
    }
    return resource;
  }

  Sampler sampler() {
    constexpr const char* kName = "OTEL_TRACES_SAMPLER";
    constexpr const char* kArgument = "OTEL_TRACES_SAMPLER_ARG";
    const std::string name = variable(kName);
    if (name.empty()) return {};
    double ratio = 1;
    if (name.ends_with("traceidratio")) ratio = number(kArgument, 1, 0, 1);
    if (const auto sampler = sampler_named(name, ratio)) return *sampler;
    warn(kName, fmt::format("is \"{}\", which is no sampler of mlxd: parentbased_always_on is used "
                            "(there are always_on, always_off, traceidratio, and parentbased_ "
                            "before each)",
                            name));
    return {};
  }

  double number(const char* name, double otherwise, double least, double most) {
    const std::string text = variable(name);
    if (text.empty()) return otherwise;
    double value = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool is_read = read.ec == std::errc() && read.ptr == text.data() + text.size();
    if (is_read && value >= least && value <= most) return value;
    warn(name, fmt::format("is \"{}\", which is not a number from {} to {}: {} is used", text,
                           least, most, otherwise));
    return otherwise;
  }

  void warn(const char* name, std::string_view what) {
    warnings_.push_back(fmt::format("the variable {} {}", name, what));
  }

 private:
  std::vector<std::string>& warnings_;
};

}  // namespace

std::optional<Settings> settings_from_environment(std::string_view endpoint,
                                                  std::vector<std::string>& warnings) {
  std::string disabled = variable("OTEL_SDK_DISABLED");
  std::ranges::transform(disabled, disabled.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  });
  if (disabled == "true" || variable("OTEL_TRACES_EXPORTER") == "none") return std::nullopt;
  Settings settings;
  settings.url = url_of_traces(endpoint);
  if (settings.url.empty()) return std::nullopt;

  Reader reader(warnings);
  const char* name = nullptr;
  const std::string protocol =
      reader.first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL", name);
  if (!protocol.empty() && !protocol.starts_with("http/")) {
    reader.warn(
        name,
        fmt::format("is \"{}\", which is not spoken here: spans are sent as http/json", protocol));
  }
  settings.headers = reader.headers();
  settings.certificates =
      reader.first("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE", name);
  settings.resource = reader.resource();
  settings.sampler = reader.sampler();
  reader.first("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT", name);
  settings.timeout_seconds = reader.number(name, 10'000, 1, 600'000) / 1000;
  settings.delay_seconds = reader.number("OTEL_BSP_SCHEDULE_DELAY", 5'000, 0, 600'000) / 1000;
  settings.queue_spans =
      static_cast<std::size_t>(reader.number("OTEL_BSP_MAX_QUEUE_SIZE", 2048, 16, 1'000'000));
  const double largest = std::min<double>(512, static_cast<double>(settings.queue_spans));
  settings.batch_spans = static_cast<std::size_t>(
      reader.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", largest, 1,
                    std::min<double>(8192, static_cast<double>(settings.queue_spans))));
  return settings;
}

std::string without_credentials(std::string_view url) {
  const std::size_t slashes = url.find("://");
  const std::size_t begin = slashes == std::string_view::npos ? 0 : slashes + 3;
  const std::string_view host = url.substr(begin, url.find('/', begin) - begin);
  const std::size_t at = host.rfind('@');
  if (at == std::string_view::npos) return std::string(url);
  return std::string(url.substr(0, begin)) + std::string(url.substr(begin + at + 1));
}

}  // namespace mlxd::tracing
