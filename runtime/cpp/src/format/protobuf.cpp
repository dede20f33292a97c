#include "format/protobuf.h"

namespace attn {

std::string WireFile::bytes(uint64_t begin, uint64_t end) {
  std::string data(end - begin, '\0');
  if (file_.read_at(begin, data.data(), data.size()) < data.size()) throw BrokenMessage("it was cut while it was read");
  return data;
}

void WireFile::fields(uint64_t at, uint64_t end, const std::function<void(const WireField&)>& each) {
  while (at < end) {
    const uint64_t tag = varint(at, end);
    WireField field{tag >> 3, static_cast<Wire>(tag & 7), at, at, 0};
    switch (field.wire) {
      case Wire::varint: field.value = varint(at, end); break;
      case Wire::bytes: {
        const uint64_t size = varint(at, end);
        if (size > end - at) throw BrokenMessage("a field ends " + std::to_string(size - (end - at)) + " bytes past its message");
        field.begin = at;
        at += size;
        break;
      }
      case Wire::fixed64:
      case Wire::fixed32: {
        const uint64_t size = field.wire == Wire::fixed64 ? 8 : 4;
        if (size > end - at) throw BrokenMessage("a number ends past its message");
        at += size;
        break;
      }
      default: throw BrokenMessage("wire type " + std::to_string(tag & 7) + " at byte " + std::to_string(at));
    }
    field.end = at;
    each(field);
  }
}

void WireFile::messages(uint64_t at, uint64_t end, const std::function<void(uint64_t, uint64_t, uint64_t)>& each) {
  fields(at, end, [&](const WireField& field) {
    if (field.wire == Wire::bytes) each(field.number, field.begin, field.end);
  });
}

uint8_t WireFile::byte(uint64_t at) {
  if (at < begin_ || at >= end_) {
    begin_ = at;
    end_ = at + file_.read_at(at, window_.data(), window_.size());
    if (at >= end_) throw BrokenMessage("it was cut while it was read");
  }
  return window_[at - begin_];
}

uint64_t WireFile::varint(uint64_t& at, uint64_t end) {
  uint64_t value = 0;
  for (int shift = 0; at < end && shift < 70; shift += 7) {
    const uint64_t part = byte(at++);
    if (shift == 63 && (part & 0x7E)) break;  // beyond 64 bits, as no length and no tag is
    value |= (part & 0x7F) << shift;
    if (part < 0x80) return value;
  }
  throw BrokenMessage("a number without end at byte " + std::to_string(at));
}

}  // namespace attn
