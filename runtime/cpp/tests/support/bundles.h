// The bundles that tests/support/graphs/cpp_bundles.py has made, in the folder that ATTN_TEST_BUNDLES names. Tests skip without it.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace attn_test {

inline std::filesystem::path bundles_folder() {
  const char* folder = std::getenv("ATTN_TEST_BUNDLES");
  return folder && std::filesystem::exists(std::filesystem::path(folder) / "complete") ? folder : "";
}

}  // namespace attn_test

#define ATTN_NEEDS_BUNDLES()                                                                                            \
  if (attn_test::bundles_folder().empty()) {                                                                            \
    GTEST_SKIP() << "no bundles: run PYTHONPATH=tests python -m support.graphs.cpp_bundles FOLDER and set ATTN_TEST_BUNDLES=FOLDER";                \
  }
