#include "c_api/bundle.h"

#include <mutex>

#include "c_api/errors.h"
#include "util/forks.h"

using attn::ForkMutex;
using attn::guarded;
using attn::required;

ForkMutex& attn::bundle_handles() {
  static auto& made = *new ForkMutex;
  return made;
}

extern "C" {

int attn_bundle_open(const char* path, attn_bundle** bundle) {
  return guarded([&] {
    required(bundle, "bundle");
    auto handle = std::make_unique<attn_bundle>();
    handle->bundle = attn::Bundle::open(required(path, "path"));
    *bundle = handle.release();
  });
}

int attn_bundle_open_paranoid(const char* path, attn_bundle** bundle) {
  return guarded([&] {
    required(bundle, "bundle");
    auto handle = std::make_unique<attn_bundle>();
    handle->bundle = attn::Bundle::open(required(path, "path"), true);
    *bundle = handle.release();
  });
}

void attn_bundle_close(attn_bundle* bundle) { delete bundle; }

const char* attn_bundle_name(const attn_bundle* bundle) { return bundle ? bundle->bundle->name.c_str() : nullptr; }

size_t attn_bundle_graph_count(const attn_bundle* bundle) { return bundle ? bundle->bundle->graphs.size() : 0; }

const char* attn_bundle_graph_name(const attn_bundle* bundle, size_t index) {
  return index < attn_bundle_graph_count(bundle) ? bundle->bundle->graphs[index].name.c_str() : nullptr;
}

const char* attn_bundle_manifest(const attn_bundle* bundle) { return bundle ? bundle->bundle->manifest_text.c_str() : nullptr; }

int attn_bundle_asset(const attn_bundle* bundle, const char* name, const char** json) {
  return guarded([&] {
    required(bundle, "bundle");
    required(name, "name");
    required(json, "json");
    const std::string* text = bundle->bundle->asset_text(name);
    *json = text ? text->c_str() : nullptr;
  });
}

int attn_bundle_labels(const attn_bundle* bundle, const char* const** labels, size_t* count) {
  return guarded([&] {
    required(bundle, "bundle");
    required(labels, "labels");
    required(count, "count");
    const std::lock_guard<ForkMutex> held(attn::bundle_handles());
    if (!bundle->labels) {
      const auto asset = bundle->bundle->asset("labels");
      auto names = asset ? asset->get<std::vector<std::string>>() : std::vector<std::string>();
      std::vector<const char*> pointers;
      pointers.reserve(names.size());
      for (const std::string& name : names) pointers.push_back(name.c_str());
      bundle->labels = std::move(names);  // moves the texts' owner, not the texts
      bundle->label_pointers = std::move(pointers);
    }
    *labels = bundle->label_pointers.data();
    *count = bundle->label_pointers.size();
  });
}

}  // extern "C"
