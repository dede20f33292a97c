// In place of replay.cpp, in a library that was built without generators: what it can't prove, it refuses.
#include "util/error.h"
#include "verify/replay.h"

namespace attn {

std::vector<Replayed> replay_generation(const std::shared_ptr<const Bundle>&, const OpenOptions&, const std::function<void(const Replayed&)>&) {
  throw left_out_error();
}

}  // namespace attn
