#include "regex/program.h"

#include <map>
#include <utility>

namespace attn {
namespace {

// Notes of a search take a bit for each split and character.
constexpr size_t most_instructions = 20000, most_splits = 1024;

using Kind = Instruction::Kind;
using Node = PatternNode;

class Compiler {
 public:
  Program compile(const Node& pattern) {
    add(pattern);
    put({Kind::match});
    return std::move(made_);
  }

 private:
  size_t put(Instruction instruction) {
    if (made_.instructions.size() >= most_instructions || made_.splits >= most_splits) {
      refuse_pattern(place_, "this many repeats and alternatives are not supported");
    }
    if (instruction.kind == Kind::split) instruction.column = made_.splits++;
    if (instruction.kind == Kind::run) instruction.column = made_.runs++;
    made_.instructions.push_back(instruction);
    return made_.instructions.size() - 1;
  }
  uint32_t here() const { return static_cast<uint32_t>(made_.instructions.size()); }
  // A set that is repeated is kept once.
  uint32_t set_of(const Node& node) {
    const auto [known, added] = sets_.emplace(&node, static_cast<uint32_t>(made_.sets.size()));
    if (added) made_.sets.push_back(node.set);
    return known->second;
  }

  void add(const Node& node) {
    place_ = node.place;
    switch (node.kind) {
      case Node::Kind::set:
        put({Kind::set, false, set_of(node)});
        break;
      case Node::Kind::sequence:
        for (const Node& each : node.parts) add(each);
        break;
      case Node::Kind::alternatives:
        add_alternatives(node);
        break;
      case Node::Kind::repeat:
        add_repeat(node);
        break;
      case Node::Kind::assertion:
        put({Kind::assert, false, static_cast<uint32_t>(node.assertion)});
        break;
      case Node::Kind::look:
        if (node.parts[0].kind == Node::Kind::set) {
          put({node.behind ? Kind::behind : Kind::ahead, node.negative, set_of(node.parts[0])});
        } else {
          const size_t look = put({Kind::look, node.negative});
          add(node.parts[0]);
          put({Kind::match});
          made_.instructions[look].b = here();
        }
        break;
    }
  }

  void add_alternatives(const Node& node) {
    std::vector<size_t> jumps;
    for (size_t i = 0; i < node.parts.size(); ++i) {
      if (i + 1 == node.parts.size()) {
        add(node.parts[i]);
        break;
      }
      const size_t split = put({Kind::split});
      made_.instructions[split].a = here();
      add(node.parts[i]);
      jumps.push_back(put({Kind::jump}));
      made_.instructions[split].b = here();
    }
    for (const size_t jump : jumps) made_.instructions[jump].a = here();
  }

  void add_repeat(const Node& node) {
    const Node& part = node.parts[0];
    for (size_t i = 0; i < node.least; ++i) add(part);
    const bool endless = node.most == Node::unbounded;
    if (node.mode == Node::Mode::possessive) {
      if (endless || node.most > node.least) {
        put({Kind::run, false, set_of(part), endless ? Program::no_limit : static_cast<uint32_t>(node.most - node.least)});
      }
      return;
    }
    std::vector<size_t> splits;
    for (size_t i = endless ? 0 : node.least; i < (endless ? 1 : node.most); ++i) {
      splits.push_back(put({Kind::split}));
      const uint32_t body = here();
      add(part);
      if (endless) put({Kind::jump, false, static_cast<uint32_t>(splits.back())});
      made_.instructions[splits.back()].a = body;
    }
    for (const size_t split : splits) {
      Instruction& each = made_.instructions[split];
      each.b = here();
      if (node.mode == Node::Mode::lazy) std::swap(each.a, each.b);
    }
  }

  Program made_;
  std::map<const Node*, uint32_t> sets_;
  size_t place_ = 0;
};

}  // namespace

Program compile_pattern(const PatternNode& pattern) { return Compiler().compile(pattern); }

}  // namespace attn
