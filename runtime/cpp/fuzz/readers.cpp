#include "readers.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "bundle/external_data.h"
#include "bundle/manifest.h"
#include "bundle/onnx_graph.h"
#include "bundle/safetensors.h"
#include "bundle/schema.h"
#include "format/json.h"
#include "openvino/misread.h"
#include "preprocess/wav.h"
#include "regex/regex.h"
#include "tokenizer/tokenizer.h"
#include "util/error.h"
#include "util/text.h"
#include "util/unicode.h"

namespace {

constexpr const char* where = "bundle a.attn";

[[noreturn]] void broken(const std::string& rule, const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", rule.c_str(), what.c_str());
  std::abort();
}

// Any other exception than Error is not caught, and so found.
template <typename Read>
void answer(Read read, attn_status expected = ATTN_ERROR_BUNDLE) {
  try {
    read();
  } catch (const attn::Error& error) {
    const std::string what = error.what();
    if (error.status != expected) broken("an error of another status", what);
    if (what.size() > 2000) broken("a long message", what);
    if (attn::printable(what, what.size()) != what) broken("a message that a terminal can't show", what);
  }
}

// `data` as a file that lies nowhere.
class MemoryFile {
 public:
  MemoryFile(const uint8_t* data, size_t size) : descriptor_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    if (descriptor_ < 0 || ::write(descriptor_, data, size) != static_cast<ssize_t>(size)) broken("no memory file", "");
  }
  ~MemoryFile() { ::close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

}  // namespace

void fuzz_manifest(const uint8_t* data, size_t size) {
  answer([&] {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const attn::Json value = attn::parse_json(text, std::string(where) + ": manifest.json");
    // What is accepted reads back as the same.
    const std::string again = value.dump();
    if (attn::parse_json(again, where) != value) broken("another value", again);
    for (const char* asset : {"labels", "image", "text", "audio", "generation", "attention_maps"}) {
      answer([&] { attn::check_asset(asset, value, where); });
    }
    attn::check_manifest(value, where);
  });
}

void fuzz_safetensors(const uint8_t* data, size_t size) {
  const MemoryFile file(data, size);
  answer([&] {
    const attn::SafetensorsFile tensors(file.path(), where);
    uint64_t bytes = 0;
    for (const auto& [name, entry] : tensors.entries()) {
      if (!attn::dtype_of(entry.dtype)) continue;
      bytes += tensors.read(name).view().bytes();
    }
    if (bytes > size) broken("more bytes than the file has", std::to_string(bytes));
  });
  answer([&] {
    const attn::TensorSpec x{"x", ATTN_FLOAT32, {{"batch", 1, 2, 4}, {std::nullopt, 3, 3, 3}}, "", "", {}, {}};
    const attn::TensorSpec mask{"mask", ATTN_BOOL, {{"batch", 1, 2, 4}}, "", "", {}, {}};
    const attn::Tensors found = attn::read_tensors(file.path(), {x, mask}, {{"batch", 2}}, where);
    if (found.at("x").shape != attn::Shape{2, 3} || found.at("mask").shape != attn::Shape{2}) broken("a shape that was not asked for", "");
  });
}

void fuzz_external_data(const uint8_t* data, size_t size) {
  const MemoryFile file(data, size);
  answer([&] { attn::check_external_data(file.path(), where); });
  answer([&] {
    const attn::OnnxGraph graph = attn::read_onnx_graph(file.path(), where);
    attn::misread(graph);
    for (const auto* names : {&graph.inputs, &graph.outputs}) {
      answer([&] { attn::declared_specs(graph, *names, where); }, ATTN_ERROR_BACKEND);
    }
  });
}

void fuzz_tokenizer(const uint8_t* data, size_t size) {
  const std::string_view given(reinterpret_cast<const char*>(data), size);
  const size_t end = given.find('\0');
  const std::string_view text = end == given.npos ? "a cat." : given.substr(end + 1, 256);
  answer([&] {
    const attn::Tokenizer tokenizer(attn::parse_json(given.substr(0, end), where), where);
    const std::u32string points = attn::code_points(attn::is_utf8(text) ? std::string(text) : attn::readable_utf8(text));
    std::vector<int64_t> tokens = {0, 1, 2, 3, 4, 5, 6, 7, 2, 1, 0, -1, INT64_MAX};
    for (const attn::Tokenizer::Found& each : tokenizer.encode(points)) {
      if (each.begin > each.end || each.end > points.size()) broken("a place outside of the text", std::to_string(each.end));
      tokens.push_back(each.token);
    }
    const std::string whole = tokenizer.decode(tokens);
    if (!attn::is_utf8(whole)) broken("a text that is no UTF-8", whole);
    std::string before;
    for (size_t count = 0; count <= tokens.size(); count += 3) {
      const std::string told = tokenizer.decode_beginning({tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(count)});
      if (told.compare(0, before.size(), before) || whole.compare(0, told.size(), told)) broken("a beginning that changed", told);
      before = told;
    }
    answer([&] { tokenizer.encode(points, &points); });
  });
}

void fuzz_wav(const uint8_t* data, size_t size) {
  const auto read = [&] {
    const attn::Recording found = attn::parse_wav(data, size, "a.wav");
    if (found.samples.size() > size) broken("more samples than the file has bytes", std::to_string(found.samples.size()));
    if (found.samples.empty() || found.samples.size() % found.channels) broken("no whole frames", std::to_string(found.channels));
    for (const float sample : found.samples) {
      if (!std::isfinite(sample)) broken("a sample that is no number", std::to_string(sample));
    }
  };
  answer(read, ATTN_ERROR_INPUT);
}

// A pattern, a zero, and a text.
void fuzz_regex(const uint8_t* data, size_t size) {
  const std::string_view whole(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(whole.find('\0'), size);
  const std::string_view pattern = whole.substr(0, end), text = whole.substr(std::min(end + 1, size));
  if (!attn::is_utf8(pattern) || !attn::is_utf8(text)) return;
  const std::u32string searched = attn::code_points(text);
  try {
    size_t before = 0;
    bool first = true;
    for (const auto& match : attn::Regex(attn::code_points(pattern)).find_all(searched)) {
      if (match.begin < before || match.end < match.begin || match.end > searched.size()) broken("a match out of place", std::string(pattern));
      if (!first && match.begin == before && match.end == before) broken("an empty match behind another", std::string(pattern));
      before = match.end;
      first = false;
    }
  } catch (const attn::PatternError& error) {
    const std::string what = error.what();
    if (what.size() > 200 || what.rfind("at character ", 0) != 0) broken("a message without a place", what);
  }
}
