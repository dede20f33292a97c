#include "generate/generator.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "generate/beam.h"
#include "generate/greedy.h"
#include "generate/sampling.h"
#include "util/error.h"

namespace attn {
namespace {

Generated result_of(Answers& answers, bool with_scores, const Settings& settings) {
  Generated made;
  if (with_scores) {
    for (size_t row = 0; row < answers.sums.size(); ++row) {
      made.scores.push_back(settings.score(answers.sums[row], answers.tokens[row].size()));
    }
  }
  made.tokens = std::move(answers.tokens);
  made.stopped = std::move(answers.stopped);
  made.steps = answers.steps();
  return made;
}

// What is chosen for one request, and all that this asks for.
class OneRow : public Row {
 public:
  OneRow(const Settings& settings, ScoreRules rules, std::vector<size_t> limits, std::vector<uint8_t> stops, const GraphIO& graph_io)
      : settings_(settings),
        rules_(std::move(rules)),
        answers_(std::move(limits), std::move(stops), graph_io.pad),
        choosing_(answers_, settings.sample ? Choose(Sampler(*settings.sample, 1)) : Choose(likeliest), graph_io.where, settings.scores,
                  rules_.any() ? &rules_ : nullptr) {}

  std::pair<int64_t, bool> take(const Logits& logits) override {
    const int64_t token = choosing_.take(logits)[0];
    return {token, answers_.going()};
  }
  Generated result(std::optional<Stopped> why) override {
    const bool scored = settings_.scores || (!why && !answers_.steps());  // 0 of an answer that there was no room for
    if (why) answers_.cancel(*why);
    return result_of(answers_, scored, settings_);
  }

 private:
  Settings settings_;
  ScoreRules rules_;
  Answers answers_;
  Choosing choosing_;
};

int64_t whole_rows(size_t rows, int64_t beams) { return static_cast<int64_t>(rows) * beams; }

}  // namespace

std::shared_ptr<Generator> Generator::open(std::shared_ptr<const Bundle> bundle, OpenOptions options) {
  if (options.graph) {
    throw usage_error("graph: got \"" + *options.graph + "\"; a generator opens all of its graphs, leave it out (" + bundle->where + ")");
  }
  auto made = std::make_shared<Generator>();
  made->bundle = bundle;
  made->graph_io = std::make_shared<const GraphIO>(GraphIO::of(*bundle, options.precision));
  made->precision = options.precision;
  options.stop_spinning = true;  // the graphs take turns on the same cores, and a session that waits busily holds up the others
  const auto open_graph = [&](const Sides& graph) {
    options.graph = graph.name;
    auto session = Session::open(bundle, options);
    // All on the device and by the backend that the first one found.
    options.device = session->device;
    options.backend = session->backend;
    return session;
  };
  if (made->graph_io->encoder) made->sessions_.encoder = open_graph(*made->graph_io->encoder);
  made->sessions_.first = open_graph(made->graph_io->first);
  made->sessions_.step = open_graph(made->graph_io->step);
  if (made->graph_io->extend) {
    options.graph = made->graph_io->extend->name;
    made->sessions_.extend = [bundle, options, opened = std::make_shared<std::shared_ptr<Session>>()] {
      if (!*opened) *opened = Session::open(bundle, options);
      return *opened;
    };
  }
  const Session& told = made->sessions_.encoder ? *made->sessions_.encoder : *made->sessions_.first;
  made->backend = told.backend;
  made->device = told.device;
  made->choice = told.choice;
  made->passed_over = told.passed_over;
  made->limit_requests({});
  return made;
}

Generator::~Generator() {
  if (process_.is_this()) {
    if (server_) server_->close();
  } else {
    abandon(std::move(server_));
    abandon(std::move(turns_));
  }
}

void Generator::limit_requests(const RequestLimits& limits) {
  process_.require("generator", graph_io->where);
  if (submitted_) throw usage_error("the limits of requests are set before the first is submitted; open another generator (" + graph_io->where + ")");
  if (!limits.rows) throw usage_error("rows: got 0, expected 1 or more requests at a time (" + graph_io->where + ")");
  server_ = std::make_shared<Server>(graph_io, sessions_, turns_, limits);
}

std::shared_ptr<Request> Generator::submit(const std::map<std::string, View>& inputs, const GenerateOptions& options, double seconds) {
  process_.require("generator", graph_io->where);
  const Settings asked = settings(options);
  asked.check(graph_io->vocabulary, graph_io->where);
  if (asked.beams > 1) {
    throw usage_error("submit: got " + std::to_string(asked.beams) +
                      " beams, expected one; take one beam, or call generate for a beam search (" + graph_io->where + ")");
  }
  if (asked.lookup) {
    throw usage_error("lookup: a request is one row of a step that reads one token of each; leave lookup out, or call generate (" +
                      graph_io->where + ")");
  }
  if (options.on_text) throw usage_error("on_text: a request tells tokens; take on_token, or generate for pieces of text (" + graph_io->where + ")");
  if (!(seconds >= 0)) throw usage_error("deadline: got " + std::to_string(seconds) + ", expected seconds, 0 for none (" + graph_io->where + ")");
  const Prompts given = prompts(inputs, asked);
  if (given.lengths.size() != 1) {
    throw input_error("submit: got " + std::to_string(given.lengths.size()) + " rows, expected one; submit a request for each (" +
                      graph_io->where + ")");
  }
  const std::vector<size_t> most = limits(asked, given.lengths);
  const std::vector<uint8_t> ends = stops(asked.stop);
  Prompt prompt;
  prompt.limit = most[0];
  prompt.tokens.assign(given.tokens, given.tokens + given.lengths[0]);
  for (const auto& [name, view] : given.source) {
    Tensor& copy = prompt.source.emplace(name, Tensor(name, view.dtype, view.shape)).first->second;
    std::copy_n(view.as<char>(), view.bytes(), copy.view().as<char>());
  }
  auto row = std::make_unique<OneRow>(asked, rules(given, asked, most, ends), most, ends, *graph_io);
  auto request =
      std::make_shared<Request>(server_, std::move(prompt), std::move(row), options.on_token, seconds > 0 ? after(seconds) : std::nullopt);
  submitted_ = true;
  if (most[0]) {
    server_->submit(request);
  } else {
    request->end(std::nullopt);
  }
  return request;
}

Generator::Alone::Alone(Generator& generator) : generator_(generator) {
  generator.process_.require("generator", generator.graph_io->where);  // whose lock a thread of the parent may have
  if (generator.turns_->mine()) {
    throw usage_error("the generator on " + generator.graph_io->where + " is in use: on_token can't call it; open another");
  }
  generator.turns_->take();
}

Generator::Alone::~Alone() { generator_.turns_->give(); }

Settings Generator::settings(const GenerateOptions& options) const {
  return Settings::of(options, graph_io->rules, graph_io->stop, graph_io->where);
}

Generated Generator::generate(const std::map<std::string, View>& inputs, const GenerateOptions& options) {
  const Settings asked = settings(options);
  asked.check(graph_io->vocabulary, graph_io->where);
  const Prompts given = prompts(inputs, asked);
  const size_t rows = given.lengths.size();
  if (whole_rows(rows, asked.beams) > graph_io->most_rows) {
    throw input_error("got " + std::to_string(rows) + " rows" + (asked.beams > 1 ? " of " + std::to_string(asked.beams) + " beams" : "") +
                      "; the graphs take up to " + std::to_string(graph_io->most_rows) +
                      " rows: give fewer, or re-export with a larger batch (" + graph_io->where + ")");
  }
  asked.check_lookup(graph_io->most_guessed(), graph_io->where);
  if (asked.lookup && graph_io->one_place && rows > 1) {
    throw usage_error("lookup: got " + std::to_string(rows) + " rows; all rows of this model stand at one place, and more is guessed right of " +
                      "one than of another: give one row at a time, or leave lookup out (" + graph_io->where + ")");
  }
  const std::vector<size_t> most = limits(asked, given.lengths);
  const std::vector<uint8_t> ends = stops(asked.stop);
  const ScoreRules made_rules = rules(given, asked, most, ends);
  const ScoreRules* ruled = made_rules.any() ? &made_rules : nullptr;

  const Alone alone(*this);
  Answers answers(most, ends, graph_io->pad);
  if (!answers.going()) return result_of(answers, true, asked);
  if (asked.lookup) return with_guesses(given, asked, answers, ruled, options);
  StepGraphs& model = step_graphs(given, static_cast<size_t>(asked.beams));
  const Logits logits = model.start(given.source, given.tokens, given.lengths);
  if (asked.beams > 1) {
    BeamSearch search(most, ends, graph_io->pad, asked, ruled);
    search.generate(model, logits, graph_io->where);
    return search.result();
  }
  Choose choose = likeliest;
  if (asked.sample) choose = Sampler(*asked.sample, rows);
  generate_each(model, logits, answers, choose, graph_io->where, options.on_token, asked.scores, ruled);
  return result_of(answers, asked.scores, asked);
}

Generated Generator::with_guesses(const Prompts& given, const Settings& asked, Answers& answers, const ScoreRules* rules,
                                  const GenerateOptions& options) {
  StepGraphs& model = step_graphs(given, 1);
  const Logits logits = model.start(given.source, given.tokens, given.lengths);
  Guessed guessed(answers, static_cast<size_t>(graph_io->max_length), given.rows(), sources(given), static_cast<size_t>(asked.lookup),
                  graph_io->where, rules);
  guessed.generate(model, logits, sessions_.extend(), options.on_token, asked.scores);
  Generated made = result_of(answers, asked.scores, asked);
  made.drafted = guessed.drafted;
  made.accepted = guessed.accepted;
  return made;
}

Generator::Followed Generator::follow(const std::map<std::string, View>& inputs, const std::vector<std::vector<int64_t>>& answers,
                                      double length_penalty, std::optional<int64_t> max_length) {
  GenerateOptions options;
  options.max_length = max_length;
  options.beams = 1;
  options.length_penalty = length_penalty;
  options.likeliest = true;
  const Settings asked = settings(options);
  const Prompts given = prompts(inputs, asked);
  const size_t rows = given.lengths.size();
  std::vector<size_t> lengths(rows);
  bool fits = answers.size() == rows && whole_rows(rows, 1) <= graph_io->most_rows;
  for (size_t row = 0; fits && row < rows; ++row) {
    lengths[row] = answers[row].size();
    fits = lengths[row] + given.lengths[row] <= static_cast<size_t>(graph_io->max_length) &&
           std::all_of(answers[row].begin(), answers[row].end(), [&](int64_t token) { return token >= 0 && token < graph_io->vocabulary; });
  }
  if (!fits) {
    size_t longest = 0;
    for (const auto& answer : answers) longest = std::max(longest, answer.size());
    throw input_error("answers of " + std::to_string(longest) + " tokens in " + std::to_string(answers.size()) + " rows; expected up to " +
                      std::to_string(graph_io->most_rows) + " rows, " + std::to_string(graph_io->max_length) +
                      " tokens with the prompt, each of 0.." + std::to_string(graph_io->vocabulary - 1) + " (" + graph_io->where + ")");
  }
  const Alone alone(*this);
  Followed found{std::vector<double>(rows), std::vector<double>(rows)};
  Answers followed(lengths, std::vector<uint8_t>(static_cast<size_t>(graph_io->vocabulary)), graph_io->pad);
  if (!followed.going()) return found;
  const auto as_given = [&](const Logits& logits, size_t row) {
    const auto token = static_cast<size_t>(answers[row][followed.steps()]);
    found.behind[row] = std::max(found.behind[row], largest_of(logits, row) - logits.at(row, token));
    return token;
  };
  StepGraphs& model = step_graphs(given, 1);
  const ScoreRules made_rules = rules(given, asked, limits(asked, given.lengths), stops(asked.stop));
  generate_each(model, model.start(given.source, given.tokens, given.lengths), followed, as_given, graph_io->where, {}, true,
                made_rules.any() ? &made_rules : nullptr);
  found.scores = result_of(followed, true, asked).scores;
  return found;
}

const Precision& Generator::precision_of(const std::string& graph) const { return bundle->graph(graph).precision(precision, graph_io->where); }

StepGraphs& Generator::step_graphs(const Prompts& given, size_t beams) {
  PromptShape shape{given.lengths.size(), beams, given.width, {}};
  for (const auto& [name, view] : given.source) shape.source[name] = view.shape;
  return step_graphs_.of(graph_io, sessions_, std::move(shape));
}

std::vector<uint8_t> Generator::stops(const std::vector<int64_t>& tokens) const {
  std::vector<uint8_t> found(static_cast<size_t>(graph_io->vocabulary));
  for (const int64_t token : tokens) found[static_cast<size_t>(token)] = 1;
  return found;
}

ScoreRules Generator::rules(const Prompts& given, const Settings& asked, const std::vector<size_t>& limits,
                            const std::vector<uint8_t>& stops) const {
  std::vector<ScoreRules::Tokens> prompts = given.rows(), found;
  if (!graph_io->encoder) {
    found = prompts;
  } else if (asked.encoder_no_repeat_ngram) {
    found = sources(given);
  }
  return ScoreRules(asked, stops, std::move(prompts), limits, std::move(found), graph_io->where);
}

std::vector<std::vector<int64_t>> Generator::Prompts::rows() const {
  std::vector<std::vector<int64_t>> found;
  for (size_t row = 0; row < lengths.size(); ++row) found.emplace_back(tokens + row * width, tokens + row * width + lengths[row]);
  return found;
}

// The tokens of each row that the encoder reads, without padding; empty without an encoder, and for one of pictures or sounds.
std::vector<std::vector<int64_t>> Generator::sources(const Prompts& given) const {
  std::vector<std::vector<int64_t>> found;
  if (!graph_io->encoder || graph_io->source_tokens.empty()) return found;
  const View& tokens = given.source.at(graph_io->source_tokens);
  const auto width = static_cast<size_t>(tokens.shape[1]);
  const uint8_t* mask = graph_io->source_mask.empty() ? nullptr : given.source.at(graph_io->source_mask).as<uint8_t>();
  for (size_t row = 0; row < given.lengths.size(); ++row) {
    std::vector<int64_t>& source = found.emplace_back();
    for (size_t at = row * width; at < (row + 1) * width; ++at) {
      if (!mask || mask[at]) source.push_back(tokens.as<int64_t>()[at]);
    }
  }
  return found;
}

Generator::Prompts Generator::prompts(std::map<std::string, View> inputs, const Settings& asked) const {
  Prompts made;
  std::vector<uint8_t> all;
  if (const auto tokens = inputs.find("tokens"); !graph_io->encoder && tokens != inputs.end() && !inputs.count("tokens_mask")) {
    all.assign(elements(tokens->second.shape), 1);
    inputs["tokens_mask"] = {ATTN_BOOL, tokens->second.shape, all.data()};
  }
  std::map<std::string, Signature> signatures;
  for (const auto& [name, view] : inputs) signatures[name] = {view.dtype, view.shape};
  check_shapes(graph_io->inputs, signatures, graph_io->where);
  for (const TensorSpec& spec : graph_io->inputs) {
    check_memory("input", spec.name, inputs.at(spec.name), graph_io->where);
    check_bools(spec.name, inputs.at(spec.name), graph_io->where);
    check_values(spec, inputs.at(spec.name));
  }
  if (graph_io->rules.begin) {
    const auto rows = static_cast<size_t>(inputs.begin()->second.shape.at(0));
    made.source = std::move(inputs);
    for (size_t row = 0; row < rows; ++row) made.begins.insert(made.begins.end(), asked.begin.begin(), asked.begin.end());
    made.tokens = made.begins.data();
    made.width = asked.begin.size();
    made.lengths.assign(rows, made.width);
    return made;
  }
  const View &tokens = inputs.at("tokens"), &mask = inputs.at("tokens_mask");
  made.tokens = tokens.as<int64_t>();
  made.width = static_cast<size_t>(tokens.shape[1]);
  for (size_t row = 0; row < static_cast<size_t>(tokens.shape[0]); ++row) {
    const uint8_t *begin = mask.as<uint8_t>() + row * made.width, *end = begin + made.width;
    const uint8_t* padding = std::find(begin, end, 0);
    if (std::any_of(padding, end, [](uint8_t set) { return set != 0; })) {
      throw input_error("input \"tokens_mask\": expected every row padded at its end alone (" + graph_io->where + ")");
    }
    made.lengths.push_back(static_cast<size_t>(padding - begin));
  }
  for (size_t row = 0; row < made.lengths.size(); ++row) {
    if (made.lengths[row]) continue;
    throw input_error("input \"tokens\": row " + std::to_string(row) + " is empty; expected a prompt of one token or more (" + graph_io->where +
                      ")");
  }
  const size_t longest = *std::max_element(made.lengths.begin(), made.lengths.end());
  if (static_cast<int64_t>(longest) > graph_io->max_length) {
    throw input_error("input \"tokens\": a prompt of " + std::to_string(longest) + " tokens; the model takes rows of up to " +
                      std::to_string(graph_io->max_length) + ", answer included (" + graph_io->where + ")");
  }
  const size_t shortest = *std::min_element(made.lengths.begin(), made.lengths.end());
  if (graph_io->one_place && shortest < longest) {
    throw input_error("input \"tokens\": prompts of " + std::to_string(shortest) + ".." + std::to_string(longest) +
                      " tokens; all rows of this model stand at one place: give prompts of one length, or one at a time (" + graph_io->where + ")");
  }
  return made;
}

// A token that the table lacks would be read beyond its end on a GPU.
void Generator::check_values(const TensorSpec& spec, const View& value) const {
  std::optional<int64_t> low = spec.low, high = spec.high;
  if (spec.name == "tokens" && !graph_io->encoder) {
    low = 0;
    high = graph_io->vocabulary;
  }
  if ((!low && !high) || elements(value.shape) == 0) return;
  int64_t least = 0, most = 0;
  const auto look = [&](auto zero) {
    using T = decltype(zero);
    const T* values = value.as<T>();
    const auto [a, b] = std::minmax_element(values, values + elements(value.shape));
    least = static_cast<int64_t>(*a);
    most = static_cast<int64_t>(*b);
  };
  switch (value.dtype) {
    case ATTN_INT8: look(int8_t{}); break;
    case ATTN_INT16: look(int16_t{}); break;
    case ATTN_INT32: look(int32_t{}); break;
    case ATTN_INT64: look(int64_t{}); break;
    case ATTN_UINT8: look(uint8_t{}); break;
    case ATTN_UINT16: look(uint16_t{}); break;
    case ATTN_UINT32: look(uint32_t{}); break;
    default: return;
  }
  if ((low && least < *low) || (high && most >= *high)) {
    throw input_error("input \"" + spec.name + "\": values " + std::to_string(least) + ".." + std::to_string(most) + "; expected " +
                      (low ? std::to_string(*low) : "") + ".." + (high ? std::to_string(*high - 1) : "") + " (" + graph_io->where + ")");
  }
}

// Most tokens of each answer: what was asked for, and what the model has room for behind each prompt.
std::vector<size_t> Generator::limits(const Settings& asked, const std::vector<size_t>& lengths) const {
  std::vector<size_t> found;
  for (const size_t length : lengths) found.push_back(asked.limit(length, graph_io->max_length - static_cast<int64_t>(length), graph_io->where));
  return found;
}

}  // namespace attn
