// A bound call of ours against ONNX Runtime's IoBinding on the same file, one thread, taking turns: {"ours_us", "raw_us", "ratios"}.
//
//   attn_bench_bound BUNDLE.attn LIBRARY [ROUNDS [CALLS]]
//
// BUNDLE is one with a float32 input x[batch, n] and a float32 output y[batch, m], in one file model.onnx, such as the tests' gemm.attn.
#include <attn/runtime.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "raw_ort.h"

namespace {

template <typename Call>
double microseconds(int calls, Call call) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < calls; ++i) call();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count() / calls;
}

int run(const std::string& path, const std::string& library, int rounds, int calls) {
  attn::Options options;
  options.device = "cpu", options.threads = 1, options.library = library;
  const attn::Bundle bundle(path);
  const attn::Session session(bundle, options);
  attn::Binding bound = session.bind({{"batch", 1}});
  for (float& value : bound.input<float>("x")) value = 0.25F;
  const attn_tensor x = bound.input("x"), y = bound.output("y");
  alignas(64) static float in[4096], out[4096];
  if (x.bytes > sizeof in || y.bytes > sizeof out) return 2;
  std::memcpy(in, x.data, x.bytes);
  RawOrt raw(library, path + "/model.onnx", "x", in, {x.shape, x.shape + x.rank}, "y", out, {y.shape, y.shape + y.rank});
  bound.run(), raw.run();
  if (std::memcmp(y.data, out, y.bytes) != 0) {
    std::fprintf(stderr, "the answers differ\n");
    return 1;
  }
  const auto ours = [&] { bound.run(); };
  const auto theirs = [&] { raw.run(); };
  microseconds(calls, ours), microseconds(calls, theirs);
  std::string text[3];
  for (int round = 0; round < rounds; ++round) {
    // Who goes first changes, so that neither has the warmer half of every round.
    double a = 0, b = 0;
    if (round % 2) {
      a = microseconds(calls, ours), b = microseconds(calls, theirs);
    } else {
      b = microseconds(calls, theirs), a = microseconds(calls, ours);
    }
    const double values[3] = {a, b, a / b};
    for (int i = 0; i < 3; ++i) {
      char number[40];
      std::snprintf(number, sizeof number, "%s%.5f", round ? ", " : "", values[i]);
      text[i] += number;
    }
  }
  std::printf("{\"ours_us\": [%s], \"raw_us\": [%s], \"ratios\": [%s]}\n", text[0].c_str(), text[1].c_str(), text[2].c_str());
  return 0;
}

}  // namespace

int main(int count, char** arguments) try {
  if (count < 3) {
    std::fprintf(stderr, "usage: attn_bench_bound BUNDLE.attn LIBRARY [ROUNDS [CALLS]]\n");
    return 2;
  }
  return run(arguments[1], arguments[2], count > 3 ? std::atoi(arguments[3]) : 31, count > 4 ? std::atoi(arguments[4]) : 5000);
} catch (const attn::Error& error) {
  std::fprintf(stderr, "error: %s\n", error.what());
  return error.status();
}
