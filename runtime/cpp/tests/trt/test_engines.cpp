// Which engine of a bundle is taken, what is said where none fits.
#include "support/trt_bundles.h"

namespace attn {
namespace {

std::string refusal(const EngineBundle& bundle, attn_status status = ATTN_ERROR_BACKEND, const Machine& machine = fake_machine()) {
  return raised([&] { find_engine(bundle.graph(), machine); }, status);
}

std::string command(const EngineBundle& bundle) { return "attn-run compile " + bundle.path().string(); }

TEST(TrtEngines, TheOneThatFitsIsFound) {
  const EngineBundle bundle;
  const auto put = bundle.put(kDoubles);
  const EngineFile found = find_engine(bundle.graph(), fake_machine());
  EXPECT_EQ(found.path, put);
  EXPECT_EQ(found.key.version, "10.9.0.34");
  const std::vector<char> plan = read_plan(found);
  EXPECT_EQ(std::string(plan.begin(), plan.end()), kDoubles);
}

TEST(TrtEngines, WithoutOneTheCommandIsTold) {
  const EngineBundle bundle;
  EXPECT_EQ(refusal(bundle), "bundle small.attn, precision fp32: no engine has been built. Build one: " + command(bundle));
  GraphFile graph = bundle.graph("other");
  EXPECT_EQ(build_command(graph), command(bundle) + " --precision other");
}

TEST(TrtEngines, WhatDiffersIsTold) {
  const auto told = [](const std::function<void(Json&)>& change, const Machine& machine = fake_machine()) {
    const EngineBundle bundle;
    bundle.put(kDoubles, change);
    const std::string text = refusal(bundle, ATTN_ERROR_BACKEND, machine);
    const std::string begin = "bundle small.attn, precision fp32: no engine fits; model.fp32.tensorrt.engine differs in ";
    const std::string end = ". Build one: " + command(bundle);
    EXPECT_EQ(text.substr(0, begin.size()), begin);
    if (text.size() < begin.size() + end.size()) return text;
    EXPECT_EQ(text.substr(text.size() - end.size()), end);
    return text.substr(begin.size(), text.size() - begin.size() - end.size());
  };
  EXPECT_EQ(told([](Json& key) { key["version"] = "10.9.0.33"; }),
            "version (wanted tensorrt 10.9.0.34, found tensorrt 10.9.0.33)");
  EXPECT_EQ(told([](Json& key) { key["version"] = "10.9.0"; }, {{{"tensorrt", "10.9.1.34"}}, "8.9", os_name()}),
            "version (wanted tensorrt 10.9.1.34, found tensorrt 10.9.0)");
  EXPECT_EQ(told([](Json& key) { key["flavour"] = "rtx"; }), "flavour (wanted tensorrt, found rtx)");
  EXPECT_EQ(told([](Json& key) { key["os"] = "linux-riscv64"; }), "os (wanted " + os_name() + ", found linux-riscv64)");
  EXPECT_EQ(told([](Json& key) { key["compute_capabilities"] = {"8.0", "9.0"}; }), "compute capability (wanted 8.9, found 8.0, 9.0)");
  EXPECT_EQ(told([](Json& key) { key["graph"] = nullptr; }), "graph (wanted model, found none)");
  EXPECT_EQ(told([](Json& key) { key["precision"] = "fp16", key["type"] = "fp16"; }),
            "precision (wanted fp32, found fp16); type (wanted fp32, found fp16)");
  const std::string other = told([](Json& key) { key["model_sha256"] = std::string(64, 'a'); });
  EXPECT_NE(other.find(", found aaaaaaaaaaaa)"), std::string::npos) << other;
  EXPECT_EQ(other.find("model_sha256 (wanted "), 0U);
}

TEST(TrtEngines, AVersionIsAsLongAsItsLibraryTells) {
  const EngineBundle bundle;
  bundle.put(kDoubles, [](Json& key) { key["version"] = "10.9.0"; });
  EXPECT_EQ(refusal(bundle), "");
  EXPECT_EQ(refusal(bundle, ATTN_ERROR_BACKEND, {{{"tensorrt", "10.9.0"}}, "", os_name()}), "");
  bundle.put(kDoubles, [](Json& key) { key["version"] = "10.9"; });
  EXPECT_NE(refusal(bundle), "");  // that could be any
  bundle.put(kDoubles, [](Json& key) { key["version"] = "10.9.01.34"; });
  EXPECT_NE(refusal(bundle), "");
}

TEST(TrtEngines, TheNearestIsToldOf) {
  const EngineBundle bundle;
  bundle.put(kDoubles, [](Json& key) { key["os"] = "a", key["version"] = "1.2.3"; }, "a");
  bundle.put(kDoubles, [](Json& key) { key["os"] = "a"; }, "b");
  EXPECT_NE(refusal(bundle).find("; b.engine differs in os (wanted"), std::string::npos);
}

TEST(TrtEngines, BuiltForFewerGpusIsTakenBeforeOthers) {
  const EngineBundle bundle;
  bundle.put(kDoubles, [](Json& key) { key["compute_capabilities"] = {"8.0", "8.9"}; }, "a");
  const auto best = bundle.put(kDoubles, {}, "b");
  bundle.put(kDoubles, {}, "c");
  EXPECT_EQ(find_engine(bundle.graph(), fake_machine()).path, best);
}

TEST(TrtEngines, TheFileMadeForTensorrtComesFirst) {
  const EngineBundle bundle([](Json& manifest) {
    Json& precisions = manifest["graphs"]["model"]["precisions"];
    precisions["fp32-trt"] = precisions["fp32"];
    precisions["fp32-trt"]["target"] = "tensorrt";
  });
  bundle.put(kDoubles, {}, "a");
  EXPECT_EQ(find_engine(bundle.graph(), fake_machine()).path, bundle.engines() / "a.engine");  // of the precision itself
  const auto rewritten = bundle.put(kDoubles, [](Json& key) { key["precision"] = "fp32-trt"; }, "b");
  EXPECT_EQ(find_engine(bundle.graph(), fake_machine()).path, rewritten);
}

TEST(TrtEngines, ADamagedKeyIsTold) {
  const auto told = [](const std::string& key) {
    const EngineBundle bundle;
    bundle.put(kDoubles);
    bundle.scratch().write("small.attn/engines/model.fp32.tensorrt.engine.json", key);
    const std::string text = refusal(bundle, ATTN_ERROR_ENGINE);
    const std::string end = ": " + command(bundle);
    EXPECT_EQ(text.substr(text.size() - std::min(text.size(), end.size())), end);
    return text.substr(0, text.size() - std::min(text.size(), end.size()));
  };
  const EngineBundle any;
  const auto edited = [&](const std::function<void(Json&)>& change) {
    Json key = any.key(kDoubles);
    change(key);
    return key.dump();
  };
  const std::string where = "bundle small.attn, precision fp32: ", name = "model.fp32.tensorrt.engine.json";
  EXPECT_EQ(told(edited([](Json& key) { key["schema_version"] = 2; })),
            where + name + ": schema_version is 2, this attn-runtime knows 1; build the engine again");
  EXPECT_EQ(told(edited([](Json& key) { key["flavour"] = "other"; })).find(where + name + ": flavour: got \"other\""), 0U);
  EXPECT_EQ(told(edited([](Json& key) { key["profiles"][0]["x"]["min"] = {5, 3}; })),
            where + name + ": profiles: \"x\": got [[5,3],[2,3],[3,3]], expected shapes of one rank, min <= opt <= max; build the engine "
                           "again");
  for (const char* key : {"", "{", "[]", "{}", "{\"schema_version\": 1}", "\xff", "null"}) {
    const std::string text = told(key);
    EXPECT_EQ(text.find(where), 0U) << text;
    EXPECT_NE(text.find("build the engine again"), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos);
  }
}

TEST(TrtEngines, ADamagedKeyIsNoReasonWhereAnotherFits) {
  const EngineBundle bundle;
  bundle.put(kDoubles);
  bundle.scratch().write("small.attn/engines/a.engine.json", "{");
  EXPECT_EQ(refusal(bundle), "");
}

TEST(TrtEngines, AChangedPlanIsNotRead) {
  const EngineBundle bundle;
  const auto engine = bundle.put(kDoubles);
  const auto told = [&] { return raised([&] { read_plan(find_engine(bundle.graph(), fake_machine())); }, ATTN_ERROR_ENGINE); };
  std::string flipped = kDoubles;
  flipped.back() = '\t';
  const auto write = [&](const std::string& data) { bundle.scratch().write("small.attn/engines/model.fp32.tensorrt.engine", data); };
  write(flipped);
  EXPECT_EQ(told(), "engine model.fp32.tensorrt.engine: sha256 is " + sha256_text(flipped).substr(0, 12) + ", its key says " +
                        sha256_text(kDoubles).substr(0, 12) + "; it was changed or cut short; build it again");
  write("cut");
  EXPECT_EQ(told(), "engine model.fp32.tensorrt.engine: got 3 bytes, its key says " + std::to_string(kDoubles.size()) +
                        "; it was changed or cut short; build it again");
  std::filesystem::remove(engine);
  EXPECT_EQ(told(), "engine model.fp32.tensorrt.engine: can't be read (No such file or directory); build it again");
  std::filesystem::create_directory(engine);
  EXPECT_NE(told(), "");
}

TEST(TrtEngines, AFolderThatLeadsOutOfTheBundleIsRefused) {
  const EngineBundle bundle;
  std::filesystem::create_directory(bundle.scratch().path() / "elsewhere");
  std::filesystem::create_directory_symlink(bundle.scratch().path() / "elsewhere", bundle.engines());
  EXPECT_EQ(refusal(bundle, ATTN_ERROR_ENGINE), "bundle small.attn: engines is a link out of the bundle; remove it");
}

TEST(TrtEngines, WhatAKilledBuildHadSetAsideIsPutBack) {
  const EngineBundle bundle;
  const auto engine = bundle.put(kDoubles);
  const auto old = bundle.engines() / ".model.fp32.tensorrt.engine.json.tmp-abc" / "old";
  std::filesystem::create_directories(old);
  const std::filesystem::path key = engine.string() + ".json";
  std::filesystem::rename(key, old / key.filename());
  std::filesystem::rename(engine, old / engine.filename());
  EXPECT_EQ(refusal(bundle), "");
  EXPECT_TRUE(std::filesystem::exists(engine));
}

}  // namespace
}  // namespace attn
