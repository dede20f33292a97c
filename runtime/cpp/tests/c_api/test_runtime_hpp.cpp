// runtime.hpp over the shared library, as a user's program has it.
#include <attn/runtime.hpp>

#include <thread>

#include "support/bundles.h"

namespace {

using attn_test::bundles_folder;

attn::Options on_cpu() {
  attn::Options options;
  options.device = "cpu";
  return options;
}

class Header : public testing::Test {
 protected:
  void SetUp() override { ATTN_NEEDS_BUNDLES(); }
};

TEST_F(Header, ABundleVerifiesAndRuns) {
  const attn::Bundle bundle(bundles_folder() / "gemm.attn");
  EXPECT_EQ(bundle.name(), "gemm");
  EXPECT_EQ(bundle.graphs(), std::vector<std::string>{"model"});
  EXPECT_EQ(bundle.labels().at(3), "class 3");
  EXPECT_FALSE(bundle.asset("nothing").has_value());
  EXPECT_NE(bundle.manifest().find("schema_version"), std::string::npos);
  int checks = 0;
  bundle.verify(on_cpu(), [&](const attn_check& check) { checks += check.passed; });
  EXPECT_EQ(checks, 3);

  attn::Options options = on_cpu();
  options.threads = ATTN_THREADS_AUTO;
  const attn::Session session(bundle, options);
  EXPECT_EQ(session.device(), "cpu");
  EXPECT_EQ(session.inputs().at(0).dims.at(0).name, "batch");
  attn::Binding call = session.bind({{"batch", 2}});
  for (float& value : call.input<float>("x")) value = 1;
  call.run();
  const auto bound = call.output<float>("y");
  ASSERT_EQ(bound.size(), 20u);
  const attn::Tensors free = session.run({{"x", attn::Tensor({2, 16}, std::vector<float>(32, 1.0F))}});
  EXPECT_EQ(free.at("y").shape(), (attn::Shape{2, 10}));
  EXPECT_EQ(free.at("y").view<float>()[19], bound[19]);
}

TEST_F(Header, OutputsOfAnyShapeAndDtypeComeBack) {
  const attn::Session found(attn::Bundle(bundles_folder() / "nonzero.attn"), on_cpu());
  attn::Tensors answer = found.run({{"x", attn::Tensor({4}, {0.0F, 3.0F, 0.0F, 5.0F})}});
  EXPECT_EQ(answer["i"].shape(), (attn::Shape{1, 2}));
  EXPECT_EQ(answer["i"].view<int64_t>()[1], 3);
  answer = found.run({{"x", attn::Tensor({3}, {0.0F, 0.0F, 0.0F})}});
  EXPECT_EQ(answer["i"].shape(), (attn::Shape{1, 0}));

  const attn::Session sides(attn::Bundle(bundles_folder() / "sides.attn"), on_cpu());
  answer = sides.run({{"a", attn::Tensor({1}, {1.5F})}, {"flag", attn::Tensor({}, {false})}, {"many", attn::Tensor({2}, {int64_t{7}, int64_t{-7}})}});
  EXPECT_EQ(answer["double"].view<float>()[0], 3);
  EXPECT_EQ(answer["negated"].view<bool>()[0], true);
  EXPECT_EQ(answer["copied"].view<int64_t>()[1], -7);
}

TEST_F(Header, FailuresAreErrors) {
  try {
    attn::Bundle("/nowhere/a.attn");
    FAIL();
  } catch (const attn::Error& error) {
    EXPECT_EQ(error.status(), ATTN_ERROR_BUNDLE);
    EXPECT_NE(std::string(error.what()).find("does not exist"), std::string::npos);
  }
  const attn::Bundle wrong(bundles_folder() / "wrong.attn");
  try {
    wrong.verify(on_cpu());
    FAIL();
  } catch (const attn::Error& error) {
    EXPECT_EQ(error.status(), ATTN_ERROR_PARITY);
    EXPECT_NE(error.details().find("|error|"), std::string::npos);
  }
  const attn::Session session(wrong, on_cpu());
  EXPECT_THROW(session.run({{"x", attn::Tensor({9, 16}, std::vector<float>(144))}}), attn::Error);
  EXPECT_THROW(session.run({}), attn::Error);
  EXPECT_THROW(session.bind({{"rows", 1}}), attn::Error);
  EXPECT_THROW(session.bind().input<double>("x"), attn::Error);
  EXPECT_THROW(session.bind().output<float>("x"), attn::Error);
  EXPECT_THROW(attn::Tensor({2}, {1.0F}), std::invalid_argument);
  EXPECT_THROW(attn::Tensor({1}, {1.0F}).view<double>(), std::invalid_argument);
}

TEST_F(Header, WhatACallbackThrowsComesOut) {
  struct Mine {};
  const attn::Bundle bundle(bundles_folder() / "speaker.attn");
  const attn::Generator generator(bundle, on_cpu());
  int calls = 0;
  attn::GenerateOptions options;
  options.max_length = 6;
  options.on_token = [&](size_t, int64_t) -> bool { throw (++calls, Mine()); };
  options.on_text = [&](size_t, const std::string&) { return ++calls > 0; };
  EXPECT_THROW(generator.generate_text({"a cat"}, options), Mine);
  EXPECT_EQ(calls, 1);  // nothing is called behind it
  options.on_token = nullptr;
  options.on_text = [&](size_t, const std::string&) -> bool { throw std::runtime_error("mine"); };
  EXPECT_THROW(generator.generate_text({"a cat"}, options), std::runtime_error);
  const attn::Bundle gemm(bundles_folder() / "gemm.attn");
  EXPECT_THROW(gemm.verify(on_cpu(), [&](const attn_check&) { throw (++calls, Mine()); }), Mine);
  EXPECT_EQ(calls, 2);
  std::string told;
  options.on_text = [&](size_t, const std::string& piece) { return !(told += piece).empty(); };
  EXPECT_EQ(generator.generate_text({"a cat"}, options).rows.at(0).text, told);
  EXPECT_FALSE(told.empty());
}

TEST_F(Header, TextsThatCWouldCutAreRefused) {
  const attn::Bundle bundle(bundles_folder() / "speaker.attn");
  try {
    attn::Generator(bundle, on_cpu()).generate_text({"a cat", std::string("a\0dog", 5)});
    FAIL();
  } catch (const attn::Error& error) {
    EXPECT_EQ(error.status(), ATTN_ERROR_INPUT);
    EXPECT_STREQ(error.what(), "text 1: holds a NUL character; expected text without one");
  }
}

TEST_F(Header, ErrorsBelongToTheirThread) {
  EXPECT_THROW(attn::Bundle("/nowhere/a.attn"), attn::Error);
  EXPECT_STRNE(attn_last_error(), "");
  std::thread([] { EXPECT_STREQ(attn_last_error(), ""); }).join();
  EXPECT_STRNE(attn_last_error(), "");
}

TEST_F(Header, HandlesCloseInAnyOrder) {
  auto bundle = std::make_unique<attn::Bundle>(bundles_folder() / "gemm.attn");
  auto session = std::make_unique<attn::Session>(*bundle, on_cpu());
  attn::Binding call = session->bind({{"batch", 1}});
  bundle.reset();
  session.reset();
  call.run();
  const attn::Binding moved = std::move(call);
  EXPECT_EQ(moved.output<float>("y").size(), 10u);
}

TEST(HeaderBundle, APathThatWasNotGivenIsAnError) {
  const char* argument = nullptr;
  EXPECT_THROW(attn::Bundle{argument}, attn::Error);
}

TEST(HeaderVersion, IsTheLibrarys) {
  EXPECT_EQ(attn_abi_version(), ATTN_ABI_VERSION);
  EXPECT_STRNE(attn_version(), "");
}

}  // namespace
