#include "read_picture.h"

#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string_view>

#ifdef ATTN_EXAMPLE_PNG
#include <csetjmp>
#include <png.h>
#endif

namespace {

constexpr size_t max_pixels = 89478485;  // a file of a few bytes may claim any number

[[noreturn]] void refuse(const std::string& path, const std::string& problem) {
  throw std::runtime_error("image " + path + ": " + problem);
}

void check_size(const std::string& path, size_t height, size_t width) {
  if (!height || !width) refuse(path, "has no pixels");
  if (height > max_pixels || width > max_pixels || height * width > max_pixels) refuse(path, "has too many pixels; make it smaller");
}

// PBM to PPM with 8 bits, as https://netpbm.sourceforge.net/doc/ tells: binary (P5, P6) or plain (P2, P3).
class Pnm {
 public:
  Pnm(const std::string& path, const std::string& data) : path_(path), data_(data) {}

  PictureFile read() {
    const char kind = data_[1];
    at_ = 2;
    PictureFile found;
    found.channels = kind == '3' || kind == '6' ? 3 : 1;
    found.width = number();
    found.height = number();
    const size_t most = number();
    check_size(path_, found.height, found.width);
    if (!most || most > 255) refuse(path_, "has values up to " + std::to_string(most) + "; expected 1..255");
    const size_t count = found.height * found.width * found.channels;
    const bool binary = kind == '5' || kind == '6';
    if (binary) ++at_;  // one white space ends the head
    // A value needs a byte at least: a head that promises more than the file holds is told before any memory is taken.
    if (data_.size() < at_ || data_.size() - at_ < count) refuse(path_, "is truncated");
    for (size_t i = 0; i < count; ++i) {
      const size_t value = binary ? static_cast<unsigned char>(data_[at_++]) : number();
      if (value > most) refuse(path_, "has a value above " + std::to_string(most));
      found.pixels.push_back(static_cast<uint8_t>((value * 255 + most / 2) / most));
    }
    return found;
  }

 private:
  // A number behind white space and comments.
  size_t number() {
    while (at_ < data_.size() && (std::string_view(" \t\r\n\v\f").find(data_[at_]) != std::string_view::npos || data_[at_] == '#')) {
      if (data_[at_++] != '#') continue;
      while (at_ < data_.size() && data_[at_] != '\n') ++at_;
    }
    size_t value = 0, digits = 0;
    for (; at_ < data_.size() && data_[at_] >= '0' && data_[at_] <= '9'; ++at_) {
      if (++digits > 9) refuse(path_, "holds a number of ten digits");
      value = value * 10 + static_cast<size_t>(data_[at_] - '0');
    }
    if (!digits) refuse(path_, "is truncated or damaged");
    return value;
  }

  const std::string& path_;
  const std::string& data_;
  size_t at_ = 0;
};

#ifdef ATTN_EXAMPLE_PNG
// libpng reports by a jump, which must not leap over C++ objects: all of them live in here, outside the function that jumps.
struct Png {
  png_structp reader = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, on_error, [](png_structp, png_const_charp) {});
  png_infop info = reader ? png_create_info_struct(reader) : nullptr;
  FILE* file = nullptr;
  char problem[128] = "can't be read";

  Png() {
    if (reader) png_set_error_fn(reader, this, on_error, [](png_structp, png_const_charp) {});
  }
  ~Png() {
    png_destroy_read_struct(&reader, &info, nullptr);
    if (file) std::fclose(file);
  }
  Png(const Png&) = delete;
  Png& operator=(const Png&) = delete;

  static void on_error(png_structp reader, png_const_charp told) {
    auto* self = static_cast<Png*>(png_get_error_ptr(reader));
    if (self) std::snprintf(self->problem, sizeof self->problem, "%s", told);
    png_longjmp(reader, 1);
  }

  // Palettes and greys become colours, 16 bits the upper 8; as they lie in the file, whatever gamma it tells.
  bool load() {
    if (setjmp(png_jmpbuf(reader))) return false;
    png_init_io(reader, file);
    png_set_user_limits(reader, 65536, 65536);
    png_read_png(reader, info, PNG_TRANSFORM_EXPAND | PNG_TRANSFORM_STRIP_16 | PNG_TRANSFORM_GRAY_TO_RGB, nullptr);
    return true;
  }
};

PictureFile read_png(const std::string& path) {
  Png png;
  png.file = std::fopen(path.c_str(), "rb");
  if (!png.info || !png.file || !png.load()) refuse(path, std::string("is no readable PNG: ") + png.problem);
  PictureFile found;
  found.height = png_get_image_height(png.reader, png.info);
  found.width = png_get_image_width(png.reader, png.info);
  found.channels = png_get_channels(png.reader, png.info);
  png_bytepp rows = png_get_rows(png.reader, png.info);
  for (size_t y = 0; y < found.height; ++y) found.pixels.insert(found.pixels.end(), rows[y], rows[y] + found.width * found.channels);
  return found;
}
#else
PictureFile read_png(const std::string& path) {
  refuse(path, "is a PNG, and this program was built without libpng; install libpng-dev and build it again, or convert it to PPM");
}
#endif

}  // namespace

PictureFile read_picture(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) refuse(path, "can't be opened");
  std::string start(8, '\0');
  file.read(start.data(), 8);
  if (start == "\x89PNG\r\n\x1a\n") return read_png(path);
  const bool pnm = start[0] == 'P' && std::string_view("2356").find(start[1]) != std::string_view::npos;
  if (!pnm) refuse(path, "is neither a PNG nor a PGM or PPM of 8 bits");
  file.clear();
  file.seekg(0);
  const std::string data((std::istreambuf_iterator<char>(file)), {});
  return Pnm(path, data).read();
}
