#include "hub/progress.h"

#include <gtest/gtest.h>

namespace mlxd::hub {
namespace {

Progress at(std::int64_t done, std::int64_t bytes) {
  Progress progress;
  progress.files = 1;
  progress.bytes = bytes;
  progress.bytes_done = done;
  return progress;
}

TEST(Progress, WritesSizesAndTimesAsPeopleReadThem) {
  EXPECT_EQ(size_text(0), "0 bytes");
  EXPECT_EQ(size_text(999), "999 bytes");
  EXPECT_EQ(size_text(1000), "1.0 kB");
  EXPECT_EQ(size_text(98'362'432), "98 MB");
  EXPECT_EQ(size_text(999'600'000), "1.0 GB");
  EXPECT_EQ(size_text(4'120'000'000), "4.1 GB");
  EXPECT_EQ(time_text(0), "0:00");
  EXPECT_EQ(time_text(41.2), "0:42");
  EXPECT_EQ(time_text(725), "12:05");
  EXPECT_EQ(time_text(3723), "1:02:03");
}

TEST(Progress, IsABarWithSpeedAndTimeLeft) {
  EXPECT_EQ(progress_bar("org/name", at(500'000'000, 2'000'000'000), 50e6, 79),
            "org/name  [#####-----------------]   25 %  500 MB of 2.0 GB  50 MB/s  0:30 left");
}

TEST(Progress, FitsEveryTerminal) {
  for (int columns = 0; columns <= 200; ++columns) {
    const std::string line = progress_bar("mlx-community/Llama-3.2-1B-Instruct-4bit",
                                          at(1, 3'000'000'000), 1e3, columns);
    EXPECT_LE(line.size(), static_cast<std::size_t>(columns));
    if (columns >= 5) {
      EXPECT_NE(line.find("0 %"), std::string::npos) << columns;
    }
  }
}

TEST(Progress, IsASentenceInALog) {
  EXPECT_EQ(progress_line("org/name", at(500'000'000, 2'000'000'000), 50e6),
            "org/name: 25 %, 500 MB of 2.0 GB, 50 MB/s, 0:30 left");
  EXPECT_EQ(progress_line("org/name", at(0, 2'000'000'000), 0), "org/name: 0 %, 0 bytes of 2.0 GB");
  EXPECT_EQ(progress_line("org/name", at(7, 7), 50e6),
            "org/name: 100 %, 7 bytes of 7 bytes, checking");
}

TEST(Progress, IsAHundredOnlyWhenAllIsThere) {
  EXPECT_NE(progress_line("n", at(999'999, 1'000'000), 0).find("99 %"), std::string::npos);
}

TEST(Speed, IsThatOfTheLastSeconds) {
  Speed speed;
  TimePoint now{};
  speed.add(1'000'000, now);  // of an earlier pull, which says nothing of speed
  EXPECT_EQ(speed.bytes_per_second(), 0);
  std::int64_t bytes = 1'000'000;
  for (int i = 0; i < 100; ++i) {
    now += std::chrono::milliseconds(500);
    speed.add(bytes += 500'000, now);
  }
  EXPECT_NEAR(speed.bytes_per_second(), 1e6, 1);
  for (int i = 0; i < 100; ++i) {
    now += std::chrono::milliseconds(500);
    speed.add(bytes, now);
  }
  EXPECT_LT(speed.bytes_per_second(), 100);
}

}  // namespace
}  // namespace mlxd::hub
