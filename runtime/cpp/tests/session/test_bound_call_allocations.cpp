// A bound call allocates nothing. Every allocation of the process goes through the functions below, ONNX Runtime's and those of
// operator new as well; what is ours is what a bound call makes more than ONNX Runtime's own binding does.
#include <attn/runtime.hpp>

#include <cstdlib>
#include <new>

#include "raw_ort.h"
#include "support/bundles.h"

extern "C" {

void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

static thread_local size_t allocations = 0;

void* malloc(size_t bytes) { return ++allocations, __libc_malloc(bytes); }
void* calloc(size_t count, size_t bytes) { return ++allocations, __libc_calloc(count, bytes); }
void* realloc(void* old, size_t bytes) { return ++allocations, __libc_realloc(old, bytes); }
void* memalign(size_t alignment, size_t bytes) { return ++allocations, __libc_memalign(alignment, bytes); }
void* aligned_alloc(size_t alignment, size_t bytes) { return ++allocations, __libc_memalign(alignment, bytes); }
int posix_memalign(void** to, size_t alignment, size_t bytes) {
  ++allocations;
  *to = __libc_memalign(alignment, bytes);
  return *to ? 0 : 12;
}
}

namespace {

template <typename Call>
size_t allocations_of(int calls, Call call) {
  for (int i = 0; i < 10; ++i) call();  // what is made once is no cost of a call
  const size_t before = allocations;
  for (int i = 0; i < calls; ++i) call();
  return allocations - before;
}

TEST(Allocations, AreCounted) {
  EXPECT_EQ(allocations_of(7, [] { ::operator delete(::operator new(10)); }), 7u);
  EXPECT_EQ(allocations_of(7, [] { ::operator delete(::operator new(64, std::align_val_t{64}), std::align_val_t{64}); }), 7u);
  EXPECT_EQ(allocations_of(7, [] { std::free(std::calloc(1, 1)); }), 7u);
}

TEST(Allocations, ABoundCallMakesNoneOfItsOwn) {
  ATTN_NEEDS_BUNDLES();
  const char* library = std::getenv("ATTN_ONNXRUNTIME");
  if (!library) GTEST_SKIP() << "set ATTN_ONNXRUNTIME to the library of ONNX Runtime";
  const std::string path = attn_test::bundles_folder() / "gemm.attn";
  attn::Options options;
  options.device = "cpu", options.threads = 1;
  const attn::Session session(attn::Bundle(path), options);
  attn::Binding bound = session.bind({{"batch", 1}});
  alignas(64) static float in[16], out[10];
  RawOrt raw(library, path + "/model.onnx", "x", in, {1, 16}, "y", out, {1, 10});
  constexpr int calls = 1000;
  const size_t theirs = allocations_of(calls, [&] { raw.run(); });
  const size_t ours = allocations_of(calls, [&] { bound.run(); });
  RecordProperty("onnxruntime_per_call", static_cast<int>(theirs / calls));
  EXPECT_EQ(ours, theirs);
}

}  // namespace
