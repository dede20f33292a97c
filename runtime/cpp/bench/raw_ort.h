// ONNX Runtime's C interface used directly, as a program without us would: what a bound call of ours is measured against.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

// A graph of one float32 input and one float32 output, bound to memory of the caller. Ends the process where ONNX Runtime fails.
class RawOrt {
 public:
  RawOrt(const std::string& library, const std::string& file, const char* input, void* in, const std::vector<int64_t>& in_shape,
         const char* output, void* out, const std::vector<int64_t>& out_shape);
  RawOrt(const RawOrt&) = delete;
  RawOrt& operator=(const RawOrt&) = delete;
  ~RawOrt();
  void run();

 private:
  struct State;
  State* state_;
};
