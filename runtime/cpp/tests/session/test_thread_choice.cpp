// As many threads as there are cores that nobody else wants, on machines that change.
#include "session/thread_choice.h"

#include <fstream>
#include <future>
#include <map>
#include <new>
#include <set>
#include <utility>

#include "ort/backend.h"
#include "ort/library.h"
#include "session/choose.h"
#include "support/bundles.h"
#include "support/child.h"
#include "support/scratch.h"

namespace attn {
namespace {

using std::chrono::steady_clock;

constexpr steady_clock::duration kAlways{0};  // calls look each time
const Way all{2}, one{1}, sleeping{2, true};

TEST(ThreadChoice, ThreadsAreAsManyAsCoresAreFree) {
  struct Row {
    std::optional<double> free;
    int cores;
    Way way;
  };
  for (const Row& row : {Row{std::nullopt, 8, {8}}, Row{8.0, 8, {8}}, Row{7.75, 8, {8}}, Row{7.6, 8, {7}}, Row{6.6, 8, {4}}, Row{3.5, 8, {2}},
                         Row{1.0, 8, {1}}, Row{0.75, 8, {1}}, Row{0.5, 8, {8, true}}, Row{0.0, 2, sleeping}, Row{1.4, 2, one}, Row{1.75, 2, all},
                         // A quota leaves fewer than the machine has, and they may all be free.
                         Row{63.0, 4, {4}}}) {
    EXPECT_EQ(way_for(row.free, row.cores, true), row.way) << row.free.value_or(-1) << " of " << row.cores;
    EXPECT_EQ(way_for(row.free, row.cores, false), row.way.sleeping ? Way{1} : row.way) << row.free.value_or(-1) << " of " << row.cores;
  }
}

// An engine that counts its calls.
class Counted : public Engine {
 public:
  explicit Counted(int& calls) : calls_(calls) { note = "slow"; }
  void run(const std::vector<View>&, std::vector<Output>&) override { ++calls_; }
  std::unique_ptr<BoundCall> bind(const std::vector<View>&, const std::vector<View>&) override { return std::make_unique<Call>(calls_); }

 private:
  struct Call : BoundCall {
    explicit Call(int& all_calls) : calls(all_calls) {}
    void run() override { ++calls; }
    int& calls;
  };
  int& calls_;
};

class Choices : public testing::Test {
 protected:
  std::unique_ptr<ThreadChoice> choice(OpenWay open_way) {
    return std::make_unique<ThreadChoice>(std::make_unique<Counted>(calls[all]), 2, true, std::move(open_way), [this] { return free; }, kAlways);
  }
  static void call(Engine& engine) {
    std::vector<Output> none;
    engine.run({}, none);
  }

  double free = 2;
  std::map<Way, int> calls;
};

TEST_F(Choices, CallsGoToTheEngineForTheCoresThatAreFree) {
  for (const bool bound : {false, true}) {
    free = 2, calls.clear();
    std::vector<Way> asked;
    const auto made = choice([&](const Way& way) {
      asked.push_back(way);
      return std::make_unique<Counted>(calls[way]);
    });
    EXPECT_EQ(made->note, "slow; as many of 2 threads as cores are free");
    const auto fixed = made->bind({}, {});
    const auto runs = [&] { bound ? fixed->run() : call(*made); };
    runs();
    EXPECT_TRUE(asked.empty());  // nobody else wants a core
    for (const auto& [cores, way] : {std::pair{1.0, one}, {0.2, sleeping}, {1.0, one}, {2.0, all}}) {
      free = cores;
      runs();
      made->wait();
      const int before = calls[way];
      runs();
      runs();
      EXPECT_EQ(calls[way], before + 2) << cores;
    }
    EXPECT_EQ(asked, (std::vector<Way>{one, sleeping}));
  }
}

TEST_F(Choices, CallsGoOnWhileAnotherIsOpened) {
  std::promise<void> go;
  const auto made = choice([&](const Way& way) {
    go.get_future().wait();
    return std::make_unique<Counted>(calls[way]);
  });
  free = 1;
  for (int i = 0; i < 5; ++i) call(*made);
  EXPECT_EQ(calls[all], 5);
  go.set_value();
  made->wait();
  call(*made);
  EXPECT_EQ(calls[all], 5);
  EXPECT_EQ(calls[one], 1);
}

TEST_F(Choices, OneThatDoesNotOpenIsDoneWithout) {
  for (const bool memory : {false, true}) {
    calls.clear();
    int asked = 0;
    const auto made = choice([&](const Way&) -> std::unique_ptr<Engine> {
      ++asked;
      if (memory) throw std::bad_alloc();
      throw bundle_error("was replaced");
    });
    free = 1;
    for (int i = 0; i < 3; ++i) {
      call(*made);
      made->wait();
    }
    EXPECT_EQ(calls[all], 3);
    EXPECT_EQ(asked, 1);
  }
}

TEST_F(Choices, AreNotLookedForAtEachCall) {
  int looks = 0;
  ThreadChoice made(std::make_unique<Counted>(calls[all]), 2, true, nullptr, [&] { return ++looks, 2.0; }, std::chrono::hours(1));
  for (int i = 0; i < 5; ++i) call(made);
  EXPECT_EQ(looks, 1);
}

TEST_F(Choices, TheEndOfTheProcessWaitsForTheOneThatIsOpened) {
  const Scratch scratch;
  const auto opened = scratch.path() / "opened";
  const auto ends = [&] {
    auto* made = choice([&](const Way&) -> std::unique_ptr<Engine> {
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      std::ofstream(opened) << "yes";
      return nullptr;
    }).release();  // that nobody closes
    free = 1;
    call(*made);
    return true;
  };
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // where children do not end as programs do
  EXPECT_TRUE(in_a_child(ends, false));
  EXPECT_TRUE(std::filesystem::exists(opened));
#else
  static_cast<void>(ends);
#endif
}

// ONNX Runtime, with what is said of free cores as the test says.
class Adapting : public Backend {
 public:
  const char* name() const override { return "adapting"; }
  std::optional<std::string> why_not(const std::string&, const OpenOptions&) override { return std::nullopt; }
  std::unique_ptr<Engine> open(const GraphFile& graph, const std::string& device, const OpenOptions& options) override {
    auto made = std::make_unique<ThreadChoice>(ort_->open(graph, device, options), 2, ort_->shares_cores(), opens_again(*ort_, graph, options),
                                               [this] { return free; }, kAlways);
    opened = made.get();
    return made;
  }

  double free = 2;
  ThreadChoice* opened = nullptr;  // the last one

 private:
  const std::unique_ptr<Backend> ort_ = ort_backend();
};

class AdaptedSessions : public testing::Test {
 protected:
  AdaptedSessions() { backends_.push_back(std::make_unique<Adapting>()); }
  void SetUp() override {
    ATTN_NEEDS_BUNDLES();
    for (size_t i = 0; i < x_.size(); ++i) x_[i] = static_cast<float>(i % 5);
  }

  static GraphFile file(const std::filesystem::path& path) {
    const auto bundle = Bundle::open(path);
    const Graph& graph = bundle->graph({});
    return {bundle, &graph, &graph.precision({}, "a"), "bundle gemm.attn", graph.inputs, graph.outputs};
  }
  std::shared_ptr<Engine> open(const GraphFile& graph) const {
    OpenOptions options;
    options.device = "cpu";
    return open_engine(graph, options, backends_).engine;
  }

  View x() { return {ATTN_FLOAT32, {3, 16}, x_.data()}; }
  std::vector<float> answer(Engine& engine) {
    std::vector<Output> out(1);
    engine.run({x()}, out);
    const auto* y = out[0].view.as<float>();
    return {y, y + elements(out[0].view.shape)};
  }
  std::unique_ptr<BoundCall> bound(Engine& engine) { return engine.bind({x()}, {View{ATTN_FLOAT32, {3, 10}, y.data()}}); }
  Adapting& told() const { return static_cast<Adapting&>(*backends_[0]); }

  const std::filesystem::path gemm = attn_test::bundles_folder() / "gemm.attn";
  std::vector<float> y = std::vector<float>(30);  // what the bound call writes

 private:
  std::vector<std::unique_ptr<Backend>> backends_;
  std::vector<float> x_ = std::vector<float>(48);
};

TEST_F(AdaptedSessions, AnswersAreTheSame) {
  const auto engine = open(file(gemm));
  const std::vector<float> expected = answer(*engine);
  ASSERT_EQ(expected.size(), 30u);
  const auto call = bound(*engine);
  std::set<Engine*> taken;
  for (const double cores : {2.0, 1.0, 0.0}) {
    told().free = cores;
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(answer(*engine), expected);
      y.assign(30, 0);
      call->run();
      EXPECT_EQ(y, expected);
      told().opened->wait();
    }
    taken.insert(&told().opened->now());
  }
  EXPECT_EQ(taken.size(), 3u);
}

TEST_F(AdaptedSessions, AnotherExportIsNotOpenedBesideTheOneThatIsOpen) {
  const Scratch scratch;
  const auto path = scratch.path() / "gemm.attn";
  std::filesystem::copy(gemm, path, std::filesystem::copy_options::recursive);
  const auto engine = open(file(path));
  const std::vector<float> expected = answer(*engine);
  Engine& first = told().opened->now();
  std::ofstream(path / "model.onnx", std::ios::app) << "\x08\x08";  // ir_version once more
  told().free = 1;
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(answer(*engine), expected);
    told().opened->wait();
  }
  EXPECT_EQ(&told().opened->now(), &first);
}

TEST_F(AdaptedSessions, AForkMayComeWhileOneIsOpened) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "ThreadSanitizer ends a child that starts threads";
#endif
  const GraphFile graph = file(gemm);
  for (int round = 0; round < 5; ++round) {
    told().free = 2;
    std::shared_ptr<Engine> engine = open(graph);
    const std::vector<float> expected = answer(*engine);
    std::unique_ptr<BoundCall> call = bound(*engine);
    told().free = 1;
    answer(*engine);  // one is being opened from here on
    EXPECT_TRUE(in_a_child(
        [&] {
          static_cast<void>(call.release());
          engine.reset();
          told().free = 2;
          const auto own = open(graph);  // of the same bundle
          const bool same = answer(*own) == expected;
          told().free = 0;
          answer(*own);
          told().opened->wait();
          return same && answer(*own) == expected;
        },
        false));
    told().opened->wait();
    EXPECT_EQ(answer(*engine), expected);
  }
}

TEST_F(AdaptedSessions, WhatElseWasAskedForHoldsForAll) {
  struct Asked : Backend {
    const char* name() const override { return "asked"; }
    std::optional<std::string> why_not(const std::string&, const OpenOptions&) override { return std::nullopt; }
    std::unique_ptr<Engine> open(const GraphFile&, const std::string& device, const OpenOptions& options) override {
      EXPECT_EQ(device, "cpu");
      last = options;
      return nullptr;
    }
    OpenOptions last;
  } backend;
  OpenOptions options;
  options.stop_spinning = options.low_memory = true;
  const OpenWay again = opens_again(backend, file(gemm), options);
  for (const Way& way : {one, sleeping}) {
    again(way);
    EXPECT_EQ(backend.last.threads, way.threads);
    EXPECT_EQ(backend.last.share_cores, way.sleeping);
    EXPECT_TRUE(backend.last.stop_spinning && backend.last.low_memory);
  }
}

TEST_F(AdaptedSessions, ThreadsThatShareCoresSleepBetweenNodes) {
  const OrtLibrary& library = OrtLibrary::load({});
  for (const bool share : {false, true}) {
    OpenOptions options;
    options.share_cores = share;
    std::vector<std::string> entries;
    raised([&] {
      open_ort(library, file(gemm), "cpu", options, "", [&](OrtSessionOptions& session) {
        for (const char* key : {"session.intra_op.allow_spinning", "session.dynamic_block_base"}) {
          int found = 0;
          library.check(library.api->HasSessionConfigEntry(&session, key, &found));
          if (!found) continue;
          char value[8];
          size_t size = sizeof value;
          library.check(library.api->GetSessionConfigEntry(&session, key, value, &size));
          entries.push_back(std::string(key) + "=" + value);
        }
        throw backend_error("seen");
      });
    }, ATTN_ERROR_BACKEND);
    EXPECT_EQ(entries, share ? (std::vector<std::string>{"session.intra_op.allow_spinning=0", "session.dynamic_block_base=4"})
                          : std::vector<std::string>{});
  }
}

}  // namespace
}  // namespace attn
