#include "session/free_cores.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>

namespace attn {
namespace {

double seconds_of(clockid_t clock) {
  timespec found{};
  ::clock_gettime(clock, &found);
  return static_cast<double>(found.tv_sec) + 1e-9 * static_cast<double>(found.tv_nsec);
}

}  // namespace

double clock_seconds() { return seconds_of(CLOCK_MONOTONIC); }
double own_seconds() { return seconds_of(CLOCK_PROCESS_CPUTIME_ID); }

FreeCores::FreeCores(std::filesystem::path root, std::function<double()> clock, std::function<double()> own, std::function<std::set<int>()> allowed)
    : root_(std::move(root)), clock_(std::move(clock)), own_(std::move(own)), allowed_(std::move(allowed)), last_(look()) {}

std::optional<double> FreeCores::now() {
  const std::lock_guard<std::mutex> only(mutex_);
  if (last_ && clock_() - last_->time >= std::chrono::duration<double>(kLook).count()) {
    if (const std::optional<Look> found = look()) {
      // Of what is known later than it was spent, a little may be missing.
      const double others = std::max((found->taken - last_->taken) - (found->own - last_->own), 0.0) / (found->time - last_->time);
      before_ = std::exchange(latest_, std::max(static_cast<double>(found->cores) - others, 0.0));
      last_ = found;
    }
  }
  return before_ ? std::min(*before_, *latest_) : latest_;
}

std::optional<FreeCores::Look> FreeCores::look() const {
  const auto hertz = static_cast<double>(::sysconf(_SC_CLK_TCK));
  std::map<std::string, double> cores;
  std::ifstream stat(root_ / "proc/stat");
  for (std::string line; std::getline(stat, line);) {
    std::istringstream rest(line);
    std::string name;
    std::array<uint64_t, 8> ticks{};
    rest >> name;
    for (uint64_t& each : ticks) rest >> each;
    if (!rest || name.rfind("cpu", 0) != 0) break;
    // user, nice, system, irq, softirq, steal. The rest is idle, or counted twice.
    cores[name] = static_cast<double>(ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6] + ticks[7]) / hertz;
  }
  const auto all = cores.find("cpu");
  if (all == cores.end()) return std::nullopt;
  const std::set<int> allowed = allowed_();
  double taken = 0;
  for (const int core : allowed) {
    const auto found = cores.find("cpu" + std::to_string(core));
    // A container may be shown as many cores as its quota has, whatever those are called that it runs on.
    if (found == cores.end()) return Look{clock_(), all->second, own_(), cores.size() - 1};
    taken += found->second;
  }
  return Look{clock_(), taken, own_(), allowed.size()};
}

}  // namespace attn
