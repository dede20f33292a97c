// What is read of a bundle after it was opened is of the export that was opened, or is refused in one line.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "bundle/bundle.h"
#include "support/scratch.h"

namespace attn {
namespace {

namespace fs = std::filesystem;

const char replaced[] = "bundle small.attn: was replaced since it was opened; open it again";

class OpenedFilesTest : public testing::Test {
 protected:
  OpenedFilesTest() : path(make_bundle(scratch)), file(path / "model.onnx") {}

  // Other weights, golden tensors and labels, each of the size that it had.
  void write_next() {
    const std::string labels = "[\"dog\", \"c\\u00e4t\"]", weights = "others!";
    std::string tensors(12, '\1');
    const auto values_of = [&](const std::string& of) {
      return safetensors("{\"" + of + "\":{\"dtype\":\"F32\",\"shape\":[1,3],\"data_offsets\":[0,12]}}", tensors);
    };
    scratch.write("small.attn/assets/labels.json", labels);
    scratch.write("small.attn/model.onnx.data", weights);
    scratch.write("small.attn/golden/min.inputs.safetensors", values_of("x"));
  }
  // The same by a name of its own, as a re-export puts it there.
  void replace() {
    fs::rename(path, scratch.path() / "old.attn");
    fs::copy(scratch.path() / "old.attn", path, fs::copy_options::recursive);
    write_next();
  }
  std::string refusal(const Bundle& bundle) {
    return raised([&] {
      bundle.files->read({file, path / "model.onnx.data"}, [] {
        ADD_FAILURE() << "it was read";
        return 0;
      });
    });
  }

  Scratch scratch;
  const fs::path path, file;
};

TEST_F(OpenedFilesTest, AssetsAreThoseOfTheExportThatWasOpened) {
  const auto bundle = Bundle::open(path);
  replace();
  EXPECT_EQ(bundle->asset("labels")->at(0), "cat");
  fs::remove_all(path);
  EXPECT_EQ(*bundle->asset_text("labels"), "[\"cat\", \"d\\u00f6g\"]");
}

TEST_F(OpenedFilesTest, WhatIsAnotherExportsIsRefused) {
  const auto bundle = Bundle::open(path);
  const Graph& graph = bundle->graph({});
  EXPECT_EQ(bundle->files->read({file}, [] { return 7; }), 7);
  replace();
  EXPECT_EQ(refusal(*bundle), replaced);
  EXPECT_EQ(raised([&] { bundle->golden_inputs(graph, graph.golden[0]); }), replaced);
  fs::remove_all(path);
  EXPECT_EQ(refusal(*bundle), replaced);
}

TEST_F(OpenedFilesTest, AsIsWhatIsWrittenWhereItLiesWithTheTimesThatItHad) {
  const auto bundle = Bundle::open(path);
  struct stat before {};
  ASSERT_EQ(::stat((path / "model.onnx.data").c_str(), &before), 0);
  write_next();
  const timespec times[] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(::utimensat(0, (path / "model.onnx.data").c_str(), times, 0), 0);
  EXPECT_EQ(refusal(*bundle), replaced);
}

TEST_F(OpenedFilesTest, APipeInTheirPlaceIsNotWaitedFor) {
  const auto bundle = Bundle::open(path);
  fs::remove(file);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  EXPECT_EQ(refusal(*bundle), replaced);
}

TEST_F(OpenedFilesTest, FilesThatAreTheSameAreNoOtherExport) {
  const auto bundle = Bundle::open(path);
  fs::create_hard_link(file, scratch.path() / "link");
  fs::permissions(file, fs::perms::owner_all);
  fs::rename(path, scratch.path() / "old.attn");
  fs::copy(scratch.path() / "old.attn", path, fs::copy_options::recursive);
  EXPECT_EQ(bundle->files->read({file}, [] { return 7; }), 7);
}

TEST_F(OpenedFilesTest, WhatIsReadWhileAnotherWasThereIsReadAgain) {
  const auto bundle = Bundle::open(path);
  for (const bool raises : {false, true}) {
    int times = 0;
    const auto action = [&] {
      if (++times == 1) {  // there and back: nothing tells afterwards
        fs::rename(path, scratch.path() / "away");
        fs::rename(scratch.path() / "away", path);
        if (raises) throw bundle_error("half of one and half of the other");
      }
      return times;
    };
    EXPECT_EQ(bundle->files->read({file}, action), 2);
  }
  EXPECT_EQ(raised([&] { bundle->files->read({file}, []() -> int { throw bundle_error("no such luck"); }); }), "no such luck");
}

TEST_F(OpenedFilesTest, APathSurvivesAChdirAndALinkThatGoesOn) {
  const fs::path here = fs::current_path(), link = scratch.path() / "current.attn";
  fs::create_directory_symlink(path, link);
  fs::current_path(scratch.path());
  const auto relative = Bundle::open("small.attn"), linked = Bundle::open(link);
  fs::current_path(here);
  fs::remove(link);
  fs::create_directory_symlink(here, link);
  EXPECT_EQ(relative->path, "small.attn");
  EXPECT_EQ(linked->where, "bundle current.attn");
  for (const auto& bundle : {relative, linked}) {
    const Graph& graph = bundle->graph({});
    EXPECT_EQ(graph.precisions[0].file, file);
    EXPECT_EQ(bundle->golden_inputs(graph, graph.golden[0]).size(), 1u);
    EXPECT_EQ(bundle->asset("labels")->size(), 2u);
  }
}

}  // namespace
}  // namespace attn
