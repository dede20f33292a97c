// Texts to tokens, as C sees them.
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "c_api/bundle.h"
#include "c_api/errors.h"
#include "c_api/inputs.h"
#include "c_api/tensors.h"

using attn::guarded;
using attn::required;
using attn::TensorSpec;

namespace {

const std::vector<TensorSpec> all_inputs(const attn::Bundle& bundle) {
  std::vector<TensorSpec> found;
  for (const attn::Graph& graph : bundle.graphs) found.insert(found.end(), graph.inputs.begin(), graph.inputs.end());
  return found;
}

std::shared_ptr<const attn::Text> text_of(const attn_bundle& bundle) {
  {
    const std::lock_guard<attn::ForkMutex> held(attn::bundle_handles());
    if (bundle.text && bundle.text->process.is_this()) return bundle.text->text;
  }
  const auto opened = attn::Text::open(*bundle.bundle, all_inputs(*bundle.bundle), bundle.bundle->where);
  const std::lock_guard<attn::ForkMutex> held(attn::bundle_handles());
  bundle.text = {opened, attn::Process()};
  return opened;
}

std::vector<std::string> texts_of(const char* const* texts, size_t count, const char* parameter) {
  std::vector<std::string> given;
  for (size_t i = 0; i < count; ++i) given.emplace_back(required(texts[i], parameter));
  return given;
}

// `given` are tokens, mask and types; one that is NULL is not asked for, one that the model does not take is left without a name.
void give_texts(const attn_bundle* bundle, const char* const* texts, const char* const* seconds, size_t count,
                std::array<attn_tensor*, 3> given) {
  const attn::Bundle& opened = *required(bundle, "bundle")->bundle;
  required(given[0], "tokens");
  if (!count) throw attn::usage_error("parameter count is 0; expected 1 text or more");
  const std::vector<std::string> firsts = texts_of(required(texts, "texts"), count, "texts");
  const std::vector<std::string> others = seconds ? texts_of(seconds, count, "seconds") : std::vector<std::string>();
  const auto text = text_of(*bundle);
  const attn::Tensors made = text->encode(firsts, seconds ? &others : nullptr);
  const std::array<std::optional<std::string>, 3> names = {text->input(), text->mask(), text->types()};
  const auto view_of = [&](size_t which) { return made.at(*names[which]).view(); };
  // Where one of them has too little room, the shapes of all are told.
  bool fits = true;
  for (size_t i = 0; i < given.size(); ++i) fits &= !given[i] || !names[i] || !given[i]->data || given[i]->bytes >= view_of(i).bytes();
  std::array<attn_tensor, 3> told{};
  for (const bool only_shapes : {true, false}) {
    if (only_shapes && fits) continue;
    for (size_t i = 0; i < given.size(); ++i) {
      if (!given[i] || !names[i]) continue;
      if (only_shapes) {
        attn::write_tensor(view_of(i), opened.where, *given[i]);
      } else {
        told[i] = described(*given[i], opened, *names[i], view_of(i).dtype, view_of(i).shape);
      }
    }
  }
  for (size_t i = 0; i < given.size(); ++i) {
    if (!given[i]) continue;
    if (names[i] && told[i].data) std::memcpy(told[i].data, view_of(i).data, view_of(i).bytes());
    *given[i] = told[i];
  }
}

}  // namespace

extern "C" {

int attn_bundle_text(const attn_bundle* bundle, const char* const* texts, size_t count, attn_tensor* tokens, attn_tensor* mask) {
  return guarded([&] {
    required(mask, "mask");
    give_texts(bundle, texts, nullptr, count, {tokens, mask, nullptr});
  });
}

int attn_bundle_text_pairs(const attn_bundle* bundle, const char* const* texts, const char* const* seconds, size_t count,
                           attn_tensor* tokens, attn_tensor* mask, attn_tensor* types) {
  return guarded([&] { give_texts(bundle, texts, seconds, count, {tokens, mask, types}); });
}

}  // extern "C"
