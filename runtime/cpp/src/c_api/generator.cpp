// Generators and what they wrote, as C sees them.
#include <cmath>
#include <limits>

#include "c_api/bundle.h"
#include "c_api/errors.h"
#include "c_api/generator.h"
#include "c_api/tensors.h"
#include "generate/texts.h"

namespace attn {

const Generator& opened(const attn_generator* generator) { return *required(generator, "generator")->generator; }

namespace {

std::unique_ptr<attn_result> result_of(Generated answers, const attn_generator& generator) {
  return result_of(std::move(answers), generator.text);
}

}  // namespace

void expect_text(const attn_generator& generator) {
  const Generator& found = *generator.generator;
  if (!generator.text) Text::open(*found.bundle, found.graph_io->inputs, found.graph_io->where);
}

std::unique_ptr<attn_result> result_of(Generated answers, std::shared_ptr<const Text> text) {
  auto made = std::make_unique<attn_result>();
  made->texts.resize(answers.tokens.size());
  made->answers = std::move(answers);
  made->text = std::move(text);
  return made;
}

}  // namespace attn

using namespace attn;

extern "C" {

int attn_generator_open(const attn_bundle* bundle, const attn_open_options* options, attn_generator** generator) {
  return guarded([&] {
    required(generator, "generator");
    const auto& given = required(bundle, "bundle")->bundle;
    auto made = std::make_unique<attn_generator>();
    made->generator = Generator::open(given, OpenOptions::of(options));
    const GraphIO& graph_io = *made->generator->graph_io;
    made->inputs = CSpecs(graph_io.inputs);
    // Also for prompts of tokens: what comes back is text where the bundle can tell it. A tokenizer that is not supported here is told when
    // texts are given.
    try {
      if (Text::is_in(*given)) made->text = Text::open(*given, graph_io.inputs, graph_io.where);
    } catch (const Error&) {
    }
    *generator = made.release();
  });
}

void attn_generator_close(attn_generator* generator) { delete generator; }

const char* attn_generator_choice(const attn_generator* generator) { return generator ? generator->generator->choice.c_str() : nullptr; }
const char* attn_generator_passed_over(const attn_generator* generator) {
  return generator ? generator->generator->passed_over.c_str() : nullptr;
}

size_t attn_generator_input_count(const attn_generator* generator) { return generator ? generator->inputs.size() : 0; }

const attn_spec* attn_generator_input(const attn_generator* generator, size_t index) {
  return generator ? generator->inputs.at(index) : nullptr;
}

int64_t attn_generator_max_length(const attn_generator* generator) { return generator ? generator->generator->graph_io->max_length : 0; }

int64_t attn_generator_vocabulary(const attn_generator* generator) { return generator ? generator->generator->graph_io->vocabulary : 0; }

int attn_generator_generate(attn_generator* generator, const attn_tensor* inputs, size_t input_count, const attn_generate_options* options,
                            attn_result** result) {
  return guarded([&] {
    opened(generator);
    required(result, "result");
    const auto given = read_tensors(inputs, input_count, "inputs");
    const GenerateOptions asked = GenerateOptions::of(options);
    if (asked.on_text) expect_text(*generator);
    *result = result_of(generate_in_pieces(*generator->generator, generator->text.get(), given, asked), *generator).release();
  });
}

int attn_generator_generate_text(attn_generator* generator, const char* const* texts, size_t count, const attn_generate_options* options,
                                 attn_result** result) {
  return guarded([&] {
    opened(generator);
    required(result, "result");
    if (!count) throw usage_error("texts: got none; give one or more");
    required(texts, "texts");
    std::vector<std::string> given;
    for (size_t i = 0; i < count; ++i) given.emplace_back(required(texts[i], "texts"));
    expect_text(*generator);
    TextAnswers answers = generate_texts(*generator->generator, *generator->text, given, GenerateOptions::of(options));
    auto made = result_of(std::move(answers.answers), *generator);
    made->notes = std::move(answers.notes);
    *result = made.release();
  });
}

void attn_result_close(attn_result* result) { delete result; }

size_t attn_result_rows(const attn_result* result) { return result ? result->answers.tokens.size() : 0; }

const int64_t* attn_result_tokens(const attn_result* result, size_t row, size_t* length) {
  if (length) *length = 0;
  if (row >= attn_result_rows(result)) return nullptr;
  static const int64_t nothing = 0;
  const std::vector<int64_t>& tokens = result->answers.tokens[row];
  if (length) *length = tokens.size() - (result->answers.stopped[row] == Stopped::stop ? 1 : 0);
  return tokens.empty() ? &nothing : tokens.data();
}

double attn_result_score(const attn_result* result, size_t row) {
  const bool known = row < attn_result_rows(result) && row < result->answers.scores.size();
  return known ? result->answers.scores[row] : std::numeric_limits<double>::quiet_NaN();
}

size_t attn_result_drafted(const attn_result* result) { return result ? result->answers.drafted : 0; }

size_t attn_result_accepted(const attn_result* result) { return result ? result->answers.accepted : 0; }

int attn_result_stopped(const attn_result* result, size_t row) {
  return row < attn_result_rows(result) && result->answers.stopped[row] == Stopped::stop;
}

attn_stopped attn_result_why(const attn_result* result, size_t row) {
  return row < attn_result_rows(result) ? static_cast<attn_stopped>(result->answers.stopped[row]) : ATTN_STOPPED_LENGTH;
}

const char* attn_result_text(const attn_result* result, size_t row) {
  if (row >= attn_result_rows(result) || !result->text) return "";
  try {
    if (!result->texts[row]) result->texts[row] = result->text->decode(result->answers.tokens[row]);
    return result->texts[row]->c_str();
  } catch (...) {
    keep_error();
    return "";
  }
}

const char* attn_result_note(const attn_result* result, size_t index) {
  return result && index < result->notes.size() ? result->notes[index].c_str() : nullptr;
}

}  // extern "C"
