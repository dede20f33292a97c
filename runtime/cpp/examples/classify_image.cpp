// Say what a picture shows: classify_image BUNDLE.attn PICTURE.{png,ppm,pgm}
#include <attn/runtime.hpp>

#include <cstdio>
#include <exception>

#include "read_picture.h"
#include "top_classes.h"

int main(int count, char** arguments) {
  if (count != 3) {
    std::fprintf(stderr, "usage: classify_image BUNDLE.attn PICTURE.{png,ppm,pgm}\n");
    return ATTN_ERROR_USAGE;
  }
  try {
    const attn::Bundle bundle(arguments[1]);
    const PictureFile picture = read_picture(arguments[2]);
    const attn::Session session(bundle);
    // Resized, scaled and laid out as the bundle's asset image.json says.
    const attn::Tensors inputs = bundle.image(picture.pixels.data(), picture.height, picture.width, picture.channels);
    return print_top_classes(session.run(inputs), bundle.labels());
  } catch (const attn::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return error.status();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return ATTN_ERROR_INPUT;
  }
}
