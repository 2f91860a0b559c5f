#include "base/system_memory.h"

#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

namespace mlxd {
namespace {

constexpr std::size_t kGiB = std::size_t{1} << 30;

// A machine of 16 GiB, of which 10 are available, with 2 GiB of swap.
class SystemMemoryTest : public testing::Test {
 protected:
  SystemMemoryTest() {
#ifdef __APPLE__
    GTEST_SKIP() << "/proc is Linux's";
#endif
    root_ = std::filesystem::path(testing::TempDir()) /
            ("system_memory_test." + std::to_string(::getpid()));
    write("proc/meminfo",
          "MemTotal:       16777216 kB\nMemFree:         1048576 kB\n"
          "MemAvailable:   10485760 kB\nSwapTotal:       2097152 kB\n");
  }
  ~SystemMemoryTest() override { std::filesystem::remove_all(root_); }

  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  // A group that may take `limit` GiB and has taken `current`, `files` of it contents of files.
  void write_group(const std::string& group, std::size_t limit, std::size_t current,
                   std::size_t files) {
    const std::string folder = "sys/fs/cgroup/" + group;
    write(folder + "/memory.max", std::to_string(limit * kGiB) + "\n");
    write(folder + "/memory.current", std::to_string(current * kGiB) + "\n");
    write(folder + "/memory.stat",
          "anon 1\nfile 2\ninactive_file " + std::to_string(files * kGiB) + "\nactive_file 0\n");
  }

  std::filesystem::path root_;
};

TEST_F(SystemMemoryTest, IsTheMachinesWithoutControlGroups) {
  EXPECT_EQ(system_memory(root_).available, 10 * kGiB);
  EXPECT_EQ(system_memory(root_).most, 18 * kGiB);
}

TEST_F(SystemMemoryTest, OfAContainerIsItsLimitLessWhatItUses) {
  write_group("", 4, 3, 0);
  EXPECT_EQ(system_memory(root_).available, 1 * kGiB);
  write("sys/fs/cgroup/memory.swap.max", "0\n");
  EXPECT_EQ(system_memory(root_).most, 4 * kGiB);
}

TEST_F(SystemMemoryTest, CountsTheFileContentsThatAContainerKeepsAsFree) {
  write_group("", 4, 3, 2);
  EXPECT_EQ(system_memory(root_).available, 3 * kGiB);
}

TEST_F(SystemMemoryTest, IsNothingInAContainerThatUsesAllOfIt) {
  write_group("", 4, 5, 0);
  EXPECT_EQ(system_memory(root_).available, 0u);
}

TEST_F(SystemMemoryTest, HasNoLimitOfAGroupThatHasNone) {
  write("sys/fs/cgroup/memory.max", "max\n");
  write("sys/fs/cgroup/memory.current", std::to_string(kGiB));
  EXPECT_EQ(system_memory(root_).available, 10 * kGiB);
}

TEST_F(SystemMemoryTest, IsTheLeastOfTheProcessesGroupAndThoseAbove) {
  write("proc/self/cgroup", "0::/system.slice/mlxd.service\n");
  write_group("system.slice", 9, 1, 0);
  write_group("system.slice/mlxd.service", 6, 1, 0);
  EXPECT_EQ(system_memory(root_).available, 5 * kGiB);
  write_group("system.slice", 9, 7, 0);
  EXPECT_EQ(system_memory(root_).available, 2 * kGiB);
}

TEST_F(SystemMemoryTest, IsTheLeastOfTheGroupsOfVersion1) {
  write("proc/self/cgroup", "5:memory:/docker/abc\n");
  const std::string top = "sys/fs/cgroup/memory";
  write(top + "/memory.limit_in_bytes", "9223372036854771712\n");  // none
  write(top + "/docker/abc/memory.limit_in_bytes", std::to_string(6 * kGiB));
  write(top + "/docker/abc/memory.usage_in_bytes", std::to_string(3 * kGiB));
  write(top + "/docker/abc/memory.stat",
        "total_inactive_file " + std::to_string(2 * kGiB) + "\ntotal_active_file 0\n");
  EXPECT_EQ(system_memory(root_).available, 5 * kGiB);
  EXPECT_EQ(system_memory(root_).most, 8 * kGiB);
}

TEST_F(SystemMemoryTest, IsUnlimitedWhereNothingIsTold) {
  EXPECT_EQ(system_memory(root_ / "nowhere").available, std::numeric_limits<std::size_t>::max());
}

TEST(SystemMemory, IsKnownHere) {
  EXPECT_GT(system_memory().available, 0u);
  EXPECT_GE(system_memory().most, system_memory().available);
}

}  // namespace
}  // namespace mlxd
