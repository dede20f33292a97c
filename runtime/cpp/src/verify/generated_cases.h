// What PyTorch generated when the bundle was made: manifest.json's `generation`, read without trust. The Python twin is
// attn_runtime/generate/recorded_cases.py.
#pragma once

#include <functional>
#include <string>

#include "bundle/bundle.h"

namespace attn {

// One batch of prompts, and PyTorch's answers.
struct GeneratedCase {
  std::string name;
  Tensors inputs;   // what a generator takes, float32 where it is float
  Tensor tokens;    // int64 [rows, length], without begin and prompt, with the stop token, padded at the end
  Tensor lengths;   // int64 [rows]
  Tensor scores;    // float32 [rows]
  int64_t beams = 1;
  double length_penalty = 1;
  int64_t max_length = 0;
  double margin = 0;     // least gap between what was chosen and what came next; infinite where there was nothing to choose
  double tolerance = 0;  // of scores, absolute, in fp32

  size_t rows() const { return static_cast<size_t>(lengths.shape[0]); }
};

bool has_generated_cases(const Bundle& bundle);
// Calls `each` with the cases in the manifest's order, one in memory at a time. Raises bundle_error where a file is damaged, or does not
// fit the graphs or itself.
void for_generated_cases(const Bundle& bundle, const std::function<void(const GeneratedCase&)>& each);

}  // namespace attn
