// Files and links.
#include <gtest/gtest.h>

#include <sys/stat.h>

#include "support/scratch.h"
#include "util/files.h"

namespace attn {
namespace {

namespace fs = std::filesystem;

TEST(Files, LinksAreFollowedAndHeldInside) {
  const Scratch scratch;
  scratch.write("a.attn/in/file", "x");
  scratch.write("secret", "x");
  const fs::path root = scratch.path() / "a.attn";
  const auto link = [&](const char* name, const fs::path& to) { fs::create_symlink(to, root / name); };
  link("fine", "in/file");
  link("absolute", root / "in" / "file");
  link("up", "../secret");
  link("nowhere", scratch.path() / "not there");
  link("folder", "..");
  link("loop", "loop");
  link("sibling", "../a.attn.other");
  EXPECT_EQ(inside(root, "fine", "w"), root / "in/file");
  EXPECT_EQ(inside(root, "absolute", "w"), root / "in/file");
  EXPECT_EQ(inside(root, "in/missing", "w"), root / "in/missing");
  for (const char* name : {"up", "nowhere", "folder", "folder/secret", "sibling"}) {
    const std::string message = raised([&] { inside(root, name, "w"); });
    EXPECT_EQ(message.find(std::string("w: ") + name + " is a link out of the bundle, to \""), 0u) << name << message;
    EXPECT_NE(message.find("cp -rL " + root.string() + " a-copy.attn"), std::string::npos) << message;
  }
  EXPECT_EQ(raised([&] { inside(root, "loop", "w"); }), "w: loop is a loop of links; re-export the bundle");
}

TEST(Files, TheCommandThatCopiesIsQuoted) {
  EXPECT_EQ(copy_command("/cache/it's/rev 1"), "cp -rL '/cache/it'\\''s/rev 1' 'rev 1-copy'");
}

TEST(Files, TextIsBounded) {
  const Scratch scratch;
  const fs::path file = scratch.write("a.json", "12345");
  EXPECT_EQ(read_text(file, "w", 5), "12345");
  EXPECT_EQ(raised([&] { read_text(file, "w", 4); }), "w: a.json is larger than 4 bytes, the most a reader accepts; re-export the bundle");
  EXPECT_EQ(raised([&] { read_text(scratch.path() / "b.json", "w"); }), "w: b.json is missing; re-export the bundle or restore the file");
  EXPECT_NE(raised([&] { read_text("/dev/zero", "w"); }).find("is not a regular file"), std::string::npos);
  ASSERT_EQ(::mkfifo((scratch.path() / "pipe").c_str(), 0600), 0);
  EXPECT_NE(raised([&] { read_text(scratch.path() / "pipe", "w"); }).find("is not a regular file"), std::string::npos);
}

}  // namespace
}  // namespace attn
