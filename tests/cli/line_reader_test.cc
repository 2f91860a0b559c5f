#include "cli/line_reader.h"

#include <csignal>
#include <future>
#include <string>
#include <string_view>
#include <thread>

#include <gtest/gtest.h>
#include <unistd.h>

namespace mlxd {
namespace {

using Got = LineSource::Got;

class LineReaderTest : public ::testing::Test {
 protected:
  LineReaderTest() { EXPECT_EQ(::pipe(pipe_), 0); }
  ~LineReaderTest() override {
    close_input();
    ::close(pipe_[0]);
  }

  void type(std::string_view text) {
    EXPECT_EQ(::write(pipe_[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void close_input() {
    if (pipe_[1] >= 0) ::close(pipe_[1]);
    pipe_[1] = -1;
  }

  int pipe_[2] = {-1, -1};
  Interrupts interrupts_{true};
  std::string line_;
};

TEST_F(LineReaderTest, InterruptsWithinOthersGiveThemBack) {
  {
    Interrupts inner(true);
    std::raise(SIGINT);
    EXPECT_TRUE(inner.take());
    EXPECT_FALSE(interrupts_.take());
  }
  { Interrupts careless(false); }
  std::raise(SIGINT);
  EXPECT_TRUE(interrupts_.take());
}

TEST_F(LineReaderTest, GivesLineAfterLineAndTheEnd) {
  LineReader reader(pipe_[0], interrupts_);
  type("one\ntwo\n\nlast");
  close_input();
  for (const char* expected : {"one", "two", "", "last"}) {
    ASSERT_EQ(reader.next(line_), Got::line);
    EXPECT_EQ(line_, expected);
  }
  EXPECT_EQ(reader.next(line_), Got::end);
  EXPECT_EQ(reader.next(line_), Got::end);
}

TEST_F(LineReaderTest, AnInterruptEndsTheWaitAndNothingElse) {
  LineReader reader(pipe_[0], interrupts_);
  auto waiting = std::async(std::launch::async, [&] { return reader.next(line_); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ::kill(::getpid(), SIGINT);  // to whichever thread
  EXPECT_EQ(waiting.get(), Got::interrupt);
  type("more\n");
  EXPECT_EQ(reader.next(line_), Got::line);
  EXPECT_EQ(line_, "more");
}

TEST_F(LineReaderTest, AnInterruptThatCameBeforeTheWaitIsNotLost) {
  LineReader reader(pipe_[0], interrupts_);
  ::kill(::getpid(), SIGINT);
  EXPECT_EQ(reader.next(line_), Got::interrupt);
}

TEST_F(LineReaderTest, ManyInterruptsAreOne) {
  for (int i = 0; i < 100; ++i) ::kill(::getpid(), SIGINT);
  EXPECT_TRUE(interrupts_.take());
  EXPECT_FALSE(interrupts_.take());
}

}  // namespace
}  // namespace mlxd
