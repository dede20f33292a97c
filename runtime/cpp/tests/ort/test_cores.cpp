// How many threads a session takes by itself, on trees of /proc and /sys as containers show them.
#include "ort/cores.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "support/one_core.h"
#include "support/scratch.h"

namespace attn {
namespace {

using Files = std::vector<std::pair<std::string, std::string>>;  // below /sys/fs/cgroup

const std::string v2 = "31 23 0:28 ROOT /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw,nsdelegate\n";
const std::string v1 = "33 32 0:29 ROOT /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n";

std::string mount(std::string line, const std::string& root) { return line.replace(line.find("ROOT"), 4, root); }

std::optional<double> quota(const std::string& groups, const std::string& mounts, const Files& files) {
  const Scratch scratch;
  scratch.write("proc/self/cgroup", groups);
  scratch.write("proc/self/mountinfo", mounts);
  for (const auto& [name, text] : files) scratch.write("sys/fs/cgroup/" + name, text);
  return cpu_quota(scratch.path());
}

TEST(Cores, QuotaIsTheSmallestOfAllGroupsAroundTheProcess) {
  EXPECT_EQ(quota("0::/\n", mount(v2, "/"), {{"cpu.max", "150000 100000\n"}}), 1.5);
  EXPECT_EQ(quota("0::/\n", mount(v2, "/"), {{"cpu.max", "max 100000\n"}}), std::nullopt);
  const Files nested{{"a/cpu.max", "400000 100000"}, {"a/b/cpu.max", "50000 20000"}, {"a/b/c/cpu.max", "max 100000"}, {"d/cpu.max", "1 100"}};
  EXPECT_EQ(quota("0::/a/b/c\n", mount(v2, "/"), nested), 2.5);
  EXPECT_EQ(quota("0::/a\n", mount(v2, "/"), nested), 4.0);
}

TEST(Cores, GroupIsLookedForWhereItIsMounted) {
  const Files here{{"cpu.max", "300000 100000"}, {"a/cpu.max", "200000 100000"}};
  EXPECT_EQ(quota("0::/docker/1/a\n", mount(v2, "/docker/1"), here), 2.0);
  EXPECT_EQ(quota("0::/docker/1\n", mount(v2, "/docker/1"), here), 3.0);
  for (const char* root : {"/", "/../y", "/elsewhere"}) EXPECT_EQ(quota("0::/kubepods/pod1\n", mount(v2, root), here), 3.0);
  EXPECT_EQ(quota("0::/../a\n", mount(v2, "/"), here), 3.0);
  EXPECT_EQ(quota("0::/\n", "31 23 0:28 / /sys/fs/c\\040g rw - cgroup2 x rw\n", {{"../c g/cpu.max", "100000 100000"}}), 1.0);
}

TEST(Cores, QuotaOfTheFirstVersion) {
  const std::string top = "cpu,cpuacct/";
  const Files files{{top + "cpu.cfs_quota_us", "-1\n"},   {top + "cpu.cfs_period_us", "100000\n"},  {top + "a/cpu.cfs_quota_us", "250000\n"},
                    {top + "a/cpu.cfs_period_us", "100000\n"}, {"cpu.max", "max 100000"}};
  EXPECT_EQ(quota("4:memory:/m\n3:cpuacct,cpu:/a\n", mount(v1, "/"), files), 2.5);
  EXPECT_EQ(quota("3:cpu,cpuacct:/docker/a\n0::/a\n", mount(v2, "/") + mount(v1, "/docker"), files), 2.5);
  EXPECT_EQ(quota("3:cpu,cpuacct:/\n", mount(v1, "/"), files), std::nullopt);
  EXPECT_EQ(quota("3:cpuset:/a\n", mount(v1, "/"), files), std::nullopt);
}

TEST(Cores, WhatCantBeReadIsNoQuota) {
  EXPECT_EQ(cpu_quota("/nothing/is/here"), std::nullopt);
  EXPECT_EQ(quota("", "", {}), std::nullopt);
  EXPECT_EQ(quota("0::/\nnonsense\n:\n", "nonsense - x\n- - -\n" + mount(v2, "/"), {{"cpu.max", "0 0"}}), std::nullopt);
  EXPECT_EQ(quota("0::/\n", mount(v2, "/"), {{"cpu.max", "some thing"}}), std::nullopt);
}

TEST(Cores, AreThoseThatAreOnlineAndAllowedAndWithinTheQuota) {
  struct Row {
    const char *quota, *present, *online;
    int cores, usable;
  };
  const std::set<int> allowed{0, 1, 2, 3, 4, 5, 6, 7};
  for (const Row& row : {Row{"max 100000", "0-7", "0-7", 8, 8}, Row{"800000 100000", "0-7", "0-7", 8, 8}, Row{"150000 100000", "0-7", "0-7", 8, 2},
                         Row{"1000 100000", "0-63", "0-63", 64, 1}, Row{"max 100000", "0-63", "0-63", 64, 8},
                         Row{"max 100000", "0-7", "0-2,4\n", 8, 4}, Row{"max 100000", "0-15", "0,2-3,8-15", 16, 3},
                         Row{"max 100000", "0-1", "20-21", 8, 2}, Row{"max 100000", "", "", 8, 8}}) {
    const Scratch scratch;
    scratch.write("proc/self/cgroup", "0::/\n");
    scratch.write("proc/self/mountinfo", mount(v2, "/"));
    scratch.write("sys/fs/cgroup/cpu.max", row.quota);
    scratch.write("sys/devices/system/cpu/present", row.present);
    scratch.write("sys/devices/system/cpu/online", row.online);
    const Cores found = usable_cores(scratch.path(), allowed);
    EXPECT_EQ(std::make_pair(found.present, found.usable), std::make_pair(row.cores, row.usable)) << row.quota << ' ' << row.online;
  }
}

TEST(Cores, ThreadsOfAProcessBoundToOneCore) {
  const OneCore bound;
  if (own_cores()->present == 1) GTEST_SKIP() << "a machine of one core";
  EXPECT_EQ(default_threads(), 1);
}

}  // namespace
}  // namespace attn
