// Coroutines that one runner resumes one after the other, instead of one inside of the other: so
// none is too long for the stack. Beginning, ending and being destroyed need no memory: calling a
// coroutine does, which throws in its caller, and what it waits for may, which throws in who waits.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

namespace mlxd {

// Runs one coroutine, with all that it awaits, from wait to wait.
class TaskRunner {
 public:
  TaskRunner() = default;
  TaskRunner(const TaskRunner&) = delete;
  TaskRunner& operator=(const TaskRunner&) = delete;

  // From where it waited. May end in `ended`.
  void resume() noexcept {
    waits_ = false;
    while (!waits_ && top_) top_.resume();
    if (!top_) ended();
  }
  // For what the innermost coroutine awaits: it goes on with the next resume().
  void wait() noexcept { waits_ = true; }
  // No coroutine was entered that has not ended.
  bool over() const noexcept { return !top_; }

 protected:
  virtual ~TaskRunner() = default;
  // The coroutine has ended. May destroy the runner.
  virtual void ended() noexcept = 0;

 private:
  friend class TaskPromise;
  std::coroutine_handle<> top_;  // the innermost one that has begun and not ended
  bool waits_ = false;
};

// What promises have in common.
class TaskPromise {
 public:
  std::suspend_always initial_suspend() const noexcept { return {}; }
  auto final_suspend() const noexcept {
    struct Leave {
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<>) const noexcept { runner->top_ = awaiter; }
      void await_resume() const noexcept {}
      TaskRunner* runner;
      std::coroutine_handle<> awaiter;
    };
    return Leave{runner_, awaiter_};
  }
  void unhandled_exception() noexcept { failure_ = std::current_exception(); }

  TaskRunner& runner() const { return *runner_; }
  // Makes `self`, whose promise this is, the innermost; `awaiter`, none for the outermost, goes on
  // after it.
  void enter(TaskRunner& runner, std::coroutine_handle<> self, std::coroutine_handle<> awaiter) {
    runner_ = &runner;
    awaiter_ = awaiter;
    runner.top_ = self;
  }
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  TaskRunner* runner_ = nullptr;
  std::coroutine_handle<> awaiter_;
  std::exception_ptr failure_;
};

// A coroutine that returns a T. It begins when it is awaited, and who awaits it gets what it
// throws. Owns its frame: destroyed before its end, it is unwound where it stands.
template <class T = void>
class [[nodiscard]] Task {
 public:
  struct promise_type : TaskPromise {
    Task get_return_object() {
      return Task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    template <class U>
    void return_value(U&& value) {
      result.emplace(std::forward<U>(value));
    }
    T take() { return *std::move(result); }
    std::optional<T> result;
  };

  Task(Task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(frame_, other.frame_);
    return *this;
  }
  ~Task() {
    if (frame_) frame_.destroy();
  }

  // The outermost coroutine of a runner, which resume() is to begin.
  void enter(TaskRunner& runner) { frame_.promise().enter(runner, frame_, nullptr); }
  // Of one that has ended: throws what it threw.
  T result() const {
    frame_.promise().rethrow();
    return frame_.promise().take();
  }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiter) const noexcept {
    frame_.promise().enter(awaiter.promise().runner(), frame_, awaiter);
  }
  T await_resume() const { return result(); }

 private:
  explicit Task(std::coroutine_handle<promise_type> frame) : frame_(frame) {}
  std::coroutine_handle<promise_type> frame_;
};

template <>
struct Task<void>::promise_type : TaskPromise {
  Task get_return_object() {
    return Task(std::coroutine_handle<promise_type>::from_promise(*this));
  }
  void return_void() const noexcept {}
  void take() const noexcept {}
};

}  // namespace mlxd
