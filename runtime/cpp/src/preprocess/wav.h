// Read a WAV file: PCM of 8 to 32 bits and IEEE float of 32 or 64, any number of channels. The Python twin is attn_runtime/preprocess/wav.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace attn {

// Interleaved samples [frames, channels], where full scale is -1..1; `rate` in Hz; `notes` tell what the header left open.
struct Recording {
  std::vector<float> samples;
  size_t channels;
  uint32_t rate;
  std::vector<std::string> notes;
};

// A header that leaves its size open means all that is there; so does the size of 0 that a killed recorder leaves. /dev/stdin and
// /dev/fd/N are read until their writer closes them. Raises input_error, in one line, for a file that is missing, empty, truncated, no WAV, compressed, of more than 256 MiB, without a
// sample, or with a sample that is not finite.
Recording read_wav(const std::filesystem::path& path);

// The same of a file's content; `name` is what messages call it.
Recording parse_wav(const uint8_t* data, size_t size, const std::string& name);

}  // namespace attn
