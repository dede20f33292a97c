#include "transcribe/sound.h"

#include "util/error.h"

namespace attn {

const TensorSpec& wave_input(const std::vector<TensorSpec>& inputs, const Json& audio, const std::string& where) {
  const auto name = audio.at("input").get<std::string>();
  if (inputs.size() != 1 || inputs[0].name != name || inputs[0].dtype != ATTN_FLOAT32 || inputs[0].dims.size() != 2) {
    throw usage_error(where + ": asset audio: expected " + shown(name) + " of float32 [batch, samples] as its only input, found " +
                      (inputs.empty() ? "none" : inputs[0].text()));
  }
  return inputs[0];
}

}  // namespace attn
