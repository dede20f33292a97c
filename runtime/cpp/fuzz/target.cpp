// One libFuzzer target; the build says of which reader.
#include "readers.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  READER(data, size);
  return 0;
}
