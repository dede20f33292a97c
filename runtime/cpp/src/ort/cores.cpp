#include "ort/cores.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace attn {
namespace {

namespace fs = std::filesystem;

// "" where it can't be read.
std::string text_of(const fs::path& file) {
  std::ifstream opened(file);
  return {std::istreambuf_iterator<char>(opened), {}};
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream rest(text);
  for (std::string part; std::getline(rest, part, at);) parts.push_back(part);
  return parts;
}

bool has_cpu(const std::string& controllers) {
  const std::vector<std::string> all = split(controllers, ',');
  return std::find(all.begin(), all.end(), "cpu") != all.end();
}

// Numbers of cores in a list as Linux writes them: "0-3,8".
std::set<int> listed(const fs::path& file) {
  std::set<int> found;
  for (const std::string& part : split(text_of(file), ',')) {
    std::istringstream rest(part);
    int first = 0, last = 0;
    char dash = 0;
    if (!(rest >> first)) break;
    if (!(rest >> dash >> last)) last = first;
    for (int core = first; core <= last; ++core) found.insert(core);
  }
  return found;
}

// A field of mountinfo, where a space is written as \040.
std::string unescaped(const std::string& field) {
  std::string found;
  for (size_t i = 0; i < field.size(); ++i) {
    const auto digit = [&](size_t at) { return at < field.size() && field[at] >= '0' && field[at] <= '7'; };
    if (field[i] == '\\' && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      found += static_cast<char>((field[i + 1] - '0') * 64 + (field[i + 2] - '0') * 8 + field[i + 3] - '0');
      i += 3;
    } else {
      found += field[i];
    }
  }
  return found;
}

// What of `path` lies below `top`; nothing where it lies elsewhere.
fs::path below(const fs::path& path, const fs::path& top) {
  auto part = path.begin();
  for (auto of_top = top.begin(); of_top != top.end(); ++of_top, ++part) {
    if (of_top->empty()) break;  // behind a last "/"
    if (part == path.end() || *part != *of_top) return {};
  }
  fs::path rest;
  for (; part != path.end(); ++part) {
    if (*part == "..") return {};
    if (!part->empty()) rest /= *part;
  }
  return rest;
}

// Folders of the control groups that a CPU quota of this process can lie in, as far up as they are mounted.
std::vector<fs::path> groups(const fs::path& root) {
  std::map<std::string, std::string> paths;  // by version of control groups
  for (const std::string& line : split(text_of(root / "proc/self/cgroup"), '\n')) {
    const size_t first = line.find(':'), second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string number = line.substr(0, first), controllers = line.substr(first + 1, second - first - 1);
    if (number == "0" && controllers.empty()) paths["cgroup2"] = line.substr(second + 1);
    if (has_cpu(controllers)) paths["cgroup"] = line.substr(second + 1);
  }
  std::vector<fs::path> found;
  for (const std::string& line : split(text_of(root / "proc/self/mountinfo"), '\n')) {
    const size_t middle = line.find(" - ");
    if (middle == std::string::npos) continue;
    const std::vector<std::string> mount = split(line.substr(0, middle), ' '), kind = split(line.substr(middle + 3), ' ');
    if (mount.size() < 5 || kind.size() < 3 || !paths.count(kind[0]) || (kind[0] == "cgroup" && !has_cpu(kind[2]))) continue;
    const fs::path at = root / fs::path(unescaped(mount[4])).relative_path();
    fs::path inside = below(paths[kind[0]], unescaped(mount[3]));
    // In a namespace of its own, a container is not told where its group lies among the host's: what is mounted is it.
    std::error_code ignored;
    if (!fs::is_directory(at / inside, ignored)) inside.clear();
    found.push_back(at);
    for (const fs::path& part : inside) found.push_back(found.back() / part);
  }
  return found;
}

// Of a quota and its period in microseconds; none for "max" and -1, which mean no limit.
std::optional<double> quotient(const std::string& words) {
  std::istringstream rest(words);
  double quota = 0, period = 0;
  if (rest >> quota >> period && quota > 0 && period > 0) return quota / period;
  return std::nullopt;
}

}  // namespace

std::optional<double> cpu_quota(const fs::path& root) {
  std::optional<double> least;
  for (const fs::path& group : groups(root)) {
    for (const auto& quota : {quotient(text_of(group / "cpu.max")),
                              quotient(text_of(group / "cpu.cfs_quota_us") + " " + text_of(group / "cpu.cfs_period_us"))}) {
      if (quota && (!least || *quota < *least)) least = quota;
    }
  }
  return least;
}

Cores usable_cores(const fs::path& root, const std::set<int>& allowed) {
  const fs::path cpus = root / "sys/devices/system/cpu";
  std::set<int> present = listed(cpus / "present"), online = listed(cpus / "online"), both;
  present.insert(allowed.begin(), allowed.end());
  if (online.empty()) online = allowed;
  std::set_intersection(allowed.begin(), allowed.end(), online.begin(), online.end(), std::inserter(both, both.end()));
  // A container may be shown a list of as many cores as its quota has, whatever those are called that it runs on.
  size_t usable = both.empty() ? std::min(allowed.size(), online.size()) : both.size();
  if (const auto quota = cpu_quota(root); quota && std::ceil(*quota) < static_cast<double>(usable)) {
    usable = static_cast<size_t>(std::max(std::ceil(*quota), 1.0));
  }
  return {static_cast<int>(present.size()), static_cast<int>(usable)};
}

std::set<int> allowed_cores() {
  std::array<cpu_set_t, 8> mask{};  // of up to 8192 cores
  std::set<int> allowed;
  if (sched_getaffinity(0, sizeof mask, mask.data()) != 0) return allowed;
  for (int core = 0; core < static_cast<int>(8 * sizeof mask); ++core) {
    if (CPU_ISSET_S(core, sizeof mask, mask.data())) allowed.insert(core);
  }
  return allowed;
}

std::optional<Cores> own_cores() {
  const std::set<int> allowed = allowed_cores();
  if (allowed.empty()) return std::nullopt;
  return usable_cores("/", allowed);
}

int default_threads() {
  const std::optional<Cores> found = own_cores();
  return !found || found->usable == found->present ? 0 : found->usable;
}

}  // namespace attn
