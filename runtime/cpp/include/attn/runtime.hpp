/* attn_runtime for C++17: RAII over runtime.h, which says all that is not said here. Header-only.
 *
 *     #include <attn/runtime.hpp>
 *     #include <iostream>
 *
 *     int main(int, char** arguments) try {
 *       attn::Bundle bundle(arguments[1]);                // read and hashed
 *       bundle.verify();                                  // its answers here are PyTorch's, or attn::Error
 *       attn::Session session(bundle, {"cpu"});
 *       attn::Binding call = session.bind({{"batch", 1}});
 *       for (float& value : call.input<float>("image")) value = 0.5f;
 *       call.run();                                       // allocates nothing
 *       for (float logit : call.output<float>("logits")) std::cout << logit << "\n";
 *     } catch (const attn::Error& error) {
 *       std::cerr << "error: " << error.what() << "\n";
 *       return error.status();
 *     }
 */
#ifndef ATTN_RUNTIME_HPP
#define ATTN_RUNTIME_HPP

#include <attn/runtime.h>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace attn {
// The library's own classes are called attn::Session too, and a program that links all of it statically must not mix the two up.
inline namespace cpp {

/* What a call that failed left behind: one line, its attn_status, and for some a table. */
class Error : public std::runtime_error {
 public:
  Error(int status, const std::string& message, std::string details)
      : std::runtime_error(message), status_(status), details_(std::move(details)) {}
  int status() const { return status_; }
  const std::string& details() const { return details_; }

 private:
  int status_;
  std::string details_;
};

namespace detail {

inline void check(int status) {
  if (status != ATTN_OK) throw Error(status, attn_last_error(), attn_last_error_details());
}

/* Functions of the program's that C calls, through which no exception may go: one is kept, and thrown again behind the call. */
template <typename Functions>
struct Calls {
  const Functions& functions;
  std::exception_ptr thrown;

  /* Nothing is called behind one that threw. */
  template <typename Use>
  void call(Use use) noexcept {
    if (thrown) return;
    try {
      use(functions);
    } catch (...) {
      thrown = std::current_exception();
    }
  }
  void rethrow() const {
    if (thrown) std::rethrow_exception(thrown);
  }
};

/* As C takes texts: a 0 would end one unseen. */
inline std::vector<const char*> c_texts(const std::vector<std::string>& texts) {
  std::vector<const char*> given;
  for (const std::string& text : texts) {
    if (text.find('\0') != std::string::npos) {
      throw Error(ATTN_ERROR_INPUT, "text " + std::to_string(given.size()) + ": holds a NUL character; expected text without one", "");
    }
    given.push_back(text.c_str());
  }
  return given;
}

template <typename T, void (*close)(T*)>
struct Close {
  void operator()(T* handle) const { close(handle); }
};
template <typename T, void (*close)(T*)>
using Handle = std::unique_ptr<T, Close<T, close>>;

template <typename T>
struct DtypeOf;
template <> struct DtypeOf<float> { static constexpr attn_dtype value = ATTN_FLOAT32; };
template <> struct DtypeOf<double> { static constexpr attn_dtype value = ATTN_FLOAT64; };
template <> struct DtypeOf<int8_t> { static constexpr attn_dtype value = ATTN_INT8; };
template <> struct DtypeOf<int16_t> { static constexpr attn_dtype value = ATTN_INT16; };
template <> struct DtypeOf<int32_t> { static constexpr attn_dtype value = ATTN_INT32; };
template <> struct DtypeOf<int64_t> { static constexpr attn_dtype value = ATTN_INT64; };
template <> struct DtypeOf<uint8_t> { static constexpr attn_dtype value = ATTN_UINT8; };
template <> struct DtypeOf<uint16_t> { static constexpr attn_dtype value = ATTN_UINT16; };
template <> struct DtypeOf<uint32_t> { static constexpr attn_dtype value = ATTN_UINT32; };
template <> struct DtypeOf<uint64_t> { static constexpr attn_dtype value = ATTN_UINT64; };
template <> struct DtypeOf<bool> { static constexpr attn_dtype value = ATTN_BOOL; };

}  // namespace detail

using Shape = std::vector<int64_t>;
using Sizes = std::vector<std::pair<std::string, int64_t>>;

/* Somebody's memory, seen as elements. */
template <typename T>
class Span {
 public:
  Span(T* data, size_t size) : data_(data), size_(size) {}
  T* data() const { return data_; }
  size_t size() const { return size_; }
  T* begin() const { return data_; }
  T* end() const { return data_ + size_; }
  T& operator[](size_t index) const { return data_[index]; }

 private:
  T* data_;
  size_t size_;
};

/* A tensor in memory of its own: what Session::run takes and gives. float16 is held as bytes (`data`). */
class Tensor {
 public:
  Tensor() = default;
  Tensor(Shape shape, attn_dtype dtype) : dtype_(dtype), shape_(std::move(shape)), bytes_(count() * attn_dtype_bytes(dtype)) {}  // zeros
  template <typename T>
  Tensor(Shape shape, std::initializer_list<T> values) : Tensor(shape, std::vector<T>(values)) {}
  template <typename T>
  Tensor(Shape shape, const std::vector<T>& values) : Tensor(std::move(shape), detail::DtypeOf<T>::value) {
    if (values.size() != count()) throw std::invalid_argument("attn::Tensor: as many values as the shape has elements");
    size_t at = 0;
    for (const T value : values) view<T>()[at++] = value;  // one by one: a vector<bool> has no array
  }

  attn_dtype dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  void* data() { return bytes_.data(); }
  const void* data() const { return bytes_.data(); }
  size_t bytes() const { return bytes_.size(); }
  template <typename T>
  Span<T> view() {
    expect(detail::DtypeOf<T>::value);
    return {reinterpret_cast<T*>(bytes_.data()), count()};
  }
  template <typename T>
  Span<const T> view() const {
    expect(detail::DtypeOf<T>::value);
    return {reinterpret_cast<const T*>(bytes_.data()), count()};
  }

 private:
  size_t count() const {
    size_t all = 1;
    for (const int64_t size : shape_) all *= static_cast<size_t>(size);
    return all;
  }
  void expect(attn_dtype dtype) const {
    if (dtype != dtype_) throw std::invalid_argument("attn::Tensor: read as another dtype than it has");
  }

  attn_dtype dtype_ = ATTN_FLOAT32;
  Shape shape_;
  std::vector<unsigned char> bytes_;  // memory of operator new is aligned to the largest element
};

using Tensors = std::map<std::string, Tensor>;

namespace detail {

inline std::vector<attn_tensor> views(const Tensors& tensors) {
  std::vector<attn_tensor> found;
  for (const auto& [name, tensor] : tensors) {
    if (tensor.shape().size() > ATTN_MAX_RANK) throw std::invalid_argument("attn::Tensor: more axes than attn_tensor has");
    attn_tensor view{name.c_str(), tensor.dtype(), const_cast<void*>(tensor.data()), tensor.bytes(), tensor.shape().size(), {}};
    for (size_t i = 0; i < view.rank; ++i) view.shape[i] = tensor.shape()[i];
    found.push_back(view);
  }
  return found;
}

}  // namespace detail

/* A named axis with its range; a fixed one has no name. */
struct Dim {
  std::string name;
  int64_t min, opt, max;
};

struct Spec {
  std::string name;
  attn_dtype dtype;
  std::vector<Dim> dims;
  std::string meaning, unit;
  std::optional<int64_t> low, high;

  explicit Spec(const attn_spec& spec) : name(spec.name), dtype(spec.dtype), meaning(spec.meaning), unit(spec.unit) {
    for (size_t i = 0; i < spec.rank; ++i) {
      const attn_dim& dim = spec.dims[i];
      dims.push_back({dim.name ? dim.name : "", dim.min, dim.opt, dim.max});
    }
    if (spec.has_low) low = spec.low;
    if (spec.has_high) high = spec.high;
  }
};

/* What attn_open_options says; an empty text is not set. Each has a value here, so that {"cpu"} is all one need write. */
struct Options {
  std::string device = "auto";
  std::string backend{}, graph{}, precision{};
  int threads = 0; /* or ATTN_THREADS_AUTO */
  bool low_memory = false;
  std::string cache{}, library{};
  bool stop_spinning = false;

  attn_open_options c() const {
    attn_open_options options = ATTN_OPEN_OPTIONS_INIT;
    const auto text = [](const std::string& value) { return value.empty() ? nullptr : value.c_str(); };
    options.device = text(device), options.backend = text(backend), options.graph = text(graph), options.precision = text(precision);
    options.threads = threads, options.low_memory = low_memory;
    options.cache = text(cache), options.library = text(library), options.stop_spinning = stop_spinning;
    return options;
  }
};

/* May be used by many threads. */
class Bundle {
 public:
  explicit Bundle(const std::string& path, bool paranoid = false) : Bundle(path.c_str(), paranoid) {}
  explicit Bundle(const char* path, bool paranoid = false) { /* NULL, as an argument that was not given, is an Error too */
    attn_bundle* opened = nullptr;
    detail::check(paranoid ? attn_bundle_open_paranoid(path, &opened) : attn_bundle_open(path, &opened));
    handle_.reset(opened);
  }

  std::string name() const { return attn_bundle_name(c()); }
  std::vector<std::string> graphs() const {
    std::vector<std::string> names;
    for (size_t i = 0; i < attn_bundle_graph_count(c()); ++i) names.emplace_back(attn_bundle_graph_name(c(), i));
    return names;
  }
  std::string manifest() const { return attn_bundle_manifest(c()); }
  std::optional<std::string> asset(const std::string& name) const {
    const char* json = nullptr;
    detail::check(attn_bundle_asset(c(), name.c_str(), &json));
    if (!json) return std::nullopt;
    return json;
  }
  std::vector<std::string> labels() const {
    const char* const* labels = nullptr;
    size_t count = 0;
    detail::check(attn_bundle_labels(c(), &labels, &count));
    return {labels, labels + count};
  }
  /* Error (ATTN_ERROR_PARITY, with a table in `details`) unless every answer here is PyTorch's; or what on_check threw. */
  void verify(const Options& options = {}, const std::function<void(const attn_check&)>& on_check = nullptr) const {
    const attn_open_options given = options.c();
    const auto call = [](const attn_check* check, void* user) {
      static_cast<detail::Calls<std::function<void(const attn_check&)>>*>(user)->call([&](const auto& tell) { tell(*check); });
    };
    detail::Calls<std::function<void(const attn_check&)>> calls{on_check, nullptr};
    const int status = attn_bundle_verify(c(), &given, on_check ? +call : nullptr, &calls);
    calls.rethrow();
    detail::check(status);
  }

  /* From files and pixels to what Session::run takes, as the bundle's assets say: see attn_bundle_image and those behind it. */
  Tensors image(const uint8_t* pixels, size_t height, size_t width, size_t channels) const {
    return prepared([&](attn_tensor* tensor) { return attn_bundle_image(c(), pixels, height, width, channels, tensor); });
  }
  Tensors audio(const float* samples, size_t frames, size_t channels, size_t rate) const {
    return prepared([&](attn_tensor* tensor) { return attn_bundle_audio(c(), samples, frames, channels, rate, tensor); });
  }
  Tensors wav(const std::string& path) const {
    return prepared([&](attn_tensor* tensor) { return attn_bundle_wav(c(), path.c_str(), tensor); });
  }
  /* The same; `notes` is what attn_last_notes tells of it. */
  Tensors wav(const std::string& path, std::string& notes) const {
    Tensors made = wav(path);
    notes = attn_last_notes();
    return made;
  }
  /* Every input that texts give; `seconds` is empty, or has the second text of each pair. */
  Tensors text(const std::vector<std::string>& texts, const std::vector<std::string>& seconds = {}) const {
    if (!seconds.empty() && seconds.size() != texts.size()) {
      throw Error(ATTN_ERROR_USAGE, "got " + std::to_string(seconds.size()) + " second texts for " + std::to_string(texts.size()) + " first ones", "");
    }
    const std::vector<const char*> given = detail::c_texts(texts), others = detail::c_texts(seconds);
    return prepared<3>([&](attn_tensor* tensors) {
      return attn_bundle_text_pairs(c(), given.data(), others.empty() ? nullptr : others.data(), given.size(), &tensors[0], &tensors[1],
                                    &tensors[2]);
    });
  }

  const attn_bundle* c() const { return handle_.get(); }

 private:
  /* Asks how much room there must be, makes it, and asks again. */
  template <size_t count = 1, typename Prepare>
  static Tensors prepared(Prepare prepare) {
    attn_tensor tensors[count] = {};
    detail::check(prepare(tensors));
    Tensors made;
    for (attn_tensor& each : tensors) {
      if (!each.name) continue; /* the model does not take it */
      Tensor& tensor = made[each.name] = Tensor(Shape(each.shape, each.shape + each.rank), each.dtype);
      each.data = tensor.data(), each.bytes = tensor.bytes();
    }
    detail::check(prepare(tensors));
    return made;
  }

  detail::Handle<attn_bundle, attn_bundle_close> handle_;
};

/* Buffers that stay, and the call on them. Belongs to one thread at a time. */
class Binding {
 public:
  void run() { detail::check(attn_binding_run(handle_.get())); }

  attn_tensor input(const std::string& name) const {
    attn_tensor tensor{};
    detail::check(attn_binding_input(handle_.get(), name.c_str(), &tensor));
    return tensor;
  }
  attn_tensor output(const std::string& name) const {
    attn_tensor tensor{};
    detail::check(attn_binding_output(handle_.get(), name.c_str(), &tensor));
    return tensor;
  }
  template <typename T>
  Span<T> input(const std::string& name) const {
    return elements<T>(input(name));
  }
  template <typename T>
  Span<const T> output(const std::string& name) const {
    return elements<const T>(output(name));
  }

 private:
  friend class Session;
  explicit Binding(attn_binding* handle) : handle_(handle) {}

  template <typename T>
  static Span<T> elements(const attn_tensor& tensor) {
    if (tensor.dtype != detail::DtypeOf<std::remove_const_t<T>>::value) {
      throw Error(ATTN_ERROR_USAGE, std::string(tensor.name) + " is " + attn_dtype_name(tensor.dtype) + ", and is read as another type",
                  "");
    }
    return {static_cast<T*>(tensor.data), tensor.bytes / sizeof(T)};
  }

  detail::Handle<attn_binding, attn_binding_close> handle_;
};

/* A graph that is open. May be used by many threads. */
class Session {
 public:
  explicit Session(const Bundle& bundle, const Options& options = {}) {
    attn_session* opened = nullptr;
    const attn_open_options given = options.c();
    detail::check(attn_session_open(bundle.c(), &given, &opened));
    handle_.reset(opened);
  }

  std::string backend() const { return attn_session_backend(handle_.get()); }
  std::string device() const { return attn_session_device(handle_.get()); }
  std::string precision() const { return attn_session_precision(handle_.get()); }
  std::string choice() const { return attn_session_choice(handle_.get()); }
  std::string passed_over() const { return attn_session_passed_over(handle_.get()); }
  std::vector<Spec> inputs() const { return specs(attn_session_input_count(handle_.get()), attn_session_input); }
  std::vector<Spec> outputs() const { return specs(attn_session_output_count(handle_.get()), attn_session_output); }

  /* Buffers of the binding's own; `sizes` as {{"batch", 8}}, what is left out takes its opt. */
  Binding bind(const Sizes& sizes = {}) const { return bind(sizes, {}, {}); }
  /* ... and of the caller's for some names, which must outlive the binding. */
  Binding bind(const Sizes& sizes, const std::vector<attn_tensor>& inputs, const std::vector<attn_tensor>& outputs) const {
    std::vector<attn_size> given;
    for (const auto& [dim, value] : sizes) given.push_back({dim.c_str(), value});
    attn_binding* made = nullptr;
    detail::check(attn_session_bind(handle_.get(), given.data(), given.size(), inputs.data(), inputs.size(), outputs.data(), outputs.size(),
                                    &made));
    return Binding(made);
  }

  /* The text of a recording; see attn_session_transcribe. */
  std::string transcribe(const float* samples, size_t frames, size_t channels, size_t rate) const {
    const char* text = nullptr;
    detail::check(attn_session_transcribe(handle_.get(), samples, frames, channels, rate, &text));
    return text;
  }
  std::string transcribe_wav(const std::string& path) const {
    const char* text = nullptr;
    detail::check(attn_session_transcribe_wav(handle_.get(), path.c_str(), &text));
    return text;
  }

  /* On buffers of the caller; see attn_session_run. */
  void run(const std::vector<attn_tensor>& inputs, std::vector<attn_tensor>& outputs) const {
    detail::check(attn_session_run(handle_.get(), inputs.data(), inputs.size(), outputs.data(), outputs.size()));
  }
  /* Every output, in new memory. A size that follows from the values is learnt by running the graph twice. */
  Tensors run(const Tensors& inputs) const {
    const std::vector<attn_tensor> in = detail::views(inputs);
    std::vector<attn_tensor> out;
    for (size_t i = 0; i < attn_session_output_count(handle_.get()); ++i) {
      out.push_back({attn_session_output(handle_.get(), i)->name, static_cast<attn_dtype>(0), nullptr, 0, 0, {}});
    }
    /* Without room, a call tells the shapes; it runs nothing where they follow from those of the inputs. */
    int status = attn_session_run(handle_.get(), in.data(), in.size(), out.data(), out.size());
    Tensors made;
    for (attn_tensor& each : out) {
      if (status != ATTN_OK && attn_dtype_bytes(each.dtype) == 0) detail::check(status); /* it was not about room */
      Tensor& tensor = made[each.name] = Tensor(Shape(each.shape, each.shape + each.rank), each.dtype);
      each.data = tensor.data(), each.bytes = tensor.bytes();
    }
    if (status != ATTN_OK) detail::check(attn_session_run(handle_.get(), in.data(), in.size(), out.data(), out.size()));
    return made;
  }

 private:
  template <typename At>
  std::vector<Spec> specs(size_t count, At at) const {
    std::vector<Spec> found;
    for (size_t i = 0; i < count; ++i) found.emplace_back(*at(handle_.get(), i));
    return found;
  }

  detail::Handle<attn_session, attn_session_close> handle_;
};

/* What attn_generate_options says; none is the bundle's default. */
struct GenerateOptions {
  std::optional<int64_t> max_length{}; /* most tokens of an answer */
  std::optional<int64_t> beams{};
  std::optional<double> length_penalty{};
  std::optional<bool> early_stop{};
  std::optional<bool> sample{}; /* draw tokens, with the four below; the bundle's default draws with `seed` alone */
  double temperature = 1.0;
  int64_t top_k = 0;
  double top_p = 1.0;
  uint64_t seed = 0;
  std::optional<std::vector<int64_t>> stop{}; /* none: the model's own */
  bool scores = false;
  std::function<bool(size_t row, int64_t token)> on_token{}; /* with one beam; false ends the generation */
  std::function<bool(size_t row, const std::string& piece)> on_text{}; /* what a row's text grows by: pieces that add up to it */
  /* What these throw comes out of `generate`, which ends behind it. */
  std::optional<int64_t> min_length{};
  std::optional<double> repetition_penalty{};
  std::optional<int64_t> no_repeat_ngram{};
  std::map<std::string, std::string> begin{}; /* what answers begin with: {{"language", "de"}} */
  int64_t lookup = 0;                         /* guess up to so many tokens ahead; see attn_generate_options */
};

/* One row of what a generator wrote. */
struct Answer {
  std::string text; /* "" where the bundle has no tokenizer */
  std::vector<int64_t> tokens;
  double score; /* NaN where it was not asked for */
  bool stopped; /* by a stop token */
  attn_stopped why = ATTN_STOPPED_LENGTH;
};

struct Answers {
  std::vector<Answer> rows;
  std::vector<std::string> notes; /* such as words that the tokenizer does not know */
  size_t drafted = 0, accepted = 0; /* tokens that were guessed, with `lookup`, and those of them that were written */
};

namespace detail {
inline Answer answer(const attn_result* made, size_t row) {
  size_t length = 0;
  const int64_t* tokens = attn_result_tokens(made, row, &length);
  return {attn_result_text(made, row), {tokens, tokens + length}, attn_result_score(made, row), attn_result_stopped(made, row) != 0,
          attn_result_why(made, row)};
}
}  // namespace detail

/* What requests to one generator may take up at a time; see attn_request_limits. */
struct RequestLimits {
  size_t rows = 64, waiting = 1024;
  uint64_t memory = 0;
};

/* A prompt that was submitted. Belongs to one thread at a time, but may be cancelled from any. Where it goes before it is over, it is
 * cancelled. */
class Request {
 public:
  Request(Request&&) = default;
  Request& operator=(Request&& other) noexcept {
    handle_ = std::move(other.handle_); /* which ends what the old on_token is called by */
    told_ = std::move(other.told_);
    return *this;
  }

  /* The next token, the stop token included, once it is there; none behind the last one. */
  std::optional<int64_t> next() {
    int64_t token = ATTN_NO_MORE_TOKENS;
    detail::check(attn_request_next(handle_.get(), -1.0, &token));
    if (token != ATTN_NO_MORE_TOKENS) return token;
    told_->calls.rethrow();
    return std::nullopt;
  }
  /* The answer, once it is over. What on_token threw comes out of this and of `next`. */
  Answer result() {
    attn_result* made = nullptr;
    const int status = attn_request_result(handle_.get(), -1.0, &made);
    const detail::Handle<attn_result, attn_result_close> result(made);
    detail::check(status);
    told_->calls.rethrow();
    return detail::answer(made, 0);
  }
  void cancel() { attn_request_cancel(handle_.get()); }

 private:
  friend class Generator;
  /* What on_token is called with, for as long as the handle is open. */
  struct Told {
    explicit Told(GenerateOptions given) : options(std::move(given)) {}
    GenerateOptions options;
    detail::Calls<GenerateOptions> calls{options, nullptr};
  };

  explicit Request(GenerateOptions options) : told_(std::make_unique<Told>(std::move(options))) {}

  std::unique_ptr<Told> told_;
  detail::Handle<attn_request, attn_request_close> handle_;
};

/* Graphs that write token by token: a translator, a language model. One generation at a time, other threads wait; requests that are submitted
 * are written together. */
class Generator {
 public:
  explicit Generator(const Bundle& bundle, const Options& options = {}) {
    attn_generator* opened = nullptr;
    const attn_open_options given = options.c();
    detail::check(attn_generator_open(bundle.c(), &given, &opened));
    handle_.reset(opened);
  }

  std::string choice() const { return attn_generator_choice(handle_.get()); }
  std::string passed_over() const { return attn_generator_passed_over(handle_.get()); }
  std::vector<Spec> inputs() const {
    std::vector<Spec> found;
    for (size_t i = 0; i < attn_generator_input_count(handle_.get()); ++i) found.emplace_back(*attn_generator_input(handle_.get(), i));
    return found;
  }
  int64_t max_length() const { return attn_generator_max_length(handle_.get()); }
  int64_t vocabulary() const { return attn_generator_vocabulary(handle_.get()); }

  /* One row a text, through the bundle's tokenizer. */
  Answers generate_text(const std::vector<std::string>& texts, const GenerateOptions& options = {}) const {
    const std::vector<const char*> given = detail::c_texts(texts);
    return answers(options, [&](const attn_generate_options* asked, attn_result** made) {
      return attn_generator_generate_text(handle_.get(), given.data(), given.size(), asked, made);
    });
  }
  /* The encoder's inputs, or `tokens` and `tokens_mask`, which may be left out where no row is padded. */
  Answers generate(const Tensors& inputs, const GenerateOptions& options = {}) const { return generate(detail::views(inputs), options); }
  Answers generate(const std::vector<attn_tensor>& inputs, const GenerateOptions& options = {}) const {
    return answers(options, [&](const attn_generate_options* asked, attn_result** made) {
      return attn_generator_generate(handle_.get(), inputs.data(), inputs.size(), asked, made);
    });
  }

  /* Before the first request is submitted. */
  void limit_requests(const RequestLimits& limits) const {
    const attn_request_limits given = {sizeof(attn_request_limits), limits.rows, limits.waiting, limits.memory};
    detail::check(attn_generator_limit_requests(handle_.get(), &given));
  }
  /* One prompt, answered beside others; returns at once. See attn_generator_submit. on_token is called by a thread of the library. */
  Request submit(const Tensors& inputs, const GenerateOptions& options = {}, double deadline = 0) const {
    const std::vector<attn_tensor> views = detail::views(inputs);
    return submitted(options, [&](const attn_generate_options* asked, attn_request** request) {
      return attn_generator_submit(handle_.get(), views.data(), views.size(), asked, deadline, request);
    });
  }
  Request submit_text(const std::string& text, const GenerateOptions& options = {}, double deadline = 0) const {
    const std::vector<const char*> given = detail::c_texts({text});
    return submitted(options, [&](const attn_generate_options* asked, attn_request** request) {
      return attn_generator_submit_text(handle_.get(), given[0], asked, deadline, request);
    });
  }

  /* The text of a recording of any length; see attn_generator_transcribe. */
  std::string transcribe(const float* samples, size_t frames, size_t channels, size_t rate, const GenerateOptions& options = {}) const {
    const char* text = nullptr;
    with(options, [&](const attn_generate_options* asked) {
      return attn_generator_transcribe(handle_.get(), samples, frames, channels, rate, asked, &text);
    });
    return text;
  }
  std::string transcribe_wav(const std::string& path, const GenerateOptions& options = {}) const {
    const char* text = nullptr;
    with(options, [&](const attn_generate_options* asked) {
      return attn_generator_transcribe_wav(handle_.get(), path.c_str(), asked, &text);
    });
    return text;
  }

 private:
  using Calls = detail::Calls<GenerateOptions>;

  /* `call(attn_generate_options*)`; what a callback throws comes out. */
  template <typename Call>
  static void with(const GenerateOptions& options, Call call) {
    Calls calls{options, nullptr};
    const int status = with(options, calls, call);
    calls.rethrow();
    detail::check(status);
  }
  template <typename Call>
  static int with(const GenerateOptions& options, Calls& calls, Call call) {
    std::vector<attn_choice> choices;
    for (const auto& [name, value] : options.begin) choices.push_back({name.c_str(), value.c_str()});
    attn_generate_options asked = c(options, calls);
    asked.choices = choices.data(), asked.choice_count = choices.size();
    return call(&asked);
  }

  template <typename Submit>
  static Request submitted(const GenerateOptions& options, Submit submit) {
    Request made(options);
    attn_request* request = nullptr;
    const auto call = [&](const attn_generate_options* asked) { return submit(asked, &request); };
    const int status = with(made.told_->options, made.told_->calls, call);
    made.handle_.reset(request);
    detail::check(status);
    return made;
  }

  template <typename Generate>
  static Answers answers(const GenerateOptions& options, Generate generate) {
    detail::Handle<attn_result, attn_result_close> result;
    with(options, [&](const attn_generate_options* asked) {
      attn_result* made = nullptr;
      const int status = generate(asked, &made);
      result.reset(made);
      return status;
    });
    return read(result.get());
  }

  static attn_generate_options c(const GenerateOptions& options, Calls& calls) {
    attn_generate_options given = ATTN_GENERATE_OPTIONS_INIT;
    given.max_length = options.max_length.value_or(-1);
    given.beams = options.beams.value_or(-1), given.length_penalty = options.length_penalty.value_or(-1.0);
    given.early_stop = options.early_stop ? *options.early_stop : -1, given.sample = options.sample ? *options.sample : -1;
    given.min_length = options.min_length.value_or(-1), given.no_repeat_ngram = options.no_repeat_ngram.value_or(-1);
    given.repetition_penalty = options.repetition_penalty.value_or(0.0);
    given.temperature = options.temperature, given.top_k = options.top_k, given.top_p = options.top_p;
    given.seed = options.seed, given.scores = options.scores, given.lookup = options.lookup;
    static const int64_t none = 0;
    if (options.stop) given.stop = options.stop->empty() ? &none : options.stop->data(), given.stop_count = options.stop->size();
    if (options.on_token) {
      given.on_token = [](size_t row, int64_t token, void* user) {
        bool goes_on = false;
        static_cast<Calls*>(user)->call([&](const GenerateOptions& told) { goes_on = told.on_token(row, token); });
        return goes_on ? 0 : 1;
      };
    }
    if (options.on_text) {
      given.on_text = [](size_t row, const char* piece, size_t bytes, void* user) {
        bool goes_on = false;
        static_cast<Calls*>(user)->call([&](const GenerateOptions& told) { goes_on = told.on_text(row, std::string(piece, bytes)); });
        return goes_on ? 0 : 1;
      };
    }
    given.user = &calls;
    return given;
  }

  static Answers read(const attn_result* made) {
    Answers answers;
    for (size_t row = 0; row < attn_result_rows(made); ++row) answers.rows.push_back(detail::answer(made, row));
    answers.drafted = attn_result_drafted(made), answers.accepted = attn_result_accepted(made);
    for (size_t i = 0; attn_result_note(made, i); ++i) answers.notes.emplace_back(attn_result_note(made, i));
    return answers;
  }

  detail::Handle<attn_generator, attn_generator_close> handle_;
};

}  // namespace cpp
}  // namespace attn

#endif  /* ATTN_RUNTIME_HPP */
