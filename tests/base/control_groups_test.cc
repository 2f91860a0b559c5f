#include "base/control_groups.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace mlxd {
namespace {

using testing::ElementsAre;

class ControlGroupsTest : public testing::Test {
 protected:
  ControlGroupsTest() {
    root_ = std::filesystem::path(testing::TempDir()) /
            ("control_groups_test." + std::to_string(::getpid()));
  }
  ~ControlGroupsTest() override { std::filesystem::remove_all(root_); }

  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }

  std::filesystem::path root_;
};

TEST_F(ControlGroupsTest, OfVersion2AreThoseOnTheWayToTheProcessesOwn) {
  write("proc/self/cgroup", "0::/system.slice/mlxd.service\n");
  const ControlGroups groups = control_groups("cpu", root_);
  const auto top = root_ / "sys/fs/cgroup";
  EXPECT_EQ(groups.version, 2);
  EXPECT_THAT(groups.folders,
              ElementsAre(top, top / "system.slice", top / "system.slice/mlxd.service"));
}

TEST_F(ControlGroupsTest, OfVersion1AreThoseOfTheResourcesHierarchy) {
  write("proc/self/cgroup", "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/def\n0::/init.scope\n");
  write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  const ControlGroups groups = control_groups("cpu", root_);
  const auto top = root_ / "sys/fs/cgroup/cpu,cpuacct";
  EXPECT_EQ(groups.version, 1);
  EXPECT_THAT(groups.folders, ElementsAre(top, top / "docker", top / "docker/def"));
}

TEST_F(ControlGroupsTest, TheQuotaOfAServiceIsFoundInItsNestedGroup) {
  // systemd's CPUQuota=150% of mlxd.service.
  write("proc/self/cgroup", "0::/system.slice/mlxd.service\n");
  write("sys/fs/cgroup/system.slice/cpu.max", "max 100000\n");
  write("sys/fs/cgroup/system.slice/mlxd.service/cpu.max", "150000 100000\n");
  EXPECT_DOUBLE_EQ(cpu_quota(root_), 1.5);
}

TEST_F(ControlGroupsTest, TheQuotaIsTheLeastOfTheGroupsAndThoseAbove) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/cpu.max", "800000 100000\n");
  write("sys/fs/cgroup/a/cpu.max", "200000 100000\n");
  write("sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
  EXPECT_DOUBLE_EQ(cpu_quota(root_), 2);
}

TEST_F(ControlGroupsTest, AContainerThatSeesItsHostsNamesHasTheQuotaOfItsRoot) {
  write("proc/self/cgroup", "0::/docker/0123\n");
  write("sys/fs/cgroup/cpu.max", "300000 100000\n");
  EXPECT_DOUBLE_EQ(cpu_quota(root_), 3);
}

TEST_F(ControlGroupsTest, TheQuotaOfVersion1IsRead) {
  write("proc/self/cgroup", "4:cpu,cpuacct:/machine/one\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu/machine/one/cpu.cfs_quota_us", "250000\n");
  write("sys/fs/cgroup/cpu/machine/one/cpu.cfs_period_us", "100000\n");
  EXPECT_DOUBLE_EQ(cpu_quota(root_), 2.5);
}

TEST_F(ControlGroupsTest, WhereNothingIsToldThereIsNoQuota) {
  EXPECT_EQ(cpu_quota(root_), 0);
  write("sys/fs/cgroup/cpu.max", "max 100000\n");
  EXPECT_EQ(cpu_quota(root_), 0);
}

}  // namespace
}  // namespace mlxd
