// Rows of the step that join and leave between steps, each at a place of its own. The rows that are under way are the first ones of buffers
// that have room for more, and a step is bound to just these: one row costs what it costs alone. Where a row leaves, the last one takes its
// place. What lies behind a row's entries is zeros, always: what is masked is multiplied by zero, which must not be a NaN of a row before.
// The Python twin is attn_runtime/generate/graphs/slots.py.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "generate/graphs/graph_io.h"
#include "generate/graphs/kv_cache.h"
#include "generate/graphs/logits.h"
#include "session/session.h"

namespace attn {

// Of what the step reads beside the cache, the axes but for the batch, in the order of GraphIO::carried.
using CarriedShapes = std::vector<Shape>;

// How much buffers hold.
struct Room {
  size_t rows = 0, entries = 0;
  CarriedShapes carried;

  bool operator==(const Room& other) const { return rows == other.rows && entries == other.entries && carried == other.carried; }
};

class Slots {
 public:
  // `most` rows, whose buffers take `most_bytes` (0: no bound), and half as much again while they grow.
  Slots(std::shared_ptr<const GraphIO> graph_io, std::shared_ptr<Session> session, size_t most, uint64_t most_bytes);

  size_t rows() const { return places_.size(); }
  const std::vector<size_t>& places() const { return places_; }  // of the next token of each row
  // For the encoder's inputs of one row. A size that they don't tell is the most.
  CarriedShapes shapes_of(const std::map<std::string, View>& source) const;
  // What rows of so many entries and of these shapes need; none where they can't be in one step, for their number or their shapes.
  std::optional<Room> room_for(const std::vector<size_t>& entries, const std::vector<CarriedShapes>& shapes) const;
  bool fit(const std::vector<size_t>& entries, const std::vector<CarriedShapes>& shapes) const;
  uint64_t bytes(const Room& room) const;

  // Take in the only row of a prompt that was read: the entries of it, of which the first `length` count, and what is carried.
  void join(const Entries& prompt, const std::map<std::string, View>& carried, size_t length, const CarriedShapes& shapes);
  // Let go of a row. The last one gets its number.
  void leave(size_t row);
  // Feed one token a row and answer the logits of the next, overwritten by the next call.
  Logits step(const std::vector<int64_t>& tokens);
  // Let go of all rows and buffers.
  void clear();

 private:
  struct Buffers {
    Buffers(const Slots& slots, Room room);
    Binding& call(const Slots& slots, size_t rows);

    Room room;
    KvCache cache;
    Entries zeros, fresh;
    std::vector<Tensor> carried;
    Tensor token, position, logits;
    std::map<size_t, std::unique_ptr<Binding>> calls;
  };

  Buffers& fitting(const std::vector<size_t>& places, const std::vector<CarriedShapes>& shapes);
  Room kept(const Room& had, const Room& wanted) const;

  std::shared_ptr<const GraphIO> graph_io_;
  std::shared_ptr<Session> session_;
  size_t most_;
  uint64_t most_bytes_;
  std::vector<TensorSpec> cached_, carried_;  // the step's inputs, in the order of GraphIO::cache and GraphIO::carried
  std::vector<std::optional<size_t>> padded_;  // of each carried one the axis that may be longer than a row needs, as a mask tells
  std::vector<size_t> places_;
  std::vector<CarriedShapes> shapes_;
  std::unique_ptr<Buffers> buffers_;
  std::vector<float> widened_;  // of float16 logits
};

}  // namespace attn
