// Where ONNX Runtime really put the nodes of a graph. It moves to the CPU what a provider lacks, and says nothing but in its log.
// The Python twin is attn_runtime/ort/placement.py.
#pragma once

#include <onnxruntime_c_api.h>

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

namespace attn {

struct Placed {
  std::string provider, op;  // the operator is "" where all nodes of a graph went to one provider
};

// A logger for one session. It keeps what is said of placements, and nothing else; it must outlive the session.
class PlacementLog {
 public:
  static void ORT_API_CALL hear(void* self, OrtLoggingLevel, const char*, const char*, const char*, const char* message);
  void stop() { listening_ = false; }  // once the session is made
  const std::vector<Placed>& placed() const { return placed_; }

 private:
  void take(const std::string& message);

  std::atomic<bool> listening_{true};
  std::mutex mutex_;
  std::string provider_;  // whose nodes the next messages name
  std::vector<Placed> placed_;
};

// Raises backend_error where the work of a graph was left to the CPU, where `provider` took no node, and where nothing is known.
void check_placed(const std::vector<Placed>& placed, const std::string& where, const std::string& device, const std::string& provider);

// Of what was placed on the CPU, the operators that do a model's work; sorted, once each.
std::vector<std::string> heavy_on_cpu(const std::vector<Placed>& placed);

}  // namespace attn
