// The cores that this process may keep busy: those that it is bound to and that are online, and its CPU quota. The Python twin is
// attn_runtime/ort/cores.py.
#pragma once

#include <filesystem>
#include <optional>
#include <set>

namespace attn {

struct Cores {
  int present;  // that the machine has, online or not
  int usable;   // of them, by this process
};

// Read anew each time: a quota can change while the process runs. `root` is where /proc and /sys lie, `allowed` the cores that the process
// is bound to.
Cores usable_cores(const std::filesystem::path& root, const std::set<int>& allowed);

// Those that this thread is bound to, and those that it starts will be; none where the system does not tell.
std::set<int> allowed_cores();

// Of this process on this machine; none where the system does not tell.
std::optional<Cores> own_cores();

// Threads for a session whose caller names no number; 0 is ONNX Runtime's own choice, where all cores can be used. That choice pins a thread to
// every core of the machine. It knows of no quota, and prints an error for each core that is offline or not allowed.
int default_threads();

// Cores' worth of processor time that the control groups of this process leave it (cpu.max, or cpu.cfs_quota_us over cpu.cfs_period_us): the
// smallest of its own group and of those around it. None where none of them limits it.
std::optional<double> cpu_quota(const std::filesystem::path& root);

}  // namespace attn
