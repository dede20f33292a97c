// The C interface of sessions: what somebody else's program may hand in.
#include <cstring>
#include <limits>

#include "c_api/errors.h"
#include "ort/cores.h"
#include "support/bundles.h"
#include "support/child.h"
#include "support/scratch.h"

namespace attn {
namespace {

using attn_test::bundles_folder;

class CSessions : public testing::Test {
 protected:
  void SetUp() override {
    ATTN_NEEDS_BUNDLES();
    ASSERT_EQ(attn_bundle_open((bundles_folder() / "gemm.attn").c_str(), &bundle), ATTN_OK) << attn_last_error();
    attn_open_options options = ATTN_OPEN_OPTIONS_INIT;
    options.device = "cpu";
    ASSERT_EQ(attn_session_open(bundle, &options, &session), ATTN_OK) << attn_last_error();
  }
  void TearDown() override {
    attn_session_close(session);
    attn_bundle_close(bundle);
  }

  attn_tensor x(int64_t rows = 1) { return {"x", ATTN_FLOAT32, values, static_cast<size_t>(rows) * 64, 2, {rows, 16}}; }
  attn_tensor y(size_t bytes = sizeof(answers)) { return {"y", static_cast<attn_dtype>(0), answers, bytes, 0, {}}; }
  // The message of a run that must fail.
  std::string run(attn_tensor input, attn_tensor output, int status) {
    EXPECT_EQ(attn_session_run(session, &input, 1, &output, 1), status) << attn_last_error();
    return attn_last_error();
  }

  attn_bundle* bundle = nullptr;
  attn_session* session = nullptr;
  alignas(64) float values[64] = {1, 2, 3};
  alignas(64) float answers[40] = {};
};

TEST_F(CSessions, RunFillsTheOutputIn) {
  attn_tensor in = x(2), out = y();
  ASSERT_EQ(attn_session_run(session, &in, 1, &out, 1), ATTN_OK) << attn_last_error();
  EXPECT_STREQ(attn_last_error(), "");
  EXPECT_EQ(out.dtype, ATTN_FLOAT32);
  EXPECT_EQ(out.rank, 2u);
  EXPECT_EQ(out.shape[0], 2);
  EXPECT_EQ(out.shape[1], 10);
  EXPECT_NE(answers[0], 0);
}

TEST_F(CSessions, ABoolIsZeroOrOne) {
  attn_bundle* sides = nullptr;
  attn_session* opened = nullptr;
  ASSERT_EQ(attn_bundle_open((bundles_folder() / "sides.attn").c_str(), &sides), ATTN_OK) << attn_last_error();
  attn_open_options options = ATTN_OPEN_OPTIONS_INIT;
  options.device = "cpu";
  ASSERT_EQ(attn_session_open(sides, &options, &opened), ATTN_OK) << attn_last_error();
  unsigned char flag = 2;
  int64_t many = 7;
  const attn_tensor inputs[] = {{"a", ATTN_FLOAT32, values, 4, 1, {1}}, {"flag", ATTN_BOOL, &flag, 1, 0, {}}, {"many", ATTN_INT64, &many, 8, 1, {1}}};
  attn_tensor output = {"negated", static_cast<attn_dtype>(0), answers, sizeof answers, 0, {}};
  EXPECT_EQ(attn_session_run(opened, inputs, 3, &output, 1), ATTN_ERROR_INPUT);
  EXPECT_STREQ(attn_last_error(), "input \"flag\": is bool and holds a byte 2; expected 0 and 1 alone (bundle sides.attn).");

  // A buffer is filled by its owner after it was bound: it is looked at in each run.
  attn_binding* binding = nullptr;
  ASSERT_EQ(attn_session_bind(opened, nullptr, 0, inputs, 3, nullptr, 0, &binding), ATTN_OK) << attn_last_error();
  EXPECT_EQ(attn_binding_run(binding), ATTN_ERROR_INPUT);
  for (flag = 0; flag < 2; ++flag) {
    EXPECT_EQ(attn_binding_run(binding), ATTN_OK) << attn_last_error();
  }
  attn_binding_close(binding);
  attn_session_close(opened);
  attn_bundle_close(sides);
}

TEST_F(CSessions, TooLittleRoomTellsHowMuchIsNeeded) {
  attn_tensor in = x(2), out = y(79);
  answers[19] = -7;
  EXPECT_EQ(attn_session_run(session, &in, 1, &out, 1), ATTN_ERROR_INPUT);
  EXPECT_STREQ(attn_last_error(), "output \"y\": float32 [2, 10] takes 80 bytes, and there is room for 79 (bundle gemm.attn).");
  EXPECT_EQ(out.shape[0], 2);
  EXPECT_EQ(out.dtype, ATTN_FLOAT32);
  EXPECT_EQ(answers[19], -7);  // nothing was written
}

TEST_F(CSessions, TensorsThatCannotBeAreRefused) {
  attn_tensor bad = x();
  const int no_dtype = 99;  // what C lets anybody write
  std::memcpy(&bad.dtype, &no_dtype, sizeof no_dtype);
  EXPECT_NE(run(bad, y(), ATTN_ERROR_INPUT).find("expected an attn_dtype"), std::string::npos);
  bad = x(), bad.rank = 9;
  EXPECT_NE(run(bad, y(), ATTN_ERROR_INPUT).find("expected at most 8"), std::string::npos);
  bad = x(), bad.shape[0] = -1;
  EXPECT_NE(run(bad, y(), ATTN_ERROR_INPUT).find("expected sizes of 0 or more"), std::string::npos);
  bad = x(), bad.shape[0] = bad.shape[1] = std::numeric_limits<int64_t>::max();
  EXPECT_NE(run(bad, y(), ATTN_ERROR_INPUT), "");
  bad = x(), bad.bytes = 63;
  EXPECT_NE(run(bad, y(), ATTN_ERROR_INPUT).find("takes 64 bytes, and `bytes` is 63"), std::string::npos);
  bad = x(), bad.data = nullptr;
  EXPECT_NE(run(bad, y(), ATTN_ERROR_INPUT).find("its data is NULL"), std::string::npos);
  bad = x(), bad.name = nullptr;
  EXPECT_EQ(run(bad, y(), ATTN_ERROR_USAGE), "inputs[0] has no name; every tensor needs one");
  attn_tensor out = y();
  out.name = "z";
  EXPECT_EQ(run(x(), out, ATTN_ERROR_USAGE), "unknown output \"z\"; available: y (bundle gemm.attn)");
  out = y(), out.data = nullptr;
  EXPECT_NE(run(x(), out, ATTN_ERROR_INPUT).find("its data is NULL"), std::string::npos);
  attn_tensor twice[] = {x(), x()};
  out = y();
  EXPECT_EQ(attn_session_run(session, twice, 2, &out, 1), ATTN_ERROR_USAGE);
  EXPECT_EQ(attn_session_run(session, nullptr, 1, &out, 1), ATTN_ERROR_USAGE);
  EXPECT_EQ(attn_session_run(session, twice, 1, nullptr, 1), ATTN_ERROR_USAGE);
  EXPECT_EQ(attn_session_run(nullptr, twice, 1, &out, 1), ATTN_ERROR_USAGE);
  EXPECT_EQ(attn_session_run(session, twice, 1, nullptr, 0), ATTN_OK) << attn_last_error();  // nothing is wanted
}

TEST_F(CSessions, NothingIsWrittenWhereOpeningFails) {
  attn_open_options options = ATTN_OPEN_OPTIONS_INIT;
  options.device = "gpu";
  auto* before = reinterpret_cast<attn_session*>(this);
  attn_session* got = before;
  EXPECT_EQ(attn_session_open(bundle, &options, &got), ATTN_ERROR_USAGE);
  EXPECT_EQ(got, before);
  EXPECT_EQ(attn_session_open(nullptr, &options, &got), ATTN_ERROR_USAGE);
  EXPECT_EQ(attn_session_open(bundle, &options, nullptr), ATTN_ERROR_USAGE);
  attn_session_close(nullptr);
  attn_binding_close(nullptr);
}

TEST_F(CSessions, OptionsOfOtherVersionsAreReadAsFarAsTheyGo) {
  struct Newer {
    attn_open_options known;
    void* later;
  } newer{ATTN_OPEN_OPTIONS_INIT, nullptr};
  newer.known.size = sizeof newer, newer.known.device = "cpu";
  attn_session* got = nullptr;
  ASSERT_EQ(attn_session_open(bundle, &newer.known, &got), ATTN_OK) << attn_last_error();
  attn_session_close(got);
  newer.later = &newer;
  EXPECT_EQ(attn_session_open(bundle, &newer.known, &got), ATTN_ERROR_USAGE);
  EXPECT_NE(std::string(attn_last_error()).find("does not know"), std::string::npos);

  attn_open_options older = ATTN_OPEN_OPTIONS_INIT;
  older.size = offsetof(attn_open_options, cache), older.device = "cpu";
  older.cache = older.library = reinterpret_cast<const char*>(1);  // behind the end of an older struct: not to be read
  ASSERT_EQ(attn_session_open(bundle, &older, &got), ATTN_OK) << attn_last_error();
  attn_session_close(got);
  for (const size_t size : {size_t{0}, size_t{8}, std::numeric_limits<size_t>::max()}) {
    older.size = size;
    EXPECT_EQ(attn_session_open(bundle, &older, &got), ATTN_ERROR_USAGE) << size;
  }
  attn_open_options negative = ATTN_OPEN_OPTIONS_INIT;
  negative.threads = -2;
  EXPECT_EQ(attn_session_open(bundle, &negative, &got), ATTN_ERROR_USAGE);
  negative.threads = 100000;  // which would be started, one and all
  EXPECT_EQ(attn_session_open(bundle, &negative, &got), ATTN_ERROR_USAGE);
  EXPECT_STREQ(attn_last_error(), "threads: got 100000, expected 0 (all cores), up to 1024, or ATTN_THREADS_AUTO");
}

TEST_F(CSessions, ThreadsMayBeAsManyAsCoresAreFree) {
  attn_open_options options = ATTN_OPEN_OPTIONS_INIT;
  options.device = "cpu";
  options.threads = ATTN_THREADS_AUTO;
  attn_session* adapted = nullptr;
  attn_binding* binding = nullptr;
  ASSERT_EQ(attn_session_open(bundle, &options, &adapted), ATTN_OK) << attn_last_error();
  const int cores = own_cores()->usable;
  const std::string note = cores == 1 ? "" : " (as many of " + std::to_string(cores) + " threads as cores are free)";
  EXPECT_EQ(attn_session_choice(adapted), "ort on cpu, fp32" + note);
  attn_tensor in = x(), out = y();
  ASSERT_EQ(attn_session_run(session, &in, 1, &out, 1), ATTN_OK) << attn_last_error();
  const std::vector<float> expected(answers, answers + 10);
  out = y();
  ASSERT_EQ(attn_session_run(adapted, &in, 1, &out, 1), ATTN_OK) << attn_last_error();
  EXPECT_EQ(std::vector<float>(answers, answers + 10), expected);
  ASSERT_EQ(attn_session_bind(adapted, nullptr, 0, &in, 1, nullptr, 0, &binding), ATTN_OK) << attn_last_error();
  attn_session_close(adapted);
  ASSERT_EQ(attn_binding_run(binding), ATTN_OK) << attn_last_error();
  ASSERT_EQ(attn_binding_output(binding, "y", &out), ATTN_OK);
  const auto* bound = static_cast<const float*>(out.data);
  EXPECT_EQ(std::vector<float>(bound, bound + 10), expected);
  attn_binding_close(binding);
}

TEST_F(CSessions, MessagesAreOneLineOfText) {
  const attn_size strange[] = {{"\xff\n\x1b[31m", 1}};
  attn_binding* call = nullptr;
  EXPECT_EQ(attn_session_bind(session, strange, 1, nullptr, 0, nullptr, 0, &call), ATTN_ERROR_USAGE);
  EXPECT_STREQ(attn_last_error(), "unknown dim \"\uFFFD\uFFFD\uFFFD[31m\"; available: batch (bundle gemm.attn)");
  const std::string endless(1 << 20, 'x');
  const attn_size long_one[] = {{endless.c_str(), 1}};
  EXPECT_EQ(attn_session_bind(session, long_one, 1, nullptr, 0, nullptr, 0, &call), ATTN_ERROR_USAGE);
  EXPECT_LT(std::strlen(attn_last_error()), 20000u);
}

TEST_F(CSessions, SpecsAreListed) {
  EXPECT_EQ(attn_session_input_count(session), 1u);
  const attn_spec* spec = attn_session_input(session, 0);
  ASSERT_NE(spec, nullptr);
  EXPECT_STREQ(spec->name, "x");
  EXPECT_STREQ(spec->unit, "standard deviations");
  EXPECT_STREQ(spec->dims[0].name, "batch");
  EXPECT_EQ(spec->dims[0].max, 4);
  EXPECT_EQ(spec->dims[1].name, nullptr);
  EXPECT_EQ(spec->has_low, 0);
  EXPECT_EQ(attn_session_input(session, 1), nullptr);
  EXPECT_EQ(attn_session_output(nullptr, 0), nullptr);
  EXPECT_STREQ(attn_session_precision(session), "fp32");
  EXPECT_STREQ(attn_session_backend(session), "ort");
  EXPECT_EQ(std::string(attn_session_choice(session)).find("ort on cpu, fp32"), 0U) << attn_session_choice(session);
  EXPECT_NE(std::string(attn_session_passed_over(session)).find("only when asked for by name"), std::string::npos);
  EXPECT_EQ(attn_session_passed_over(nullptr), nullptr);
}

TEST_F(CSessions, BindingsGiveTheirBuffersByName) {
  const attn_size two[] = {{"batch", 2}, {"batch", 2}};
  attn_binding* call = nullptr;
  ASSERT_EQ(attn_session_bind(session, two, 2, nullptr, 0, nullptr, 0, &call), ATTN_OK) << attn_last_error();
  attn_tensor in{}, out{};
  ASSERT_EQ(attn_binding_input(call, "x", &in), ATTN_OK);
  ASSERT_EQ(attn_binding_output(call, "y", &out), ATTN_OK);
  EXPECT_EQ(in.bytes, 128u);
  std::memcpy(in.data, values, in.bytes);
  ASSERT_EQ(attn_binding_run(call), ATTN_OK) << attn_last_error();
  attn_tensor again = x(2), into = y();
  ASSERT_EQ(attn_session_run(session, &again, 1, &into, 1), ATTN_OK);
  EXPECT_EQ(std::memcmp(out.data, answers, 80), 0);
  EXPECT_EQ(attn_binding_output(call, "x", &out), ATTN_ERROR_USAGE);
  EXPECT_STREQ(attn_last_error(), "unknown output \"x\"; available: y (bundle gemm.attn)");
  EXPECT_EQ(attn_binding_input(call, nullptr, &out), ATTN_ERROR_USAGE);
  EXPECT_EQ(attn_binding_input(call, "x", nullptr), ATTN_ERROR_USAGE);
  EXPECT_EQ(attn_binding_run(nullptr), ATTN_ERROR_USAGE);
  attn_binding_close(call);
  const attn_size differ[] = {{"batch", 1}, {"batch", 2}};
  EXPECT_EQ(attn_session_bind(session, differ, 2, nullptr, 0, nullptr, 0, &call), ATTN_ERROR_USAGE);
  const attn_size nameless[] = {{nullptr, 1}};
  EXPECT_EQ(attn_session_bind(session, nameless, 1, nullptr, 0, nullptr, 0, &call), ATTN_ERROR_USAGE);
}

TEST_F(CSessions, BelongToTheProcessThatOpenedThem) {
  attn_open_options options = ATTN_OPEN_OPTIONS_INIT;
  options.device = "cpu";
  options.threads = 2;
  attn_session* other = nullptr;
  attn_binding *binding = nullptr, *made = nullptr;
  ASSERT_EQ(attn_session_open(bundle, &options, &other), ATTN_OK) << attn_last_error();
  ASSERT_EQ(attn_session_bind(other, nullptr, 0, nullptr, 0, nullptr, 0, &binding), ATTN_OK) << attn_last_error();
  const auto runs = [&](attn_session* on) {
    attn_tensor in = x(2), out = y();
    return attn_session_run(on, &in, 1, &out, 1);
  };
  const std::string why = "the session on bundle gemm.attn was opened before a fork; open it after the fork, in the process that uses it";
  const auto told = [&](int status) { return status == ATTN_ERROR_USAGE && attn_last_error() == why; };
  EXPECT_TRUE(in_a_child([&] { return told(runs(other)) && told(attn_binding_run(binding)); }));
  EXPECT_TRUE(in_a_child([&] { return told(attn_session_bind(other, nullptr, 0, nullptr, 0, nullptr, 0, &made)); }));
  EXPECT_TRUE(in_a_child([] { return true; }, false));  // with all of it open
  EXPECT_TRUE(in_a_child(
      [&] {
        attn_session_close(other);
        attn_binding_close(binding);
        return true;
      },
      false));
  EXPECT_TRUE(in_a_child(
      [&] {
        attn_session* own = nullptr;
        options.threads = 1;
        const char* labels = nullptr;
        const bool works = attn_session_open(bundle, &options, &own) == ATTN_OK && runs(own) == ATTN_OK &&
                           attn_bundle_asset(bundle, "labels", &labels) == ATTN_OK;
        attn_session_close(own);
        return works;
      },
      false));
  EXPECT_EQ(runs(other), ATTN_OK) << attn_last_error();
  EXPECT_EQ(attn_binding_run(binding), ATTN_OK) << attn_last_error();
  attn_binding_close(binding);
  attn_session_close(other);
}

TEST_F(CSessions, VerifyTellsOfEachOutput) {
  std::vector<std::string> told;
  const auto tell = [](const attn_check* check, void* user) {
    static_cast<std::vector<std::string>*>(user)->push_back(std::string(check->graph) + "/" + check->test_case + "/" + check->output +
                                                            (check->passed ? " passed" : " failed"));
  };
  attn_open_options options = ATTN_OPEN_OPTIONS_INIT;
  options.device = "cpu";
  EXPECT_EQ(attn_bundle_verify(bundle, &options, tell, &told), ATTN_OK) << attn_last_error();
  EXPECT_EQ(told, (std::vector<std::string>{"model/min/y passed", "model/opt/y passed", "model/max/y passed"}));
  EXPECT_EQ(attn_bundle_verify(bundle, &options, nullptr, nullptr), ATTN_OK);
  EXPECT_EQ(attn_bundle_verify(nullptr, &options, nullptr, nullptr), ATTN_ERROR_USAGE);
  attn_bundle* wrong = nullptr;
  ASSERT_EQ(attn_bundle_open((bundles_folder() / "wrong.attn").c_str(), &wrong), ATTN_OK);
  EXPECT_EQ(attn_bundle_verify(wrong, &options, nullptr, nullptr), ATTN_ERROR_PARITY);
  EXPECT_NE(std::string(attn_last_error_details()).find("|error|"), std::string::npos);
  attn_bundle_close(wrong);
}

}  // namespace
}  // namespace attn
