// Picture files of two kinds: PNM by hand, and PNG where the build found libpng.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// Interleaved channels: 1 grey, 3 colours, 4 colours and alpha.
struct PictureFile {
  size_t height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;
};

// Throws std::runtime_error, in one line, for a file that is missing, damaged, or of another kind.
PictureFile read_picture(const std::string& path);
