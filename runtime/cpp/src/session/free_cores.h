// How many cores other processes leave to this one, while it runs. The Python twin is attn_runtime/session/free_cores.py.
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <set>

#include "ort/cores.h"

namespace attn {

// Between two looks. The system counts processor time in hundredths of a second.
constexpr std::chrono::milliseconds kLook{250};

double clock_seconds();  // of a clock that nobody sets
double own_seconds();    // of processors, that this process has had

// The cores that this process may run on, less the processor time that others take on them: from /proc/stat and the processor time of this
// process, which both say what was, whoever won. Two busy processes on two cores leave each other none. May be asked by many threads.
class FreeCores {
 public:
  explicit FreeCores(std::filesystem::path root = "/", std::function<double()> clock = clock_seconds, std::function<double()> own = own_seconds,
                     std::function<std::set<int>()> allowed = allowed_cores);

  // Of the last two looks, the one that found fewer: a core counts as free once it has been free twice. Looks where the last look is old. None
  // where /proc/stat can't be read, and before any time has passed.
  std::optional<double> now();

 private:
  struct Look {
    double time, taken, own;  // seconds; those of processors that everybody and that this process has had
    size_t cores;
  };
  std::optional<Look> look() const;

  std::filesystem::path root_;
  std::function<double()> clock_, own_;
  std::function<std::set<int>()> allowed_;
  std::mutex mutex_;  // of what follows
  std::optional<Look> last_;
  std::optional<double> latest_, before_;
};

}  // namespace attn
