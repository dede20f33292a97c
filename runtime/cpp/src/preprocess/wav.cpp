#include "preprocess/wav.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <optional>
#include <system_error>

#include "util/error.h"
#include "util/files.h"
#include "util/text.h"

namespace attn {
namespace {

// Sizes that mean "until the end", as in attn_runtime/preprocess/wav.py.
bool is_open_size(uint32_t size) { return (size >= 0x7FFF0000u && size <= 0x80000000u) || size >= 0xFFFF0000u; }

constexpr uint64_t max_bytes = uint64_t{256} << 20;  // 23 minutes of 48 kHz stereo in 16 bits
constexpr unsigned pcm = 1, ieee_float = 3, extensible = 0xFFFE;
// All but the first two bytes of the extensible header's format GUID, which are the old tag.
constexpr std::array<uint8_t, 14> guid_tail = {0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x80, 0x00, 0x00, 0xaa, 0x00, 0x38, 0x9b, 0x71};
constexpr const char* convert = "Convert it to 16-bit PCM, as with: ffmpeg -i IN -c:a pcm_s16le OUT.wav";

struct Chunk {
  const uint8_t* data;
  size_t size;
};

struct Format {
  unsigned tag, channels;
  uint32_t rate;
  unsigned bits;   // of a container; samples of fewer are left-justified in it
  unsigned valid;  // bits in use
};

uint32_t number(const uint8_t* data, size_t bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value |= uint32_t{data[i]} << (8 * i);
  return value;
}

bool says(const uint8_t* data, const char* text) { return std::memcmp(data, text, 4) == 0; }

// A chunk's name, without the spaces that fill it up; what a terminal can't show is a question mark.
std::string kind_of(const uint8_t* data) {
  std::string name;
  for (size_t i = 0; i < 4; ++i) name += data[i] < 32 || data[i] > 126 ? '?' : static_cast<char>(data[i]);
  const auto first = name.find_first_not_of(' ');
  return first == std::string::npos ? "" : name.substr(first, name.find_last_not_of(' ') - first + 1);
}

class Reader {
 public:
  Reader(const uint8_t* data, size_t size, const std::string& name) : data_(data), size_(size), name_(name) {}

  Recording read() {
    if (size_ < 12 || (!says(data_, "RIFF") && !says(data_, "RF64") && !says(data_, "BW64")) || !says(data_ + 8, "WAVE")) {
      std::string what = size_ ? "it starts with " + shown(std::string(data_, data_ + std::min(size_, size_t{4}))) : "the file is empty";
      if (size_ >= 4 && (says(data_, "RIFF") || says(data_, "RF64") || says(data_, "BW64"))) {
        what += size_ < 12 ? " and ends behind " + std::to_string(size_) + " bytes"
                           : ", and holds " + shown(std::string(data_ + 8, data_ + 12)) + ", no WAVE";
      }
      refuse(what + "; expected a WAV file (RIFF ... WAVE). " + convert);
    }
    find_chunks();
    if (!format_ || !samples_) {
      refuse(std::string("a WAV file without its ") + (format_ ? "data" : "format") + " chunk: truncated or damaged.");
    }
    const Format format = read_format();
    Recording found{read_samples(format), format.channels, format.rate, {}};
    found.notes = notes_on(format, found.samples);
    if (found.samples.empty()) refuse("holds no samples.");
    const auto bad = std::count_if(found.samples.begin(), found.samples.end(), [](float value) { return !std::isfinite(value); });
    if (bad) refuse(std::to_string(bad) + " samples are NaN or infinite.");
    return found;
  }

 private:
  [[noreturn]] void refuse(const std::string& problem) const { throw input_error("recording " + name_ + ": " + problem); }

  // The first format and data chunk. What programs leave behind or between them (tags, cue points) is skipped.
  void find_chunks() {
    std::optional<uint64_t> wide;  // the size of the data that an RF64 file tells apart
    for (size_t at = 12; at + 8 <= size_ && !samples_;) {
      const uint8_t* head = data_ + at;
      uint64_t size = number(head + 4, 4);
      const bool is_data = says(head, "data");
      if (is_data) {
        if (size == 0xFFFFFFFF && wide && *wide > 0 && *wide < uint64_t{1} << 63) {
          size = *wide;
        } else {
          unfinished_ = size == 0 && is_unfinished(at);
          open_end_ = unfinished_ || is_open_size(static_cast<uint32_t>(size));
        }
      }
      const size_t rest = size_ - at - 8, there = open_end_ ? rest : static_cast<size_t>(std::min<uint64_t>(size, rest));
      if (there < size && !open_end_) {
        refuse("truncated: its " + kind_of(head) + " chunk has " + std::to_string(size) + " bytes, " + std::to_string(there) +
               " are there. Copy or record it again.");
      }
      if (says(head, "fmt ") && !format_) format_ = Chunk{head + 8, there};
      if (says(head, "ds64") && size >= 16 && !says(data_, "RIFF")) wide = uint64_t{number(head + 20, 4)} << 32 | number(head + 16, 4);
      if (is_data) samples_ = Chunk{head + 8, there};
      at += 8 + static_cast<size_t>(size) + size % 2;
    }
  }

  std::vector<std::string> notes_on(const Format& format, const std::vector<float>& samples) const {
    std::vector<std::string> notes;
    if (unfinished_) notes.push_back("its header tells no length, as of a recorder that was stopped: it is read to its end");
    if (const size_t rest = samples_->size % (format.channels * format.bits / 8)) {
      notes.push_back("it ends within a frame: the last " + std::to_string(rest) + " bytes are left out");
    }
    if (format.valid == format.bits) return notes;
    const std::string valid = std::to_string(format.valid);
    notes.push_back("samples of " + valid + " bits in " + std::to_string(format.bits) + ", taken as left-justified, as the format says");
    const float lowest = std::ldexp(1.0f, static_cast<int>(format.valid) - static_cast<int>(format.bits));
    if (std::all_of(samples.begin(), samples.end(), [&](float value) { return std::abs(value) <= lowest; })) {
      notes.push_back("all of them lie in the lowest " + valid + " bits: if they were written there, they are too quiet");
    }
    return notes;
  }

  // Whether a data chunk of size 0 has samples behind it, as a killed recorder leaves: the file says that it ends there, or nothing.
  bool is_unfinished(size_t at) const {
    const uint32_t told = number(data_ + 4, 4);
    return size_ > at + 8 && (told <= at || is_open_size(told));
  }

  // With an extensible header resolved to the tag that it holds.
  Format read_format() const {
    const uint8_t* chunk = format_->data;
    if (format_->size < 16) {
      refuse("its format chunk has " + std::to_string(format_->size) + " bytes, expected 16 or more: damaged.");
    }
    Format found{number(chunk, 2), number(chunk + 2, 2), number(chunk + 4, 4), number(chunk + 14, 2), 0};
    const unsigned block = number(chunk + 12, 2);
    unsigned valid = found.bits;
    if (found.tag == extensible && format_->size >= 40 && std::equal(guid_tail.begin(), guid_tail.end(), chunk + 26)) {
      found.tag = number(chunk + 24, 2);
      if (found.tag == pcm && number(chunk + 18, 2)) valid = number(chunk + 18, 2);  // some leave it 0
    }
    if (found.tag != pcm && found.tag != ieee_float) {
      refuse("is " + compression(found.tag) + "; expected PCM or float samples. " + convert);
    }
    const bool is_pcm = found.tag == pcm;
    const unsigned container = (found.bits + 7) / 8 * 8;
    // The plain header tells the bits in use, and the block the containers.
    if (is_pcm && found.bits > 8 && found.bits < 32 && block == found.channels * container / 8) found.bits = container;
    const bool known = is_pcm ? found.bits == 8 || found.bits == 16 || found.bits == 24 || found.bits == 32
                              : found.bits == 32 || found.bits == 64;
    if (!known) {
      refuse(std::to_string(found.bits) + " bits a sample; expected " + (is_pcm ? "8, 16, 24 or 32" : "32 or 64") + ". " + convert);
    }
    if (found.channels && block > found.channels * found.bits / 8 && block % found.channels == 0 && block / found.channels <= 8) {
      refuse("samples of " + std::to_string(found.bits) + " bits in " + std::to_string(block / found.channels) +
             " bytes each; expected " + std::to_string(found.bits / 8) + " bytes. " + convert);
    }
    if (!found.channels || found.rate < 1 || found.rate > 1000000 || block != found.channels * found.bits / 8 || valid > found.bits) {
      refuse(std::to_string(found.channels) + " channels at " + std::to_string(found.rate) + " Hz in blocks of " +
             std::to_string(block) + " bytes: its header is damaged.");
    }
    found.valid = valid;
    return found;
  }

  static std::string compression(unsigned tag) {
    switch (tag) {
      case 2: return "ADPCM";
      case 6: return "A-law";
      case 7: return "mu-law";
      case 17: return "IMA ADPCM";
      case 49: return "GSM 6.10";
      case 80: return "MPEG";
      case 85: return "MP3";
      case 255: return "AAC";
      default: break;
    }
    char text[24];
    std::snprintf(text, sizeof text, "in format 0x%04x", tag);
    return text;
  }

  std::vector<float> read_samples(const Format& format) const {
    const size_t bytes = format.bits / 8, block = format.channels * bytes;
    if (samples_->size % block && !open_end_) {
      refuse(std::to_string(samples_->size) + " bytes of samples are no whole number of frames of " + std::to_string(format.channels) +
             " x " + std::to_string(format.bits) + " bits: truncated or damaged.");
    }
    std::vector<float> found(samples_->size / block * format.channels);  // a frame that the end cut is left out
    for (size_t i = 0; i < found.size(); ++i) {
      const uint8_t* at = samples_->data + i * bytes;
      found[i] = format.tag == ieee_float ? real(at, bytes) : whole(at, bytes);
    }
    return found;
  }

  static float real(const uint8_t* at, size_t bytes) {
    const uint32_t low = number(at, 4);
    if (bytes == 4) {
      float value;
      std::memcpy(&value, &low, sizeof value);
      return value;
    }
    const uint64_t bits = uint64_t{number(at + 4, 4)} << 32 | low;
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return static_cast<float>(value);  // beyond float32 it becomes infinite, which is told
  }

  static float whole(const uint8_t* at, size_t bytes) {
    if (bytes == 1) return static_cast<float>(*at - 128) / 128;  // the only size that is unsigned
    // In the upper bytes of 32 bits, so that the sign comes along; the scale is a power of two, and rounds nothing.
    const uint32_t bits = number(at, bytes) << (8 * (4 - bytes));
    int32_t value;
    std::memcpy(&value, &bits, sizeof value);
    return static_cast<float>(value) / 2147483648.0f;
  }

  const uint8_t* data_;
  size_t size_;
  const std::string& name_;
  std::optional<Chunk> format_, samples_;
  bool open_end_ = false;    // the header does not tell how long the samples are
  bool unfinished_ = false;  // since it was never filled in
};

}  // namespace

Recording parse_wav(const uint8_t* data, size_t size, const std::string& name) { return Reader(data, size, name).read(); }

Recording read_wav(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  std::vector<uint8_t> data;
  try {
    if (const auto descriptor = open_descriptor(path)) {
      data = read_stream(*descriptor, max_bytes);
      if (data.size() > max_bytes) {
        throw input_error("recording " + name + ": more than " + std::to_string(max_bytes) + " bytes come out of it. Cut it.");
      }
      return parse_wav(data.data(), data.size(), name);
    }
    const std::string problem = irregular(path);
    if (!problem.empty()) throw input_error("recording " + path.string() + ": " + problem + ".");
    const File file(path);
    if (file.size() > max_bytes) {
      throw input_error("recording " + name + ": " + std::to_string(file.size()) + " bytes, at most " + std::to_string(max_bytes) +
                        " are read. Cut it.");
    }
    data.resize(file.size());
    data.resize(file.read_at(0, data.data(), data.size()));
  } catch (const std::system_error& error) {
    throw input_error("recording " + name + ": can't be read: " + error.code().message());
  }
  return parse_wav(data.data(), data.size(), name);
}

}  // namespace attn
