// Pictures and recordings to tensors, as C sees them.
#include "c_api/inputs.h"

#include <algorithm>
#include <string>
#include <vector>

#include "c_api/bundle.h"
#include "c_api/errors.h"
#include "c_api/tensors.h"
#include "preprocess/audio.h"
#include "preprocess/image.h"
#include "preprocess/wav.h"
#include "session/session.h"
#include "util/files.h"

using attn::guarded;
using attn::Json;
using attn::required;
using attn::TensorSpec;
using attn::View;

namespace {

// The input of any graph that has this name; it lives as long as the bundle.
const TensorSpec* find_input(const attn::Bundle& bundle, const std::string& name) {
  for (const attn::Graph& graph : bundle.graphs) {
    for (const TensorSpec& spec : graph.inputs) {
      if (spec.name == name) return &spec;
    }
  }
  return nullptr;
}

Json asset_of(const attn::Bundle& bundle, const char* asset, const char* things) {
  auto found = bundle.asset(asset);
  if (!found) throw attn::usage_error(bundle.where + ": takes no " + things + ": it has no asset " + asset + "; attn_session_run takes tensors");
  return std::move(*found);
}

// The float32 input that an asset names, of that many axes.
const TensorSpec& input_of(const attn::Bundle& bundle, const char* asset, const Json& recipe, size_t rank, const char* axes) {
  const auto name = recipe.at("input").get<std::string>();
  const TensorSpec* spec = find_input(bundle, name);
  if (!spec || spec->dtype != ATTN_FLOAT32 || spec->dims.size() != rank) {
    throw attn::bundle_error(bundle.where + ": asset " + asset + ": expected an input " + attn::shown(name) + " of float32 " + axes +
                             ", found " + (spec ? spec->text() : "none") + "; re-export the bundle");
  }
  return *spec;
}

void give_audio(const attn::Bundle& bundle, const float* samples, size_t frames, size_t channels, size_t rate, attn_tensor& tensor) {
  const Json asset = asset_of(bundle, "audio", "recordings");
  const TensorSpec& spec = input_of(bundle, "audio", asset, 2, "[batch, samples]");
  const auto recipe = attn::AudioRecipe::of(asset);
  const auto least = static_cast<uint64_t>(spec.dims[1].min), most = static_cast<uint64_t>(spec.dims[1].max);
  const uint64_t count = attn::prepared_count(frames, channels, rate, recipe.rate, least, most);
  const attn_tensor told = described(tensor, bundle, spec.name, ATTN_FLOAT32, {1, static_cast<int64_t>(count)});
  if (told.data) {
    const std::vector<float> made = attn::prepare_audio(samples, frames, channels, rate, recipe, least, most);
    std::copy(made.begin(), made.end(), static_cast<float*>(told.data));
  }
  tensor = told;
}

}  // namespace

attn_tensor attn::described(attn_tensor& tensor, const Bundle& bundle, const std::string& name, attn_dtype dtype, const Shape& shape) {
  const View view{dtype, shape, tensor.data};
  attn_tensor made = tensor;
  attn::write_tensor(view, "input \"" + name + "\"", made);
  if (!tensor.data) {
    made.bytes = view.bytes();
  } else if (tensor.bytes < view.bytes()) {
    tensor = made;
    throw attn::input_error("input \"" + name + "\": " + attn::name_of(dtype) + " " + attn::text(shape) + " takes " +
                            std::to_string(view.bytes()) + " bytes, and there is room for " + std::to_string(tensor.bytes));
  } else {
    attn::check_memory("input", name, view, bundle.where);
  }
  made.name = find_input(bundle, name)->name.c_str();  // lives as long as the bundle
  return made;
}

extern "C" {

int attn_bundle_image(const attn_bundle* bundle, const uint8_t* pixels, size_t height, size_t width, size_t channels,
                      attn_tensor* tensor) {
  return guarded([&] {
    const attn::Bundle& opened = *required(bundle, "bundle")->bundle;
    required(tensor, "tensor");
    const Json asset = asset_of(opened, "image", "pictures");
    const TensorSpec& spec = input_of(opened, "image", asset, 4, "[batch, channels, height, width]");
    const auto recipe = attn::ImageRecipe::of(asset);
    attn::check_image(height, width, channels, recipe);
    const attn::Shape shape = {1, static_cast<int64_t>(recipe.channels), static_cast<int64_t>(recipe.height),
                               static_cast<int64_t>(recipe.width)};
    const attn_tensor told = described(*tensor, opened, spec.name, ATTN_FLOAT32, shape);
    if (told.data) {
      attn::prepare_image(required(pixels, "pixels"), height, width, channels, recipe, static_cast<float*>(told.data));
    }
    *tensor = told;
  });
}

int attn_bundle_audio(const attn_bundle* bundle, const float* samples, size_t frames, size_t channels, size_t rate, attn_tensor* tensor) {
  return guarded([&] {
    required(bundle, "bundle");
    required(tensor, "tensor");
    if (tensor->data) required(samples, "samples");
    give_audio(*bundle->bundle, samples, frames, channels, rate, *tensor);
  });
}

int attn_bundle_wav(const attn_bundle* bundle, const char* path, attn_tensor* tensor) {
  return guarded([&] {
    attn::keep_notes({});
    required(bundle, "bundle");
    required(tensor, "tensor");
    asset_of(*bundle->bundle, "audio", "recordings");  // before the file is read
    const auto give = [&](const attn::Recording& found) {
      attn::keep_notes(found.notes);
      give_audio(*bundle->bundle, found.samples.data(), found.samples.size() / found.channels, found.channels, found.rate, *tensor);
    };
    const auto stream = attn::open_descriptor(required(path, "path"));
    if (!stream) return give(attn::read_wav(path));
    // A stream can be read once, and callers ask twice: how much room there must be, and for the samples.
    const std::string which = attn::identity(*stream);
    std::shared_ptr<const attn::Recording> found;
    {
      const std::lock_guard<attn::ForkMutex> held(attn::bundle_handles());
      if (const auto kept = bundle->streams.find(which); kept != bundle->streams.end()) found = kept->second;
    }
    if (!found) {
      found = std::make_shared<const attn::Recording>(attn::read_wav(path));
      const std::lock_guard<attn::ForkMutex> held(attn::bundle_handles());
      bundle->streams[which] = found;
    }
    give(*found);
    if (!tensor->data) return;
    const std::lock_guard<attn::ForkMutex> held(attn::bundle_handles());
    bundle->streams.erase(which);
  });
}

}  // extern "C"
