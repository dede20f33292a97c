#include "generate/graphs/graph_io.h"

#include <algorithm>
#include <set>

#include "generate/graphs/kv_cache.h"
#include "util/error.h"
#include "util/names.h"

namespace attn {
namespace {

// What the loop itself gives to `first` and `step`.
struct Fed {
  const char* name;
  attn_dtype dtype;
  size_t rank;
};
const std::vector<Fed> fed_to_first = {{"tokens", ATTN_INT64, 2}, {"tokens_mask", ATTN_BOOL, 2}};
const std::vector<Fed> fed_to_step = {{"token", ATTN_INT64, 2}, {"position", ATTN_INT64, 2}, {"past_mask", ATTN_BOOL, 2}};

bool is_float(attn_dtype dtype) { return dtype == ATTN_FLOAT16 || dtype == ATTN_FLOAT32 || dtype == ATTN_FLOAT64; }

const TensorSpec* find(const std::vector<TensorSpec>& specs, const std::string& wanted) {
  const auto found = std::find_if(specs.begin(), specs.end(), [&](const TensorSpec& spec) { return spec.name == wanted; });
  return found == specs.end() ? nullptr : &*found;
}

std::vector<std::string> graph_names(const Bundle& bundle) {
  std::vector<std::string> names;
  for (const Graph& graph : bundle.graphs) names.push_back(graph.name);
  return names;
}

std::vector<TensorSpec> halved(std::vector<TensorSpec> specs) {
  for (TensorSpec& spec : specs) {
    if (spec.dtype == ATTN_FLOAT32) spec.dtype = ATTN_FLOAT16;
  }
  return specs;
}

// Tensors that flow from graph to graph under their own names; a later one of a name takes the place of an earlier.
void add_to(std::vector<TensorSpec>& flow, const std::vector<TensorSpec>& specs) {
  for (const TensorSpec& spec : specs) {
    const auto found = std::find_if(flow.begin(), flow.end(), [&](const TensorSpec& each) { return each.name == spec.name; });
    if (found == flow.end()) {
      flow.push_back(spec);
    } else {
      *found = spec;
    }
  }
}

class Reader {
 public:
  Reader(const Bundle& bundle, const Json& asset, const std::optional<std::string>& precision)
      : bundle_(bundle), asset_(asset), precision_(precision) {}

  GraphIO read() {
    GraphIO made;
    made.where = bundle_.where;
    made.first = sides("first");
    made.step = sides("step");
    if (!asset_.at("encoder").is_null()) made.encoder = sides("encoder");
    const Sides &first = made.first, &step = made.step;
    made.cache = asset_.at("cache").get<std::vector<std::string>>();
    if (std::set<std::string>(made.cache.begin(), made.cache.end()).size() < made.cache.size()) {
      refuse("cache names " + shown(made.cache) + ", one of them twice");
    }
    if (std::set<std::string>{first.name, step.name, made.encoder ? made.encoder->name : ""}.size() < 3) {
      refuse("encoder, first and step name one graph twice");
    }
    check_inputs(first, fed_to_first);
    check_inputs(step, fed_to_step);
    std::vector<TensorSpec> flow;
    std::set<std::string> own;  // inputs of the step that the loop makes
    for (const Fed& fed : fed_to_step) own.insert(fed.name);
    std::set<std::string> fed_names = own;
    std::set<std::string> of_first;
    for (const Fed& fed : fed_to_first) of_first.insert(fed.name);
    fed_names.insert(of_first.begin(), of_first.end());
    if (made.encoder) {
      add_to(flow, made.encoder->inputs);
      add_to(flow, made.encoder->outputs);
      for (const TensorSpec& spec : flow) {
        if (fed_names.count(spec.name)) {
          refuse("graph " + made.encoder->name + " has \"" + spec.name + "\", a name that the graphs behind it have for what they are fed");
        }
      }
    }
    check_flow(first, flow, of_first);
    add_to(flow, first.outputs);
    for (const std::string& name : made.cache) own.insert("past_" + name);
    check_flow(step, flow, own);
    const Dim& mask = step.input("past_mask")->dims[1];
    bool one_size = true;
    for (const std::string& name : made.cache) {
      const Dim entries = check_cached(first, step, name);
      one_size = one_size && entries.min == mask.min && entries.max == mask.max;
    }
    if (!one_size) refuse("graph " + step.name + ": the inputs past_* and past_mask allow caches of different sizes");
    for (const TensorSpec& spec : step.inputs) {
      if (!own.count(spec.name)) made.carried.push_back(spec.name);
    }
    finish(made);
    if (const auto extend = asset_.find("extend"); extend != asset_.end() && !extend->is_null()) made.extend = extend_of(made);
    return made;
  }

 private:
  // The graph `extend`, held against `step`: it reads the same, and several tokens of each row.
  Sides extend_of(const GraphIO& made) const {
    Sides extend = sides("extend");
    const Sides& step = made.step;
    if (extend.name == step.name || extend.name == made.first.name || (made.encoder && extend.name == made.encoder->name)) {
      refuse("extend is graph " + extend.name + ", which has another part already");
    }
    check_inputs(extend, fed_to_step);
    check_flow(extend, step.inputs, {});
    for (const std::string& name : made.cache) {
      const std::string fresh = "new_" + name, past = "past_" + name;
      check_entries({{&step, step.input(past), past}, {&extend, extend.input(past), past}, {&extend, extend.output(fresh), fresh}});
    }
    const TensorSpec* scores = extend.output("logits");
    if (!scores || !is_float(scores->dtype) || scores->dims.size() != 3 || scores->dims[2].dynamic()) {
      refuse("graph " + extend.name + ": got " + (scores ? scores->text() : "no output logits") +
             "; expected logits: float[batch, count, vocabulary]");
    }
    if (scores->dims[2].opt != made.vocabulary) {
      refuse("graphs " + step.name + " and " + extend.name + " choose from different numbers of tokens");
    }
    const Dim& count = extend.input("token")->dims[1];
    if (count.min > 2 || count.max < 2) {
      refuse("graph " + extend.name + " reads " + std::to_string(count.min) + ".." + std::to_string(count.max) +
             " tokens of a row; expected 2, or more");
    }
    for (const char* name : {"token", "position"}) {
      const Dim &rows = step.input(name)->dims[0], &own = extend.input(name)->dims[0];
      if (rows.min != own.min || rows.max != own.max) {
        refuse("graphs " + step.name + " and " + extend.name + " take different numbers of rows of " + name);
      }
    }
    const TensorSpec& position = *extend.input("position");
    if (position.dims[1].dynamic() || position.dims[1].opt != 1) {
      refuse("graph " + extend.name + ": input " + position.text() + "; expected the first position alone");
    }
    const auto check_cache = [&](const std::string& name, const Dim& entries) {
      if (entries.min <= capacity_for(1, made.capacities) && entries.max == made.capacities.second) return;
      refuse("graph " + extend.name + ": input " + name + " allows other sizes of the cache than " + step.name + " does");
    };
    check_cache("past_mask", extend.input("past_mask")->dims[1]);
    for (const std::string& name : made.cache) check_cache("past_" + name, extend.input("past_" + name)->dims[2]);
    return extend;
  }

  void finish(GraphIO& made) const {
    made.vocabulary = vocabulary(made.first);
    if (vocabulary(made.step) != made.vocabulary) {
      refuse("graphs " + made.first.name + " and " + made.step.name + " choose from different numbers of tokens");
    }
    made.rules = GenerationRules::of(asset_);
    if (made.rules.begin.has_value() != made.encoder.has_value()) {
      refuse("begin is given for a model with an encoder, and null for one without, whose prompt begins");
    }
    made.stop = asset_.at("stop").get<std::vector<int64_t>>();
    made.pad = asset_.at("pad").get<int64_t>();
    for (const auto& [key, token] : made.rules.tokens()) check_token(key, token, made.vocabulary);
    check_token("pad", made.pad, made.vocabulary);
    for (const int64_t token : made.stop) check_token("stop", token, made.vocabulary);
    if (const std::string problem = made.rules.problem(); !problem.empty()) refuse(problem);
    const Dim& prompt = made.first.input("tokens")->dims[1];
    for (const size_t length : made.rules.begin_lengths()) {
      if (static_cast<int64_t>(length) >= prompt.min && static_cast<int64_t>(length) <= prompt.max) continue;
      refuse("begin has " + std::to_string(length) + " tokens, graph " + made.first.name + " reads " + std::to_string(prompt.min) + ".." +
             std::to_string(prompt.max));
    }
    const Dim& rows = made.step.input("position")->dims[0];
    made.one_place = !rows.dynamic() && rows.max == 1 && made.step.input("token")->dims[0].max > 1;
    const Dim& capacity = made.step.input("past_mask")->dims[1];
    made.capacities = {capacity.min, capacity.max};
    const auto most = asset_.at("max_length").get<int64_t>();
    const int64_t high = made.step.input("position")->high.value_or(0);
    const int64_t places = high ? high : most;  // behind its table's end a GPU reads what lies there
    made.max_length = std::min({most, capacity.max + 1, places});  // the newest token is not in the cache
    if (made.encoder) {
      made.inputs = made.encoder->inputs;
      find_source(made);
    } else {
      for (const Fed& fed : fed_to_first) made.inputs.push_back(*made.first.input(fed.name));
    }
    made.most_rows = INT64_MAX;
    const auto count_rows = [&made](const Sides& graph) {
      for (const TensorSpec& spec : graph.inputs) {
        if (spec.name == "position" && made.one_place) continue;
        if (!spec.dims.empty()) made.most_rows = std::min(made.most_rows, spec.dims[0].max);
      }
    };
    if (made.encoder) count_rows(*made.encoder);
    count_rows(made.first);
    count_rows(made.step);
  }

  static void find_source(GraphIO& made) {
    const auto& specs = made.encoder->inputs;
    const auto is = [](const TensorSpec& spec, attn_dtype dtype) { return spec.dtype == dtype && spec.dims.size() == 2; };
    const auto tokens = std::find_if(specs.begin(), specs.end(), [&](const TensorSpec& spec) { return is(spec, ATTN_INT64); });
    if (tokens == specs.end()) return;
    made.source_tokens = tokens->name;
    const auto mask = std::find_if(specs.begin(), specs.end(), [&](const TensorSpec& spec) {
      return is(spec, ATTN_BOOL) && spec.dims[1].name == tokens->dims[1].name;
    });
    if (mask != specs.end()) made.source_mask = mask->name;
  }

  Sides sides(const char* role) const {
    const auto name = asset_.at(role).get<std::string>();
    const auto graph = std::find_if(bundle_.graphs.begin(), bundle_.graphs.end(), [&](const Graph& each) { return each.name == name; });
    if (graph == bundle_.graphs.end()) {
      refuse(std::string(role) + " is graph " + shown(name) + ", the bundle has " + joined(graph_names(bundle_)));
    }
    std::vector<std::string> known;
    for (const Precision& each : graph->precisions) known.push_back(each.name);
    if (precision_ && std::find(known.begin(), known.end(), *precision_) == known.end()) {
      throw usage_error("unknown precision \"" + *precision_ + "\"; available: " + joined(known) + " (" + bundle_.where + ", graph " + name +
                        ")");
    }
    if (graph->precision(precision_, bundle_.where).half_io) return {name, halved(graph->inputs), halved(graph->outputs)};
    return {name, graph->inputs, graph->outputs};
  }

  void check_inputs(const Sides& graph, const std::vector<Fed>& wanted) const {
    for (const Fed& fed : wanted) {
      const TensorSpec* spec = graph.input(fed.name);
      if (!spec) {
        refuse("graph " + graph.name + " has no input \"" + fed.name + "\"; it has " + joined(names_of(graph.inputs)));
      }
      if (spec->dtype != fed.dtype || spec->dims.size() != fed.rank) {
        refuse("graph " + graph.name + ": input " + spec->text() + "; expected " + name_of(fed.dtype) + " of rank " +
               std::to_string(fed.rank));
      }
    }
  }

  // Every input that the loop does not make comes from a graph before, in the dtype and rank that it is wanted in.
  void check_flow(const Sides& graph, const std::vector<TensorSpec>& flow, const std::set<std::string>& own) const {
    for (const TensorSpec& spec : graph.inputs) {
      if (own.count(spec.name)) continue;
      const TensorSpec* given = find(flow, spec.name);
      if (!given) {
        refuse("graph " + graph.name + ": nobody gives its input \"" + spec.name + "\"; the graphs before have " + shown(names_of(flow)));
      }
      if (given->dtype != spec.dtype || given->dims.size() != spec.dims.size()) {
        refuse("graph " + graph.name + ": input " + spec.text() + ", and the graph before it gives " + given->text());
      }
    }
  }

  // The entries that the cache may have.
  Dim check_cached(const Sides& first, const Sides& step, const std::string& name) const {
    const std::string fresh = "new_" + name, past = "past_" + name;
    check_entries({{&first, first.output(fresh), fresh}, {&step, step.input(past), past}, {&step, step.output(fresh), fresh}});
    return step.input(past)->dims[2];
  }

  struct Entry {
    const Sides* graph;
    const TensorSpec* spec;
    std::string tensor;
  };

  // That the tensors of one entry of the cache, three of them, have one form.
  void check_entries(const std::vector<Entry>& entries) const {
    std::vector<std::string> found;
    for (const auto& [graph, spec, tensor] : entries) {
      if (!spec) refuse("graph " + graph->name + " has no \"" + tensor + "\", which cache asks for");
      const std::vector<Dim>& dims = spec->dims;
      if (!is_float(spec->dtype) || dims.size() != 4 || dims[1].dynamic() || dims[3].dynamic()) {
        refuse("graph " + graph->name + ": " + spec->text() + "; expected float [batch, heads, entries, head_size]");
      }
      found.push_back("('" + std::string(name_of(spec->dtype)) + "', " + std::to_string(dims[1].opt) + ", " + std::to_string(dims[3].opt) +
                      ")");
    }
    if (found[0] != found[1] || found[0] != found[2]) {
      refuse(entries[0].tensor + " and " + entries[2].tensor + " differ in dtype, heads or head size between " + entries[0].graph->name +
             " and " + entries[2].graph->name + ": [" + joined(found) + "]");
    }
  }

  int64_t vocabulary(const Sides& graph) const {
    const TensorSpec* spec = graph.output("logits");
    if (!spec || !is_float(spec->dtype) || spec->dims.size() != 2 || spec->dims[1].dynamic()) {
      refuse("graph " + graph.name + ": got " + (spec ? spec->text() : "no output logits") + "; expected logits: float[batch, vocabulary]");
    }
    return spec->dims[1].opt;
  }

  void check_token(const char* name, int64_t token, int64_t vocabulary) const {
    if (token >= vocabulary) {
      refuse(std::string(name) + " is token " + std::to_string(token) + ", the graphs have " + std::to_string(vocabulary) + " tokens");
    }
  }

  [[noreturn]] void refuse(const std::string& problem) const {
    throw bundle_error(bundle_.where + ": asset generation: " + problem + "; re-export the bundle");
  }

  const Bundle& bundle_;
  const Json& asset_;
  const std::optional<std::string>& precision_;
};

}  // namespace

const TensorSpec* Sides::input(const std::string& wanted) const { return find(inputs, wanted); }

const TensorSpec* Sides::output(const std::string& wanted) const { return find(outputs, wanted); }

std::vector<TensorSpec> GraphIO::cached() const {
  std::vector<TensorSpec> specs;
  for (const std::string& name : cache) specs.push_back(*step.input("past_" + name));
  return specs;
}

GraphIO GraphIO::of(const Bundle& bundle, const std::optional<std::string>& precision) {
  const std::optional<Json> asset = bundle.asset("generation");
  if (!asset) {
    throw bundle_error(bundle.where + ": is no generator: it has no assets/generation.json; its graphs are " +
                       joined(graph_names(bundle)) + ". attn-run run runs one.");
  }
  return Reader(bundle, *asset, precision).read();
}

}  // namespace attn
