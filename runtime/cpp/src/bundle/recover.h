// A bundle that a killed export had set aside is put back. The Python twin is attn_runtime/files/atomic_write.py.
#pragma once

#include <filesystem>

namespace attn {

// Where `target` is missing and lies in .TARGET.tmp-*/old/ beside it: waits up to a second for the export that is at work there, and puts the
// old one back where none is. Raises nothing: on a read-only disk, the caller will say that the target is missing.
void recover(const std::filesystem::path& target);

}  // namespace attn
