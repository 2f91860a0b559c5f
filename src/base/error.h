// base: what every other room uses and none of them owns: errors, queues, clock, bytes, UTF-8. It
// knows nothing of models or requests, and of HTTP the status that an error is answered with alone.
#pragma once

#include <cmath>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

namespace mlxd {

// A mistake of a client (or a refusal by the server) that travels as a value to the edge, where it
// becomes the body {"error":{"message","type","param","code"}}.
struct Error {
  int status = 400;                // HTTP status
  std::string code;                // machine-readable, e.g. "context_length_exceeded"
  std::string param;               // the request parameter at fault, "" when none
  std::string message;             // one sentence: what is wrong and what to send instead
  double retry_after_seconds = 0;  // > 0: sent as Retry-After (429, 503 and 504)
  std::string request_id{};        // set by who answers with it
};

// The value of the header Retry-After, in whole seconds; none where the error has none.
inline std::optional<std::string> retry_after(const Error& error) {
  if (error.retry_after_seconds <= 0) return std::nullopt;
  return std::to_string(static_cast<long>(std::ceil(error.retry_after_seconds)));
}

// Something that keeps the program from starting: a bad file, setting or machine. Thrown, caught
// once in main, printed as one sentence that names the thing and says what to do.
class StartupError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A model, tokeniser or template file that cannot be used: names the file, the field and the value.
class LoadError : public StartupError {
 public:
  using StartupError::StartupError;
};

// A value or the Error that took its place. Reading the wrong one is a bug and throws.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit

  explicit operator bool() const { return state_.index() == 0; }
  T& operator*() & { return std::get<0>(state_); }
  const T& operator*() const& { return std::get<0>(state_); }
  T&& operator*() && { return std::get<0>(std::move(state_)); }
  T* operator->() { return &std::get<0>(state_); }
  const T* operator->() const { return &std::get<0>(state_); }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && {
    return std::get<1>(std::move(state_));
  }  // without a copy, so that it cannot fail

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : state_(std::move(error)) {}  // NOLINT: implicit

  explicit operator bool() const { return state_.index() == 0; }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

 private:
  std::variant<std::monostate, Error> state_;
};

}  // namespace mlxd
