#include "generate/graphs/slots.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

namespace attn {
namespace {

Shape with_rows(size_t rows, const Shape& rest) {
  Shape shape = {static_cast<int64_t>(rows)};
  shape.insert(shape.end(), rest.begin(), rest.end());
  return shape;
}

// The first rows of a buffer.
View first_rows(const Tensor& tensor, size_t rows) {
  View view = tensor.view();
  view.shape[0] = static_cast<int64_t>(rows);
  return view;
}

// Let one row of `target` hold one of `source`, which may differ in the size of one further axis: what it lacks there becomes zeros, and what
// is too much is left.
void put_row(const View& target, size_t row, const View& source, size_t source_row) {
  size_t axis = 1;
  while (axis + 1 < target.shape.size() && target.shape[axis] == source.shape[axis]) ++axis;
  size_t lines = 1;
  for (size_t i = 1; i < axis; ++i) lines *= static_cast<size_t>(target.shape[i]);
  const size_t to = target.bytes() / static_cast<size_t>(target.shape[0]), from = source.bytes() / static_cast<size_t>(source.shape[0]);
  char* into = target.as<char>() + row * to;
  const char* origin = source.as<char>() + source_row * from;
  const size_t to_line = to / lines, from_line = from / lines, both = std::min(to_line, from_line);
  for (size_t line = 0; line < lines; ++line) {
    std::memcpy(into + line * to_line, origin + line * from_line, both);
    std::memset(into + line * to_line + both, 0, to_line - both);
  }
}

// A size that is large enough, and changes only where it must, or where a quarter would do.
template <typename T>
T kept_size(T had, T wanted) {
  return wanted <= had && had < 4 * wanted ? had : wanted;
}

}  // namespace

Slots::Slots(std::shared_ptr<const GraphIO> graph_io, std::shared_ptr<Session> session, size_t most, uint64_t most_bytes)
    : graph_io_(std::move(graph_io)),
      session_(std::move(session)),
      most_(most),
      most_bytes_(most_bytes),
      cached_(graph_io_->cached()) {
  for (const std::string& name : graph_io_->carried) carried_.push_back(*graph_io_->step.input(name));
  std::set<std::string> masked;
  for (const TensorSpec& spec : carried_) {
    if (spec.dtype == ATTN_BOOL && spec.dims.size() == 2 && spec.dims[1].dynamic() && spec.dims[1].name) masked.insert(*spec.dims[1].name);
  }
  bool several = false;
  for (const TensorSpec& spec : carried_) {
    std::optional<size_t> found;
    for (size_t axis = 1; axis < spec.dims.size(); ++axis) {
      if (!spec.dims[axis].dynamic() || !spec.dims[axis].name || !masked.count(*spec.dims[axis].name)) continue;
      several = several || found;
      found = axis - 1;
    }
    padded_.push_back(found);
  }
  // Of several such axes in one tensor none is padded: what is between them would have to be moved line by line.
  if (several) std::fill(padded_.begin(), padded_.end(), std::nullopt);
}

CarriedShapes Slots::shapes_of(const std::map<std::string, View>& source) const {
  std::map<std::string, int64_t> sizes;
  for (const TensorSpec& spec : graph_io_->encoder ? graph_io_->inputs : std::vector<TensorSpec>()) {
    for (size_t axis = 1; axis < spec.dims.size(); ++axis) {
      if (spec.dims[axis].name) sizes[*spec.dims[axis].name] = source.at(spec.name).shape[axis];
    }
  }
  CarriedShapes found;
  for (const TensorSpec& spec : carried_) {
    Shape& shape = found.emplace_back();
    for (size_t axis = 1; axis < spec.dims.size(); ++axis) {
      const Dim& dim = spec.dims[axis];
      const auto told = dim.name ? sizes.find(*dim.name) : sizes.end();
      shape.push_back(!dim.dynamic() ? dim.opt : told == sizes.end() ? dim.max : told->second);
    }
  }
  return found;
}

std::optional<Room> Slots::room_for(const std::vector<size_t>& entries, const std::vector<CarriedShapes>& shapes) const {
  if (entries.size() > most_) return std::nullopt;
  Room room;
  room.rows = 1;
  while (room.rows < entries.size()) room.rows *= 2;
  room.rows = std::min(room.rows, most_);
  const size_t longest = *std::max_element(entries.begin(), entries.end());
  room.entries = static_cast<size_t>(capacity_for(static_cast<int64_t>(longest), graph_io_->capacities));
  for (size_t i = 0; i < carried_.size(); ++i) {
    Shape shape = shapes.front()[i];
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      int64_t least = shape[axis], most = shape[axis];
      for (const CarriedShapes& each : shapes) least = std::min(least, each[i][axis]), most = std::max(most, each[i][axis]);
      const Dim& dim = carried_[i].dims[axis + 1];
      if (padded_[i] == axis) {
        shape[axis] = capacity_for(most, {dim.min, dim.max});
      } else if (least < most) {
        return std::nullopt;
      }
    }
    room.carried.push_back(std::move(shape));
  }
  return room;
}

bool Slots::fit(const std::vector<size_t>& entries, const std::vector<CarriedShapes>& shapes) const {
  const std::optional<Room> room = room_for(entries, shapes);
  return room && (!most_bytes_ || bytes(*room) <= most_bytes_);
}

uint64_t Slots::bytes(const Room& room) const {
  uint64_t row = room.entries + 2 * sizeof(int64_t);
  for (const TensorSpec& spec : cached_) {
    row += bytes_of(spec.dtype, {spec.dims[1].opt, static_cast<int64_t>(room.entries) + 1, spec.dims[3].opt});
  }
  for (size_t i = 0; i < carried_.size(); ++i) row += bytes_of(carried_[i].dtype, room.carried[i]);
  row += bytes_of(graph_io_->step.output("logits")->dtype, {graph_io_->vocabulary});
  return room.rows * row;
}

void Slots::join(const Entries& prompt, const std::map<std::string, View>& carried, size_t length, const CarriedShapes& shapes) {
  std::vector<size_t> places = places_;
  std::vector<CarriedShapes> all = shapes_;
  places.push_back(length);
  all.push_back(shapes);
  Buffers& at = fitting(places, all);
  const size_t row = rows();
  at.cache.past.copy(row, 0, prompt, 0, 0, 1, length);
  at.cache.fill(row, length);
  for (size_t i = 0; i < carried_.size(); ++i) put_row(at.carried[i].view(), row, carried.at(carried_[i].name), 0);
  places_ = std::move(places);
  shapes_ = std::move(all);
}

void Slots::leave(size_t row) {
  Buffers& at = *buffers_;
  const size_t last = rows() - 1;
  if (row != last) {
    at.cache.past.copy(row, 0, at.cache.past, last, 0, 1, std::max(places_[row], places_[last]));
    at.cache.fill(row, places_[last]);
    for (const Tensor& wide : at.carried) put_row(wide.view(), row, wide.view(), last);
  }
  at.cache.past.copy(last, 0, at.zeros, 0, 0, 1, places_[last]);
  at.cache.fill(last, 0);
  places_[row] = places_[last];
  shapes_[row] = shapes_[last];
  places_.pop_back();
  shapes_.pop_back();
}

Logits Slots::step(const std::vector<int64_t>& tokens) {
  Buffers& at = fitting(places_, shapes_);
  Binding& call = at.call(*this, rows());
  std::copy(tokens.begin(), tokens.end(), at.token.view().as<int64_t>());
  const size_t positions = graph_io_->one_place ? 1 : rows();
  for (size_t row = 0; row < positions; ++row) at.position.view().as<int64_t>()[row] = static_cast<int64_t>(places_[row]);
  call.run();
  for (size_t row = 0; row < rows(); ++row) at.cache.put_row(at.fresh, row, places_[row]++);
  return logits_of(first_rows(at.logits, rows()), widened_);
}

void Slots::clear() {
  places_.clear();
  shapes_.clear();
  buffers_.reset();
}

// Buffers with room for rows at these places, the newest entry included, that hold the rows that there are.
Slots::Buffers& Slots::fitting(const std::vector<size_t>& places, const std::vector<CarriedShapes>& shapes) {
  std::vector<size_t> entries = places;
  for (size_t& each : entries) ++each;
  const Room wanted = *room_for(entries, shapes);
  Room room = buffers_ ? kept(buffers_->room, wanted) : wanted;
  if (buffers_ && room == buffers_->room) return *buffers_;
  if (most_bytes_ && bytes(room) > most_bytes_) room = wanted;
  auto made = std::make_unique<Buffers>(*this, room);
  for (size_t row = 0; row < rows(); ++row) {
    made->cache.past.copy(row, 0, buffers_->cache.past, row, 0, 1, places_[row]);
    made->cache.fill(row, places_[row]);
    for (size_t i = 0; i < carried_.size(); ++i) put_row(made->carried[i].view(), row, buffers_->carried[i].view(), row);
  }
  buffers_ = std::move(made);
  return *buffers_;
}

// The room that there is, where it is neither too small nor much too large. Entries that nobody needs cost at every step: who begins alone
// has none.
Room Slots::kept(const Room& had, const Room& wanted) const {
  Room room = wanted;
  room.rows = kept_size(had.rows, wanted.rows);
  if (!rows()) return room;
  room.entries = kept_size(had.entries, wanted.entries);
  for (size_t i = 0; i < carried_.size(); ++i) {
    if (padded_[i]) room.carried[i][*padded_[i]] = kept_size(had.carried[i][*padded_[i]], wanted.carried[i][*padded_[i]]);
  }
  return room;
}

Slots::Buffers::Buffers(const Slots& slots, Room with)
    : room(std::move(with)),
      cache(slots.cached_, static_cast<int64_t>(room.rows), static_cast<int64_t>(room.entries)),
      zeros(slots.cached_, 1, static_cast<int64_t>(room.entries)),
      fresh(slots.cached_, static_cast<int64_t>(room.rows), 1),
      token("token", ATTN_INT64, with_rows(room.rows, {1})),
      position("position", ATTN_INT64, with_rows(slots.graph_io_->one_place ? 1 : room.rows, {1})),
      logits("logits", slots.graph_io_->step.output("logits")->dtype, with_rows(room.rows, {slots.graph_io_->vocabulary})) {
  for (size_t i = 0; i < slots.carried_.size(); ++i) {
    carried.emplace_back(slots.carried_[i].name, slots.carried_[i].dtype, with_rows(room.rows, room.carried[i]));
  }
}

// The step of the first rows, bound once.
Binding& Slots::Buffers::call(const Slots& slots, size_t rows) {
  std::unique_ptr<Binding>& made = calls[rows];
  if (!made) {
    std::map<std::string, View> inputs, outputs = {{"logits", first_rows(logits, rows)}};
    inputs["token"] = first_rows(token, rows);
    inputs["position"] = first_rows(position, slots.graph_io_->one_place ? 1 : rows);
    inputs["past_mask"] = first_rows(cache.mask, rows);
    for (const Tensor& wide : carried) inputs[wide.name] = first_rows(wide, rows);
    for (size_t i = 0; i < slots.cached_.size(); ++i) {
      inputs[slots.cached_[i].name] = first_rows(cache.past.parts[i], rows);
      outputs["new_" + slots.graph_io_->cache[i]] = first_rows(fresh.parts[i], rows);
    }
    made = slots.session_->bind({}, inputs, outputs);
  }
  return *made;
}

}  // namespace attn
