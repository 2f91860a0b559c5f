#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

namespace mlxd {

// What runs a grammar: the coroutine that goes on when there is text.
class ParseRunner {
 public:
  // Runs until text is missing or all is read. What a coroutine throws comes out here, and the
  // grammar is over.
  void run() {
    while (next_ && !waits_) std::exchange(next_, {}).resume();
  }
  bool over() const { return !next_; }

 protected:
  void wait(std::coroutine_handle<> reader) {
    next_ = reader;
    waits_ = true;
  }
  void wake() { waits_ = false; }

 private:
  template <class T>
  friend class Parse;
  std::coroutine_handle<> next_;
  bool waits_ = false;
};

struct ParsePromise {
  struct Final {
    bool await_ready() noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> ended) noexcept {
      ended.promise().go_on();
    }
    void await_resume() noexcept {}
  };

  std::suspend_always initial_suspend() noexcept { return {}; }
  Final final_suspend() noexcept { return {}; }
  void unhandled_exception() { throw; }

  ParseRunner* runner = nullptr;
  std::coroutine_handle<> caller;
};

// A part of a grammar, as a coroutine: it is written as a recursive descent over the whole text,
// and stops where text is missing. `co_await` of another part runs that. The runner resumes one
// coroutine after the other instead of one inside of the other, so that no text is too long for the
// stack.
template <class T = void>
class [[nodiscard]] Parse {
 public:
  struct promise_type : ParsePromise {
    Parse get_return_object() {
      return Parse(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    void return_value(T result) { value = std::move(result); }
    void go_on() noexcept { runner->next_ = caller; }
    std::optional<T> value;
  };

  Parse(Parse&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Parse(const Parse&) = delete;
  ~Parse() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> caller) noexcept {
    handle_.promise().caller = caller;
    handle_.promise().runner = caller.promise().runner;
    handle_.promise().runner->next_ = handle_;
  }
  T await_resume() { return *std::move(handle_.promise().value); }

 private:
  explicit Parse(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

template <>
class [[nodiscard]] Parse<void> {
 public:
  struct promise_type : ParsePromise {
    Parse get_return_object() {
      return Parse(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    void return_void() {}
    void go_on() noexcept { runner->next_ = caller; }
  };

  Parse(Parse&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Parse(const Parse&) = delete;
  ~Parse() {
    if (handle_) handle_.destroy();
  }

  // The whole grammar: what the runner begins with.
  void start(ParseRunner& runner) {
    handle_.promise().runner = &runner;
    runner.next_ = handle_;
  }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> caller) noexcept {
    handle_.promise().caller = caller;
    start(*caller.promise().runner);
  }
  void await_resume() noexcept {}

 private:
  explicit Parse(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

}  // namespace mlxd
