// Generate here what PyTorch generated when the bundle was made, and compare: in a padded batch, and each row alone; greedy answers with
// guesses too, where a graph reads several tokens. The Python twin, which says why it is so, is attn_runtime/generate/verify.py.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "verify/verify.h"

namespace attn {

class Generator;

// Every generated case of a bundle, in the manifest's order; nothing where it has none. `on_result` may be empty. Raises what Generator::open
// and Generator::generate raise, and bundle_error for a damaged case.
std::vector<Replayed> replay_generation(const std::shared_ptr<const Bundle>& bundle, const OpenOptions& options,
                                        const std::function<void(const Replayed&)>& on_result);
// With a generator that is there.
std::vector<Replayed> replay_generation(Generator& generator, const std::function<void(const Replayed&)>& on_result);

}  // namespace attn
