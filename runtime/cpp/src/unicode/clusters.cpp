#include "unicode/clusters.h"

#include "unicode/properties.h"

namespace attn {
namespace {

// What of a cluster, up to its last character, decides whether the next one belongs to it.
class Cluster {
 public:
  explicit Cluster(Properties first) { add(first); }

  bool goes_on_with(Properties next) const {
    const ClusterClass before = last_, after = next.cluster();
    using C = ClusterClass;
    if (before == C::cr && after == C::lf) return true;
    if (is_break(before) || is_break(after)) return false;
    if (before == C::lead) {
      if (after == C::lead || after == C::vowel || after == C::lead_vowel || after == C::syllable) return true;
    } else if (before == C::lead_vowel || before == C::vowel) {
      if (after == C::vowel || after == C::trail) return true;
    } else if (before == C::syllable || before == C::trail) {
      if (after == C::trail) return true;
    }
    if (after == C::extend || after == C::joiner || after == C::spacing_mark || before == C::prepend) return true;
    if (linked_ && next.is_conjunct_lead()) return true;
    if (picture_ == joined && next.is_pictographic()) return true;
    return before == C::regional && after == C::regional && regionals_ % 2 == 1;
  }

  void add(Properties next) {
    last_ = next.cluster();
    regionals_ = last_ == ClusterClass::regional ? regionals_ + 1 : 0;
    if (next.is_pictographic()) {
      picture_ = alone;
    } else if (picture_ == alone && last_ == ClusterClass::joiner) {
      picture_ = joined;
    } else if (picture_ != alone || last_ != ClusterClass::extend) {
      picture_ = none;
    }
    if (next.is_conjunct_lead()) {
      conjunct_ = true;
      linked_ = false;
    } else if (conjunct_ && next.is_conjunct_linker()) {
      linked_ = true;
    } else if (!next.is_conjunct_extend()) {
      conjunct_ = linked_ = false;
    }
  }

 private:
  static bool is_break(ClusterClass which) {
    return which == ClusterClass::control || which == ClusterClass::cr || which == ClusterClass::lf;
  }

  ClusterClass last_ = ClusterClass::other;
  size_t regionals_ = 0;                             // how many in a row
  enum { none, alone, joined } picture_ = none;      // a picture with its marks; and a joiner behind it
  bool conjunct_ = false, linked_ = false;           // a consonant and what may stand behind it; a linker among that
};

}  // namespace

size_t cluster_end(const Characters& text, size_t begin) {
  Cluster cluster(properties_of(text[begin].value));
  size_t end = begin + 1;
  for (; end < text.size(); ++end) {
    const Properties next = properties_of(text[end].value);
    if (!cluster.goes_on_with(next)) break;
    cluster.add(next);
  }
  return end;
}

}  // namespace attn
